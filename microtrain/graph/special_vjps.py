"""The derivatives of `special` and `activations` and of the primitives under them, in the manner of `vjps`."""

from __future__ import annotations

import math
from typing import Any

from . import ops as g
from . import primitives as p
from .composite import activations as a
from .composite import special as s
from .node import Node, record
from .tape import grad_mode
from .vjps import masked, none, vjp


def flat(ct: Node, *rest: Any) -> Node:
    """A derivative that is zero wherever it exists."""
    return g.zeros_like(ct)


# --------------------------------------------------------------------------------------------- angles and hyperbolics
vjp(s.ASIN, lambda ct, o, x: g.mul(ct, _circle(x)), "x")
vjp(s.ACOS, lambda ct, o, x: g.neg(g.mul(ct, _circle(x))), "x")
vjp(s.ATAN, lambda ct, o, x: g.div(ct, g.add(g.mul(x, x), 1)), "x")
vjp(s.SINH, lambda ct, o, x: g.mul(ct, g.cosh(x)), "x")
vjp(s.COSH, lambda ct, o, x: g.mul(ct, g.sinh(x)), "x")
vjp(s.ASINH, lambda ct, o, x: g.mul(ct, g.rsqrt(g.add(g.mul(x, x), 1))), "x")
vjp(s.ACOSH, lambda ct, o, x: g.mul(ct, g.rsqrt(g.sub(0, _short_of_one(x)))), "x")
vjp(s.ATANH, lambda ct, o, x: g.div(ct, g.sub(1, g.mul(x, x))), "x")
vjp(s.HYPOT, lambda ct, o, x, y: g.div(g.mul(ct, x), o), "ox", lambda ct, o, x, y: g.div(g.mul(ct, y), o), "oy")


def _short_of_one(x: Node) -> Node:
    """1 - x^2: a product, accurate near 1; at 1 the square itself, whose derivative an infinity may multiply."""
    return g.where(g.eq(g.abs(x), 1), g.sub(1, g.mul(x, x)), g.mul(g.sub(1, x), g.add(x, 1)))


def _circle(x: Node) -> Node:
    """1 / sqrt(1 - x^2)."""
    return g.rsqrt(_short_of_one(x))


def _turn(ct: Node, side: Node, y: Node, x: Node) -> Node:
    """ct side / (y^2 + x^2), and 0 at the origin (as PyTorch's)."""
    square = g.add(g.mul(y, y), g.mul(x, x))
    return g.mul(ct, g.where(g.eq(square, 0), 0, g.div(side, square)))


vjp(p.ATAN2, lambda ct, o, y, x: _turn(ct, x, y, x), "xy", lambda ct, o, y, x: _turn(ct, g.neg(y), y, x), "xy")

# --------------------------------------------------------------------------------------------- exponents, logarithms
vjp(p.LOG2, lambda ct, o, x: g.div(ct, g.mul(x, math.log(2))), "x")
vjp(p.LOG10, lambda ct, o, x: g.div(ct, g.mul(x, math.log(10))), "x")
vjp(s.EXP2, lambda ct, o, x: g.mul(g.mul(ct, o), math.log(2)), "o")
vjp(p.ERF, lambda ct, o, x: g.mul(g.mul(ct, 2 / math.sqrt(math.pi)), _bell(x)), "x")
vjp(p.ERFC, lambda ct, o, x: g.mul(g.mul(ct, -2 / math.sqrt(math.pi)), _bell(x)), "x")


def _bell(x: Node) -> Node:
    """exp(-x^2)."""
    return g.exp(g.neg(g.mul(x, x)))


vjp(s.LOGADDEXP, lambda ct, o, x, y: g.div(ct, g.add(g.exp(g.sub(y, x)), 1)), "xy",
    lambda ct, o, x, y: g.div(ct, g.add(g.exp(g.sub(x, y)), 1)), "xy")
vjp(s.LOGADDEXP2, lambda ct, o, x, y: g.div(ct, g.add(g.exp2(g.sub(y, x)), 1)), "xy",
    lambda ct, o, x, y: g.div(ct, g.add(g.exp2(g.sub(x, y)), 1)), "xy")


def _undefined(x: Node, y: Node, edge: int) -> Node:
    """Where x log(y) is 0 by convention alone: x is 0 and the logarithm does not exist; PyTorch's slope there is 0."""
    return g.bitwise_and(g.eq(x, 0), g.le(y, edge))


vjp(s.XLOGY, lambda ct, o, x, y: g.where(_undefined(x, y, 0), 0, g.xlogy(ct, y)), "xy",
    lambda ct, o, x, y: g.div(g.mul(ct, x), y), "xy")
vjp(s.XLOG1PY, lambda ct, o, x, y: g.where(_undefined(x, y, -1), 0, g.xlog1py(ct, y)), "xy",
    lambda ct, o, x, y: g.div(g.mul(ct, x), g.add(y, 1)), "xy")


def _logit(ct: Node, o: Any, x: Node, eps: float | None) -> Node:
    """Beyond eps 0, and beyond [0, 1] NaN where there is none."""
    low, beyond = (0, math.nan) if eps is None else (eps, 0)
    outside = g.bitwise_or(g.lt(x, low), g.gt(x, 1 - low))
    return g.where(outside, beyond, g.div(ct, g.mul(x, g.sub(1, x))))


vjp(s.LOGIT, _logit, "x")

# ----------------------------------------------------------------------------------- signs, quotients and what is left
vjp(s.COPYSIGN, lambda ct, o, x, y: g.mul(ct, masked(g.div(o, x), g.ne(x, 0))), "ox", flat, "")
vjp(s.FMOD, lambda ct, o, x, y: ct, "", lambda ct, o, x, y: g.neg(g.mul(ct, g.div_trunc(x, y))), "xy")
vjp(s.DIV_FLOOR, flat, "", flat, "")
vjp(s.DIV_TRUNC, flat, "", flat, "")
vjp(s.LERP, lambda ct, o, start, end, weight: g.mul(ct, g.sub(1, weight)), "z",
    lambda ct, o, start, end, weight: g.mul(ct, weight), "z",
    lambda ct, o, start, end, weight: g.mul(ct, g.sub(end, start)), "xy")

# -------------------------------------------------------------------------------------------------------- activations

def piecewise(primitive: Any, derivative: Any, numbers: int) -> None:
    """Enter the rules of a piecewise linear function of x and so many numbers, and of its derivative (ct, x, *numbers):
    a node of its own, for whoever differentiates it by x again gets zeros, as from PyTorch, where comparisons have no
    derivative."""
    vjp(primitive, lambda ct, o, x, *rest: record(derivative, (ct, x, *rest)), "xyz"[:1 + numbers],
        *[none, ""] * numbers)
    vjp(derivative, lambda ct, o, d, x, *rest: record(derivative, (ct, x, *rest)), "yzw"[:1 + numbers],
        *[none, ""] * (1 + numbers))


piecewise(a.LEAKY_RELU, a.LEAKY_RELU_BACKWARD, 1)
piecewise(a.HARDTANH, a.HARDTANH_BACKWARD, 2)
piecewise(a.THRESHOLD, a.THRESHOLD_BACKWARD, 2)
piecewise(a.HARDSHRINK, a.SHRINK_BACKWARD, 1)
piecewise(a.SOFTSHRINK, a.SHRINK_BACKWARD, 1)


def _prelu_weight(ct: Node, o: Any, x: Node, weight: Any) -> Node:
    """ct x below 0; what is differentiated again must not multiply an infinite x by 0."""
    return g.mul(ct, g.where(g.ge(x, 0), 0, x)) if grad_mode.enabled else g.where(g.gt(x, 0), 0, g.mul(ct, x))


def _prelu_twice(ct: Node, o: Any, d: Any, x: Node, weight: Node) -> Node:
    """At 0 the slope that PyTorch differentiates again is 1, and that which it takes at first the weight."""
    return g.where(g.ge(x, 0), ct, g.mul(ct, weight))


vjp(a.PRELU, lambda ct, o, x, weight: record(a.PRELU_BACKWARD, (ct, x, weight)), "xy", _prelu_weight, "x",
    flat=True)
vjp(a.PRELU_BACKWARD, _prelu_twice, "yz", none, "",
    lambda ct, o, d, x, weight: g.where(g.ge(x, 0), 0, g.mul(ct, d)), "xy")


def _elu(ct: Node, o: Any, x: Node, alpha: Node, scale: Node, input_scale: Node) -> Node:
    negative = g.where(g.lt(x, 0), x, 0)        # exp must not overflow where it is not chosen: 0 * inf is NaN
    below = g.mul(g.exp(g.mul(negative, input_scale)), g.mul(g.mul(scale, alpha), input_scale))
    return g.mul(ct, g.where(g.le(x, 0), below, scale))


def _gelu(ct: Node, o: Any, x: Node) -> Node:
    """The normal distribution function of x, and x times its density."""
    below = g.mul(g.add(g.erf(g.mul(x, math.sqrt(0.5))), 1), 0.5)
    density = g.mul(g.exp(g.mul(g.mul(x, x), -0.5)), 1 / math.sqrt(2 * math.pi))
    return g.mul(ct, g.add(below, g.mul(x, density)))


def _gelu_tanh(ct: Node, o: Any, x: Node) -> Node:
    u = a.gelu_exponent(x)
    s, rest = g.sigmoid(u), g.sigmoid(g.neg(u))
    inner = g.mul(g.add(g.mul(g.mul(x, x), 3 * 0.044715), 1), 2 * math.sqrt(2 / math.pi))
    return g.mul(ct, g.mul(s, g.add(g.mul(g.mul(x, inner), rest), 1)))


def _silu(ct: Node, o: Any, x: Node) -> Node:
    s = g.sigmoid(x)
    return g.mul(ct, g.mul(s, g.add(g.mul(x, g.sub(1, s)), 1)))


def _mish(ct: Node, o: Any, x: Node) -> Node:
    t = g.tanh(g.softplus(x))
    return g.mul(ct, g.add(t, g.mul(g.mul(x, g.sigmoid(x)), g.sub(1, g.mul(t, t)))))


def _hardswish(ct: Node, o: Any, x: Node) -> Node:
    middle = g.where(g.lt(g.abs(x), 3), g.add(g.div(x, 3), 0.5), 1)     # finite: 0 times it is 0
    return g.where(g.le(x, -3), 0, g.mul(ct, middle))


vjp(a.ELU, _elu, "xyzw", none, "", none, "", none, "")
vjp(a.GELU, _gelu, "x")
vjp(a.GELU_TANH, _gelu_tanh, "x")
vjp(a.SILU, _silu, "x")
vjp(a.MISH, _mish, "x")
vjp(a.LOG_SIGMOID, lambda ct, o, x: g.mul(ct, g.logistic(g.neg(x))), "x")
vjp(a.HARDSIGMOID, lambda ct, o, x: masked(g.div(ct, 6), g.bitwise_and(g.gt(x, -3), g.lt(x, 3))), "x")
vjp(a.HARDSWISH, _hardswish, "x")
