"""Activations as composites: one node each, which keeps its input alone and has a derivative in closed form.

Each takes a tensor and numbers. The conventions at the joints are those of PyTorch's kernels. The tensor layer hands
them float32 or float64, never half precisions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..graph.node import Node, Primitive, record
from ..graph.tape import grad_mode
from . import core as g
from .core import masked, none
from .losses import logistic
from .shapes import same
from .table import composite, numbered

# ----------------------------------------------------------------------------------------------------- piecewise linear

def slope(name: str, decompose: Callable[..., Node], numbers: int) -> Primitive:
    """The derivative (ct, x, *numbers) of a piecewise linear function: a node of its own, for whoever differentiates it
    by x again gets zeros, as from PyTorch, where comparisons have no derivative."""
    primitive: Primitive
    primitive, _ = composite(name, same, decompose, lambda ct, o, d, x, *rest: record(primitive, (ct, x, *rest)),
                             "yzw"[:1 + numbers], *(none, "") * (1 + numbers))
    return primitive


def piecewise(name: str, decompose: Callable[..., Node], derivative: Primitive,
              numbers: int) -> tuple[Primitive, Callable[..., Node]]:
    """A piecewise linear function of x and so many numbers."""
    return numbered(name, decompose, lambda ct, o, x, *rest: record(derivative, (ct, x, *rest)), "xyz"[:1 + numbers],
                    *(none, "") * numbers)


def inside(x: Node, lambd: Node) -> Node:
    """Whether -lambd <= x <= lambd."""
    return g.between(x, g.neg(lambd), lambd)


LEAKY_RELU_BACKWARD = slope(
    "leaky_relu_backward", lambda ct, x, slope: g.where(g.gt(x, 0), ct, g.mul(ct, slope)), 1)
LEAKY_RELU, leaky_relu = piecewise(
    "leaky_relu", lambda x, slope: g.where(g.gt(x, 0), x, g.mul(x, slope)), LEAKY_RELU_BACKWARD, 1)
HARDTANH_BACKWARD = slope(
    "hardtanh_backward", lambda ct, x, low, high: g.where(g.bitwise_or(g.le(x, low), g.ge(x, high)), 0, ct), 2)
HARDTANH, hardtanh = piecewise("hardtanh", g.clamp, HARDTANH_BACKWARD, 2)
THRESHOLD_BACKWARD = slope(
    "threshold_backward", lambda ct, x, threshold, value: g.where(g.le(x, threshold), 0, ct), 2)
THRESHOLD, threshold = piecewise(
    "threshold", lambda x, threshold, value: g.where(g.le(x, threshold), value, x), THRESHOLD_BACKWARD, 2)
SHRINK_BACKWARD = slope("shrink_backward", lambda ct, x, lambd: g.where(inside(x, lambd), 0, ct), 1)
HARDSHRINK, hardshrink = piecewise(
    "hardshrink", lambda x, lambd: g.where(inside(x, lambd), 0, x), SHRINK_BACKWARD, 1)


def _softshrink(x: Node, lambd: Node) -> Node:
    """x brought nearer to 0 by lambd; a zero of x's sign between; NaN stays."""
    return g.where(inside(x, lambd), g.mul(x, 0), g.where(g.gt(x, 0), g.sub(x, lambd), g.add(x, lambd)))


SOFTSHRINK, softshrink = piecewise("softshrink", _softshrink, SHRINK_BACKWARD, 1)


def _prelu_weight(ct: Node, o: object, x: Node, weight: object) -> Node:
    """ct x below 0; what is differentiated again must not multiply an infinite x by 0."""
    return g.mul(ct, g.where(g.ge(x, 0), 0, x)) if grad_mode.enabled else g.where(g.gt(x, 0), 0, g.mul(ct, x))


def _prelu_twice(ct: Node, o: object, d: object, x: Node, weight: Node) -> Node:
    """At 0 the slope that PyTorch differentiates again is 1, and that which it takes at first the weight."""
    return g.where(g.ge(x, 0), ct, g.mul(ct, weight))


PRELU_BACKWARD, prelu_backward = composite(
    "prelu_backward", same, lambda ct, x, weight: g.where(g.gt(x, 0), ct, g.mul(ct, weight)), _prelu_twice, "yz",
    none, "", lambda ct, o, d, x, weight: g.where(g.ge(x, 0), 0, g.mul(ct, d)), "xy")
PRELU, prelu = composite(
    "prelu", same, lambda x, weight: g.where(g.gt(x, 0), x, g.mul(weight, x)),
    lambda ct, o, x, weight: prelu_backward(ct, x, weight), "xy", _prelu_weight, "x",
    flat=True, grad_name="PreluKernelBackward0")
"""x above 0, else weight * x."""


# --------------------------------------------------------------------------------------------------------------- smooth

def _elu(x: Node, alpha: Node, scale: Node, input_scale: Node) -> Node:
    """scale x above 0, scale alpha (exp(input_scale x) - 1) below."""
    return g.where(g.lt(x, 0), g.mul(g.expm1(g.mul(x, input_scale)), g.mul(scale, alpha)), g.mul(x, scale))


def _elu_gradient(ct: Node, o: object, x: Node, alpha: Node, scale: Node, input_scale: Node) -> Node:
    negative = g.where(g.lt(x, 0), x, 0)        # exp must not overflow where it is not chosen: 0 * inf is NaN
    below = g.mul(g.exp(g.mul(negative, input_scale)), g.mul(g.mul(scale, alpha), input_scale))
    return g.mul(ct, g.where(g.le(x, 0), below, scale))


ELU, elu = numbered("elu", _elu, _elu_gradient, "xyzw", none, "", none, "", none, "")


def _gelu(x: Node) -> Node:
    """x times the normal distribution function of x (Hendrycks and Gimpel, 2016)."""
    return g.mul(g.mul(x, 0.5), g.add(g.erf(g.mul(x, math.sqrt(0.5))), 1))


def _gelu_gradient(ct: Node, o: object, x: Node) -> Node:
    """The normal distribution function of x, and x times its density."""
    below = g.mul(g.add(g.erf(g.mul(x, math.sqrt(0.5))), 1), 0.5)
    density = g.mul(g.exp(g.mul(g.mul(x, x), -0.5)), 1 / math.sqrt(2 * math.pi))
    return g.mul(ct, g.add(below, g.mul(x, density)))


GELU, gelu = numbered("gelu", _gelu, _gelu_gradient, "x")


def _gelu_exponent(x: Node) -> Node:
    """2 sqrt(2 / pi) (x + 0.044715 x^3): as (1 + tanh(u / 2)) / 2 is sigmoid(u), without the sum that cancels."""
    return g.mul(g.add(x, g.mul(g.mul(g.mul(x, x), x), 0.044715)), 2 * math.sqrt(2 / math.pi))


def _gelu_tanh_gradient(ct: Node, o: object, x: Node) -> Node:
    u = _gelu_exponent(x)
    s, rest = g.sigmoid(u), g.sigmoid(g.neg(u))
    inner = g.mul(g.add(g.mul(g.mul(x, x), 3 * 0.044715), 1), 2 * math.sqrt(2 / math.pi))
    return g.mul(ct, g.mul(s, g.add(g.mul(g.mul(x, inner), rest), 1)))


GELU_TANH, gelu_tanh = numbered("gelu_tanh", lambda x: g.mul(x, g.sigmoid(_gelu_exponent(x))), _gelu_tanh_gradient, "x",
                                grad_name="GeluBackward0")


def _silu_gradient(ct: Node, o: object, x: Node) -> Node:
    s = g.sigmoid(x)
    return g.mul(ct, g.mul(s, g.add(g.mul(x, g.sub(1, s)), 1)))


SILU, silu = numbered("silu", lambda x: g.div(x, g.add(g.exp(g.neg(x)), 1)), _silu_gradient, "x")


def _mish_gradient(ct: Node, o: object, x: Node) -> Node:
    t = g.tanh(g.softplus(x))
    return g.mul(ct, g.add(t, g.mul(g.mul(x, g.sigmoid(x)), g.sub(1, g.mul(t, t)))))


MISH, mish = numbered("mish", lambda x: g.mul(x, g.tanh(g.softplus(x))), _mish_gradient, "x")
"""x tanh(softplus(x)) (Misra, 2019)."""

LOG_SIGMOID, log_sigmoid = numbered("log_sigmoid", lambda x: g.neg(g.softplus(g.neg(x))),
                                    lambda ct, o, x: g.mul(ct, logistic(g.neg(x))), "x")
HARDSIGMOID, hardsigmoid = numbered(
    "hardsigmoid", lambda x: g.div(g.clamp(g.add(x, 3), 0, 6), 6),
    lambda ct, o, x: masked(g.div(ct, 6), g.bitwise_and(g.gt(x, -3), g.lt(x, 3))), "x")


def _hardswish_gradient(ct: Node, o: object, x: Node) -> Node:
    middle = g.where(g.lt(g.abs(x), 3), g.add(g.div(x, 3), 0.5), 1)     # finite: 0 times it is 0
    return g.where(g.le(x, -3), 0, g.mul(ct, middle))


HARDSWISH, hardswish = numbered("hardswish", lambda x: g.div(g.mul(x, g.clamp(g.add(x, 3), 0, 6)), 6),
                                _hardswish_gradient, "x")
