"""The p-norm of vectors as a single node: its derivative in closed form is 0 at the zero vector, as PyTorch's is."""

from __future__ import annotations

import math

from .composites import count, ops, widened
from .node import Kind, Node
from .primitives import reduction, row

Axes = tuple[int, ...]


def _vector_norm(x: Node, axes: Axes, p: float) -> Node:
    """(sum |x|^p)^(1/p); the number of elements other than 0 for p = 0, the largest or smallest for p = ±inf."""
    o = ops()
    wide = widened(x)
    size = o.abs(wide)
    if p == 0:
        out = o.sum(o.cast(o.ne(wide, 0), wide.dtype), axes)
    elif p == 1 or count(x.shape, axes) == 1:       # of one element it is the absolute value, exactly
        out = o.sum(size, axes)
    elif p == 2:
        out = o.sqrt(o.sum(o.mul(wide, wide), axes))
    elif math.isinf(p):
        out = (o.amax if p > 0 else o.amin)(size, axes)
    else:
        out = o.pow(o.sum(o.pow(size, p), axes), 1 / p)
    return o.cast(out, x.dtype)


def vector_norm_gradient(ct: Node, norm: Node, x: Node, axes: Axes, p: float) -> Node:
    """x |x|^(p-2) ct / norm^(p-1); elements that are equally the largest share it."""
    o = ops()
    ct, norm = o.keep(ct, x.shape, axes), o.keep(norm, x.shape, axes)
    if p == 0:
        return o.zeros_like(x)
    sign = o.sign(x)
    if p == 1:
        return o.mul(ct, sign)
    if math.isinf(p):
        best = o.bitwise_or(o.eq(o.abs(x), norm), o.ne(x, x))
        share = o.div(ct, o.sum(o.cast(best, x.dtype), axes, keepdim=True))
        return o.mul(sign, o.where(best, share, 0))
    zero = o.eq(norm, 0)
    length = o.where(zero, 1, norm)         # so that nothing is divided by 0, here or in a further derivative
    if p == 2:
        return o.mul(ct, o.where(zero, 0, o.div(x, length)))
    size = o.abs(x)
    if p > 1:
        return o.mul(o.mul(sign, o.pow(size, p - 1)), o.where(zero, 0, o.div(ct, o.pow(length, p - 1))))
    slope = o.mul(sign, o.pow(o.where(o.eq(x, 0), 1, size), p - 1))     # infinite at 0, and taken for 0
    return o.mul(o.mul(slope, ct), o.where(zero, 0, o.pow(length, 1 - p)))


VECTOR_NORM = row("vector_norm", Kind.COMPOSITE, lambda x, axes, p: reduction(x, axes), decompose=_vector_norm,
                  grad_name="LinalgVectorNormBackward0")
"""Of the vectors along `axes`."""
