"""A step's kernels, called one after another by a single program, many steps long (`kernels/loop.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...kernels import tiles
from ..emit_value import STORAGE
from ..jit import Function, function, jitted
from ..program import Value
from .template import Kernel, Launch, Template, options


@dataclass(frozen=True, eq=False)
class Looped(Template):
    """Many steps of some launches, whose programs do each other's work in turn.

    Attributes:
        steps: the launches.
        places: the text of the pointer to each value that they touch, in terms of `ptrs` and of the step's number `k`.
        pointers: what lies at each of `ptrs`: only the dtypes count.
        numbers: the run-time numbers of a step, in order; a row of `ptrs[table]` has them.
        watched: the 0-d value that has to be finite for another step; `ptrs[table + 1]` takes how many there were.
    """

    steps: Sequence[Launch]
    places: Mapping[Value, str]
    pointers: Sequence[Value]
    numbers: Sequence[Value]
    table: int
    watched: Value | None
    name = "loop"
    ours = False

    def extent(self) -> str:
        return f"steps of {len(self.steps)} kernels"

    def write(self, kernel: Kernel) -> None:
        """The function of one step."""
        names = {value: f"n{place}" for place, value in enumerate(self.numbers)}
        used = {value for launch in self.steps for value in launch.kernel.scalars}
        lines = [f"{name} = tl.load(ptrs[{self.table}] + k * {len(names)} + {place})"
                 for place, (value, name) in enumerate(names.items()) if value in used]
        calls: dict[Function, None] = {}
        for launch in self.steps:
            lines += [*self.called(launch, names), "tl.debug_barrier()"]
            calls |= dict.fromkeys(launch.kernel.emitted)
        if self.watched is not None:
            lines += [f"seen = tl.load({self.places[self.watched]})", "tl.debug_barrier()", "return seen"]
        kernel.functions["STEP"] = function("step", "ptrs, k, zero", lines, tuple(calls))
        kernel.constants["WATCHED"] = -1 if self.watched is None else self.table + 1
        kernel.pointers[:] = self.pointers
        kernel.wide = False

    def called(self, launch: Launch, numbers: Mapping[Value, str]) -> list[str]:
        """The statements that run a launch's programs one after another."""
        kernel = launch.kernel
        pids: list[str] = []
        loops: list[str] = []
        for axis, programs in enumerate(launch.grid):
            pids.append(f"zero + p{axis}" if programs > 1 else "zero")
            if programs > 1:
                loops.append(f"{'    ' * len(loops)}for p{axis} in tl.range(0, {programs}, num_stages=1):")
        pointers = "".join(f"{self.places[value]}, " for value in kernel.pointers)
        scalars = "".join(f"{numbers[value]}, " for value in kernel.scalars)
        known = launch.sizes | launch.constexprs
        rest = [written(kernel, name, known[name]) for name in launch.function.arg_names[2:]]
        program = launch.function.fn.__name__.removesuffix("_kernel") + "_program"
        return [*loops, f"{'    ' * len(loops)}{program}({', '.join([*pids, f'({pointers})', f'({scalars})', *rest])})"]

    def launches(self, kernel: Kernel, arch: str) -> Iterator[Launch]:
        from ...kernels.loop import loop_kernel
        num_warps = self.steps[0].options["num_warps"]
        told = options(num_warps, num_stages=1) | {"maxnreg": tiles.registers(num_warps)}
        step, = kernel.emitted
        yield Launch(kernel, loop_kernel, (1,), {}, {"STEP": jitted(step), **kernel.constants}, told)


def written(kernel: Kernel, name: str, value: object) -> str:
    """A constant of a kernel as text."""
    given = kernel.functions.get(name)
    if isinstance(given, Function):
        return given.name
    if hasattr(value, "fn"):
        return str(value.fn.__name__)
    if isinstance(value, float):
        return f'float("{value}")'
    if isinstance(value, int | str):
        return repr(value)
    import triton.language as tl
    return next(text for text in STORAGE.values() if getattr(tl, text[3:]) == value)
