"""What the host does at most, measured: a copy, a matrix product."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from time import perf_counter

import numpy as np

from .gpu import Gpu, GpuCeilings, kernel_clocks
from .limits import Ceilings, Format, Product
from .timing import Clock, LoopClock

COPIED = 1 << 28
"""Bytes of the array that is copied: past any cache."""

LARGE: Product = (1024, 1024, 1024)
"""The product whose rate stands for all."""

TRIES = 5
"""The fastest of which is the ceiling."""


class HostCeilings:
    """NumPy's copy and its BLAS, each measured when it is first asked for."""

    def __init__(self, copied: int = COPIED, large: Product = LARGE) -> None:
        self.copied, self.large = copied, large
        self.products: dict[Product, float] = {}
        self.copy: float | None = None

    def bandwidth(self) -> float | None:
        """As `Ceilings`."""
        if self.copy is None:
            source, target = np.ones(self.copied, np.uint8), np.empty(self.copied, np.uint8)
            self.copy = 2 * self.copied / _fastest(lambda: np.copyto(target, source))
        return self.copy

    def product(self, format: Format, product: Product) -> float | None:
        """As `Ceilings`. None for what NumPy's BLAS does not know."""
        if format != "float32":
            return None
        if product not in self.products:
            m, k, n = product
            a, b, out = np.ones((m, k), np.float32), np.ones((k, n), np.float32), np.empty((m, n), np.float32)
            self.products[product] = _fastest(lambda: np.matmul(a, b, out=out))
        return self.products[product]

    def rate(self, format: Format) -> float | None:
        """As `Ceilings`."""
        time = self.product(format, self.large)
        m, k, n = self.large
        return 2 * m * k * n / time if time else None


def _fastest(call: Callable[[], object]) -> float:
    """Microseconds of the fastest call."""
    call()
    times = []
    for _ in range(TRIES):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times) * 1e6


@cache
def host_ceilings() -> HostCeilings:
    """The host's, measured once in a process."""
    return HostCeilings()


@cache
def gpu_ceilings() -> GpuCeilings:
    """The GPU's, measured once in a process."""
    return GpuCeilings(Gpu(sys.modules["torch"]))


def gpu_started() -> bool:
    """Whether PyTorch has started CUDA."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def ceilings_here() -> Ceilings:
    """Those of the GPU where PyTorch has started it, else of the host."""
    return gpu_ceilings() if gpu_started() else host_ceilings()


def clocks_here(seconds: float) -> Sequence[Clock]:
    """Those that time functions on the GPU where PyTorch has started it, else a loop."""
    if gpu_started():
        return kernel_clocks(gpu_ceilings().gpu, seconds)
    return (LoopClock(seconds),)
