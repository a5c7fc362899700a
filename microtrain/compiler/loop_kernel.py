"""A whole loop in one launch, on the devices that run Triton's kernels.

A single program does a step's kernels in turn (`templates.loop`), with a processor to itself: what suits small models,
whose step is over before another launch would have begun. A value that is carried from step to step keeps its place in
memory where no kernel reads the old one once the new one is there; else it has two places by turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .. import ops
from ..graph import dtypes
from ..graph.node import BUFFER, SCALAR, Kind, buffer_signature, interned, scalar_signature
from ..graph.spec import Spec, spec
from ..kernels import tiles
from ..runtime import kernel_backend
from ..runtime.backend import Buffer
from ..runtime.resources import TARGETS, compile_launch
from .loop import Roles
from .memory import arrange, heirs, lifetimes
from .program import Program, Value
from .schedule import schedule
from .templates.loop import Looped
from .templates.template import Group, Kernel, Launch, Schedule

# Multiplications of products in a step, and elements of all else: one processor takes some 5 us for either, as long as
# a step's launches take one after another in a graph.
MAX_PRODUCTS, MAX_ELEMENTS = 1 << 20, 1 << 17
MAX_POINTERS = 400  # 3,200 of the 4,096 bytes that a kernel's arguments may have


class Refusal(Exception):
    """Why a program cannot, or had better not, be looped in one launch."""


def refusal(program: Program, roles: Roles) -> str | None:
    """Why a program's loop had better not be one launch, in words; None where it had."""
    try:
        KernelLoop(program, roles)
    except Refusal as why:
        return str(why)
    return None


def apart(program: Program, roles: Roles) -> tuple[Program, Roles]:
    """The same program with an output for each role alone, to be stored in a place of its own: copies are added of what
    has two, and of inputs that are others in the next step. Inputs that stay as they are are not carried."""
    whole = Program.read(program.flat)
    values, outputs, becomes = list(whole.values), list(whole.outputs), dict[int, int]()
    for given, place in roles.carried.items():
        if whole.outputs[place].spec is not whole.inputs[given].spec:
            raise ValueError(f"{whole.inputs[given].spec} cannot become {whole.outputs[place].spec} in the next step")
        if whole.outputs[place] is whole.inputs[given]:
            continue
        if place in roles.history or place in becomes.values():
            outputs.append(outputs[place])
            place = len(outputs) - 1
        becomes[given] = place
    moving = {whole.inputs[given] for given in (*becomes, *roles.rows)}
    alone = roles.history.union(becomes.values())
    taken: dict[Value, int] = {}
    for place, value in enumerate(outputs):
        role = place if place in alone else -1
        if value in moving or (value.primitive is BUFFER and role >= 0) or taken.setdefault(value, role) != role:
            outputs[place] = Value(interned(ops.IDENTITY, (), (value.spec,)), (value,))
            values.append(outputs[place])
    return Program(values, outputs), Roles(becomes, roles.rows, roles.history, roles.watched)


class Phase(Kernel):
    """A kernel that is one of several in a step."""

    def overwrites(self, group: Group) -> bool:
        """Also with a single result: a program with more threads than elements has threads with the same ones."""
        given = {value.spec for value in group.reads if value.primitive is BUFFER}
        return not given.isdisjoint([value.spec for value in group.stores])


class KernelLoop:
    """A program as one launch for any number of steps: a `Loop`.

    Raises Refusal where it cannot be or (unless `force`) had better not be one launch, ValueError for what is carried
    to something else.
    """

    def __init__(self, program: Program, roles: Roles, force: bool = False) -> None:
        self.outputs = len(program.outputs)
        program, self.roles = apart(program, roles)
        groups = schedule(program)
        self.program = groups.program
        self.backend = kernel_backend(program.device.type, program.device.index)
        parts = [part for group in groups for part in group.parts]
        if any(not part.template.ours for part in parts):
            raise Refusal("it has a kernel of yours, which is launched as you say")
        if not force:
            affordable(parts)
        kernels = [Phase(part, groups) for part in parts]
        self.lay_out(kernels)
        if (pointers := self.table + 2 + len(self.parts)) > MAX_POINTERS:
            raise Refusal(f"a step has {pointers} places in memory, more than the {MAX_POINTERS} that a launch is told")
        self.launch = self.compiled(kernels, groups, force)

    # ----------------------------------------------------------------------------------------------------- memory

    def lay_out(self, kernels: Sequence[Kernel]) -> None:
        """Give every value a place in memory: inputs, what is allocated, the table of numbers, temporaries."""
        inputs, outputs, roles = self.program.inputs, self.program.outputs, self.roles
        donors = heirs(kernels, self.program)
        self.numbers = [value for value in inputs if value.primitive is SCALAR]
        self.given = [place for place, value in enumerate(inputs) if value.primitive is BUFFER]
        becomes = {outputs[place]: inputs[given] for given, place in roles.carried.items()}
        self.rows = {inputs[place] for place in roles.rows} | {outputs[place] for place in roles.history}
        place = {inputs[given]: k for k, given in enumerate(self.given)}
        self.alone: list[tuple[Spec, bool]] = []                # what is allocated, and whether for every step
        turns: dict[Value, tuple[int, int]] = {}
        stored = [value for kernel in kernels for value in kernel.pointers if not value.spec.numel]
        for value in dict.fromkeys([*outputs, *stored]):
            before = becomes.get(value)
            if value in place:
                continue
            if before is not None and before in donors.get(value, ()):
                place[value] = place[before]
                continue
            place[value] = len(self.given) + len(self.alone)
            self.alone.append((value.spec, value in self.rows))
            if before is not None:
                turns[before], turns[value] = (place[before], place[value]), (place[value], place[before])
        self.table = len(self.given) + len(self.alone)
        offsets, self.workspace = arrange(lifetimes(kernels, set(place)))
        place |= {value: self.table + 2 + k for k, value in enumerate(offsets)}
        self.parts = [(offset, value.spec) for value, offset in offsets.items()]
        self.results = [turns.get(outputs[k], (place[outputs[k]],) * 2)[::-1] for k in range(self.outputs)]
        self.places = {value: self.pointer(value, k, turns) for value, k in place.items()}
        device = self.program.device
        words = Value(buffer_signature(spec((1,), dtypes.int64, device)), ())
        at = {k: value for value, k in place.items()} | {self.table: words, self.table + 1: words}
        self.pointers = [at[k] for k in range(len(at))]

    def pointer(self, value: Value, k: int, turns: dict[Value, tuple[int, int]]) -> str:
        """The text of the pointer to a value in step `k`."""
        if value in turns:
            return "turn({}, {}, k)".format(*[f"ptrs[{slot}]" for slot in turns[value]])
        return f"ptrs[{k}] + k * {value.spec.numel}" if value in self.rows else f"ptrs[{k}]"

    # ----------------------------------------------------------------------------------------------------- the launch

    def compiled(self, kernels: Sequence[Kernel], groups: Schedule, force: bool) -> Launch:
        """The launch with so many warps as the steps ask for, and more or fewer where registers then run out."""
        tried: list[int] = []
        for num_warps in warps(kernels):
            launch = self.launch_of(kernels, groups, num_warps)
            if force or self.backend.arch not in TARGETS:
                return launch
            tried.append(compile_launch(self.backend.arch, launch).spills)
            if not tried[-1]:
                return launch
        raise Refusal(f"a step takes more registers than a program has: {min(tried)} bytes a thread are spilled")

    def launch_of(self, kernels: Sequence[Kernel], groups: Schedule, num_warps: int) -> Launch:
        """The launch of a program of so many warps."""
        arch = self.backend.arch
        steps = [kernel.launch(arch) if arch == tiles.INTERPRET else
                 kernel.group.template.looped(kernel, arch, num_warps) for kernel in kernels]
        watched = None if self.roles.watched is None else self.program.outputs[self.roles.watched]
        template = Looped(steps, self.places, self.pointers, self.numbers, self.table, watched)
        count = Value(scalar_signature(spec((), dtypes.int64, self.program.device)), ())
        reads = dict.fromkeys([*self.program.inputs, count])
        kernel = Kernel(Group(0, template, reads=reads, stores=list(self.program.outputs)), groups)
        kernel.scalars[:] = [count]
        return kernel.launch(arch)

    # ----------------------------------------------------------------------------------------------------- running

    def run(self, values: list[Buffer], numbers: Sequence[np.ndarray], steps: int) -> tuple[list[Buffer], int]:
        """As `Loop` says."""
        device = self.backend
        memory = [device.copy(values[k]) if k in self.roles.carried else values[k] for k in self.given]
        memory += [device.empty(lengthened(of, steps) if each else of) for of, each in self.alone]
        memory.append(device.from_numpy(encoded_rows(self.numbers, numbers, steps)))
        memory.append(device.from_numpy(np.array([steps])))
        workspace = device.workspace(self.workspace) if self.parts else None
        device.launch(self.launch, tuple(device.pointers(memory, workspace, self.parts)), (steps,))
        made = steps
        if self.roles.watched is not None and self.program.device.kind.computes:
            made = int(device.to_numpy(memory[self.table + 1])[0])
        return [memory[pair[made % 2]] for pair in self.results], made

    @property
    def way(self) -> str:
        """As `Loop` says."""
        return "one launch"

    def describe(self) -> str:
        """What is run, for a person to read."""
        return "\n".join(function.source for function in self.launch.kernel.emitted)


def affordable(parts: Sequence[Group]) -> None:
    """Raise Refusal where a step is too much work for one processor."""
    for what, product, most in (("multiplies", True, MAX_PRODUCTS), ("computes", False, MAX_ELEMENTS)):
        found = [part.template for part in parts if (part.root.primitive.kind is Kind.MATMUL) is product]
        work = sum(template.numel * (template.terms if product else 1) for template in found)
        if work > most:
            raise Refusal(f"a step {what} {work:,} numbers, too many for one processor, of which {most:,} can be asked")


def warps(kernels: Sequence[Kernel]) -> Iterator[int]:
    """Numbers of warps for a loop, the best guess first."""
    most = max((kernel.group.template.numel for kernel in kernels), default=1)
    products = any(kernel.group.root.primitive.kind is Kind.MATMUL for kernel in kernels)
    best = 1 if most <= 256 and not products else 4 if most <= 4096 else 8
    yield from dict.fromkeys((best, min(2 * best, 16), max(best // 2, 1)))


def lengthened(of: Spec, steps: int) -> Spec:
    """The spec of a table with a row for each step."""
    return spec((steps, *of.shape), of.dtype, of.device)


def encoded_rows(inputs: Sequence[Value], numbers: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """The table of numbers that a loop's kernel reads: (steps, numbers) of int64, each as `encoded` has it."""
    table = np.zeros((steps, max(len(inputs), 1)), np.int64)
    for column, (value, given) in enumerate(zip(inputs, numbers, strict=True)):
        table[:, column] = given.astype(np.float64).view(np.int64) if value.dtype.is_floating_point else given
    return table
