"""Normalisation as single nodes: the forward is one kernel over rows, and so is the closed form of its derivative.

With y the normalised x and s = 1 / sqrt(variance + eps), the cotangent of x is s (ct - mean(ct) - y mean(ct y)); where
no mean is taken off (Zhang & Sennrich, 2019) its second term is missing. Half precisions are computed in float32.
"""

from __future__ import annotations

from ..graph.node import Node
from . import core as g
from .core import widened
from .rows import mean, var
from .shapes import same
from .table import Axes, composite


def _scale(square: Node, eps: float) -> Node:
    """1 / sqrt(square + eps)."""
    return g.rsqrt(g.add(square, eps))


def _normalised(x: Node, axes: Axes, eps: float) -> Node:
    wide = widened(x)
    centred = g.sub(wide, mean(wide, axes, keepdim=True))
    return g.cast(g.mul(centred, _scale(mean(g.mul(centred, centred), axes, keepdim=True), eps)), x.dtype)


def _normalised_gradient(ct: Node, y: Node, x: Node, axes: Axes, eps: float) -> Node:
    """s (ct - mean(ct) - y mean(ct y))."""
    ct, y, wide = widened(ct), widened(y), widened(x)
    scale = _scale(g.keep(var(wide, axes, 0), x.shape, axes), eps)
    centred = g.sub(ct, mean(ct, axes, keepdim=True))   # mean(ct y) is its mean with y too, and smaller terms lose less
    return g.cast(g.mul(scale, g.sub(centred, g.mul(y, mean(g.mul(centred, y), axes, keepdim=True)))), x.dtype)


NORMALISED, normalised = composite("normalised", lambda x, axes, eps: same(x), _normalised, _normalised_gradient, "ox",
                                   grad_name="NativeLayerNormBackward0")
"""(x - mean) / sqrt(variance + eps) over `axes`."""


def _rms_normalised(x: Node, axes: Axes, eps: float) -> Node:
    wide = widened(x)
    return g.cast(g.mul(wide, _scale(mean(g.mul(wide, wide), axes, keepdim=True), eps)), x.dtype)


def _rms_normalised_gradient(ct: Node, y: Node, x: Node, axes: Axes, eps: float) -> Node:
    """s (ct - y mean(ct y))."""
    ct, y, wide = widened(ct), widened(y), widened(x)
    scale = _scale(mean(g.mul(wide, wide), axes, keepdim=True), eps)
    return g.cast(g.mul(scale, g.sub(ct, g.mul(y, mean(g.mul(ct, y), axes, keepdim=True)))), x.dtype)


RMS_NORMALISED, rms_normalised = composite(
    "rms_normalised", lambda x, axes, eps: same(x), _rms_normalised, _rms_normalised_gradient, "ox",
    grad_name="FusedRmsNormBackward0")
"""x / sqrt(mean of squares + eps) over `axes`."""
