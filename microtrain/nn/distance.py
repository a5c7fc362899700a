"""Vectors brought to length 1, and angles between them."""

from __future__ import annotations

from collections.abc import Sequence

from ..tensor import Tensor, broadcast_tensors, norms, promote_types
from .function_module import FunctionModule

__all__ = ["CosineSimilarity", "cosine_similarity", "normalize"]


def normalize(input: Tensor, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12) -> Tensor:
    """input / max(norm(input), eps), p-norms taken along `dim` (one or several); RuntimeError for an integer input."""
    return input / norms.vector_norm(input, p, dim, keepdim=True).clamp_min(eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along `dim`: sum(x1/max(|x1|, eps) x2/max(|x2|, eps)).

    As in PyTorch, the derivative of a length goes past its limit eps. The result has the shape that x1 and x2 broadcast
    to, without `dim`. RuntimeError for two integer tensors.
    """
    dtype = promote_types(x1.dtype, x2.dtype)
    if not dtype.is_floating_point:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {dtype}")
    directions = []
    for x in broadcast_tensors(x1.to(dtype), x2.to(dtype)):
        length = norms.vector_norm(x, 2, dim, keepdim=True)
        directions.append(x / (length + (length.clamp_min(eps) - length).detach()))
    return (directions[0] * directions[1]).sum(dim)


class CosineSimilarity(FunctionModule, function=cosine_similarity): ...
