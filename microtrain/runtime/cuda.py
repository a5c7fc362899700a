"""The cuda device: memory from PyTorch's caching allocator, kernels compiled by Triton."""

from __future__ import annotations

import math
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import AcceleratorError, OutOfMemoryError
from . import virtual
from .backend import Buffer, CompiledKernel, Graph, Launch, Pointer, Requeuing, Spec, Timer
from .compiling import ALIGNMENT
from .graphs import LaunchGraph
from .launcher import start
from .torch_memory import Torch, TorchDType, TorchMemory, real_torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np


def is_available() -> bool:
    """Whether PyTorch sees a GPU and can start its driver, or there is a virtual one."""
    if virtual.wanted():
        return True
    try:
        with real_torch():
            import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def import_torch() -> Torch:
    """PyTorch with a GPU and Triton beside it. Raises RuntimeError that says what is missing."""
    if virtual.wanted():
        return virtual.gpu().torch
    with real_torch("the cuda device needs PyTorch and Triton"):
        import torch
        import triton
        if torch.cuda.is_available():
            triton.runtime.driver.active.get_current_target()       # starts Triton's driver
    if not torch.cuda.is_available():
        why = "this PyTorch was built without CUDA" if torch.version.cuda is None else "its driver reports no GPU"
        raise RuntimeError(f"no CUDA device: {why}; use device='cpu', or 'interpret' to run the kernels without one")
    return torch


def triton_driver() -> Any:
    """Triton's driver, which says what GPU and what stream of it is current, as integers."""
    import triton
    return triton.runtime.driver.active


def addressed(buffer: Torch) -> Torch:
    """A tensor with its address beside it, so that PyTorch is asked once and not at each launch. Raises RuntimeError
    for an address that kernels are not compiled for; PyTorch's allocator gives multiples of 512."""
    address = buffer.address = buffer.data_ptr()
    if address % ALIGNMENT:
        raise RuntimeError(f"memory at {address:#x} is not aligned to {ALIGNMENT} bytes, as every kernel expects; give "
                           "PyTorch's allocator back its own alignment")
    return buffer


CAPTURING = ("{} while a CUDA graph is being captured on this stream: {}. Run the same step once before the capture, "
             "with tensors of the same shapes, and read nothing inside it")


class CudaBackend(TorchMemory):
    """One GPU. Kernels go to PyTorch's current stream, so that its allocator knows when memory may be used again.
    Memory belongs to the stream that was current when it was allocated. As long as there is but one, that is all; once
    another is seen, each run tells the allocator which stream uses its memory."""

    def __init__(self, index: int = 0) -> None:
        if os.environ.get("TRITON_INTERPRET") == "1":
            raise RuntimeError("the cuda device needs compiled kernels, and this process interprets them "
                               "(TRITON_INTERPRET=1, which MICROTRAIN_DEVICE=interpret sets); start another process")
        torch = import_torch()
        count = torch.cuda.device_count()
        if index >= count:
            raise RuntimeError(f"no device cuda:{index}: this machine has {count} (cuda:0 to cuda:{count - 1})")
        super().__init__(torch, f"cuda:{index}")
        self.index = index
        self.driver = triton_driver()
        # Without a bound: Triton unloads no kernel, so one that were dropped and met again would be loaded twice.
        self.kernels: dict[object, CompiledKernel] = {}
        self.stream: int | None = self.driver.get_current_stream(index)     # None once there are several

    def allocate(self, shape: Sequence[int], dtype: TorchDType) -> Buffer:
        """Memory, uninitialised. Raises OutOfMemoryError, with what the GPU has, and AcceleratorError."""
        try:
            return addressed(super().allocate(shape, dtype))
        except self.torch.OutOfMemoryError as error:
            said = self.shortage(math.prod(shape) * dtype.itemsize)
            del error           # with its traceback, which may hold memory
        except Exception as error:
            self.judge(error)
            raise
        raise OutOfMemoryError(said)

    def shortage(self, size: int) -> str:
        """What there is instead of memory of `size` bytes."""
        cuda = self.torch.cuda
        free, total = cuda.mem_get_info(self.index)
        held = cuda.memory_allocated(self.index)
        kept = cuda.memory_reserved(self.index) - held
        return (f"out of memory on {self.device}: {mib(size)} were asked for in one piece. Of {mib(total)} {mib(free)} "
                f"are free; this process's values hold {mib(held)}, PyTorch's allocator keeps {mib(kept)} in pieces, "
                f"the rest is other programs'")

    def judge(self, error: Exception) -> None:
        """Raise AcceleratorError where an error has ended this process's use of the GPU; no other error does."""
        if isinstance(error, AcceleratorError | OutOfMemoryError):
            return
        try:
            if not self.capturing():
                self.torch.cuda.synchronize(self.index)
        except Exception as left:
            raise AcceleratorError(self.broken(left)) from error

    def broken(self, error: Exception) -> str:
        """That the GPU can no longer be used, and how to find out why."""
        said = str(error).strip().splitlines() or [type(error).__name__]
        return (f"{self.device} can no longer be used by this process: {said[0]}. A kernel that was launched earlier "
                "failed, most likely one that touches memory outside its tensors (an index that is out of range, a "
                "kernel of your own without a mask). Start the process anew with CUDA_LAUNCH_BLOCKING=1, which makes "
                "the failing launch raise, or run it on device='interpret', which looks at indices")

    def from_numpy(self, array: np.ndarray) -> Buffer:
        try:
            self.uncaptured("an array cannot be copied to the GPU", "its memory may be gone when the graph is replayed")
            self.sees(self.driver.get_current_stream(self.index))
            return super().from_numpy(array)
        except Exception as error:
            self.judge(error)
            raise

    def to_numpy(self, buffer: Buffer) -> np.ndarray:
        try:
            self.uncaptured("a value cannot be read", "it is computed when the graph is replayed")
            return super().to_numpy(buffer)
        except Exception as error:
            self.judge(error)
            raise

    def capturing(self) -> bool:
        """Whether what is queued now goes into a CUDA graph."""
        return bool(self.torch.cuda.is_current_stream_capturing())

    def uncaptured(self, what: str, why: str) -> None:
        """Raise RuntimeError inside the capture of a CUDA graph, before the driver refuses and the capture is lost."""
        if self.capturing():
            raise RuntimeError(CAPTURING.format(what, why))

    def sees(self, stream: int) -> None:
        """Note which stream is current; whether there are several is all that is remembered."""
        if stream != self.stream:
            self.stream = None

    def part(self, workspace: Torch, offset: int, spec: Spec) -> Torch:
        return addressed(super().part(workspace, offset, spec))

    def pointers(self, memory: list[Buffer], workspace: Torch, parts: Sequence[tuple[int, Spec]]) -> list[Pointer]:
        """Addresses; numbers stay as they are. What runs next is queued on the current stream."""
        stream = self.driver.get_current_stream(self.index)
        if stream != self.stream:
            self.share(memory, stream)
        base = workspace.address if parts else 0
        return [*[getattr(value, "address", value) for value in memory], *[base + offset for offset, _ in parts]]

    def share(self, memory: list[Torch], stream: int) -> None:
        """Tell the allocator that the current stream uses these buffers: none is given to another stream's tensors
        before this one has got as far as their last reader."""
        if self.capturing():            # on a stream of the graph's own, where nothing runs now
            return
        self.stream = None
        fresh = [buffer for buffer in memory if hasattr(buffer, "record_stream")
                 and getattr(buffer, "recorded", None) != stream]
        if fresh:
            current = self.torch.cuda.current_stream(self.index)
            for buffer in fresh:
                buffer.record_stream(current)
                buffer.recorded = stream

    @cached_property
    def arch(self) -> str:
        """"sm_90" on NVIDIA, "gfx942" on AMD."""
        cuda = self.torch.cuda
        if self.torch.version.hip is not None:
            return str(cuda.get_device_properties(self.index).gcnArchName).split(":")[0]
        return "sm_{}{}".format(*cuda.get_device_capability(self.index))

    def launch(self, launch: Launch, pointers: tuple[Pointer, ...], scalars: tuple[int, ...]) -> None:
        """Queue one kernel on the current stream. `pointers` are addresses, divisible by ALIGNMENT. Raises RuntimeError
        for a kernel that is new inside the capture of a CUDA graph, and AcceleratorError."""
        try:
            if self.driver.get_current_device() == self.index:
                self.queue(launch, pointers, scalars)
            else:
                with self.torch.cuda.device(self.index):
                    self.queue(launch, pointers, scalars)
        except Exception as error:
            self.judge(error)
            raise

    def queue(self, launch: Launch, pointers: tuple[Pointer, ...], scalars: tuple[int, ...]) -> None:
        """Queue one kernel while this GPU is the current one. The first time, compile it."""
        stream = self.driver.get_current_stream(self.index)
        arguments = launch.arguments(pointers, scalars)
        if launch.queue is None:
            self.uncaptured("a new kernel cannot be loaded", "that needs the GPU at once")
            launch.queue = start(self.compiled(launch), launch.grid, stream, arguments)
        else:
            launch.queue(stream, arguments)

    @property
    def requeuing(self) -> Requeuing:
        return self

    def only_stream(self) -> int | None:
        stream = self.driver.get_current_stream(self.index)
        return stream if stream == self.stream and self.driver.get_current_device() == self.index else None

    def requeue(self, launches: Iterable[Launch], arguments: Iterable[tuple[object, ...]], stream: int) -> None:
        try:
            for launch, given in zip(launches, arguments, strict=True):
                assert launch.queue is not None
                launch.queue(stream, given)
        except Exception as error:
            self.judge(error)
            raise

    def graph(self, launches: Sequence[Launch], arguments: Sequence[tuple[object, ...]],
              words: Sequence[Sequence[Any]]) -> Graph:
        return LaunchGraph(launches, arguments, words)

    def queue_graph(self, graph: Graph, stream: int) -> None:
        try:
            graph.launch(stream)
        except Exception as error:
            self.judge(error)
            raise

    def compiled(self, launch: Launch) -> CompiledKernel:
        """A launch's kernel, which equal launches share."""
        return launch.compiled(self.kernels)

    @property
    def timer(self) -> Timer:
        return self

    @cached_property
    def identity(self) -> dict[str, str]:
        import triton
        return {"device": self.torch.cuda.get_device_name(self.index), "cuda": str(self.torch.version.cuda),
                "triton": triton.__version__}

    def seconds(self, launch: Launch, pointers: tuple[Pointer, ...], scalars: tuple[int, ...]) -> float:
        """The time of a launch among others: the least of 5 runs of 10, after one that compiles it."""
        cuda = self.torch.cuda
        with cuda.device(self.index):
            self.launch(launch, pointers, scalars)
            start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            milliseconds = []
            for _ in range(5):
                start.record()
                for _ in range(10):
                    self.launch(launch, pointers, scalars)
                end.record()
                end.synchronize()
                milliseconds.append(start.elapsed_time(end))
        return float(min(milliseconds)) / 10 * 1e-3

    def synchronize(self) -> None:
        try:
            self.torch.cuda.synchronize(self.index)
        except Exception as error:
            self.judge(error)
            raise


def mib(size: int) -> str:
    """Bytes for a person to read."""
    return f"{size / 2 ** 30:.2f} GiB" if size >= 2 ** 30 else f"{size / 2 ** 20:.1f} MiB"
