"""Losses as composites: one node and one rule each, so that a training step records little and its head is one kernel.

Each keeps its inputs alone; the rules give the closed form of the gradient (probabilities less targets), which is both
cheaper and steadier than differentiating the decomposition.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .. import dtypes
from ..dtypes import DType
from ..node import Kind, Node, literal
from ..primitives import row, same
from ..spec import Shape, Spec
from .basic import ops, shifted

LOG_FLOOR = -100.0
"""PyTorch's floor of a logarithm in binary cross entropy: the loss stays finite at probabilities 0 and 1."""

SLOPE_FLOOR = 9.999999960041972e-13
"""PyTorch's floor of p (1 - p) in its gradient: 1e-12, which it holds as a float32."""


def floats_alone(loss: str) -> Callable[..., tuple[Shape, DType]]:
    """As `same`, but of floats alone: of integers it would be rounded to one."""
    def infer(*specs: Spec) -> tuple[Shape, DType]:
        shape, dtype = same(*specs)
        if dtype.category != 2:
            raise NotImplementedError(f'"{loss}" not implemented for {dtype!r}: convert to a floating-point dtype')
        return shape, dtype
    return infer


def _bce(p: Node, y: Node) -> Node:
    """-(y log p + (1 - y) log(1 - p)), logarithms floored; NaN where p or y is no probability."""
    o = ops()
    log_p = o.maximum(o.log(p), LOG_FLOOR)
    log_q = o.maximum(o.log1p(o.neg(p)), LOG_FLOOR)
    return o.where(o.between(y, 0, 1), o.sub(o.mul(o.sub(y, 1), log_q), o.mul(y, log_p)), math.nan)


def slope(p: Node) -> Node:
    """p (1 - p), floored; NaN where p is no probability: the loss says so only where it is looked at."""
    o = ops()
    product = o.mul(o.sub(1, p), p)
    return o.where(o.lt(product, 0), math.nan, o.maximum(product, SLOPE_FLOOR))


def _bce_with_logits(x: Node, y: Node) -> Node:
    """(1 - y) x + log(1 + exp(-x)): neither term cancels the other."""
    o = ops()
    return o.add(o.mul(o.sub(1, y), x), o.softplus(o.neg(x)))


def _squared_error(d: Node) -> Node:
    return ops().mul(d, d)


def _huber(d: Node, delta: Node) -> Node:
    """d^2 / 2 up to |d| = delta, and from there its tangent (Huber, 1964)."""
    o = ops()
    size = o.abs(d)
    return o.where(o.ge(size, delta), o.mul(o.sub(size, o.mul(delta, 0.5)), delta), o.mul(o.mul(d, d), 0.5))


def _smooth_l1(d: Node, beta: Node) -> Node:
    """The Huber loss over beta, so that its tangent has slope 1 (Girshick, 2015)."""
    o = ops()
    size = o.abs(d)
    return o.where(o.ge(size, beta), o.sub(size, o.mul(beta, 0.5)), o.div(o.mul(o.mul(d, d), 0.5), beta))


def _logistic_loss(x: Node) -> Node:
    return ops().softplus(x)


def _logistic(x: Node) -> Node:
    return ops().sigmoid(x)


def is_target(target: Node, classes: int) -> Node:
    """Whether column c of row i is the class target[i]: bool (N, C)."""
    o = ops()
    n = target.spec.numel
    return o.eq(o.reshape(o.iota(classes, target.device), (1, classes)), o.reshape(target, (n, 1)))


def _cross_entropy(x: Node, target: Node, ignore_index: int, reduction: str) -> Node:
    """-log_softmax(x)[target] for each row that counts; the target is found by comparison, so all is one kernel."""
    o = ops()
    classes = x.shape[1]
    shift, _ = shifted(x, (1,))         # both terms are small then, and their difference loses nothing
    chosen = o.sum(o.where(is_target(target, classes), shift, 0), (1,))
    total = o.log(o.sum(o.exp(shift), (1,)))
    valid = is_valid(target, ignore_index)
    inside = o.bitwise_and(o.ge(target, 0), o.lt(target, classes))
    loss = o.where(inside, o.sub(total, chosen), float("nan"))
    loss = o.where(valid, loss, 0)
    if reduction == "none":
        return loss
    total = o.sum(loss, (0,))
    return total if reduction == "sum" else o.div(total, counted(valid, x.dtype))


def is_valid(target: Node, ignore_index: int) -> Node:
    """Whether a row counts; the index is part of the structure, so that the loss and its gradient share the answer."""
    return ops().ne(target, literal(ignore_index, target.dtype, target.device))


def counted(valid: Node, dtype: DType) -> Node:
    """How many rows count, as a 0-d float."""
    o = ops()
    return o.cast(o.sum(o.cast(valid, dtypes.int64), (0,)), dtype)


def _cross_entropy_infer(x: Spec, target: Spec, ignore_index: int, reduction: str) -> tuple[Shape, DType]:
    return (x.shape[:1] if reduction == "none" else ()), x.dtype


def scaled(ct: Node, target: Node, dtype: DType, ignore_index: int, reduction: str) -> Node:
    """The cotangent of each row's loss, (N, 1) or 0-d: shared over the rows that count for the mean."""
    o = ops()
    if reduction == "mean":
        return o.div(ct, counted(is_valid(target, ignore_index), dtype))
    return o.reshape(ct, (target.spec.numel, 1)) if reduction == "none" else ct


def where_valid(value: Node, target: Node, ignore_index: int) -> Node:
    """`value` (N, C), and 0 in rows that do not count."""
    o = ops()
    return o.where(o.reshape(is_valid(target, ignore_index), (target.spec.numel, 1)), value, 0)


def excess(x: Node, target: Node) -> Node:
    """softmax(x) less the one-hot target: the derivative of a row's loss."""
    o = ops()
    return o.sub(o.softmax(x, 1), o.cast(is_target(target, x.shape[1]), x.dtype))


def _cross_entropy_backward(ct: Node, x: Node, target: Node, ignore_index: int, reduction: str) -> Node:
    """(softmax(x) - one_hot(target)) ct, over the number of rows that count for the mean; 0 for rows that do not."""
    scale = scaled(ct, target, x.dtype, ignore_index, reduction)
    return where_valid(ops().mul(excess(x, target), scale), target, ignore_index)


BCE = row("binary_cross_entropy", Kind.COMPOSITE, floats_alone("binary_cross_entropy"),
          "binary_cross_entropy({0}, {1})", decompose=_bce, grad_name="BinaryCrossEntropyBackward0")
BCE_WITH_LOGITS = row("binary_cross_entropy_with_logits", Kind.COMPOSITE, same, decompose=_bce_with_logits,
                      grad_name="BinaryCrossEntropyWithLogitsBackward0")
LOGISTIC_LOSS = row("logistic_loss", Kind.COMPOSITE, floats_alone("soft_margin_loss"), decompose=_logistic_loss,
                    grad_name="SoftMarginLossBackward0")
LOGISTIC = row("logistic", Kind.COMPOSITE, same, decompose=_logistic, grad_name="SigmoidBackward0")
"""log(1 + exp(x)), and its slope 1 / (1 + exp(-x)) with the slope logistic(x) logistic(-x), which loses no digits where
one of the two is near 1, as o (1 - o) does."""

SQUARED_ERROR = row("squared_error", Kind.COMPOSITE, floats_alone("mse_loss"), decompose=_squared_error,
                    grad_name="MseLossBackward0")
HUBER = row("huber", Kind.COMPOSITE, floats_alone("huber_loss"), decompose=_huber,
            grad_name="HuberLossBackward0")
SMOOTH_L1 = row("smooth_l1", Kind.COMPOSITE, floats_alone("smooth_l1_loss"), decompose=_smooth_l1,
                grad_name="SmoothL1LossBackward0")
"""Of a difference: their slopes are closed forms, finite where the difference is infinite."""

CROSS_ENTROPY = row("cross_entropy", Kind.COMPOSITE, _cross_entropy_infer,
                    lambda out, x, target, ignore_index, reduction:
                    f"cross_entropy({{0}}, {{1}}, {ignore_index}, {reduction!r})",
                    decompose=_cross_entropy, grad_name="NllLossBackward0")
CROSS_ENTROPY_BACKWARD = row(
    "cross_entropy_backward", Kind.COMPOSITE, lambda ct, x, target, ignore_index, reduction: (x.shape, x.dtype),
    lambda out, ct, x, target, ignore_index, reduction:
    f"cross_entropy_backward({{0}}, {{1}}, {{2}}, {ignore_index}, {reduction!r})", decompose=_cross_entropy_backward)
