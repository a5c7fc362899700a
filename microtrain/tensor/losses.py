"""A layer's product and the losses that are single nodes; `nn.functional` checks arguments and reduces."""

from __future__ import annotations

from ..graph import ops as g
from .operands import no_tensor
from .storage import wrap
from .types import Tensor


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input (..., K) @ weight (N, K)^T + bias (N,). Raises RuntimeError for shapes or dtypes that do not fit."""
    try:
        return wrap(g.linear(input.node, weight.node, None if bias is None else bias.node))
    except AttributeError:
        raise no_tensor("linear", input=input, weight=weight, bias=bias) from None


def binary_cross_entropy(input: Tensor, target: Tensor) -> Tensor:
    """Of each element, for probabilities; shapes broadcast, dtypes agree."""
    return wrap(g.binary_cross_entropy(input.node, target.node))


def binary_cross_entropy_with_logits(input: Tensor, target: Tensor) -> Tensor:
    """Of each element, for logits; shapes broadcast, dtypes agree."""
    return wrap(g.binary_cross_entropy_with_logits(input.node, target.node))


def logistic(input: Tensor) -> Tensor:
    """Of each element: log(1 + exp(x))."""
    return wrap(g.logistic_loss(input.node))


def squared_error(difference: Tensor) -> Tensor:
    """Of each element: d^2."""
    return wrap(g.squared_error(difference.node))


def huber(difference: Tensor, delta: float) -> Tensor:
    """Of each element: d^2 / 2, from |d| = delta on its tangent."""
    return wrap(g.huber(difference.node, delta))


def smooth_l1(difference: Tensor, beta: float) -> Tensor:
    """Of each element: Huber's loss over beta."""
    return wrap(g.smooth_l1(difference.node, beta))


def cross_entropy(input: Tensor, target: Tensor, ignore_index: int, reduction: str) -> Tensor:
    """Of logits (N, C) with classes (N,) int64: (N,), or 0-d where `reduction` is "mean" or "sum".

    The mean is over the rows that count, those whose class is not `ignore_index`.
    """
    return wrap(g.cross_entropy(input.node, target.node, ignore_index, reduction))
