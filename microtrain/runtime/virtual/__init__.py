"""A CUDA device without a GPU: all that a GPU would be told is told, through Triton's own launcher in C, to this.

`MICROTRAIN_VIRTUAL_GPU=sm_90` (or `sm_80`) makes the `cuda` device a virtual one. What is real: `CudaBackend`, the
direct launch path, donation, workspaces, Triton, its compiler and its launcher. What stands in:

- `libcuda.c`, built by the C compiler at hand, for the driver's library;
- `memory` for the allocator, `tensors` and `cuda_module` for PyTorch's CUDA tensors and `torch.cuda` (PyTorch may be a
  CPU build), `streams` for streams, events and graphs;
- the emulator for the processors; or, with `sm_90=reference`, what the kernel's group means in NumPy (`reference`).

Every launch is looked at (`launches`).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ... import settings
from ...errors import VirtualGpuError as VirtualGpuError

if TYPE_CHECKING:
    from .device import VirtualGpu


def wanted() -> bool:
    """Whether the cuda device is to be a virtual one."""
    return bool(settings.virtual_gpu.value)


@cache
def gpu() -> VirtualGpu:
    """The virtual GPU of this process. Raises RuntimeError that says what is missing: PyTorch, Triton, a C compiler."""
    from .device import VirtualGpu
    arch, _, mode = settings.virtual_gpu.value.partition("=")
    return VirtualGpu(arch, reference=mode == "reference")
