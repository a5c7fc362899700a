"""Scans, sorting, and elements picked or replaced along one axis, as composites.

NumPy has a function for each. For kernels they are taken apart into comparisons and reductions along the axis, so that
the order of every addition is fixed: a scan costs the length of the axis times `CHUNK`, a sort its square, a scatter
its length times that of the index.
"""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..dtypes import DType
from ..node import Kind, Node
from ..primitives import row, same
from ..shape_rules import gathered, scatter_added, scattered
from ..spec import Shape, Spec
from .basic import count, ops, widened

CHUNK = 64
"""Elements of a scan that are folded directly, each with all before it; a longer axis is scanned in chunks."""


def _scan_rows(x: Node, fold: Any, combine: Any, start: float) -> Node:
    """All prefixes of the last axis folded; `start` is the fold's identity, `combine` folds two values."""
    o = ops()
    *lead, n = x.shape
    if n <= CHUNK:
        places = o.iota(n, x.device)
        earlier = o.le(o.reshape(places, (1, n)), o.reshape(places, (n, 1)))
        return fold(o.where(earlier, o.reshape(x, (*lead, 1, n)), start), (len(lead) + 1,))     # type: ignore[no-any-return]
    chunks = -(-n // CHUNK)
    blocks = o.reshape(_placed(x, 0, chunks * CHUNK, start), (*lead, chunks, CHUNK))
    within = _scan_rows(blocks, fold, combine, start)
    totals = o.reshape(_part(within, CHUNK - 1, 1), (*lead, chunks))
    through = _scan_rows(_part(totals, 0, chunks - 1), fold, combine, start)
    before = o.reshape(_placed(through, 1, chunks, start), (*lead, chunks, 1))
    return _part(o.reshape(combine(within, before), (*lead, chunks * CHUNK)), 0, n)


def _part(x: Node, start: int, size: int) -> Node:
    """`size` elements of the last axis from `start`."""
    zeros = (0,) * (len(x.shape) - 1)
    return ops().slice(x, (*zeros, start), (*x.shape[:-1], size), (1,) * len(x.shape))


def _placed(x: Node, start: int, size: int, around: float) -> Node:
    """x from `start` on in a last axis of `size` elements, which are `around` elsewhere."""
    o = ops()
    if x.shape[-1] == size:
        return x
    background = o.full(around, (*x.shape[:-1], size), x.dtype, x.device)
    return o.slice_update(background, x, (*(0,) * (len(x.shape) - 1), start), (1,) * len(x.shape))


def _scan(name: str, fold: str, combine: Any, start: float, ufunc: str) -> Any:
    """The row of a scan: element i is the fold of elements 0 to i of an axis. Half precisions are folded in float32."""
    def decompose(x: Node, axis: int) -> Node:
        o = ops()
        wide = widened(x)
        out = _scan_rows(o.transpose(wide, axis, -1), getattr(o, fold), combine, start)
        return o.cast(o.transpose(out, axis, -1), x.dtype)
    return row(name, Kind.COMPOSITE, lambda x, axis: same(x),
               lambda out, x, axis: f"accumulate({ufunc}, {{0}}, {axis})", decompose=decompose)


def _cumprod_backward(ct: Node, x: Node, axis: int) -> Node:
    """The gradient of a cumulative product, in time linear in the axis.

    Where x_k is not zero it is the sum over i >= k of ct_i out_i, over x_k; at the first zero, the same sum of products
    that leave it out, and these are zero again from the second zero on.
    """
    o = ops()
    zero = o.eq(x, 0)
    first = o.bitwise_and(zero, o.eq(o.cumsum(o.cast(zero, dtypes.int64), axis), 1))
    without = o.cumprod(o.where(first, 1, x), axis)
    at_zero = reverse(o.cumsum, o.mul(ct, without), axis)
    return o.where(zero, at_zero, o.div(reverse(o.cumsum, o.mul(ct, o.cumprod(x, axis)), axis), x))


def reverse(scan: Any, x: Node, axis: int) -> Node:
    """A scan from the end of the axis to its beginning."""
    o = ops()
    return o.flip(scan(o.flip(x, (axis,)), axis), (axis,))


def _argsort(x: Node, axis: int, descending: bool) -> Node:
    """Each element's rank is the number of elements that come before it; the order is the inverse of the ranks."""
    o = ops()
    x = o.transpose(o.cast(x, dtypes.int64) if x.dtype is dtypes.bool_ else x, axis, -1)
    *lead, n = x.shape
    mine, other = o.reshape(x, (*lead, n, 1)), o.reshape(x, (*lead, 1, n))
    places = o.iota(n, x.device)
    rows, columns = o.reshape(places, (n, 1)), o.reshape(places, (1, n))
    before, tied = (o.gt if descending else o.lt)(other, mine), o.eq(other, mine)
    if x.dtype.is_floating_point:                           # a NaN is larger than any number, and equal to another
        smaller, larger = (mine, other) if descending else (other, mine)
        before = o.bitwise_or(before, o.bitwise_and(o.eq(smaller, smaller), o.ne(larger, larger)))
        tied = o.bitwise_or(tied, o.bitwise_and(o.ne(mine, mine), o.ne(other, other)))
    before = o.bitwise_or(before, o.bitwise_and(tied, o.lt(columns, rows)))
    rank = o.sum(o.cast(before, dtypes.int64), (len(lead) + 1,))
    at = o.eq(o.reshape(rank, (*lead, 1, n)), rows)
    return o.transpose(o.sum(o.where(at, columns, 0), (len(lead) + 1,)), axis, -1)


def _gather(x: Node, index: Node, axis: int) -> Node:
    """Elements of the flattened x: the row's beginning plus the index."""
    o = ops()
    x, index = o.transpose(x, axis, -1), o.transpose(index, axis, -1)
    *lead, n = x.shape
    rows = count(tuple(lead), tuple(range(len(lead))))
    start = o.reshape(o.mul(o.iota(rows, x.device), n), (*lead, 1))
    return o.transpose(o.take(o.reshape(x, (rows * n,)), o.add(start, index)), axis, -1)


def hits(index: Node, n: int, axis: int) -> Node:
    """Whether element j of an index names place i of an axis of n: bool (..., n, m), the axis moved to the end."""
    o = ops()
    *lead, m = o.transpose(index, axis, -1).shape
    wanted = o.reshape(o.transpose(index, axis, -1), (*lead, 1, m))
    return o.eq(wanted, o.reshape(o.iota(n, index.device), (n, 1)))


def beside(source: Node, axis: int) -> Node:
    """The source of a scatter as `hits` has its index: (..., 1, m)."""
    o = ops()
    source = o.transpose(source, axis, -1)
    return o.reshape(source, (*source.shape[:-1], 1, source.shape[-1]))


def _scatter_add(source: Node, index: Node, axis: int, n: int) -> Node:
    o = ops()
    total = o.sum(o.where(hits(index, n, axis), beside(source, axis), 0), (len(source.shape),))
    return o.transpose(total, axis, -1)


def _scatter(x: Node, index: Node, source: Node, axis: int) -> Node:
    """The last one written to a place wins: the largest j whose index is that place."""
    o = ops()
    m = index.shape[axis]
    if m == 0:
        return o.identity(x)
    last = o.amax(o.where(hits(index, x.shape[axis], axis), o.iota(m, x.device), -1), (len(x.shape),))
    last = o.transpose(last, axis, -1)
    return o.where(o.ge(last, 0), o.gather(source, o.maximum(last, 0), axis), x)


def median_index(x: Node, axis: int, skip_nan: bool) -> Node:
    """Where along an axis (kept, of size 1) the median lies: the lower one of two.

    A NaN is found first, unless NaN are skipped; then it is found only where there is nothing else.
    """
    o = ops()
    n = x.shape[axis]
    nans = o.sum(o.cast(o.ne(x, x), dtypes.int64), (axis,), keepdim=True)
    if skip_nan:
        rank = o.maximum(o.floor_divide(o.sub(n - 1, nans), 2), 0)
    else:
        rank = o.where(o.gt(nans, 0), o.sub(n, nans), (n - 1) // 2)     # NaN are sorted to the end
    return o.gather(o.argsort(x, axis, False), rank, axis)


def _median(skip_nan: bool) -> Any:
    def decompose(x: Node, axes: tuple[int, ...]) -> Node:
        o = ops()
        flat = o.reshape(x, (x.spec.numel,))
        return o.reshape(o.gather(flat, median_index(flat, 0, skip_nan), 0), ())
    return decompose


def _median_infer(x: Spec, axes: tuple[int, ...]) -> tuple[Shape, DType]:
    return (), x.dtype


CUMSUM = _scan("cumsum", "sum", lambda x, y: ops().add(x, y), 0, "add")
CUMPROD = _scan("cumprod", "prod", lambda x, y: ops().mul(x, y), 1, "multiply")
LOGCUMSUMEXP = _scan("logcumsumexp", "logsumexp", lambda x, y: ops().logaddexp(x, y), float("-inf"), "logaddexp")
CUMPROD_BACKWARD = row("cumprod_backward", Kind.COMPOSITE, lambda ct, x, axis: same(ct, x), decompose=_cumprod_backward)
ARGSORT = row("argsort", Kind.COMPOSITE, lambda x, axis, descending: (x.shape, dtypes.int64),
              lambda out, x, axis, descending: f"argsort({{0}}, {axis}, {descending})", decompose=_argsort,
              differentiable=False)
GATHER = row("gather", Kind.COMPOSITE, gathered,
             lambda out, x, index, axis: f"take_along_axis({{0}}, {{1}}, {axis})", decompose=_gather)
SCATTER_ADD = row("scatter_add", Kind.COMPOSITE, scatter_added,
                  lambda out, source, index, axis, n: f"scatter_add({{0}}, {{1}}, {axis}, {n})",
                  decompose=_scatter_add)
"""The adjoint of `gather`: zeros, with each source element added at the place that the index names along the axis."""

SCATTER = row("scatter", Kind.COMPOSITE, scattered,
              lambda out, x, index, source, axis: f"scatter({{0}}, {{1}}, {{2}}, {axis})", decompose=_scatter)
MEDIAN = row("median", Kind.COMPOSITE, _median_infer, decompose=_median(False))
NANMEDIAN = row("nanmedian", Kind.COMPOSITE, _median_infer, decompose=_median(True))
"""Of all elements, in one node: every element equal to the median takes an equal share of the gradient."""
