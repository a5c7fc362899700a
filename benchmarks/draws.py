"""Random inputs: NumPy's, or on a device PyTorch's, since 2 GB of normal numbers take a host 20 s and a GPU none."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Draw(Protocol):
    """A source of arrays in float32; two sources of a kind with one seed draw the same."""

    def normal(self, *shape: int) -> Any:
        """Standard normal numbers."""

    def uniform(self, bound: float, *shape: int) -> Any:
        """Between -bound and bound."""

    def classes(self, count: int, rows: int) -> Any:
        """Integers below `count`, int64."""

    def zeros(self, *shape: int) -> Any:
        """Zeros."""


def weight(draw: Draw, *shape: int) -> Any:
    """Starting weights [out, in], or a bias [out], as `nn.Linear` draws them."""
    return draw.uniform(shape[-1] ** -0.5, *shape)


class NumpyDraw:
    """On the host."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int) -> np.ndarray:
        return np.asarray(self.rng.standard_normal(shape, np.float32))

    def uniform(self, bound: float, *shape: int) -> np.ndarray:
        return np.asarray((self.rng.random(shape, np.float32) * 2 - 1) * np.float32(bound))

    def classes(self, count: int, rows: int) -> np.ndarray:
        return self.rng.integers(0, count, rows)

    def zeros(self, *shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)


class TorchDraw:
    """On a device of PyTorch's."""

    def __init__(self, torch: Any, device: str, seed: int = 0) -> None:
        self.torch, self.device = torch, device
        self.generator = torch.Generator(device=device).manual_seed(seed)

    def normal(self, *shape: int) -> Any:
        return self.torch.randn(shape, generator=self.generator, device=self.device)

    def uniform(self, bound: float, *shape: int) -> Any:
        return (self.torch.rand(shape, generator=self.generator, device=self.device) * 2 - 1) * bound

    def classes(self, count: int, rows: int) -> Any:
        return self.torch.randint(count, (rows,), generator=self.generator, device=self.device)

    def zeros(self, *shape: int) -> Any:
        return self.torch.zeros(shape, device=self.device)
