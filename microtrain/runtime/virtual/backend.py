"""The cuda device on a virtual GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..cuda import CudaBackend
from . import gpu

if TYPE_CHECKING:
    from ...compiler.launch import Launch


class VirtualBackend(CudaBackend):
    """`CudaBackend`, which says in full what was wrong with a launch."""

    def __init__(self, index: int = 0) -> None:
        super().__init__(index)
        self.gpu = gpu()

    def queue(self, launch: Launch, pointers: tuple[Any, ...], scalars: tuple[int, ...]) -> None:
        try:
            super().queue(launch, pointers, scalars)
        finally:
            self.gpu.raised()

    def compiled(self, launch: Launch) -> Any:
        """With `=reference` nothing is compiled: the kernel's meaning is known."""
        if self.gpu.reference and launch.kernel.group.domain.template != "opaque":
            from .reference import uncompiled
            return uncompiled(launch, self.gpu)
        return super().compiled(launch)
