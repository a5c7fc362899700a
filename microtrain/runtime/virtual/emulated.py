"""Launches run by the emulator: the PTX of what Triton compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import VirtualGpuError
from .launches import Arrived, aligned, flat

if TYPE_CHECKING:
    from .device import VirtualGpu


class Emulated:
    """A `Function` of a kernel that Triton compiled."""

    def __init__(self, name: str, ptx: str | None, source: Any, metadata: Any) -> None:
        self.name, self.ptx = name, ptx
        self.kinds = list(flat(source.signature.values()))
        self.aligned = aligned(source.signature.values(), source.attrs)
        self.num_warps = metadata.num_warps

    def run(self, arrived: Arrived, gpu: VirtualGpu) -> None:
        """Emulate every thread."""
        raise VirtualGpuError("the emulator is not there yet")
