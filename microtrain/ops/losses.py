"""Losses as composites: one node and one rule each, so that a training step records little and its head is one kernel.

Each keeps its inputs alone; the rules give the closed form of the gradient (probabilities less targets), which is both
cheaper and steadier than differentiating the decomposition.
"""

from __future__ import annotations

import math

from ..graph import dtypes
from ..graph.dtypes import DType
from ..graph.node import Infer, Node, literal
from ..graph.spec import Shape, Spec
from . import core as g
from .core import none
from .rows import shifted, softmax
from .shapes import same
from .table import Operation, composite, numbered


def floats_alone(loss: str) -> Infer:
    """As `same`, but of floats alone: of integers it would be rounded to one."""
    def infer(*specs: Spec) -> tuple[Shape, DType]:
        shape, dtype = same(*specs)
        if dtype.category != 2:
            raise NotImplementedError(f'"{loss}" not implemented for {dtype!r}: convert to a floating-point dtype')
        return shape, dtype
    return infer


# ------------------------------------------------------------------------------------------------- binary cross entropy
LOG_FLOOR = -100.0
"""PyTorch's floor of a logarithm in binary cross entropy: the loss stays finite at probabilities 0 and 1."""

SLOPE_FLOOR = 9.999999960041972e-13
"""PyTorch's floor of p (1 - p) in its gradient: 1e-12, which it holds as a float32."""


def _bce(p: Node, y: Node) -> Node:
    """-(y log p + (1 - y) log(1 - p)), logarithms floored; NaN where p or y is no probability."""
    log_p = g.maximum(g.log(p), LOG_FLOOR)
    log_q = g.maximum(g.log1p(g.neg(p)), LOG_FLOOR)
    return g.where(g.between(y, 0, 1), g.sub(g.mul(g.sub(y, 1), log_q), g.mul(y, log_p)), math.nan)


def _slope(p: Node) -> Node:
    """p (1 - p), floored; NaN where p is no probability: the loss says so only where it is looked at."""
    product = g.mul(g.sub(1, p), p)
    return g.where(g.lt(product, 0), math.nan, g.maximum(product, SLOPE_FLOOR))


BCE, binary_cross_entropy = composite("binary_cross_entropy", floats_alone("binary_cross_entropy"), _bce,
                                      lambda ct, o, p, y: g.mul(ct, g.div(g.sub(p, y), _slope(p))), "xy",
                                      lambda ct, o, p, y: g.mul(ct, g.sub(g.log1p(g.neg(p)), g.log(p))), "x",
                                      numpy="binary_cross_entropy({0}, {1})", grad_name="BinaryCrossEntropyBackward0")
"""-(y log p + (1 - y) log(1 - p)) of each element, logarithms floored at -100."""


BCE_WITH_LOGITS, binary_cross_entropy_with_logits = composite(
    "binary_cross_entropy_with_logits", same,       # (1 - y) x + log(1 + exp(-x)): neither term cancels the other
    lambda x, y: g.add(g.mul(g.sub(1, y), x), g.softplus(g.neg(x))),
    lambda ct, o, x, y: g.mul(ct, g.sub(g.sigmoid(x), y)), "xy", lambda ct, o, x, y: g.neg(g.mul(ct, x)), "x",
    grad_name="BinaryCrossEntropyWithLogitsBackward0")
"""Binary cross entropy of sigmoid(x) of each element."""


logistic: Operation      # derivatives name it before it is there
LOGISTIC_LOSS, logistic_loss = composite(
    "logistic_loss", floats_alone("soft_margin_loss"), lambda x: g.softplus(x),
    lambda ct, o, x: g.mul(ct, logistic(x)), "x", grad_name="SoftMarginLossBackward0")
"""log(1 + exp(x))."""
LOGISTIC, logistic = composite("logistic", same, lambda x: g.sigmoid(x),
                               lambda ct, o, x: g.mul(ct, g.mul(logistic(x), logistic(g.neg(x)))), "x",
                               grad_name="SigmoidBackward0")
"""1 / (1 + exp(-x)); its slope logistic(x) logistic(-x) loses no digits where one of the two is near 1, as o (1 - o)
does."""


# ------------------------------------------- of a difference: the slopes are finite where the difference is infinite
SQUARED_ERROR, squared_error = composite("squared_error", floats_alone("mse_loss"), lambda d: g.mul(d, d),
                                         lambda ct, o, d: g.mul(ct, g.mul(d, 2)), "x", grad_name="MseLossBackward0")
"""d^2; unlike the power it has no third derivative (PyTorch's is an error, not zeros)."""


def _huber(d: Node, delta: Node) -> Node:
    """d^2 / 2 up to |d| = delta, and from there its tangent (Huber, 1964)."""
    size = g.abs(d)
    return g.where(g.ge(size, delta), g.mul(g.sub(size, g.mul(delta, 0.5)), delta), g.mul(g.mul(d, d), 0.5))


def _huber_gradient(ct: Node, o: object, d: Node, delta: Node) -> Node:
    return g.mul(ct, g.where(g.ge(g.abs(d), delta), g.mul(g.sign(d), delta), d))


HUBER, huber = numbered("huber", _huber, _huber_gradient, "xy", none, "", infer=floats_alone("huber_loss"),
                        grad_name="HuberLossBackward0")
"""Huber's loss of each difference: d^2 / 2, from |d| = delta on its tangent."""


def _smooth_l1(d: Node, beta: Node) -> Node:
    """The Huber loss over beta, so that its tangent has slope 1 (Girshick, 2015)."""
    size = g.abs(d)
    return g.where(g.ge(size, beta), g.sub(size, g.mul(beta, 0.5)), g.div(g.mul(g.mul(d, d), 0.5), beta))


def _smooth_l1_gradient(ct: Node, o: object, d: Node, beta: Node) -> Node:
    return g.mul(ct, g.where(g.ge(g.abs(d), beta), g.sign(d), g.div(d, beta)))


SMOOTH_L1, smooth_l1 = numbered("smooth_l1", _smooth_l1, _smooth_l1_gradient, "xy", none, "",
                                infer=floats_alone("smooth_l1_loss"), grad_name="SmoothL1LossBackward0")
"""Huber's loss over beta of each difference."""


# -------------------------------------------------------------------------------------------------------- cross entropy

def is_target(target: Node, classes: int) -> Node:
    """Whether column c of row i is the class target[i]: bool (N, C)."""
    return g.eq(g.reshape(g.iota(classes, target.device), (1, classes)), g.reshape(target, (target.spec.numel, 1)))


def is_valid(target: Node, ignore_index: int) -> Node:
    """Whether a row counts; the index is part of the structure, so that the loss and its gradient share the answer."""
    return g.ne(target, literal(ignore_index, target.dtype, target.device))


def counted(valid: Node, dtype: DType) -> Node:
    """How many rows count, as a 0-d float."""
    return g.cast(g.sum(g.cast(valid, dtypes.int64), (0,)), dtype)


def _cross_entropy(x: Node, target: Node, ignore_index: int, reduction: str) -> Node:
    """-log_softmax(x)[target] for each row that counts; the target is found by comparison, so all is one kernel."""
    classes = x.shape[1]
    shift, _ = shifted(x, (1,))         # both terms are small then, and their difference loses nothing
    chosen = g.sum(g.where(is_target(target, classes), shift, 0), (1,))
    total = g.log(g.sum(g.exp(shift), (1,)))
    valid = is_valid(target, ignore_index)
    inside = g.bitwise_and(g.ge(target, 0), g.lt(target, classes))
    loss = g.where(inside, g.sub(total, chosen), math.nan)
    loss = g.where(valid, loss, 0)
    if reduction == "none":
        return loss
    total = g.sum(loss, (0,))
    return total if reduction == "sum" else g.div(total, counted(valid, x.dtype))


cross_entropy_backward: Operation
CROSS_ENTROPY, cross_entropy = composite(
    "cross_entropy",
    lambda x, target, ignore_index, reduction: ((x.shape[:1] if reduction == "none" else ()), x.dtype), _cross_entropy,
    lambda ct, o, *rest: cross_entropy_backward(ct, *rest), "xy", none, "",
    numpy=lambda out, x, target, ignore_index, reduction:
    f"cross_entropy(softmax_parts({{0}}), class_rows({{1}}, {x.shape[1]}, {ignore_index}), {reduction!r}, "
    f"{x.dtype.name})",
    grad_name="NllLossBackward0")
"""Cross entropy of softmax(x) (N, C) with classes `target` (N,) int64. It is (N,), or 0-d for the reduction "mean" or
"sum"."""


def scaled(ct: Node, target: Node, dtype: DType, ignore_index: int, reduction: str) -> Node:
    """The cotangent of each row's loss, (N, 1) or 0-d: shared over the rows that count for the mean."""
    if reduction == "mean":
        return g.div(ct, counted(is_valid(target, ignore_index), dtype))
    return g.reshape(ct, (target.spec.numel, 1)) if reduction == "none" else ct


def where_valid(value: Node, target: Node, ignore_index: int) -> Node:
    """`value` (N, C), and 0 in rows that do not count."""
    return g.where(g.reshape(is_valid(target, ignore_index), (target.spec.numel, 1)), value, 0)


def excess(x: Node, target: Node) -> Node:
    """softmax(x) less the one-hot target: the derivative of a row's loss."""
    return g.sub(softmax(x, 1), g.cast(is_target(target, x.shape[1]), x.dtype))


def _cross_entropy_backward(ct: Node, x: Node, target: Node, ignore_index: int, reduction: str) -> Node:
    """(softmax(x) - one_hot(target)) ct, over the number of rows that count for the mean; 0 for rows that do not."""
    scale = scaled(ct, target, x.dtype, ignore_index, reduction)
    return where_valid(g.mul(excess(x, target), scale), target, ignore_index)


def _cross_entropy_twice_ct(ct: Node, o: object, d: object, x: Node, target: Node, ignore_index: int,
                            reduction: str) -> Node:
    inner = where_valid(g.mul(excess(x, target), ct), target, ignore_index)
    if reduction == "none":
        return g.sum(inner, (1,))
    return scaled(g.sum(inner, (0, 1)), target, x.dtype, ignore_index, reduction)


def _cross_entropy_twice_x(ct: Node, o: object, d: Node, x: Node, target: Node, ignore_index: int,
                           reduction: str) -> Node:
    """The derivative of a softmax, of the cotangent of the probabilities."""
    scale = scaled(d, target, x.dtype, ignore_index, reduction)
    flow, s = where_valid(g.mul(ct, scale), target, ignore_index), softmax(x, 1)
    return g.mul(s, g.sub(flow, g.sum(g.mul(flow, s), (1,), keepdim=True)))


CROSS_ENTROPY_BACKWARD, cross_entropy_backward = composite(
    "cross_entropy_backward", lambda ct, x, *rest: (x.shape, x.dtype), _cross_entropy_backward,
    _cross_entropy_twice_ct, "yz", _cross_entropy_twice_x, "xyz", none, "",
    numpy=lambda out, ct, x, target, ignore_index, reduction:
    f"cross_entropy_backward({{0}}, softmax_parts({{1}}), class_rows({{2}}, {x.shape[1]}, {ignore_index}), "
    f"{reduction!r}, {x.dtype.name})")
"""The derivative of `cross_entropy` with respect to x, times ct (0-d, or (N,) for reduction "none")."""
