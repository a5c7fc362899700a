"""Elementwise functions made of the primitives: one node each, and on NumPy its own function where it has one.

The forms keep their accuracy near 0 and do not overflow before the result does. The tensor layer hands them float32 or
float64, never half precisions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..graph.constants import like
from ..graph.node import Node, record
from . import core as g
from .core import masked, zero
from .shapes import same
from .table import Binary, Operand, Unary, binary, composite, precise, unary

LN_2 = 0.6931471805599453
LOG2_E = 1.4426950408889634


def signed_as(size: Node, x: Node) -> Node:
    """`size` (not below 0) with the sign of x."""
    return g.where(g.signbit(x), g.neg(size), size)


# --------------------------------------------------------------------------------------------------------------- angles

def _short_of_one(x: Node) -> Node:
    """1 - x^2: a product, accurate near 1; at 1 the square itself, whose derivative an infinity may multiply."""
    return g.where(g.eq(g.abs(x), 1), g.sub(1, g.mul(x, x)), g.mul(g.sub(1, x), g.add(x, 1)))


def _circle(x: Node) -> Node:
    """1 / sqrt(1 - x^2)."""
    return g.rsqrt(_short_of_one(x))


def _acos(x: Node) -> Node:
    return g.mul(g.atan2(g.sqrt(g.sub(1, x)), g.sqrt(g.add(1, x))), 2)


ASIN, asin = unary("asin", "arcsin({0})", "", lambda ct, o, x: g.mul(ct, _circle(x)), "x",
                   decompose=lambda x: g.atan2(x, g.sqrt(g.mul(g.sub(1, x), g.add(1, x)))))
ACOS, acos = unary("acos", "arccos({0})", "", lambda ct, o, x: g.neg(g.mul(ct, _circle(x))), "x", decompose=_acos)
ATAN, atan = unary("atan", "arctan({0})", "", lambda ct, o, x: g.div(ct, g.add(g.mul(x, x), 1)), "x",
                   decompose=lambda x: g.atan2(x, 1))


def _hypot(x: Node, y: Node) -> Node:
    """a sqrt(1 + (b / a)^2), a the larger; infinite beside an infinity, even where the other is NaN."""
    x, y = g.abs(x), g.abs(y)
    a = g.maximum(x, y)
    ratio = g.where(g.eq(a, 0), 0, g.div(g.minimum(x, y), a))
    infinite = g.bitwise_or(g.eq(x, math.inf), g.eq(y, math.inf))
    return g.where(infinite, math.inf, g.mul(a, g.sqrt(g.add(g.mul(ratio, ratio), 1))))


HYPOT, hypot = binary("hypot", "hypot({0}, {1})", "", lambda ct, o, x, y: g.div(g.mul(ct, x), o), "ox",
                      lambda ct, o, x, y: g.div(g.mul(ct, y), o), "oy", decompose=_hypot)

# --------------------------------------------------------------------------------------------------------- hyperbolics

def _half_exp(size: Node) -> Node:
    """exp(size) / 2, which overflows later than exp does."""
    root = g.exp(g.mul(size, 0.5))
    return g.mul(g.mul(root, 0.5), root)


def _sinh(x: Node) -> Node:
    """(e + e / (e + 1)) / 2 with e = exp(|x|) - 1; the second term is nothing beside the first from 20 on."""
    size = g.abs(x)
    e = g.expm1(size)
    return signed_as(g.where(g.gt(size, 20), _half_exp(size), g.mul(g.add(e, g.div(e, g.add(e, 1))), 0.5)), x)


def _cosh(x: Node) -> Node:
    size = g.abs(x)
    return g.add(_half_exp(size), g.mul(g.exp(g.neg(size)), 0.5))


HUGE = 2.0 ** 28
"""From here on 1 is nothing beside a number, and x + sqrt(x^2 +- 1) is 2 x; the square itself overflows later."""


def _log_of_sum(x: Node, near: Node) -> Node:
    """log(1 + near), and log(2 x) = log(1 + x) + log(2) where x is huge."""
    huge = g.gt(x, HUGE)
    return g.add(g.log1p(g.where(huge, x, near)), g.mul(g.cast(huge, x.dtype), LN_2))


def _asinh(x: Node) -> Node:
    size = g.abs(x)
    square = g.mul(size, size)
    return signed_as(_log_of_sum(size, g.add(size, g.div(square, g.add(g.sqrt(g.add(square, 1)), 1)))), x)


def _acosh(x: Node) -> Node:
    above = g.where(g.lt(x, 1), math.nan, g.sub(x, 1))      # the product of two far below 0 is infinite
    return _log_of_sum(x, g.add(above, g.sqrt(g.mul(above, g.add(x, 1)))))


def _atanh(x: Node) -> Node:
    size = g.abs(x)
    return signed_as(g.mul(g.log1p(g.div(g.mul(size, 2), g.sub(1, size))), 0.5), x)


cosh: Unary
SINH, sinh = unary("sinh", precise("sinh"), "", lambda ct, o, x: g.mul(ct, cosh(x)), "x", decompose=_sinh)
COSH, cosh = unary("cosh", "cosh({0})", "", lambda ct, o, x: g.mul(ct, sinh(x)), "x", decompose=_cosh)
ASINH, asinh = unary("asinh", precise("arcsinh"), "",
                     lambda ct, o, x: g.mul(ct, g.rsqrt(g.add(g.mul(x, x), 1))), "x", decompose=_asinh)
ACOSH, acosh = unary("acosh", precise("arccosh"), "",
                     lambda ct, o, x: g.mul(ct, g.rsqrt(g.sub(0, _short_of_one(x)))), "x", decompose=_acosh)
ATANH, atanh = unary("atanh", precise("arctanh"), "", lambda ct, o, x: g.div(ct, g.sub(1, g.mul(x, x))), "x",
                     decompose=_atanh)

# ------------------------------------------------------------------------------------------------ exponents, logarithms
EXP2, exp2 = unary("exp2", "exp2({0})", "", lambda ct, o, x: g.mul(g.mul(ct, o), math.log(2)), "o",
                   decompose=lambda x: g.pow(2, x))


def _logadd(exp: Callable[[Node], Node], scale: float, x: Node, y: Node) -> Node:
    """max + log1p(exp(-|x - y|)); where both are the same infinity, that."""
    far = g.neg(g.abs(g.sub(x, y)))
    infinite = g.bitwise_and(g.eq(x, y), g.eq(g.abs(x), math.inf))
    more = g.log1p(exp(far))
    return g.where(infinite, x, g.add(g.maximum(x, y), more if scale == 1 else g.mul(more, scale)))


LOGADDEXP, logaddexp = binary("logaddexp", "", "", lambda ct, o, x, y: g.div(ct, g.add(g.exp(g.sub(y, x)), 1)),
                              "xy", lambda ct, o, x, y: g.div(ct, g.add(g.exp(g.sub(x, y)), 1)), "xy",
                              decompose=lambda x, y: _logadd(g.exp, 1, x, y))
LOGADDEXP2, logaddexp2 = binary("logaddexp2", "", "", lambda ct, o, x, y: g.div(ct, g.add(exp2(g.sub(y, x)), 1)),
                                "xy", lambda ct, o, x, y: g.div(ct, g.add(exp2(g.sub(x, y)), 1)), "xy",
                                decompose=lambda x, y: _logadd(exp2, LOG2_E, x, y))


def _product(log: Callable[[Node], Node], x: Node, y: Node) -> Node:
    """x log(y) that is 0 where x is, unless y is NaN."""
    return g.where(g.bitwise_and(g.eq(x, 0), g.eq(y, y)), 0, g.mul(x, log(y)))


def _undefined(x: Node, y: Node, edge: int) -> Node:
    """Where x log(y) is 0 by convention alone: x is 0 and the logarithm does not exist; PyTorch's slope there is 0."""
    return g.bitwise_and(g.eq(x, 0), g.le(y, edge))


xlogy: Binary
xlog1py: Binary
XLOGY, xlogy = binary("xlogy", "", "", lambda ct, o, x, y: g.where(_undefined(x, y, 0), 0, xlogy(ct, y)), "xy",
                      lambda ct, o, x, y: g.div(g.mul(ct, x), y), "xy",
                      decompose=lambda x, y: _product(g.log, x, y))
XLOG1PY, xlog1py = binary("xlog1py", "", "",
                          lambda ct, o, x, y: g.where(_undefined(x, y, -1), 0, xlog1py(ct, y)), "xy",
                          lambda ct, o, x, y: g.div(g.mul(ct, x), g.add(y, 1)), "xy",
                          decompose=lambda x, y: _product(g.log1p, x, y), grad_name="SpecialXlog1PyBackward0")


def _logit(x: Node, eps: float | None) -> Node:
    if eps is not None:
        x = g.where(g.lt(x, eps), eps, g.where(g.gt(x, 1 - eps), 1 - eps, x))       # an eps above 1/2 is as PyTorch's
    return g.log(g.div(x, g.sub(1, x)))


def _logit_gradient(ct: Node, o: object, x: Node, eps: float | None) -> Node:
    """Beyond eps 0, and beyond [0, 1] NaN where there is none."""
    low, beyond = (0, math.nan) if eps is None else (eps, 0)
    outside = g.bitwise_or(g.lt(x, low), g.gt(x, 1 - low))
    return g.where(outside, beyond, g.div(ct, g.mul(x, g.sub(1, x))))


LOGIT, logit = composite("logit", lambda x, eps: same(x), _logit, _logit_gradient, "x")
"""log(x / (1 - x)), x first limited to [eps, 1 - eps] where eps is given."""


# ------------------------------------------------------------------------------------ signs, quotients and what is left

def _fmod(x: Node, y: Node) -> Node:
    """The remainder with the sign of x. Integers: the floored one, less y where the signs differ."""
    if x.dtype.is_floating_point:
        return copysign(g.remainder(g.abs(x), g.abs(y)), x)
    floored = g.remainder(x, y)
    differs = g.bitwise_and(g.ne(floored, 0), g.ne(g.lt(floored, 0), g.lt(x, 0)))
    return g.where(differs, g.sub(floored, y), floored)


def _div_trunc(x: Node, y: Node) -> Node:
    """The quotient without its fraction. Integers: the floored one, and 1 more where it was negative and inexact."""
    if x.dtype.is_floating_point:
        return g.trunc(g.div(x, y))
    floored = g.floor_divide(x, y)
    inexact = g.ne(g.mul(floored, y), x)
    return g.where(g.bitwise_and(g.lt(floored, 0), inexact), g.add(floored, 1), floored)


COPYSIGN, copysign = binary("copysign", "copysign({0}, {1})", "",
                            lambda ct, o, x, y: g.mul(ct, masked(g.div(o, x), g.ne(x, 0))), "ox", zero, "",
                            decompose=lambda x, y: g.where(g.signbit(y), g.neg(g.abs(x)), g.abs(x)))
DIV_TRUNC, div_trunc = binary("div_trunc", "", "", zero, "", zero, "", decompose=_div_trunc,
                              grad_name="DivBackward2")
FMOD, fmod = binary("fmod", "fmod({0}, {1})", "", lambda ct, o, x, y: ct, "",
                    lambda ct, o, x, y: g.neg(g.mul(ct, div_trunc(x, y))), "xy", decompose=_fmod,
                    grad_name="FmodBackward1")


def _lerp(start: Node, end: Node, weight: Node) -> Node:
    """From the nearer end, so that the weights 0 and 1 give the ends themselves."""
    span = g.sub(end, start)
    near = g.add(start, g.mul(weight, span))
    return g.where(g.lt(g.abs(weight), 0.5), near, g.sub(end, g.mul(span, g.sub(1, weight))))


LERP, _ = composite("lerp", same, _lerp, lambda ct, o, start, end, weight: g.mul(ct, g.sub(1, weight)), "z",
                    lambda ct, o, start, end, weight: g.mul(ct, weight), "z",
                    lambda ct, o, start, end, weight: g.mul(ct, g.sub(end, start)), "xy", grad_name="LerpBackward1")


def lerp(start: Node, end: Node, weight: Operand) -> Node:
    """start + weight (end - start), from the nearer end."""
    return record(LERP, (start, end, like(weight, start)))
