"""What a run takes: its kernels, so that a lost fusion fails a test on any machine, and its memory."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..compiler.memory import nbytes
from ..compiler.program import Program
from ..compiler.schedule import schedule
from ..engine import run
from ..engine.explain import describe_kernels
from ..graph.node import SCALAR
from ..graph.spec import Device
from ..runtime import backend
from ..tensor import Tensor, default_device


@dataclass
class KernelCount:
    """What was launched inside a `count_kernels` block: `kernels` in all, and the programs they belong to."""

    kernels: int = 0
    programs: list[Program] = field(default_factory=list)

    def add(self, kernels: int, program: Program) -> None:
        self.kernels += kernels
        self.programs.append(program)

    def describe(self) -> str:
        return "\n".join(describe_kernels(program) for program in self.programs)


@contextmanager
def count_kernels(at_most: int | None = None, exactly: int | None = None) -> Iterator[KernelCount]:
    """Count the kernels of everything computed inside the block.

    What stays pending is not counted: read a value there.
    On the cpu device, which launches none, the kernels that the same programs would be on a GPU are counted.
    Raises AssertionError, listing the kernels, when there are more than `at_most` or not `exactly` so many.
    """
    count = KernelCount()
    run.listeners.append(count.add)
    try:
        yield count
    finally:
        run.listeners.remove(count.add)
    wrong = (at_most is not None and count.kernels > at_most) or (exactly is not None and count.kernels != exactly)
    if wrong:
        limit = f"at most {at_most}" if at_most is not None else f"exactly {exactly}"
        raise AssertionError(f"{count.kernels} kernels were launched, {limit} were expected:\n{count.describe()}")


class Memory:
    """Bytes of a device's memory: `live` now, `peak` the most at any time since the last `reset`."""

    def __init__(self) -> None:
        self.live = self.peak = 0
        self._held: dict[int, tuple[weakref.ref[Any], int]] = {}

    def reset(self) -> None:
        self.peak = self.live

    def add(self, buffer: Any) -> None:
        size = buffer.numel() * buffer.element_size()
        reference = weakref.ref(buffer, self._forget)
        self._held[id(reference)] = reference, size
        self.live += size
        self.peak = max(self.peak, self.live)

    def _forget(self, reference: Any) -> None:
        self.live -= self._held.pop(id(reference))[1]


@contextmanager
def peak_memory(device: str | Device | None = None) -> Iterator[Memory]:
    """Count the memory that a device allocates inside the block, by default the default device's.

    What was allocated before is not counted: make the model inside. An array that `numpy()` gave out is no longer
    counted when its tensor is gone.
    Raises RuntimeError for the cpu device, whose memory is NumPy's: `tracemalloc` knows it.
    """
    where = default_device() if device is None else Device(device).resolved
    target: Any = backend(where.type, where.index)
    if not hasattr(target, "allocate"):
        raise RuntimeError(f"the {where.type} device has no memory of its own to count; tracemalloc counts NumPy's")
    memory = Memory()
    allocate = target.allocate

    def counted(*arguments: Any) -> Any:
        buffer = allocate(*arguments)
        memory.add(buffer)
        return buffer

    target.allocate = counted
    try:
        yield memory
    finally:
        del target.allocate             # the class has its own


def needed_memory(program: Program, state: Iterable[Tensor] = ()) -> int:
    """Bytes that are live at the launch of a program where most are, each value counted once.

    Inputs live all the time, a temporary from the launch that stores it to the last one that reads it, and an output
    from the launch that stores it on. `state` are the tensors, parameters say, of which the program computes new
    values: those take no memory beside the old ones.
    """
    groups = schedule(program)
    program = groups.program
    last = {node: number for number, group in enumerate(groups) for node in (*group.reads, *group.stores)}
    renewed = Counter(tensor.node.spec for tensor in state)
    for node in program.outputs:
        last[node] = len(groups)
        renewed[node.spec] -= 1
        if renewed[node.spec] >= 0:
            last[node] = -1
    given = sum(nbytes(node.spec) for node in program.inputs if node.primitive is not SCALAR)
    live, most, dying = given, given, Counter[int]()
    for number, group in enumerate(groups):
        for node in group.stores:
            if last[node] >= number:
                live += nbytes(node.spec)
                dying[last[node]] += nbytes(node.spec)
        most = max(most, live)
        live -= dying[number]
    return most
