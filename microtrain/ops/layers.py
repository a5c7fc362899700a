"""What layers are made of: the affine map, windows, and convolution.

Convolution has the windows of the input as the columns of a matrix, and one product (Chellapilla et al., 2006). The
columns are a view. A kernel's product loads them through index arithmetic, so they are never stored; the node keeps
input and weight alone, and its derivatives make the columns again.
"""

from __future__ import annotations

import math

from ..graph.dtypes import DType
from ..graph.node import Kind, Node, record, record1
from ..graph.spec import Shape, Spec
from . import core as g
from .core import count, widened
from .shapes import folded, windowed, windows_along
from .table import Operation, composite, row

Padding = tuple[tuple[int, int], ...]

# ----------------------------------------------------------------------------------------------------------- affine map

def _linear(x: Node, weight: Node, bias: Node | None = None) -> Node:
    flat = g.reshape(x, (x.spec.numel // x.shape[-1], x.shape[-1])) if x.spec.numel else x
    out = g.matmul(flat if len(flat.shape) > 1 else g.reshape(flat, (1, flat.shape[0])), g.transpose(weight))
    out = g.reshape(out, (*x.shape[:-1], weight.shape[0]))
    return out if bias is None else g.add(out, bias)


def _linear_infer(x: Spec, weight: Spec, bias: Spec | None = None) -> tuple[Shape, DType]:
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        rows = x.numel // x.shape[-1] if x.ndim and x.shape[-1] else 0
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied "
                           f"({rows}x{x.shape[-1] if x.ndim else 0} and {'x'.join(map(str, weight.shape[::-1]))})")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(f"linear: bias of shape {list(bias.shape)} does not fit {weight.shape[0]} output features")
    for other in (weight, bias):
        if other is not None and other.dtype is not x.dtype:
            raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {x.dtype.name} and {other.dtype.name}")
    return (*x.shape[:-1], weight.shape[0]), x.dtype


def _rows(x: Node) -> Node:
    """A (..., K) operand as a matrix (rows, K)."""
    if len(x.shape) == 2:
        return x
    return g.reshape(x, (count(x.shape, tuple(range(len(x.shape) - 1))), x.shape[-1]))


LINEAR, _ = composite("linear", _linear_infer, _linear,
                      lambda ct, o, x, w, *b: g.reshape(g.matmul(_rows(ct), w), x.shape), "y",
                      lambda ct, o, x, w, *b: g.matmul(g.transpose(_rows(ct)), _rows(x)), "x",
                      lambda ct, o, x, w, b: g.sum(_rows(ct), (0,)), "", grad_name="AddmmBackward0")


def linear(x: Node, weight: Node, bias: Node | None) -> Node:
    """x (..., K) @ weight (N, K)^T + bias (N,)."""
    return record(LINEAR, (x, weight) if bias is None else (x, weight, bias))


# -------------------------------------------------------------------------------------------------------------- windows
fold_windows: Operation
WINDOWS = row("windows", Kind.VIEW, windowed,
              lambda out, x, axis, size, step, dilation: f"windows({{0}}, {axis}, {out.shape!r}, {step}, {dilation})",
              "", lambda ct, o, x, axis, size, step, dilation: fold_windows(ct, axis, x.shape[axis], step, dilation),
              "", grad_name="UnfoldBackward0")


def windows(x: Node, axis: int, size: int, step: int, dilation: int) -> Node:
    """Overlapping windows along an axis: (..., L, ...) to (..., n, ..., size); element j of window i is at i*step +
    j*dilation. What convolution and pooling are made of."""
    return record1(WINDOWS, x, (axis, size, step, dilation))


def _fold_windows(x: Node, axis: int, length: int, step: int, dilation: int) -> Node:
    """A sum of as many spread-out slices as a window has elements, in their order; half precisions in float32."""
    *shape, size = x.shape
    wide = widened(x)
    target = (*shape[:axis], length, *shape[axis + 1:])
    steps = tuple(step if d == axis else 1 for d in range(len(shape)))
    total = None
    for j in range(size):
        part = g.slice(wide, (0,) * len(shape) + (j,), (*shape, 1), (1,) * len(x.shape))
        starts = tuple(j * dilation if d == axis else 0 for d in range(len(shape)))
        spread = g.pad(g.reshape(part, tuple(shape)), starts, target, steps)
        total = spread if total is None else g.add(total, spread)
    assert total is not None
    return g.cast(total, x.dtype)


FOLD_WINDOWS, fold_windows = composite(
    "fold_windows", folded, _fold_windows,
    lambda ct, o, x, axis, length, step, dilation: windows(ct, axis, x.shape[-1], step, dilation), "",
    numpy=lambda out, x, axis, length, step, dilation: f"fold_windows({{0}}, {axis}, {length}, {step}, {dilation})")
"""Windows (..., n, ..., size) added up where they overlap, to (..., length, ...): the adjoint of `windows`."""


# ---------------------------------------------------------------------------------------------------------- convolution

def _convolution_infer(x: Spec, weight: Spec, stride: Shape, padding: Padding, dilation: Shape,
                       groups: int) -> tuple[Shape, DType]:
    sizes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    out = [windows_along(length + sum(pads), size, step, apart) for length, size, step, pads, apart in sizes]
    return (x.shape[0], weight.shape[0], *out), x.dtype


def _padded_shape(shape: Shape, padding: Padding) -> Shape:
    """The shape of (N, C, *sizes) with zeros before and after its sizes."""
    return (*shape[:2], *[size + before + after for size, (before, after) in zip(shape[2:], padding, strict=True)])


def _columns(x: Node, kernel: Shape, stride: Shape, padding: Padding, dilation: Shape, groups: int) -> Node:
    """The windows of x (N, C, *sizes), padded, as matrices (N, groups, C/groups * kernel, places), a view."""
    n, c, *_ = x.shape
    if any(map(any, padding)):
        x = g.pad(x, (0, 0, *[before for before, _ in padding]), _padded_shape(x.shape, padding), (1,) * len(x.shape))
    for d, size in enumerate(kernel):
        x = windows(x, 2 + d, size, stride[d], dilation[d])
    k = len(kernel)
    x = g.permute(x, (0, 1, *range(2 + k, 2 + 2 * k), *range(2, 2 + k)))
    places = math.prod(x.shape[2 + k:])
    return g.reshape(x, (n, groups, c // groups * math.prod(kernel), places))


def _matrices(weight: Node, groups: int) -> Node:
    """The weight (O, C/groups, *kernel) as a matrix for each group: (groups, O/groups, C/groups * kernel)."""
    return g.reshape(weight, (groups, weight.shape[0] // groups, math.prod(weight.shape[1:])))


def _convolution(x: Node, weight: Node, stride: Shape, padding: Padding, dilation: Shape, groups: int) -> Node:
    of = _convolution_infer(x.spec, weight.spec, stride, padding, dilation, groups)[0]
    product = g.matmul(_matrices(weight, groups), _columns(x, weight.shape[2:], stride, padding, dilation, groups))
    return g.reshape(product, of)


def _by_group(ct: Node, groups: int) -> Node:
    """A cotangent (N, O, *sizes) as matrices (N, groups, O/groups, places)."""
    n, out, *sizes = ct.shape
    return g.reshape(ct, (n, groups, out // groups, math.prod(sizes)))


def _input_gradient(ct: Node, o: object, x: Spec, weight: Node, stride: Shape, padding: Padding, dilation: Shape,
                    groups: int) -> Node:
    """What each window contributes, added up where windows overlap."""
    kernel, sizes = weight.shape[2:], ct.shape[2:]
    k = len(kernel)
    parts = g.matmul(g.transpose(_matrices(weight, groups)), _by_group(ct, groups))
    parts = g.permute(g.reshape(parts, (*x.shape[:2], *kernel, *sizes)),
                      (0, 1, *range(2 + k, 2 + 2 * k), *range(2, 2 + k)))
    shape = _padded_shape(x.shape, padding)
    for d in reversed(range(k)):
        parts = fold_windows(parts, 2 + d, shape[2 + d], stride[d], dilation[d])
    if shape == x.shape:
        return parts
    return g.slice(parts, (0, 0, *[before for before, _ in padding]), x.shape, (1,) * len(shape))


def _weight_gradient(ct: Node, o: object, x: Node, weight: Spec, stride: Shape, padding: Padding, dilation: Shape,
                     groups: int) -> Node:
    """A product for each example of the batch, and their sum."""
    seen = g.transpose(_columns(x, weight.shape[2:], stride, padding, dilation, groups))
    return g.reshape(g.sum(g.matmul(_by_group(ct, groups), seen), (0,)), weight.shape)


CONVOLUTION, convolution = composite("convolution", _convolution_infer, _convolution, _input_gradient, "y",
                                     _weight_gradient, "x")
"""x (N, C, *sizes) with weight (O, C/groups, *kernel): (N, O, *sizes out); `padding` of zeros before and after."""
