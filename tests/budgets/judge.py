"""A kernel compiled for a target, held against the budgets: what is wrong with it, and what is excused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from microtrain.compiler.templates.matmul import operand_kind
from microtrain.compiler.templates.template import Launch
from microtrain.graph import dtypes
from microtrain.runtime.resources import TARGETS, Access, Resources, compile_launch
from microtrain.testing.specimens import Specimen

from . import widths
from .table import EXCUSES, Excuse, budget


def kind_of(specimen: Specimen) -> str:
    """Its template and, where that changes what it needs, the kind of numbers: what the table is looked up by."""
    if specimen.template == "matmul":
        return f"matmul, {operand_kind(specimen.kernel)}"
    double = any(node.dtype is dtypes.float64 for node in specimen.kernel.pointers)
    return f"{specimen.template}, float64" if double else specimen.template


@dataclass(frozen=True)
class Verdict:
    """A kernel, what it uses on a target, what is wrong with that, and what had to be excused."""

    specimen: Specimen
    resources: Resources
    problems: tuple[str, ...]
    excuses: tuple[Excuse, ...]

    def report(self) -> str:
        """The problems, the emitted source, and how to make the kernel again."""
        kernel = self.specimen.kernel
        sources = [line for function in kernel.emitted for line in function.source.splitlines()]
        return "\n".join([*[f"{self.resources.target}: {self.specimen.origin} ({kind_of(self.specimen)}): {problem}"
                            for problem in self.problems], *[f"    {line}" for line in sources]])


def judged(specimen: Specimen, target: str, launch: Launch | None = None) -> Verdict:
    """Compile a kernel for a target, with its own tile or as `launch` says, and judge it."""
    launch = launch or specimen.kernel.launch(target)
    return judge(specimen, launch, compile_launch(target, launch))


def judge(specimen: Specimen, launch: Launch, resources: Resources) -> Verdict:
    """Hold a compiled kernel against the table."""
    problems: list[str] = []
    used: dict[Excuse, None] = {}

    def excused(text: str, fits: Callable[[Excuse], bool]) -> None:
        excuse = next(filter(fits, excuses), None)
        if excuse is None:
            problems.append(text)
        else:
            used[excuse] = None

    excuses = [excuse for excuse in EXCUSES if excuse.covers(kind_of(specimen), resources.target)]
    allowed = budget(kind_of(specimen), resources.target)
    for what, value, limit in (("registers", resources.registers, allowed.registers),
                               ("bytes of shared memory", resources.shared_bytes, allowed.shared_bytes)):
        if value > limit:
            problems.append(f"{value} {what}, budget {limit}")
    if resources.spills:
        excused(f"spills {resources.spills}", lambda e: e.spills >= resources.spills)
    for kind, bits, possible, text in narrow(launch, resources):
        excused(text, lambda e, kind=kind, bits=bits, possible=possible: (
            0 < e.store_bits <= bits if kind == "store" else possible <= e.load_bits))
    return Verdict(specimen, resources, tuple(problems), tuple(used))


def narrow(launch: Launch, resources: Resources) -> Iterator[tuple[str, int, int, str]]:
    """The loads and stores whose accesses are narrower than what was emitted allows: kind, bits, the bits that are
    possible, and what is wrong.

    An access belongs to the statement whose line the compiler says that it is of. A statement without any was found to
    be needless; but then no access whose line was forgotten may be narrower than that statement's can be.
    """
    made: dict[tuple[str, str, int], list[Access]] = defaultdict(list)
    for access in resources.accesses:
        made[access.kind, access.function, access.line].append(access)
    for function in launch.kernel.emitted:
        for line, text in enumerate(function.source.splitlines(), 1):
            statement = text.strip()
            kind = "store" if "tl.store(" in statement else "load" if "tl.load(" in statement else ""
            if not kind:
                continue
            touches = launch.kernel.touches.get(statement)
            if touches is None:
                yield kind, 0, 8 * widths.WIDEST, f"a {kind} that the emitter did not note: {statement}"
                continue
            target = TARGETS[resources.target]
            width, itemsize = min((widths.elements(touch, launch, target), touch.value.dtype.itemsize)
                                  for touch in touches)
            accesses = made.get((kind, function.name, line)) or made.get((kind, "", 0), [])
            bits = min([access.bits for access in accesses], default=8 * widths.WIDEST)
            possible = 8 * itemsize * width
            if width > 1 and bits < possible:
                yield kind, bits, possible, f"a {kind} of {bits} bits where {possible} are possible: {statement}"
