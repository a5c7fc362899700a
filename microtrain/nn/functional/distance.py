"""Lengths of vectors, and angles between them."""

from __future__ import annotations

from collections.abc import Sequence

from ...tensor import Tensor, broadcast_tensors, norms, promote_types


def vector_norm(input: Tensor, p: float, dim: int | Sequence[int]) -> Tensor:
    """(sum |x|^p)^(1/p) along `dim`, which is kept with size 1.

    Raises:
        RuntimeError: the input is not floating-point.
    """
    return norms.vector_norm(input, p, dim, keepdim=True)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along `dim`: sum(x1/max(|x1|, eps) x2/max(|x2|, eps)).

    As in PyTorch, the derivative of a length goes past its limit eps.

    Args:
        x1, x2: shapes that broadcast, at least one floating.
        dim: the dimension, of the broadcast shape, along which vectors lie.
        eps: the least length that is divided by.

    Returns:
        The broadcast shape without `dim`.

    Raises:
        RuntimeError: two integer tensors; shapes that do not broadcast.  IndexError: no such dimension.
    """
    dtype = promote_types(x1.dtype, x2.dtype)
    if not dtype.is_floating_point:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {dtype}")
    directions = []
    for x in broadcast_tensors(x1.to(dtype), x2.to(dtype)):
        length = vector_norm(x, 2, dim)
        directions.append(x / (length + (length.clamp_min(eps) - length).detach()))
    return (directions[0] * directions[1]).sum(dim)
