"""What can be wrong with a bare Triton kernel whatever it computes, found in Triton's interpreter.

Every load and store is watched, so a program that leaves its arrays is caught at the address, not by what it spoils;
and each element remembers which program read and wrote it, so a race is found though the interpreter runs the programs
one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import microtrain

from .interpreter import ORDERS, filler, poisoned_lanes, watched
from .running import on

NOBODY, SEVERAL = -1, -2


class KernelError(AssertionError):
    """A Triton kernel does something that no kernel may do; `problems` says what, one line each."""

    def __init__(self, name: str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join((f"{name} is wrong whatever it computes:", *(f"  - {one}" for one in problems))))


class Buffer:
    """An argument's memory, element by element: who wrote it, who read what another wrote, how often it was added to.

    An `output` is filled by the kernel, what is `updated` changed.
    """

    def __init__(self, name: str, tensor: Any, output: bool, updated: bool) -> None:
        self.name, self.output, self.updated, self.shape = name, output, updated, tuple(tensor.shape)
        self.count, self.width, self.start = tensor.numel(), tensor.element_size(), int(tensor.data_ptr())
        self.end = self.start + self.count * self.width
        self.written, self.read = np.full(self.count, NOBODY), np.full(self.count, NOBODY)
        self.added = np.zeros(self.count, np.int64)

    def place(self, number: int) -> str:
        """An element's name: `out_ptr[3]`, in row-major order."""
        return f"{self.name}[{', '.join(str(i) for i in np.unravel_index(number, self.shape))}]"


Touched = list[tuple[Buffer, np.ndarray]]
"""Of each array that an operation touches the numbers of the elements."""


class Watch:
    """Sees every memory operation of a launch; lanes outside the arrays are noted and masked off."""

    def __init__(self, buffers: list[Buffer]) -> None:
        self.buffers = buffers
        self.number = 0
        self.problems: dict[str, str] = {}      # the first of each kind

    def note(self, kind: str, problem: str) -> None:
        self.problems.setdefault(kind, problem)

    def program(self, set_index: Callable[..., Any], x: int, y: int, z: int) -> Any:
        self.name = f"program ({x}, {y}, {z})"
        self.number += 1
        return set_index(x, y, z)

    def others(self, owners: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Those of some elements that belong to another program."""
        return places[(owners[places] != NOBODY) & (owners[places] != self.number)]

    def touched(self, verb: str, pointers: Any, mask: Any) -> tuple[Any, Touched]:
        """The mask of the lanes that are inside some array, and what they touch."""
        import triton.language as tl
        addresses = np.asarray(pointers.data).astype(np.int64)
        lanes = np.broadcast_to(np.asarray(mask), addresses.shape)
        inside, touched = np.zeros_like(lanes), []
        for buffer in self.buffers:
            here = lanes & (addresses >= buffer.start) & (addresses < buffer.end)
            if here.any():
                touched.append((buffer, (addresses[here] - buffer.start) // buffer.width))
                inside |= here
        if (lanes & ~inside).any() and self.buffers:
            address = int(addresses[lanes & ~inside].ravel()[0])
            near = min(self.buffers, key=lambda buffer: max(buffer.start - address, address - buffer.end + 1))
            self.note(f"outside {verb}", f"out of bounds: {self.name} {verb} element "
                                         f"{(address - near.start) // near.width} of {near.name}, which has "
                                         f"{near.count}: a mask is missing or the grid is too large")
        return type(pointers)(inside, tl.int1), touched

    def reads(self, verb: str, buffer: Buffer, places: np.ndarray) -> None:
        fresh = places[buffer.written[places] == NOBODY] if buffer.output else places[:0]
        if fresh.size:
            self.note("unwritten read", f"reads its output before it is written: {self.name} {verb} "
                                        f"{buffer.place(fresh[0])}; fresh memory holds anything")

    def changes(self, verb: str, buffer: Buffer, places: np.ndarray) -> None:
        if not (buffer.output or buffer.updated):
            self.note("input", f"overwrites its input: {self.name} {verb} {buffer.place(places[0])}, which is not "
                               "among the outputs")

    def load(self, load: Callable[..., Any], pointers: Any, mask: Any, other: Any, *rest: Any, **named: Any) -> Any:
        inside, touched = self.touched("loads", pointers, mask.data)
        for buffer, places in touched:
            others = self.others(buffer.written, places)
            if others.size:
                self.note("read race", f"race between programs: {self.name} loads {buffer.place(others[0])}, which "
                                       "another program stores")
            self.reads("loads", buffer, places)
            seen = buffer.read[places]
            buffer.read[places] = np.where((seen == NOBODY) | (seen == self.number), self.number, SEVERAL)
        return load(pointers, inside, other, *rest, **named)

    def store(self, store: Callable[..., Any], pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        inside, touched = self.touched("stores to", pointers, mask.data)
        for buffer, places in touched:
            self.changes("stores to", buffer, places)
            writers, readers = (self.others(owners, places) for owners in (buffer.written, buffer.read))
            if writers.size:
                self.note("write race", f"race between programs: {self.name} stores to {buffer.place(writers[0])}, as "
                                        "another program did: the last one wins, and none is the last")
            elif readers.size:
                self.note("read race", f"race between programs: {self.name} stores to {buffer.place(readers[0])}, "
                                       "which another program loads")
            numbers, counts = np.unique(places, return_counts=True)
            if len(numbers) < len(places):
                self.note("lanes", f"race between lanes: two lanes of {self.name} store to "
                                   f"{buffer.place(numbers[counts > 1][0])} at once")
            buffer.written[places] = self.number
        return store(pointers, value, inside, *rest)

    def atomic(self, update: Callable[..., Any], kind: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        inside, touched = self.touched("changes", pointers, mask.data)
        for buffer, places in touched:
            self.changes("changes", buffer, places)
            self.reads("changes", buffer, places)
            buffer.written[places] = SEVERAL
            if "FADD" in str(kind):
                np.add.at(buffer.added, places, 1)
                often = places[buffer.added[places] > 2]
                if often.size:
                    self.note("order", "order that is not determined: floats are added atomically to "
                                       f"{buffer.place(often[0])} more than twice; the last bits depend on which "
                                       "program comes first")
        return update(kind, pointers, value, inside, *rest)

    def exchange(self, update: Callable[..., Any], pointers: Any, *rest: Any) -> Any:
        for buffer, places in self.touched("changes", pointers, True)[1]:
            buffer.written[places] = self.number
        return update(pointers, *rest)


def check_kernel(kernel: Any, arguments: Sequence[Any], grid: tuple[int, ...] | int = (), *,
                 outputs: Sequence[str] = (), updated: Sequence[str] = (),
                 constants: Mapping[str, Any] | None = None) -> None:
    """Raise KernelError where a Triton kernel does what no kernel may do, whatever it computes.

    It is run in Triton's interpreter, several times on copies of the same arguments. Found are: loads and stores
    outside its arrays; elements of an output that no program writes; stores to an input; an output that is read before
    it is written; races between programs and between lanes; results that depend on the order of the programs (sums by
    float atomics), or on masked lanes of a load without `other=`.

    Args:
        kernel: what `@triton.jit` made, or a `microtrain.custom_kernel`, which knows all but its inputs.
        arguments: in the kernel's order, NumPy arrays for its pointers, and numbers; of a custom kernel the inputs
            alone, as arrays or Tensors.
        grid: the number of programs along each axis.
        outputs: the names of the pointers that the kernel fills. What they hold before counts as unknown.
        updated: the names of those that it changes, beginning with what they hold.
        constants: the kernel's constexprs, by name.

    Raises RuntimeError where kernels are not interpreted in this process, ValueError for arguments that do not fit
    the kernel's parameters and for an output that is no pointer.
    """
    launch = of_call(kernel, arguments) if hasattr(kernel, "call_on") else Launch(
        kernel, list(arguments), (grid,) if isinstance(grid, int) else tuple(grid), tuple(outputs), tuple(updated),
        dict(constants or {}))
    name = getattr(launch.kernel, "__name__", "the kernel")
    if type(launch.kernel).__name__ != "InterpretedFunction":
        raise RuntimeError(f"check_kernel(): {name} is compiled, and can be watched only when interpreted: set "
                           "TRITON_INTERPRET=1 (or MICROTRAIN_DEVICE=interpret) before Triton is imported")
    if len(launch.parameters) != len(launch.arguments):
        raise ValueError(f"check_kernel(): {name} takes {len(launch.parameters)} arguments beside its constants, not "
                         f"{len(launch.arguments)}: {', '.join(launch.parameters)}")
    written = (*launch.outputs, *launch.updated)
    if not written or not set(written) <= set(launch.pointers):
        raise ValueError(f"check_kernel(): outputs={list(launch.outputs)} and updated={list(launch.updated)} must name "
                         f"pointers that {name} writes; its pointers are {', '.join(launch.pointers)}")
    problems = launch.watched() or launch.compared()
    if problems:
        raise KernelError(name, problems)


@dataclass
class Launch:
    """A kernel with its arguments, launched on fresh copies each time."""

    kernel: Any
    arguments: list[Any]
    grid: tuple[int, ...]
    outputs: tuple[str, ...]
    updated: tuple[str, ...]
    constants: dict[str, Any]

    @property
    def parameters(self) -> list[str]:
        return [name for name in self.kernel.arg_names if name not in self.constants]

    @property
    def pointers(self) -> list[str]:
        return [name for name, value in zip(self.parameters, self.arguments, strict=True)
                if isinstance(value, np.ndarray)]

    def tensors(self) -> dict[str, Any]:
        """Copies of the arrays as tensors, the outputs filled with what is conspicuous."""
        return {name: on("torch").tensor(np.full_like(value, filler(value.dtype)) if name in self.outputs else value,
                                         value.dtype.name)
                for name, value in zip(self.parameters, self.arguments, strict=True) if isinstance(value, np.ndarray)}

    def run(self, tensors: dict[str, Any]) -> dict[str, bytes]:
        """Run it; the bits of what it writes."""
        given = [tensors.get(name, value) for name, value in zip(self.parameters, self.arguments, strict=True)]
        with np.errstate(all="ignore"):
            self.kernel[self.grid](*given, **self.constants)
        library = on("torch")
        return {name: library.array(tensors[name]).tobytes() for name in (*self.outputs, *self.updated)}

    def watched(self) -> list[str]:
        tensors = self.tensors()
        watch = Watch([Buffer(name, tensor, name in self.outputs, name in self.updated)
                       for name, tensor in tensors.items()])
        with watched(watch):
            self.run(tensors)
        for buffer in watch.buffers:
            never = np.flatnonzero(buffer.written == NOBODY) if buffer.output else np.empty(0, int)
            if never.size:
                watch.note("unwritten", f"elements that are never written: {never.size} of {buffer.count} of "
                                        f"{buffer.name}, the first is {buffer.place(int(never[0]))}: the grid is too "
                                        "small, or a mask too tight")
        return list(watch.problems.values())

    def compared(self) -> list[str]:
        """How its results differ when masked lanes hold NaN, and when the programs run in another order."""
        problems, usual = [], self.run(self.tensors())
        with poisoned_lanes():
            if self.run(self.tensors()) != usual:
                problems.append("masked lanes: the result depends on what a masked load holds outside its mask, zero "
                                "here and anything on a GPU: tl.load(..., mask=..., other=...) says what")
        for how, order in ORDERS:
            with order():
                if self.run(self.tensors()) != usual:
                    problems.append(f"order that is not determined: other bits when the programs run {how}")
        return problems


def of_call(operation: Any, inputs: Sequence[Any]) -> Launch:
    """The launch of a custom kernel on inputs, arrays or Tensors."""
    tensors = [one if isinstance(one, microtrain.Tensor) else microtrain.tensor(one) for one in inputs]
    call = operation.call_on(tuple(tensors))
    free = [name for name in call.kernel.arg_names if name not in call.constants]
    outputs = [np.empty(shape, dtype.numpy) for shape, dtype in call.outputs]
    return Launch(call.kernel, [*(np.array(one.detach().cpu().numpy()) for one in tensors), *outputs, *call.scalars],
                  call.grid, tuple(free[len(tensors):len(tensors) + len(outputs)]), (), call.constants)
