"""Angles as modules."""

from __future__ import annotations

from ..tensor import Tensor
from . import functional
from .module import Module


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along `dim`; see `functional.cosine_similarity`."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Two shapes that broadcast to theirs without `dim`."""
        return functional.cosine_similarity(x1, x2, self.dim, self.eps)
