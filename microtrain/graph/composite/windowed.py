"""Convolution: windows of the input as the columns of a matrix, and one product (Chellapilla et al., 2006).

The columns are a view. A kernel's product loads them through index arithmetic, so they are never stored; the node keeps
input and weight alone, and its derivatives make the columns again.
"""

from __future__ import annotations

import math
from typing import Any

from ..dtypes import DType
from ..node import Kind, Node
from ..primitives import row
from ..shape_rules import folded, windows_along
from ..spec import Shape, Spec
from .basic import ops, widened

Padding = tuple[tuple[int, int], ...]


def _fold_windows(x: Node, axis: int, length: int, step: int, dilation: int) -> Node:
    """A sum of as many spread-out slices as a window has elements, in their order; half precisions in float32."""
    o = ops()
    *shape, size = x.shape
    wide = widened(x)
    target = (*shape[:axis], length, *shape[axis + 1:])
    steps = tuple(step if d == axis else 1 for d in range(len(shape)))
    total = None
    for j in range(size):
        part = o.slice(wide, (0,) * len(shape) + (j,), (*shape, 1), (1,) * len(x.shape))
        starts = tuple(j * dilation if d == axis else 0 for d in range(len(shape)))
        spread = o.pad(o.reshape(part, tuple(shape)), starts, target, steps)
        total = spread if total is None else o.add(total, spread)
    assert total is not None
    return o.cast(total, x.dtype)


def _convolution_infer(x: Spec, weight: Spec, stride: Shape, padding: Padding, dilation: Shape,
                       groups: int) -> tuple[Shape, DType]:
    sizes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    out = [windows_along(length + sum(pads), size, step, apart) for length, size, step, pads, apart in sizes]
    return (x.shape[0], weight.shape[0], *out), x.dtype


def padded_shape(shape: Shape, padding: Padding) -> Shape:
    """The shape of (N, C, *sizes) with zeros before and after its sizes."""
    return (*shape[:2], *[size + before + after for size, (before, after) in zip(shape[2:], padding, strict=True)])


def columns(x: Node, kernel: Shape, stride: Shape, padding: Padding, dilation: Shape, groups: int) -> Node:
    """The windows of x (N, C, *sizes), padded, as matrices (N, groups, C/groups * kernel, places), a view."""
    o = ops()
    n, c, *_ = x.shape
    if any(map(any, padding)):
        x = o.pad(x, (0, 0, *[before for before, _ in padding]), padded_shape(x.shape, padding), (1,) * len(x.shape))
    for d, size in enumerate(kernel):
        x = o.windows(x, 2 + d, size, stride[d], dilation[d])
    k = len(kernel)
    x = o.permute(x, (0, 1, *range(2 + k, 2 + 2 * k), *range(2, 2 + k)))
    places = math.prod(x.shape[2 + k:])
    return o.reshape(x, (n, groups, c // groups * math.prod(kernel), places))


def matrices(weight: Node, groups: int) -> Node:
    """The weight (O, C/groups, *kernel) as a matrix for each group: (groups, O/groups, C/groups * kernel)."""
    return ops().reshape(weight, (groups, weight.shape[0] // groups, math.prod(weight.shape[1:])))


def _convolution(x: Node, weight: Node, stride: Shape, padding: Padding, dilation: Shape, groups: int) -> Node:
    o = ops()
    of = _convolution_infer(x.spec, weight.spec, stride, padding, dilation, groups)[0]
    product = o.matmul(matrices(weight, groups), columns(x, weight.shape[2:], stride, padding, dilation, groups))
    return o.reshape(product, of)


def _by_group(ct: Node, groups: int) -> Node:
    """A cotangent (N, O, *sizes) as matrices (N, groups, O/groups, places)."""
    n, out, *sizes = ct.shape
    return ops().reshape(ct, (n, groups, out // groups, math.prod(sizes)))


def input_gradient(ct: Node, o: Any, x: Spec, weight: Node, stride: Shape, padding: Padding, dilation: Shape,
                   groups: int) -> Node:
    """What each window contributes, added up where windows overlap."""
    g = ops()
    kernel, sizes = weight.shape[2:], ct.shape[2:]
    k = len(kernel)
    parts = g.matmul(g.transpose(matrices(weight, groups)), _by_group(ct, groups))
    parts = g.permute(g.reshape(parts, (*x.shape[:2], *kernel, *sizes)),
                      (0, 1, *range(2 + k, 2 + 2 * k), *range(2, 2 + k)))
    shape = padded_shape(x.shape, padding)
    for d in reversed(range(k)):
        parts = g.fold_windows(parts, 2 + d, shape[2 + d], stride[d], dilation[d])
    if shape == x.shape:
        return parts
    return g.slice(parts, (0, 0, *[before for before, _ in padding]), x.shape, (1,) * len(shape))


def weight_gradient(ct: Node, o: Any, x: Node, weight: Spec, stride: Shape, padding: Padding, dilation: Shape,
                    groups: int) -> Node:
    """A product for each example of the batch, and their sum."""
    g = ops()
    seen = g.transpose(columns(x, weight.shape[2:], stride, padding, dilation, groups))
    return g.reshape(g.sum(g.matmul(_by_group(ct, groups), seen), (0,)), weight.shape)


FOLD_WINDOWS = row("fold_windows", Kind.COMPOSITE, folded,
                   lambda out, x, axis, length, step, dilation:
                   f"fold_windows({{0}}, {axis}, {length}, {step}, {dilation})", decompose=_fold_windows)
"""The adjoint of `windows`: (..., n, ..., size) to (..., length, ...)."""

CONVOLUTION = row("convolution", Kind.COMPOSITE, _convolution_infer, decompose=_convolution)
"""Cross-correlation of x (N, C, *sizes) with weight (O, C/groups, *kernel)."""
