"""What microtrain launched for a call, kernel by kernel: the measurement that explains a figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from microtrain.compiler.cpu.reference import evaluated
from microtrain.compiler.program import Value
from microtrain.compiler.templates.template import Launch
from microtrain.engine import run
from microtrain.engine.plans import plans
from microtrain.graph.node import Kind
from microtrain.runtime.null import Nowhere, NullBackend
from microtrain.runtime.resources import TARGETS

WARP = 32
REGISTERS = 65536
"""Of a processor, of 32 bits: on every NVIDIA GPU since 2012. PyTorch does not say."""

PARTS = 4
"""Kernels of a call that are looked into: those that move most bytes."""


@dataclass(frozen=True)
class Launched:
    """One kernel of a call.

    Attributes:
        domain: its template and what it ranges over.
        computes: its operations.
        tile: the constants of its template that are numbers.
        bytes_read, bytes_written: each value that it reads or writes once, whole.
        time: microseconds of its own, replayed alone over random numbers.
        registers, spills, shared_bytes: as compiled for this GPU; None where the null device does not know it.
        load_bits, store_bits: the widest accesses.
        resident: warps that fit on a processor, of those that it could hold at most.
    """

    domain: str
    computes: str
    grid: tuple[int, ...]
    tile: dict[str, int]
    num_warps: int
    num_stages: int
    bytes_read: int
    bytes_written: int
    time: float
    registers: int | None = None
    spills: int | None = None
    shared_bytes: int | None = None
    load_bits: int | None = None
    store_bits: int | None = None
    resident: float | None = None

    @property
    def bandwidth(self) -> float:
        """GB/s, read and written."""
        return (self.bytes_read + self.bytes_written) / self.time / 1e3

    def __str__(self) -> str:
        parts = [f"{self.domain} ({self.computes})", f"grid {'x'.join(map(str, self.grid))}",
                 f"tile {', '.join(f'{name} {value}' for name, value in self.tile.items())}",
                 f"{self.num_warps} warps, {self.num_stages} stages"]
        if self.registers is not None:
            parts.append(f"{self.registers} registers, {self.spills} bytes spilled, {self.shared_bytes} bytes shared, "
                         f"accesses of {self.load_bits} and {self.store_bits} bits")
        if self.resident is not None:
            parts.append(f"occupancy {self.resident:.0%}")
        megabytes = (self.bytes_read + self.bytes_written) / 1e6
        return "; ".join([*parts, f"{megabytes:.3g} MB in {self.time:.3g} us ({self.bandwidth:.0f} GB/s)"])


def steps_of(call: Callable[[], Any]) -> list[Launch]:
    """The launches of a call's plans, in order. None on the cpu device, which launches nothing."""
    programs: list[Any] = []

    def listen(kernels: int, program: Any) -> None:
        programs.append(program)

    run.listeners.append(listen)
    try:
        call()
    finally:
        run.listeners.remove(listen)
    made = {id(plan.program): plan for plan in plans.known.values()}
    found = [made[id(program)].executable for program in programs if id(program) in made]
    return [step for executable in found for step in getattr(executable, "launches", ())]


def described(steps: Sequence[Launch], target: str, properties: Any,
              timed: Callable[[Launch], float]) -> list[Launched]:
    """The kernels behind some launches, those that move most bytes first, PARTS at most.

    target: the GPU as the null device names it; one that it does not know leaves resources out. properties: the GPU's,
    as PyTorch has them. timed: gives microseconds of a launch alone.
    """
    largest = sorted(steps, key=lambda step: -sum(_bytes(step)))[:PARTS]
    return [_described(step, target, properties, timed) for step in largest]


def _bytes(step: Launch) -> tuple[int, int]:
    def total(nodes: Any) -> int:
        return sum(node.spec.numel * node.dtype.itemsize for node in nodes)

    kernel = step.kernel
    stores = kernel.group.stores
    return total(node for node in kernel.pointers if node not in stores), total(stores)


def _described(step: Launch, target: str, properties: Any, timed: Callable[[Launch], float]) -> Launched:
    launch, group = step, step.kernel.group
    read, written = _bytes(step)
    tile = {name: value for name, value in launch.constexprs.items()
            if name.startswith(("BLOCK", "SPLIT", "GROUP", "COLS")) and isinstance(value, int)}
    warps = launch.options["num_warps"]
    facts: dict[str, Any] = {}
    if target in TARGETS:
        facts = resources(step, target)
        facts["resident"] = occupancy(facts["registers"], facts["shared_bytes"], warps, properties)
    operations = Counter(node.primitive.name for node in evaluated(group.members, group.reads)
                         if node.primitive.kind not in (Kind.VIEW, Kind.CONSTANT))
    computes = ", ".join(name if n == 1 else f"{name} x{n}" for name, n in operations.items())
    return Launched(f"{group.template.name} over {group.template.extent()}", computes, launch.grid, tile,
                    warps, launch.options["num_stages"], read, written, timed(step), **facts)


def resources(step: Launch, target: str) -> dict[str, Any]:
    """What the null device reads off a launch compiled for a target."""
    null, kernel = NullBackend(target), step.kernel
    null.launch(step, tuple([Nowhere(node.spec.shape, node.dtype.name) for node in kernel.pointers]),
                (1,) * len(kernel.scalars))
    found = null.resources[step]
    return {"registers": found.registers, "spills": found.spills, "shared_bytes": found.shared_bytes,
            "load_bits": found.load_bits, "store_bits": found.store_bits}


def occupancy(registers: int, shared_bytes: int, warps: int, properties: Any) -> float:
    """Warps that fit on a processor at once, over those that it can hold."""
    most = properties.max_threads_per_multi_processor // WARP
    programs = most // warps
    programs = min(programs, REGISTERS // max(registers * warps * WARP, 1))
    if shared_bytes:
        programs = min(programs, properties.shared_memory_per_multiprocessor // shared_bytes)
    return programs * warps / most


def alone(step: Launch, backend: Any) -> Callable[[], Any]:
    """A launch over memory of its own: zeros for integers, which are right as indices anywhere, and random numbers
    else, since a product of zeros takes less power and so less time."""
    def buffer(node: Value) -> Any:
        memory = backend.empty(node.spec)
        (memory.uniform_ if node.dtype.is_floating_point else memory.zero_)()
        return memory

    kernel = step.kernel
    buffers = [buffer(node) for node in kernel.pointers]
    pointers, scalars = tuple(backend.pointers(buffers, None, ())), (0,) * len(kernel.scalars)

    def call(kept: Any = buffers) -> None:
        backend.launch(step, pointers, scalars)
    return call
