"""What layers and losses are made of as single nodes; `nn.functional` checks arguments, and reduces losses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from .. import ops as g
from ..graph.dtypes import int64
from ..graph.node import Node
from ..graph.spec import Device, Shape
from .host import answered
from .index import picked, placed
from .operands import converted, no_tensor
from .storage import wrap
from .types import Tensor


def recording(operation: Callable[..., Node], name: str | None = None) -> Callable[..., Tensor]:
    """An operation of nodes and numbers as one of tensors; `name` is what its grad_fn goes by."""
    def recorded(*args: object, **kwargs: object) -> Tensor:
        return wrap(operation(*(x.node if isinstance(x, Tensor) else x for x in args), **kwargs), name)
    return recorded


flat = recording(g.flat)
"""The operand of an operation that is piecewise linear: its second derivative is 0, where PyTorch says so."""
windows, fold_windows = recording(g.windows), recording(g.fold_windows)
"""Overlapping windows along an axis, (..., L, ...) to (..., n, ..., size), a copy; and windows added up again."""
normalised, rms_normalised = recording(g.normalised), recording(g.rms_normalised)
logistic, squared_error = recording(g.logistic_loss), recording(g.squared_error)
huber, smooth_l1 = recording(g.huber), recording(g.smooth_l1)
"""Losses of each element: of a logit; of differences."""
binary_cross_entropy = recording(g.binary_cross_entropy)
binary_cross_entropy_with_logits = recording(g.binary_cross_entropy_with_logits)
"""Of each element, for probabilities and for logits; shapes broadcast, dtypes agree."""
convolution = recording(g.convolution, "ConvolutionBackward0")
"""Cross-correlation of input (N, C, *sizes) with weight (O, C/groups, *kernel), zeros before and after."""


def padded(input: Tensor, starts: Shape, shape: Shape, value: float) -> Tensor:
    """A tensor of `shape` that is `value` everywhere but from `starts` on, where the input is."""
    x = input.node
    steps = (1,) * len(shape)
    value = value.item() if isinstance(value, Tensor) else value
    node = g.pad(x, starts, shape, steps) if value == 0 else \
        g.slice_update(g.full(converted(value, x.dtype, "pad"), shape, x.dtype, x.device), x, starts, steps)
    return wrap(node, "ConstantPadNdBackward0")


def lower_triangle(rows: int, columns: int, device: Device) -> Tensor:
    """Whether column <= row: bool (rows, columns)."""
    return wrap(g.le(g.reshape(g.iota(columns, device), (1, columns)), g.reshape(g.iota(rows, device), (rows, 1))))


def rows_of(input: Tensor, index: Tensor) -> Tensor:
    """Rows of input (K, D) at `index` (int64, any shape): index.shape + (D,). Raises IndexError for one outside [0, K),
    on the devices whose values can be looked at without waiting; on a GPU its row is NaN."""
    node, rows = index.node, input.node.shape[0]
    if node.device.kind.readable and node.spec.numel:
        wrong = answered(node, partial(_out_of_range, rows))
        if wrong is not None:
            raise IndexError(f"index out of range in self: got {wrong}, there are {rows} rows")
    return wrap(picked(input.node, placed(node, rows, 0, -1)), "EmbeddingBackward0")


def _out_of_range(rows: int, index: np.ndarray) -> int | None:
    """The lowest index below 0, or else the highest, where it is not below `rows`."""
    low, high = int(index.min()), int(index.max())
    return low if low < 0 else high if high >= rows else None


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


def cross_entropy(input: Tensor, target: Tensor, ignore_index: int, reduction: str) -> Tensor:
    """Of logits (N, C) with classes (N,) int64: (N,), or 0-d where `reduction` is "mean" or "sum". The mean is over the
    rows that count, those whose class is not `ignore_index`."""
    return wrap(g.cross_entropy(input.node, target.node, ignore_index, reduction))
