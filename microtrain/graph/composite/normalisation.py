"""Normalisation as single nodes: the forward is one kernel over rows, and so is the closed form of its derivative.

With y the normalised x and s = 1 / sqrt(variance + eps), the cotangent of x is s (ct - mean(ct) - y mean(ct y)); where
no mean is taken off (Zhang & Sennrich, 2019) its second term is missing. Half precisions are computed in float32.
"""

from __future__ import annotations

from ..node import Kind, Node
from ..primitives import row, same
from .basic import ops, widened

Axes = tuple[int, ...]


def _mean(x: Node, axes: Axes) -> Node:
    return ops().mean(x, axes, keepdim=True)


def _scale(square: Node, eps: float) -> Node:
    """1 / sqrt(square + eps)."""
    o = ops()
    return o.rsqrt(o.add(square, eps))


def _normalised(x: Node, axes: Axes, eps: float) -> Node:
    o = ops()
    wide = widened(x)
    centred = o.sub(wide, _mean(wide, axes))
    return o.cast(o.mul(centred, _scale(_mean(o.mul(centred, centred), axes), eps)), x.dtype)


def _rms_normalised(x: Node, axes: Axes, eps: float) -> Node:
    o = ops()
    wide = widened(x)
    return o.cast(o.mul(wide, _scale(_mean(o.mul(wide, wide), axes), eps)), x.dtype)


def normalised_gradient(ct: Node, y: Node, x: Node, axes: Axes, eps: float) -> Node:
    """s (ct - mean(ct) - y mean(ct y))."""
    o = ops()
    ct, y, wide = widened(ct), widened(y), widened(x)
    scale = _scale(o.keep(o.var(wide, axes, 0), x.shape, axes), eps)
    centred = o.sub(ct, _mean(ct, axes))        # mean(ct y) is its mean with y too, and smaller terms lose less
    return o.cast(o.mul(scale, o.sub(centred, o.mul(y, _mean(o.mul(centred, y), axes)))), x.dtype)


def rms_normalised_gradient(ct: Node, y: Node, x: Node, axes: Axes, eps: float) -> Node:
    """s (ct - y mean(ct y))."""
    o = ops()
    ct, y, wide = widened(ct), widened(y), widened(x)
    scale = _scale(_mean(o.mul(wide, wide), axes), eps)
    return o.cast(o.mul(scale, o.sub(ct, o.mul(y, _mean(o.mul(ct, y), axes)))), x.dtype)


NORMALISED = row("normalised", Kind.COMPOSITE, lambda x, axes, eps: same(x), decompose=_normalised,
                 grad_name="NativeLayerNormBackward0")
RMS_NORMALISED = row("rms_normalised", Kind.COMPOSITE, lambda x, axes, eps: same(x), decompose=_rms_normalised,
                     grad_name="FusedRmsNormBackward0")
"""x with mean 0 and variance 1 over `axes`, or with mean square 1, but for eps."""
