"""The cuda device on a virtual GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.lib.stride_tricks import as_strided

from ...errors import VirtualGpuError
from ..backend import Buffer, CompiledKernel, Graph, Launch, Pointer
from ..cuda import CudaBackend
from ..lock import lock
from ..torch_memory import Torch
from . import gpu

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np


class VirtualBackend(CudaBackend):
    """`CudaBackend`, which says in full what was wrong with a launch. One thread at a time has the GPU."""

    def __init__(self, index: int = 0) -> None:
        super().__init__(index)
        self.gpu = gpu()

    def queue(self, launch: Launch, pointers: tuple[Pointer, ...], scalars: tuple[int, ...]) -> None:
        before = self.gpu.library.launches
        try:
            super().queue(launch, pointers, scalars)
        finally:
            self.gpu.raised()
        if self.gpu.library.launches == before and 0 not in launch.grid:
            raise VirtualGpuError(f"a launch on grid {list(launch.grid)} never reached the driver")

    def requeue(self, launches: Iterable[Launch], arguments: Iterable[tuple[object, ...]], stream: int) -> None:
        try:
            super().requeue(launches, arguments, stream)
        finally:
            self.gpu.raised()

    def queue_graph(self, graph: Graph, stream: int) -> None:
        try:
            super().queue_graph(graph, stream)
        finally:
            self.gpu.raised()

    def from_numpy(self, array: np.ndarray) -> Buffer:
        with lock:
            return super().from_numpy(array)

    def to_numpy(self, buffer: Torch) -> np.ndarray:
        """The value. Raises VirtualGpuError where nobody has written all of it."""
        with lock:
            nbytes = buffer.numel() * buffer.element_size()
            if nbytes:
                missing = nbytes - int(self.written(buffer).sum())
                if missing:
                    raise VirtualGpuError(f"a value of {nbytes} bytes is read, of which nobody wrote {missing}: a "
                                          "kernel did not store all of its result, or has not run")
            return super().to_numpy(buffer)

    def written(self, buffer: Torch) -> np.ndarray:
        """Whether each byte of each element was written, of a table's rows not what lies between them."""
        size, strides = buffer.element_size(), buffer.stride()
        last = sum((n - 1) * stride for n, stride in zip(buffer.shape, strides, strict=True))
        state = self.gpu.memory.arena.is_written(buffer.data_ptr(), (last + 1) * size)
        return as_strided(state, (*buffer.shape, size), (*[stride * size for stride in strides], 1))

    def compiled(self, launch: Launch) -> CompiledKernel:
        """With `=reference` nothing is compiled: the kernel's meaning is known."""
        if self.gpu.reference and launch.kernel.group.template.ours:
            from .reference import uncompiled
            return uncompiled(launch, self.gpu)
        return super().compiled(launch)
