"""Scans, sorting and medians, as composites.

NumPy has a function for each. For kernels they are taken apart into comparisons and reductions along the axis, so that
the order of every addition is fixed: a scan costs the length of the axis times `CHUNK`, a sort its square.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..graph import dtypes
from ..graph.dtypes import DType
from ..graph.node import Node, Primitive, record1
from ..graph.spec import Shape, Spec
from . import core as g
from .core import extremum, widened
from .indexing import gather, slice_update
from .rows import logsumexp
from .shapes import same
from .special import logaddexp
from .table import Axes, Derivative, Operation, Unary, along, composite

CHUNK = 64
"""Elements of a scan that are folded directly, each with all before it; a longer axis is scanned in chunks."""

Combine = Callable[[Node, Node], Node]
Scan = Callable[[Node, int], Node]

# ---------------------------------------------------------------------------------------------------------------- scans

def _scan_rows(x: Node, fold: Callable[..., Node], combine: Combine, start: float) -> Node:
    """All prefixes of the last axis folded; `start` is the fold's identity, `combine` folds two values."""
    *lead, n = x.shape
    if n <= CHUNK:
        places = g.iota(n, x.device)
        earlier = g.le(g.reshape(places, (1, n)), g.reshape(places, (n, 1)))
        return fold(g.where(earlier, g.reshape(x, (*lead, 1, n)), start), (len(lead) + 1,))
    chunks = -(-n // CHUNK)
    blocks = g.reshape(_placed(x, 0, chunks * CHUNK, start), (*lead, chunks, CHUNK))
    within = _scan_rows(blocks, fold, combine, start)
    totals = g.reshape(_part(within, CHUNK - 1, 1), (*lead, chunks))
    through = _scan_rows(_part(totals, 0, chunks - 1), fold, combine, start)
    before = g.reshape(_placed(through, 1, chunks, start), (*lead, chunks, 1))
    return _part(g.reshape(combine(within, before), (*lead, chunks * CHUNK)), 0, n)


def _part(x: Node, start: int, size: int) -> Node:
    """`size` elements of the last axis from `start`."""
    zeros = (0,) * (len(x.shape) - 1)
    return g.slice(x, (*zeros, start), (*x.shape[:-1], size), (1,) * len(x.shape))


def _placed(x: Node, start: int, size: int, around: float) -> Node:
    """x from `start` on in a last axis of `size` elements, which are `around` elsewhere."""
    if x.shape[-1] == size:
        return x
    background = g.full(around, (*x.shape[:-1], size), x.dtype, x.device)
    return slice_update(background, x, (*(0,) * (len(x.shape) - 1), start), (1,) * len(x.shape))


def scan(name: str, fold: Callable[..., Node], combine: Combine, start: float, ufunc: str,
         *pairs: Derivative) -> tuple[Primitive, Scan]:
    """A scan: element i is the fold of elements 0 to i of an axis. Half precisions are folded in float32."""
    def decompose(x: Node, axis: int) -> Node:
        out = _scan_rows(g.transpose(widened(x), axis, -1), fold, combine, start)
        return g.cast(g.transpose(out, axis, -1), x.dtype)
    return along(name, decompose, *pairs, numpy=lambda out, x, axis: f"accumulate({ufunc}, {{0}}, {axis})")


def reverse(scan: Scan, x: Node, axis: int) -> Node:
    """A scan from the end of the axis to its beginning."""
    return g.flip(scan(g.flip(x, (axis,)), axis), (axis,))


def _logcumsumexp_gradient(ct: Node, o: Node, x: Node, axis: int) -> Node:
    """The sum over i >= j of ct_i exp(x_j - o_i), in logarithms, its positive and negative terms apart."""
    nothing = o.dtype.low        # no difference of two such is NaN

    def of_sign(holds: Node, size: Node) -> Node:
        terms = g.where(holds, g.sub(g.log(g.where(holds, size, 1)), o), nothing)
        some = g.gt(reverse(cumsum, g.cast(holds, o.dtype), axis), 0)
        return g.where(some, g.exp(g.add(reverse(logcumsumexp, terms, axis), x)), 0)
    return g.sub(of_sign(g.gt(ct, 0), ct), of_sign(g.lt(ct, 0), g.neg(ct)))


cumsum: Scan
cumprod_backward: Operation
CUMSUM, cumsum = scan("cumsum", g.sum, g.add, 0, "add", lambda ct, o, x, axis: reverse(cumsum, ct, axis), "")
CUMPROD, cumprod = scan("cumprod", g.prod, g.mul, 1, "multiply",
                        lambda ct, o, x, axis: cumprod_backward(ct, x, axis), "x")
LOGCUMSUMEXP, logcumsumexp = scan("logcumsumexp", logsumexp, logaddexp, -math.inf, "logaddexp",
                                  _logcumsumexp_gradient, "ox")


def _cumprod_backward(ct: Node, x: Node, axis: int) -> Node:
    """The gradient of a cumulative product, in time linear in the axis.

    Where x_k is not zero it is the sum over i >= k of ct_i out_i, over x_k; at the first zero, the same sum of products
    that leave it out, and these are zero again from the second zero on.
    """
    zero = g.eq(x, 0)
    first = g.bitwise_and(zero, g.eq(cumsum(g.cast(zero, dtypes.int64), axis), 1))
    without = cumprod(g.where(first, 1, x), axis)
    at_zero = reverse(cumsum, g.mul(ct, without), axis)
    return g.where(zero, at_zero, g.div(reverse(cumsum, g.mul(ct, cumprod(x, axis)), axis), x))


def _left_out(x: Node, axis: int) -> tuple[Node, Node, Node]:
    """x (..., n) once for each k with element k set to 1: (..., k, n), the axis moved to the end; whether j is that k;
    and whether the product of the first i has k as a factor."""
    x = g.transpose(x, axis, -1)
    *lead, n = x.shape
    places = g.iota(n, x.device)
    rows, columns = g.reshape(places, (n, 1)), g.reshape(places, (1, n))
    chosen = g.eq(rows, columns)
    return g.where(chosen, 1, g.reshape(x, (*lead, 1, n))), chosen, g.le(rows, columns)


def _cumprod_twice_ct(ct: Node, o: object, d: object, x: Node, axis: int) -> Node:
    """Output i of the linearized product: the sum over k <= i of ct_k times the product of the others up to i."""
    others, _, within = _left_out(x, axis)
    last = len(x.shape)
    column = g.transpose(ct, axis, -1)
    terms = g.mul(g.reshape(column, (*column.shape, 1)), cumprod(others, last))
    return g.transpose(g.sum(g.where(within, terms, 0), (last - 1,)), axis, -1)


def _cumprod_twice_x(ct: Node, o: object, d: Node, x: Node, axis: int) -> Node:
    """For each k, the gradient of a product that leaves out k, which nothing of k's own can change."""
    others, chosen, within = _left_out(x, axis)
    last = len(x.shape)
    column, line = g.transpose(ct, axis, -1), g.transpose(d, axis, -1)
    *lead, n = column.shape
    weights = g.where(within, g.mul(g.reshape(column, (*lead, n, 1)), g.reshape(line, (*lead, 1, n))), 0)
    each = g.where(chosen, 0, cumprod_backward(weights, others, last))
    return g.transpose(g.sum(each, (last - 1,)), axis, -1)


CUMPROD_BACKWARD, cumprod_backward = composite("cumprod_backward", lambda ct, x, axis: same(ct, x), _cumprod_backward,
                                               _cumprod_twice_ct, "y", _cumprod_twice_x, "xy")
"""The derivative of `cumprod` times ct, right where x has zeros."""


# -------------------------------------------------------------------------------------------------- sorting, the median

def _argsort(x: Node, axis: int, descending: bool) -> Node:
    """Each element's rank is the number of elements that come before it; the order is the inverse of the ranks."""
    x = g.transpose(g.cast(x, dtypes.int64) if x.dtype is dtypes.bool_ else x, axis, -1)
    *lead, n = x.shape
    mine, other = g.reshape(x, (*lead, n, 1)), g.reshape(x, (*lead, 1, n))
    places = g.iota(n, x.device)
    rows, columns = g.reshape(places, (n, 1)), g.reshape(places, (1, n))
    before, tied = (g.gt if descending else g.lt)(other, mine), g.eq(other, mine)
    if x.dtype.is_floating_point:                           # a NaN is larger than any number, and equal to another
        smaller, larger = (mine, other) if descending else (other, mine)
        before = g.bitwise_or(before, g.bitwise_and(g.eq(smaller, smaller), g.ne(larger, larger)))
        tied = g.bitwise_or(tied, g.bitwise_and(g.ne(mine, mine), g.ne(other, other)))
    before = g.bitwise_or(before, g.bitwise_and(tied, g.lt(columns, rows)))
    rank = g.sum(g.cast(before, dtypes.int64), (len(lead) + 1,))
    at = g.eq(g.reshape(rank, (*lead, 1, n)), rows)
    return g.transpose(g.sum(g.where(at, columns, 0), (len(lead) + 1,)), axis, -1)


ARGSORT, argsort = composite(
    "argsort", lambda x, axis, descending: (x.shape, dtypes.int64), _argsort, differentiable=False,
    numpy=lambda out, x, axis, descending: f"argsort({{0}}, {axis}, {descending})")
"""The order (int64) that sorts an axis, equals in the order in which they come; a NaN is larger than any number."""


def median_index(x: Node, axis: int, skip_nan: bool) -> Node:
    """Where along an axis (kept, of size 1) the median lies: the lower one of two.

    A NaN is found first, unless NaN are skipped; then it is found only where there is nothing else.
    """
    n = x.shape[axis]
    nans = g.sum(g.cast(g.ne(x, x), dtypes.int64), (axis,), keepdim=True)
    if skip_nan:
        rank = g.maximum(g.floor_divide(g.sub(n - 1, nans), 2), 0)
    else:
        rank = g.where(g.gt(nans, 0), g.sub(n, nans), (n - 1) // 2)     # NaN are sorted to the end
    return gather(argsort(x, axis, False), rank, axis)


def _median(name: str, skip_nan: bool) -> tuple[Primitive, Unary]:
    """Of all elements, in one node: every element equal to the median takes an equal share of the gradient."""
    def infer(x: Spec, axes: Axes) -> tuple[Shape, DType]:
        return (), x.dtype

    def decompose(x: Node, axes: Axes) -> Node:
        flat = g.reshape(x, (x.spec.numel,))
        return g.reshape(gather(flat, median_index(flat, 0, skip_nan), 0), ())
    primitive, _ = composite(name, infer, decompose, extremum, "ox")
    return primitive, lambda x: record1(primitive, x, (tuple(range(len(x.shape))),))


MEDIAN, median = _median("median", skip_nan=False)
NANMEDIAN, nanmedian = _median("nanmedian", skip_nan=True)
"""The lower median of all elements, 0-d, and NaN where there is one; or of those that are not NaN. x has elements."""
