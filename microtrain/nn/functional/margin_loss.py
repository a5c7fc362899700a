"""Losses of scores against targets 1 and -1."""

from __future__ import annotations

from ...tensor import Tensor, broadcast_shapes, nn_ops, where
from .reduction import check_reduction, reduced


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1 (both added where it is neither); reduced.

    Args:
        input: distances, any shape.
        target: 1 or -1, broadcast with input.
        margin: the distance from which dissimilar pairs cost nothing.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: an unknown reduction.
        RuntimeError: shapes that do not broadcast.
    """
    check_reduction(reduction)
    apart = where(target != 1, (margin - input).clamp_min(0), 0.0)
    return reduced(apart + where(target != -1, input, 0.0), reduction)


def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target input)), reduced; finite even where PyTorch's exponential overflows.

    Args:
        input: scores, any shape.
        target: 1 or -1, of a shape that broadcasts to the input's.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: an unknown reduction.
        RuntimeError: a target that does not broadcast to the input's shape.
    """
    check_reduction(reduction)
    if input.shape != target.shape and (shape := broadcast_shapes(input.shape, target.shape)) != input.shape:
        raise RuntimeError(f"output with shape {list(input.shape)} doesn't match the broadcast shape {list(shape)}: "
                           f"the target of shape {list(target.shape)} has to broadcast to the input's")
    return reduced(nn_ops.logistic(-(target * input)), reduction)
