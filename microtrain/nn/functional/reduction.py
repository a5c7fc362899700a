"""The `reduction` argument of the losses."""

from __future__ import annotations

from ...tensor import Tensor


def check_reduction(reduction: str) -> None:
    """Raises ValueError (TypeError for no text) unless `reduction` is "none", "mean" or "sum"."""
    if type(reduction) is not str:
        raise TypeError(f"argument 'reduction' must be str, not {type(reduction).__name__}")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """`loss` itself, its mean or its sum."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss
