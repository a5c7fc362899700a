"""Angles as modules."""

from __future__ import annotations

from ..tensor import Tensor
from . import functional
from .function_module import FunctionModule


class CosineSimilarity(FunctionModule, function=functional.cosine_similarity):
    """The cosine of the angle between vectors along `dim`; see `functional.cosine_similarity`."""

    dim: int = 1
    eps: float = 1e-8

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Two shapes that broadcast to theirs without `dim`."""
        return self._applied(x1, x2)
