"""The ``reduction`` argument of the losses."""

from __future__ import annotations

from microtrain.tensor import Tensor


def check_reduction(reduction: str) -> None:
    """Raises ValueError unless ``reduction`` is "none", "mean" or "sum"."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """``loss`` itself, its mean or its sum."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss
