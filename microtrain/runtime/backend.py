"""What every device offers, and what it is given, as protocols: mypy holds each of them to these.

What comes from above is described by as much of it as is used here: the compiler's `Launch`, the graph's `Spec`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

Buffer = object
"""Memory of a value: an array, a tensor of PyTorch's, a placeholder, whatever its device makes it."""

Pointer = object
"""What `launch` takes for a buffer: its address, or the buffer itself."""


class CompiledKernel(Protocol):
    """Triton's, or what stands in for it."""

    run: Any
    function: int
    @property
    def packed_metadata(self) -> object: ...

    def __getitem__(self, grid: tuple[int, int, int]) -> Callable[..., object]: ...


class DType(Protocol):
    """A dtype; `numpy` is NumPy's, `category` 0 for bool."""

    name: str
    itemsize: int
    category: int
    @property
    def is_floating_point(self) -> bool: ...
    @property
    def numpy(self) -> np.dtype: ...


class Spec(Protocol):
    """Shape and dtype of a value."""

    shape: tuple[int, ...]
    numel: int
    @property
    def dtype(self) -> DType: ...


class Value(Protocol):
    """What a kernel reads or stores."""

    @property
    def spec(self) -> Spec: ...
    @property
    def dtype(self) -> DType: ...


class Template(Protocol):
    """How a kernel is emitted; `ours`, where its meaning is known here."""

    @property
    def ours(self) -> bool: ...


class Group(Protocol):
    """What a kernel computes: from `reads` to `stores`."""

    @property
    def reads(self) -> Collection[Value]: ...
    @property
    def stores(self) -> Sequence[Value]: ...
    @property
    def template(self) -> Template: ...


class Kernel(Protocol):
    """A group with the order in which its kernel takes pointers and run-time numbers."""

    @property
    def group(self) -> Group: ...
    @property
    def pointers(self) -> Sequence[Value]: ...
    @property
    def scalars(self) -> Sequence[Value]: ...


class Function(Protocol):
    """What a kernel computes, in NumPy."""

    def run(self, values: list[object]) -> list[object]:
        """From what its group reads, in that order, to what it stores."""


class Launch(Protocol):
    """One kernel launch but for its buffers and scalars. `function` is the `@triton.jit` function, `sizes` the run-time
    integers that follow pointers and numbers, `queue` what a device keeps there, None at first."""

    @property
    def kernel(self) -> Kernel: ...
    @property
    def meaning(self) -> Function: ...

    function: Any
    sizes: dict[str, int]
    grid: tuple[int, ...]
    constexprs: dict[str, object]
    options: dict[str, Any]
    queue: Callable[[int, tuple[object, ...]], None] | None

    def arguments(self, pointers: tuple[Pointer, ...], scalars: tuple[int, ...]) -> tuple[object, ...]:
        """All arguments of the kernel, in the order of its parameters."""

    def signature(self) -> tuple[Mapping[str, str | tuple[str, ...]], list[str]]:
        """The types of the kernel's parameters, and the integers divisible by 16."""

    def compiled(self, kernels: dict[object, CompiledKernel]) -> CompiledKernel:
        """For the GPU at hand; `kernels` are those that were compiled for it before."""


class Backend(Protocol):
    """A device's memory."""

    def from_numpy(self, array: np.ndarray) -> Buffer:
        """A buffer with a private copy of `array`, of its shape and dtype."""

    def to_numpy(self, buffer: Buffer) -> np.ndarray:
        """A buffer's value on the host, read-only. RuntimeError on the null device, which has no values."""

    def synchronize(self) -> None:
        """Wait until everything launched here has run. AcceleratorError where nothing can be run any more."""


class KernelBackend(Backend, Protocol):
    """A device that runs Triton's kernels, or compiles them: cuda, interpret and null."""

    @property
    def arch(self) -> str:
        """The architecture as `kernels.tiles` names it."""

    @property
    def timer(self) -> Timer | None:
        """What measures launches here; None where that would mean nothing."""

    @property
    def requeuing(self) -> Requeuing | None:
        """What queues launches again here; None where their arguments are not addresses and numbers."""

    def empty(self, spec: Spec) -> Buffer:
        """A buffer for a value, uninitialised. OutOfMemoryError where there is no room for it."""

    def copy(self, buffer: Buffer, into: Buffer | None = None) -> Buffer:
        """Another buffer with the same value: new memory, contiguous, or that of `into`. OutOfMemoryError where there
        is no room for it."""

    def workspace(self, size: int) -> Buffer:
        """Memory of `size` bytes, of which values are parts. OutOfMemoryError where there is no room for it."""

    def part(self, workspace: Buffer, offset: int, spec: Spec) -> Buffer:
        """A value's buffer at an offset in bytes, a multiple of its itemsize, in a workspace."""

    def rows(self, workspace: Buffer, count: int, width: int, spec: Spec) -> Buffer:
        """Of a workspace a table of `count` values, one every `width` bytes, to be copied."""

    def pointers(self, memory: list[Buffer], workspace: Buffer, parts: Sequence[tuple[int, Spec]]) -> list[Pointer]:
        """What `launch` takes for each buffer (numbers among them stay as they are), then for each part."""

    def poison(self, buffer: Buffer, spec: Spec) -> None:
        """Fill fresh memory, so that an element that no kernel writes is noticed."""

    def launch(self, launch: Launch, pointers: tuple[Pointer, ...], scalars: tuple[int, ...]) -> None:
        """Queue one kernel. AcceleratorError where nothing can be run here any more."""


class Graph(Protocol):
    """Launches that are queued at once."""

    def renew(self, number: int, words: Sequence[Pointer]) -> None:
        """Have a launch take other pointers and numbers from now on. Raises GraphRefused."""

    def launch(self, stream: int) -> None:
        """Queue all of them on a stream. Raises RuntimeError."""


class Requeuing(Protocol):
    """A device whose launches can be queued again with all the arguments that they had."""

    def only_stream(self) -> int | None:
        """The current stream, if it is the only one that was used so far, and this GPU the current one. Else None:
        which memory is whose has to be asked in each run."""

    def requeue(self, launches: Iterable[Launch], arguments: Iterable[tuple[object, ...]], stream: int) -> None:
        """Queue launches that were queued before, each with its arguments, on the current stream of the current GPU.
        AcceleratorError where nothing can be run here any more."""

    def graph(self, launches: Sequence[Launch], arguments: Sequence[tuple[object, ...]],
              words: Sequence[Sequence[Pointer]]) -> Graph:
        """A graph of launches that were queued before, each with its arguments, and with the pointers and numbers
        among them. Raises GraphRefused, which says why there is none."""

    def queue_graph(self, graph: Graph, stream: int) -> None:
        """As `requeue`, of a graph."""


class Timer(KernelBackend, Protocol):
    """A device whose launches can be timed, so that tiles are worth measuring."""

    @property
    def identity(self) -> dict[str, str]:
        """What decides how fast a kernel runs here, by name."""

    def seconds(self, launch: Launch, pointers: tuple[Pointer, ...], scalars: tuple[int, ...]) -> float:
        """The time of a launch among others."""
