"""Operations over whole rows: means and moments, norms, softmax, and where an extremum lies."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..graph import dtypes
from ..graph.dtypes import DType
from ..graph.node import Node, record1
from ..graph.spec import Shape, Spec
from . import core as g
from .core import count, folding, widened
from .shapes import reduced
from .table import Axes, along, composite

# -------------------------------------------------------------------------------------------------------------- moments

def _mean(x: Node, axes: Axes) -> Node:
    return g.cast(g.div(g.sum(widened(x), axes), float(count(x.shape, axes))), x.dtype)


MEAN, mean = folding(*composite(
    "mean", reduced, _mean,
    lambda ct, o, x, axes: g.spread(g.div(ct, float(count(x.shape, axes))), x.shape, axes), ""))


def _wide_var(x: Node, axes: Axes, correction: float) -> Node:
    x, n = widened(x), count(x.shape, axes)
    deviation = g.sub(x, g.keep(g.div(g.sum(x, axes), float(n)), x.shape, axes))
    return g.div(g.sum(g.mul(deviation, deviation), axes), float(max(0, n - correction)))


def _var_gradient(ct: Node, o: object, x: Node, axes: Axes, correction: float) -> Node:
    """2 (x - mean) / (n - correction), wherever that is (as PyTorch's): infinite, or of the other sign."""
    scale = count(x.shape, axes) - correction
    deviation = g.sub(x, mean(x, axes, keepdim=True))
    return g.mul(g.keep(g.mul(ct, 2.0 / scale if scale else math.inf), x.shape, axes), deviation)


VAR, var = composite("var", lambda x, axes, correction: reduced(x, axes),
                     lambda x, axes, correction: g.cast(_wide_var(x, axes, correction), x.dtype), _var_gradient, "x")
"""Variance over `axes` with divisor max(0, n - correction)."""


def _std_gradient(ct: Node, o: Node, x: Node, axes: Axes, correction: float) -> Node:
    """The variance's derivative over 2 std, and 0 where the deviation is 0 (as PyTorch's)."""
    return _var_gradient(g.where(g.eq(o, 0), 0, g.div(ct, g.mul(o, 2))), None, x, axes, correction)


STD, std = composite("std", lambda x, axes, correction: reduced(x, axes),
                     lambda x, axes, correction: g.cast(g.sqrt(_wide_var(x, axes, correction)), x.dtype),
                     _std_gradient, "ox")
"""Standard deviation over `axes`."""


def _norm(x: Node, axes: Axes, p: float) -> Node:
    """(sum |x|^p)^(1/p); half precisions in float32 throughout, for a square soon overflows them."""
    wide = widened(x)
    if p == 0:
        out = g.sum(g.cast(g.ne(wide, 0), wide.dtype), axes)
    elif p == 2:
        out = g.sqrt(g.sum(g.mul(wide, wide), axes))
    else:
        out = g.pow(g.sum(g.pow(g.abs(wide), p), axes), 1 / p)
    return g.cast(out, x.dtype)


def _norm_gradient(ct: Node, o: Node, x: Node, axes: Axes, p: float) -> Node:
    """ct sign(x) (|x| / norm)^(p-1), and 0 where that divides by 0 (PyTorch's norm_backward)."""
    if p == 0:
        return g.zeros_like(x)
    ct, norm = g.keep(ct, x.shape, axes), g.keep(o, x.shape, axes)
    zero = g.eq(norm, 0)
    if p == 2:
        return g.mul(ct, g.where(zero, 0, g.div(x, norm)))
    if p < 1:
        slope = g.where(g.eq(x, 0), 0, g.pow(g.abs(x), p - 1))
        return g.mul(g.mul(g.mul(g.sign(x), slope), ct), g.pow(norm, 1 - p))
    slope = g.mul(g.sign(x), g.pow(g.abs(x), p - 1)) if p < 2 else g.mul(x, g.pow(g.abs(x), p - 2))
    return g.mul(slope, g.where(zero, 0, g.div(ct, g.pow(norm, p - 1))))


NORM, _ = composite("norm", lambda x, axes, p: reduced(x, axes), _norm, _norm_gradient, "ox",
                 grad_name="LinalgVectorNormBackward0")


def norm(x: Node, axes: Axes, p: float, keepdim: bool = False) -> Node:
    """(sum |x|^p)^(1/p) over `axes`; the number of elements other than 0 where p is 0. p is finite."""
    out = record1(NORM, x, (axes, p))
    return g.keep(out, x.spec.shape, axes) if keepdim else out


# -------------------------------------------------------------------------------------------------------------- softmax

def shifted(x: Node, axes: Axes) -> tuple[Node, Node]:
    """x less its maximum over `axes`, so that exp cannot overflow, and that maximum (0 where it is infinite)."""
    top = g.amax(x, axes, keepdim=True)
    top = g.where(g.eq(g.abs(top), math.inf), 0.0, top)
    return g.sub(x, top), top


def _logsumexp(x: Node, axes: Axes) -> Node:
    if count(x.shape, axes) == 0:
        return g.log(g.sum(g.exp(x), axes))
    shift, top = shifted(widened(x), axes)
    total = g.log(g.sum(g.exp(shift), axes))
    return g.cast(g.add(total, g.reshape(top, total.shape)), x.dtype)


LOGSUMEXP, logsumexp = folding(*composite(
    "logsumexp", reduced, _logsumexp,
    lambda ct, o, x, axes: g.mul(g.keep(ct, x.shape, axes), g.exp(g.sub(x, g.keep(o, x.shape, axes)))), "ox"))


def _softmax(x: Node, axis: int) -> Node:
    wide = widened(x)
    e = g.exp(g.sub(wide, g.amax(wide, (axis,), keepdim=True)))
    return g.cast(g.div(e, g.sum(e, (axis,), keepdim=True)), x.dtype)


def _softmax_gradient(ct: Node, o: Node, x: object, axis: int) -> Node:
    wide, out = widened(ct), widened(o)
    return g.cast(g.mul(out, g.sub(wide, g.sum(g.mul(wide, out), (axis,), keepdim=True))), o.dtype)


SOFTMAX, softmax = along("softmax", _softmax, _softmax_gradient, "o")


def _log_softmax(x: Node, axis: int) -> Node:
    wide = widened(x)
    shift = g.sub(wide, g.amax(wide, (axis,), keepdim=True))
    return g.cast(g.sub(shift, g.log(g.sum(g.exp(shift), (axis,), keepdim=True))), x.dtype)


def _log_softmax_gradient(ct: Node, o: Node, x: object, axis: int) -> Node:
    wide = widened(ct)
    return g.cast(g.sub(wide, g.mul(g.exp(widened(o)), g.sum(wide, (axis,), keepdim=True))), o.dtype)


LOG_SOFTMAX, log_softmax = along("log_softmax", _log_softmax, _log_softmax_gradient, "o")

# ---------------------------------------------------------------------------------------------- where an extremum lies

def _arg(fold: Callable[..., Node]) -> Callable[[Node, int], Node]:
    """Index of the first of the extreme elements along an axis; a NaN counts as one."""
    def decompose(x: Node, axis: int) -> Node:
        n = x.shape[axis]
        best = fold(x, (axis,), keepdim=True)
        places = g.reshape(g.iota(n, x.device), tuple(n if i == axis else 1 for i in range(len(x.shape))))
        hit = g.bitwise_or(g.eq(x, best), g.ne(x, x))
        return g.amin(g.where(hit, g.expand(places, x.shape), n), (axis,))
    return decompose


def _index_of(x: Spec, axis: int) -> tuple[Shape, DType]:
    return reduced(x, (axis,))[0], dtypes.int64


ARGMAX, argmax = along("argmax", _arg(g.amax), infer=_index_of, numpy=lambda out, x, axis: f"argmax({{0}}, {axis})",
                       differentiable=False)
ARGMIN, argmin = along("argmin", _arg(g.amin), infer=_index_of, numpy=lambda out, x, axis: f"argmin({{0}}, {axis})",
                       differentiable=False)
