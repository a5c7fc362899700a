"""The linear map, and dropout."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor, float32, nn_ops, rand


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input @ weight.T + bias`.

    Args:
        input: (..., in_features).
        weight: (out_features, in_features).
        bias: (out_features,) or None.

    Returns:
        (..., out_features).

    Raises:
        RuntimeError: the shapes do not fit.
    """
    return nn_ops.linear(input, weight, bias)


def check_dropout_probability(p: float) -> None:
    """Raises ValueError unless 0 <= p <= 1."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes each element with probability `p` and scales the others by 1/(1-p), if `training`.

    Random values come from the global generator (Srivastava et al., 2014).

    Raises:
        ValueError: p outside [0, 1].
    """
    check_dropout_probability(p)
    if not training or p == 0:
        return input
    factor: Any = 0.0
    if p < 1:
        keep = rand(input.shape, dtype=float32, device=input.device) >= p
        factor = keep.to(input.dtype) * (1 / (1 - p))
    return input.mul_(factor) if inplace else input * factor
