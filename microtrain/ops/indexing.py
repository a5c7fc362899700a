"""Elements picked, added up or replaced at places that an index names, or in a slice.

NumPy has a function for most. For kernels they are taken apart into comparisons and reductions, so that the order of
every addition is fixed, without atomics: a scatter costs its length times that of the index.
"""

from __future__ import annotations

from ..graph import dtypes
from ..graph.node import Kind, Node, record2
from ..graph.spec import Shape, Spec
from . import core as g
from . import shapes
from .core import count, none
from .table import Operation, composite, row

# ----------------------------------------------------------------------------------------------------- along first axes
index_add: Operation      # derivatives name them before they are there
TAKE = row("take", Kind.INDEX, shapes.taken, "{0}.take({1}, 0)", "",
           lambda ct, o, x, index: index_add(ct, index, x.shape[0]), "y", none, "", grad_name="IndexBackward0")


def take(x: Node, index: Node) -> Node:
    """Rows of x (K, ...) at `index` (int64, any shape, each in [0, K)): index.shape + (...)."""
    return record2(TAKE, x, index)


def _index_add(source: Node, index: Node, rows: int) -> Node:
    """Row k is the sum of the sources whose index is k: a comparison and a sum."""
    n, rest = index.spec.numel, source.shape[len(index.shape):]
    flat = g.reshape(source, (n, 1, *rest))
    hit = g.eq(g.reshape(index, (n, 1)), g.reshape(g.iota(rows, index.device), (1, rows)))
    hit = g.reshape(hit, (n, rows, *[1] * len(rest)))
    return g.sum(g.where(hit, flat, 0), (0,))


INDEX_ADD, index_add = composite("index_add", shapes.added_at, _index_add,
                                 lambda ct, o, source, index, rows: take(ct, index), "y", none, "",
                                 numpy=lambda out, source, index, rows: f"index_add({{0}}, {{1}}, {rows})",
                                 grad_name="IndexPutBackward0")
"""Zeros (rows, ...) with source[i...] added to row index[i...]: the adjoint of `take`, in a fixed order."""


def _index_put(x: Node, index: Node, value: Node) -> Node:
    """The last value written to a row wins: for each row, the largest place whose index is that row."""
    rows, n = x.shape[0], index.spec.numel
    rest = x.shape[1:]
    if n == 0:
        return g.identity(x)
    hit = g.eq(g.reshape(index, (n, 1)), g.reshape(g.iota(rows, x.device), (1, rows)))
    last = g.amax(g.where(hit, g.reshape(g.iota(n, x.device), (n, 1)), -1), (0,))
    fresh = take(g.reshape(value, (n, *rest)), g.maximum(last, 0))
    written = g.reshape(g.ge(last, 0), (rows, *[1] * len(rest)))
    return g.where(written, fresh, x)


index_put: Operation
INDEX_PUT, index_put = composite(
    "index_put", shapes.put_at, _index_put,
    lambda ct, o, x, index, value: index_put(ct, index, g.zeros_like(value)), "y", none, "",
    lambda ct, o, x, index, value: take(ct, index), "y", numpy="index_put({0}, {1}, {2})")
"""x (K, ...) with rows `index` (int64, each in [0, K)) replaced by value (index.shape + (...)). Where an index comes
twice, the last one wins."""


def _slice_update(x: Node, value: Node, starts: Shape, steps: Shape) -> Node:
    inside = g.pad(g.full(True, value.shape, dtypes.bool_, x.device), starts, x.shape, steps)
    return g.where(inside, g.pad(value, starts, x.shape, steps), x)


def _outside(ct: Node, o: object, x: object, value: Spec, starts: Shape, steps: Shape) -> Node:
    return slice_update(ct, g.zeros_like(value), starts, steps)


SLICE_UPDATE, slice_update = composite(
    "slice_update", shapes.updated, _slice_update, _outside, "",
    lambda ct, o, x, value, starts, steps: g.slice(ct, starts, value.shape, steps), "", grad_name="CopySlices",
    numpy=lambda out, x, value, starts, steps: f"slice_update({{0}}, {{1}}, {starts!r}, {steps!r})")
"""x with the slice at (starts, steps) of value's shape replaced by `value`."""


# ------------------------------------------------------------------------------------------------------- along one axis

def _gather(x: Node, index: Node, axis: int) -> Node:
    """Elements of the flattened x: the row's beginning plus the index."""
    x, index = g.transpose(x, axis, -1), g.transpose(index, axis, -1)
    *lead, n = x.shape
    rows = count(tuple(lead), tuple(range(len(lead))))
    start = g.reshape(g.mul(g.iota(rows, x.device), n), (*lead, 1))
    return g.transpose(take(g.reshape(x, (rows * n,)), g.add(start, index)), axis, -1)


scatter_add: Operation
GATHER, gather = composite("gather", shapes.gathered, _gather,
                           lambda ct, o, x, index, axis: scatter_add(ct, index, axis, x.shape[axis]), "y", none, "",
                           numpy=lambda out, x, index, axis: f"take_along_axis({{0}}, {{1}}, {axis})")
"""Elements of x at `index` (int64, in range) along an axis; the other sizes agree."""


def hits(index: Node, n: int, axis: int) -> Node:
    """Whether element j of an index names place i of an axis of n: bool (..., n, m), the axis moved to the end."""
    return g.eq(beside(index, axis), g.reshape(g.iota(n, index.device), (n, 1)))


def beside(source: Node, axis: int) -> Node:
    """The source of a scatter as `hits` has its index: (..., 1, m)."""
    source = g.transpose(source, axis, -1)
    return g.reshape(source, (*source.shape[:-1], 1, source.shape[-1]))


def _scatter_add(source: Node, index: Node, axis: int, n: int) -> Node:
    total = g.sum(g.where(hits(index, n, axis), beside(source, axis), 0), (len(source.shape),))
    return g.transpose(total, axis, -1)


SCATTER_ADD, scatter_add = composite(
    "scatter_add", shapes.scatter_added, _scatter_add,
    lambda ct, o, source, index, axis, n: gather(ct, index, axis), "y", none, "",
    numpy=lambda out, source, index, axis, n: f"scatter_add({{0}}, {{1}}, {axis}, {n})")
"""Zeros, n along the axis, with source added at `index` (of its shape): the adjoint of `gather`."""


def _scatter(x: Node, index: Node, source: Node, axis: int) -> Node:
    """The last one written to a place wins: the largest j whose index is that place."""
    m = index.shape[axis]
    if m == 0:
        return g.identity(x)
    last = g.amax(g.where(hits(index, x.shape[axis], axis), g.iota(m, x.device), -1), (len(x.shape),))
    last = g.transpose(last, axis, -1)
    return g.where(g.ge(last, 0), gather(source, g.maximum(last, 0), axis), x)


scatter: Operation
SCATTER, scatter = composite(
    "scatter", shapes.scattered, _scatter,
    lambda ct, o, x, index, source, axis: scatter(ct, index, g.zeros_like(source), axis), "y", none, "",
    lambda ct, o, x, index, source, axis: gather(ct, index, axis), "y",
    numpy=lambda out, x, index, source, axis: f"scatter({{0}}, {{1}}, {{2}}, {axis})")
"""x with its elements at `index` along an axis replaced by `source` (of the index's shape); the last one wins."""
