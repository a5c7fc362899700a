"""Elementwise functions made of the primitives: one node each, and on NumPy its own function where it has one.

The forms keep their accuracy near 0 and do not overflow before the result does. The tensor layer hands them float32 or
float64, never half precisions.
"""

from __future__ import annotations

from typing import Any

from ..node import Kind, Node
from ..primitives import precise, row, same
from .basic import ops

LN_2 = 0.6931471805599453
LOG2_E = 1.4426950408889634


def elementwise(name: str, decompose: Any, numpy: Any = None, **options: Any) -> Any:
    """The row of an elementwise composite, whose sources have one dtype and broadcast."""
    return row(name, Kind.COMPOSITE, same, numpy, decompose=decompose, **options)


def signed_as(size: Node, x: Node) -> Node:
    """`size` (not below 0) with the sign of x."""
    o = ops()
    return o.where(o.signbit(x), o.neg(size), size)


# --------------------------------------------------------------------------------------------- angles and hyperbolics

def _asin(x: Node) -> Node:
    o = ops()
    return o.atan2(x, o.sqrt(o.mul(o.sub(1, x), o.add(1, x))))


def _acos(x: Node) -> Node:
    o = ops()
    return o.mul(o.atan2(o.sqrt(o.sub(1, x)), o.sqrt(o.add(1, x))), 2)


def _half_exp(size: Node) -> Node:
    """exp(size) / 2, which overflows later than exp does."""
    o = ops()
    root = o.exp(o.mul(size, 0.5))
    return o.mul(o.mul(root, 0.5), root)


def _sinh(x: Node) -> Node:
    """(e + e / (e + 1)) / 2 with e = exp(|x|) - 1; the second term is nothing beside the first from 20 on."""
    o = ops()
    size = o.abs(x)
    e = o.expm1(size)
    return signed_as(o.where(o.gt(size, 20), _half_exp(size), o.mul(o.add(e, o.div(e, o.add(e, 1))), 0.5)), x)


def _cosh(x: Node) -> Node:
    o = ops()
    size = o.abs(x)
    return o.add(_half_exp(size), o.mul(o.exp(o.neg(size)), 0.5))


HUGE = 2.0 ** 28
"""From here on 1 is nothing beside a number, and x + sqrt(x^2 +- 1) is 2 x; the square itself overflows later."""


def _log_of_sum(x: Node, near: Node) -> Node:
    """log(1 + near), and log(2 x) = log(1 + x) + log(2) where x is huge."""
    o = ops()
    huge = o.gt(x, HUGE)
    return o.add(o.log1p(o.where(huge, x, near)), o.mul(o.cast(huge, x.dtype), LN_2))


def _asinh(x: Node) -> Node:
    o = ops()
    size = o.abs(x)
    square = o.mul(size, size)
    return signed_as(_log_of_sum(size, o.add(size, o.div(square, o.add(o.sqrt(o.add(square, 1)), 1)))), x)


def _acosh(x: Node) -> Node:
    o = ops()
    above = o.where(o.lt(x, 1), float("nan"), o.sub(x, 1))      # the product of two far below 0 is infinite
    return _log_of_sum(x, o.add(above, o.sqrt(o.mul(above, o.add(x, 1)))))


def _atanh(x: Node) -> Node:
    o = ops()
    size = o.abs(x)
    return signed_as(o.mul(o.log1p(o.div(o.mul(size, 2), o.sub(1, size))), 0.5), x)


def _hypot(x: Node, y: Node) -> Node:
    """a sqrt(1 + (b / a)^2), a the larger; infinite beside an infinity, even where the other is NaN."""
    o = ops()
    x, y = o.abs(x), o.abs(y)
    a = o.maximum(x, y)
    ratio = o.where(o.eq(a, 0), 0, o.div(o.minimum(x, y), a))
    infinite = o.bitwise_or(o.eq(x, float("inf")), o.eq(y, float("inf")))
    return o.where(infinite, float("inf"), o.mul(a, o.sqrt(o.add(o.mul(ratio, ratio), 1))))


ASIN = elementwise("asin", _asin, "arcsin({0})")
ACOS = elementwise("acos", _acos, "arccos({0})")
ATAN = elementwise("atan", lambda x: ops().atan2(x, 1), "arctan({0})")
SINH = elementwise("sinh", _sinh, precise("sinh"))
COSH = elementwise("cosh", _cosh, "cosh({0})")
ASINH = elementwise("asinh", _asinh, precise("arcsinh"))
ACOSH = elementwise("acosh", _acosh, precise("arccosh"))
ATANH = elementwise("atanh", _atanh, precise("arctanh"))
HYPOT = elementwise("hypot", _hypot, "hypot({0}, {1})")

# --------------------------------------------------------------------------------------------- exponents, logarithms

def _logaddexp(x: Node, y: Node) -> Node:
    """max + log1p(exp(-|x - y|)); where both are the same infinity, that."""
    o = ops()
    far = o.neg(o.abs(o.sub(x, y)))
    return o.where(_both_infinite(x, y), x, o.add(o.maximum(x, y), o.log1p(o.exp(far))))


def _logaddexp2(x: Node, y: Node) -> Node:
    o = ops()
    far = o.neg(o.abs(o.sub(x, y)))
    return o.where(_both_infinite(x, y), x, o.add(o.maximum(x, y), o.mul(o.log1p(o.exp2(far)), LOG2_E)))


def _both_infinite(x: Node, y: Node) -> Node:
    o = ops()
    return o.bitwise_and(o.eq(x, y), o.eq(o.abs(x), float("inf")))


def _product(log: str) -> Any:
    """x log(y) that is 0 where x is, unless y is NaN."""
    def decompose(x: Node, y: Node) -> Node:
        o = ops()
        nothing = o.bitwise_and(o.eq(x, 0), o.eq(y, y))
        return o.where(nothing, 0, o.mul(x, getattr(o, log)(y)))
    return decompose


def _logit(x: Node, eps: float | None) -> Node:
    o = ops()
    if eps is not None:
        x = o.where(o.lt(x, eps), eps, o.where(o.gt(x, 1 - eps), 1 - eps, x))       # an eps above 1/2 is as PyTorch's
    return o.log(o.div(x, o.sub(1, x)))


EXP2 = elementwise("exp2", lambda x: ops().pow(2, x), "exp2({0})")
LOGADDEXP = elementwise("logaddexp", _logaddexp)
LOGADDEXP2 = elementwise("logaddexp2", _logaddexp2)
XLOGY = elementwise("xlogy", _product("log"))
XLOG1PY = elementwise("xlog1py", _product("log1p"), grad_name="SpecialXlog1PyBackward0")
LOGIT = row("logit", Kind.COMPOSITE, lambda x, eps: same(x), decompose=_logit)

# ----------------------------------------------------------------------------------- signs, quotients and what is left

def _copysign(x: Node, y: Node) -> Node:
    o = ops()
    return o.where(o.signbit(y), o.neg(o.abs(x)), o.abs(x))


def _fmod(x: Node, y: Node) -> Node:
    """The remainder with the sign of x. Integers: the floored one, less y where the signs differ."""
    o = ops()
    if x.dtype.is_floating_point:
        return o.copysign(o.remainder(o.abs(x), o.abs(y)), x)
    floored = o.remainder(x, y)
    differs = o.bitwise_and(o.ne(floored, 0), o.ne(o.lt(floored, 0), o.lt(x, 0)))
    return o.where(differs, o.sub(floored, y), floored)


def _div_trunc(x: Node, y: Node) -> Node:
    """The quotient without its fraction. Integers: the floored one, and 1 more where it was negative and inexact."""
    o = ops()
    if x.dtype.is_floating_point:
        return o.trunc(o.div(x, y))
    floored = o.floor_divide(x, y)
    inexact = o.ne(o.mul(floored, y), x)
    return o.where(o.bitwise_and(o.lt(floored, 0), inexact), o.add(floored, 1), floored)


def _lerp(start: Node, end: Node, weight: Node) -> Node:
    """From the nearer end, so that the weights 0 and 1 give the ends themselves."""
    o = ops()
    span = o.sub(end, start)
    near = o.add(start, o.mul(weight, span))
    return o.where(o.lt(o.abs(weight), 0.5), near, o.sub(end, o.mul(span, o.sub(1, weight))))


COPYSIGN = elementwise("copysign", _copysign, "copysign({0}, {1})")
FMOD = elementwise("fmod", _fmod, "fmod({0}, {1})", grad_name="FmodBackward1")
DIV_FLOOR = elementwise("div_floor", lambda x, y: ops().floor_divide(x, y), grad_name="DivBackward2")
DIV_TRUNC = elementwise("div_trunc", _div_trunc, grad_name="DivBackward2")
"""`div` with a rounding mode: unlike `floor_divide` they have a derivative, zero, as in PyTorch."""
LERP = elementwise("lerp", _lerp, grad_name="LerpBackward1")
