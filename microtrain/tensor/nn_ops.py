"""What layers and losses are made of as single nodes; `nn.functional` checks arguments, and reduces losses."""

from __future__ import annotations

from .. import ops as g
from ..graph.dtypes import int64
from ..graph.spec import Device, Shape
from .host import values
from .index import picked, placed
from .operands import converted, no_tensor
from .storage import wrap
from .types import Tensor


def flat(input: Tensor) -> Tensor:
    """The operand of an operation that is piecewise linear: its second derivative is 0, where PyTorch says so."""
    return wrap(g.flat(input.node))


def windows(input: Tensor, axis: int, size: int, step: int, dilation: int) -> Tensor:
    """Overlapping windows along an axis: (..., L, ...) to (..., n, ..., size), element j of window i being the one at
    i*step + j*dilation. A copy in PyTorch's sense: it shares no memory with the input."""
    return wrap(g.windows(input.node, axis, size, step, dilation))


def fold_windows(input: Tensor, axis: int, length: int, step: int, dilation: int) -> Tensor:
    """Windows (..., n, ..., size) added up where they overlap, to (..., length, ...)."""
    return wrap(g.fold_windows(input.node, axis, length, step, dilation))


def convolution(input: Tensor, weight: Tensor, stride: Shape, padding: tuple[tuple[int, int], ...], dilation: Shape,
                groups: int) -> Tensor:
    """Cross-correlation of input (N, C, *sizes) with weight (O, C/groups, *kernel), zeros before and after."""
    return wrap(g.convolution(input.node, weight.node, stride, padding, dilation, groups), "ConvolutionBackward0")


def padded(input: Tensor, starts: Shape, shape: Shape, value: float) -> Tensor:
    """A tensor of `shape` that is `value` everywhere but from `starts` on, where the input is."""
    x = input.node
    steps = (1,) * len(shape)
    value = value.item() if isinstance(value, Tensor) else value
    node = g.pad(x, starts, shape, steps) if value == 0 else \
        g.slice_update(g.full(converted(value, x.dtype, "pad"), shape, x.dtype, x.device), x, starts, steps)
    return wrap(node, "ConstantPadNdBackward0")


def normalised(input: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) over `axes`."""
    return wrap(g.normalised(input.node, axes, eps))


def rms_normalised(input: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """x / sqrt(mean of squares + eps) over `axes`."""
    return wrap(g.rms_normalised(input.node, axes, eps))


def lower_triangle(rows: int, columns: int, device: Device) -> Tensor:
    """Whether column <= row: bool (rows, columns)."""
    return wrap(g.le(g.reshape(g.iota(columns, device), (1, columns)), g.reshape(g.iota(rows, device), (rows, 1))))


def rows_of(input: Tensor, index: Tensor) -> Tensor:
    """Rows of input (K, D) at `index` (int64, any shape): index.shape + (D,).

    Raises IndexError for one outside [0, K), on the devices whose values can be looked at without waiting; on a GPU its
    row is NaN.
    """
    node, rows = index.node, input.node.shape[0]
    if node.device.kind.readable and node.spec.numel:
        found = values(node)
        low, high = int(found.min()), int(found.max())
        if low < 0 or high >= rows:
            raise IndexError(f"index out of range in self: got {low if low < 0 else high}, there are {rows} rows")
    return wrap(picked(input.node, placed(node, rows, 0, -1)), "EmbeddingBackward0")


def occurs(index: Tensor, n: int) -> Tensor:
    """Which of 0, ..., n-1 are among `index` (int64): bool (n,)."""
    node = index.node
    ones = g.full(1, node.shape, int64, node.device)
    return wrap(g.gt(g.index_add(ones, node, n), 0))


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input (..., K) @ weight (N, K)^T + bias (N,). Raises RuntimeError for shapes or dtypes that do not fit."""
    try:
        return wrap(g.linear(input.node, weight.node, None if bias is None else bias.node))
    except AttributeError:
        raise no_tensor("linear", input=input, weight=weight, bias=bias) from None


def binary_cross_entropy(input: Tensor, target: Tensor) -> Tensor:
    """Of each element, for probabilities; shapes broadcast, dtypes agree."""
    return wrap(g.binary_cross_entropy(input.node, target.node))


def binary_cross_entropy_with_logits(input: Tensor, target: Tensor) -> Tensor:
    """Of each element, for logits; shapes broadcast, dtypes agree."""
    return wrap(g.binary_cross_entropy_with_logits(input.node, target.node))


def logistic(input: Tensor) -> Tensor:
    """Of each element: log(1 + exp(x))."""
    return wrap(g.logistic_loss(input.node))


def squared_error(difference: Tensor) -> Tensor:
    """Of each element: d^2."""
    return wrap(g.squared_error(difference.node))


def huber(difference: Tensor, delta: float) -> Tensor:
    """Of each element: d^2 / 2, from |d| = delta on its tangent."""
    return wrap(g.huber(difference.node, delta))


def smooth_l1(difference: Tensor, beta: float) -> Tensor:
    """Of each element: Huber's loss over beta."""
    return wrap(g.smooth_l1(difference.node, beta))


def cross_entropy(input: Tensor, target: Tensor, ignore_index: int, reduction: str) -> Tensor:
    """Of logits (N, C) with classes (N,) int64: (N,), or 0-d where `reduction` is "mean" or "sum".

    The mean is over the rows that count, those whose class is not `ignore_index`.
    """
    return wrap(g.cross_entropy(input.node, target.node, ignore_index, reduction))
