"""What the host does at most, measured: a copy, a matrix product."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from timeit import repeat

import numpy as np

from .gpu import Gpu, GpuCeilings, kernel_clocks
from .limits import Ceilings, Format, Product
from .timing import Clock, loop_clock

COPIED = 1 << 28
LARGE: Product = (1024, 1024, 1024)
TRIES = 5
"""The fastest of which is the ceiling."""


class HostCeilings(Ceilings):
    """NumPy's copy and its BLAS, which knows float32 alone."""

    def __init__(self, copied: int = COPIED, large: Product = LARGE) -> None:
        super().__init__(copied, large)

    def _copies(self) -> dict[str, float]:
        source, target = np.ones(self.copied, np.uint8), np.empty(self.copied, np.uint8)
        return {"copy": 2 * self.copied / _fastest(lambda: np.copyto(target, source))}

    def _product(self, format: Format, product: Product) -> float | None:
        if format != "float32":
            return None
        m, k, n = product
        a, b, out = np.ones((m, k), np.float32), np.ones((k, n), np.float32), np.empty((m, n), np.float32)
        return _fastest(lambda: np.matmul(a, b, out=out))


def _fastest(call: Callable[[], object]) -> float:
    call()
    return min(repeat(call, number=1, repeat=TRIES)) * 1e6


@cache
def gpu_ceilings() -> GpuCeilings:
    """The GPU's, measured once in a process."""
    return GpuCeilings(Gpu(sys.modules["torch"]))


host_ceilings = cache(HostCeilings)


def gpu_started() -> bool:
    """Whether PyTorch has started CUDA."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def ceilings_here() -> Ceilings:
    """Those of the GPU where PyTorch has started it, else of the host."""
    return gpu_ceilings() if gpu_started() else host_ceilings()


def clocks_here(seconds: float) -> Sequence[Clock]:
    """Those that time functions on the GPU where PyTorch has started it, else a loop."""
    return kernel_clocks(gpu_ceilings().gpu, seconds) if gpu_started() else (loop_clock(seconds),)
