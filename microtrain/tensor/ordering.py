"""Scans, sorting and order statistics along one axis.

On the Triton devices a sort compares every element with every other of its row, so it costs the square of the axis.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import TypeVar, overload

from .. import ops as g
from ..graph import dtypes
from ..graph.dtypes import DType
from ..graph.node import Node
from ..graph.spec import normalise_dim
from ..ops.ordering import median_index
from .create import kind
from .operands import no_bool, node_of
from .storage import wrap
from .strides import along
from .types import Tensor

SortResult = namedtuple("SortResult", "values indices", module="torch.return_types")
TopkResult = namedtuple("TopkResult", "values indices", module="torch.return_types")
KthvalueResult = namedtuple("KthvalueResult", "values indices", module="torch.return_types")
MedianResult = namedtuple("MedianResult", "values indices", module="torch.return_types")
NanmedianResult = namedtuple("NanmedianResult", "values indices", module="torch.return_types")
R = TypeVar("R", MedianResult, NanmedianResult)


def cumsum(self: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """The sums of elements 0 to i along `dim`; integers and booleans give int64."""
    return _scanned(self, g.cumsum, "cumsum", dim, dtype)


def cumprod(self: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """The products of elements 0 to i along `dim`; integers and booleans give int64."""
    return _scanned(self, g.cumprod, "cumprod", dim, dtype)


def logcumsumexp(self: Tensor, dim: int) -> Tensor:
    """log(cumsum(exp(x))) along `dim`, without overflow. Raises NotImplementedError for integers."""
    if not self.dtype.is_floating_point:
        raise NotImplementedError(f'"logcumsumexp" not implemented for {self.dtype!r}: use a floating-point dtype')
    return _scanned(self, g.logcumsumexp, "logcumsumexp", dim, None)


def sort(self: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> SortResult:
    """(values, indices) of the elements in order along `dim`. Always stable: equals keep their order, descending too. A
    NaN is larger than any number."""
    x, axis = _rows(self, dim, "sort")
    return SortResult(*_picked(self, x, g.argsort(x, axis, descending), axis, "SortBackward0"))


def argsort(self: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """The indices (int64) that `sort` gives."""
    x, axis = _rows(self, dim, "argsort")
    return wrap(g.reshape(g.argsort(x, axis, descending), self.node.shape))


def msort(self: Tensor) -> Tensor:
    """The elements in order along the first axis."""
    return self.sort(0).values


def topk(self: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> TopkResult:
    """(values, indices) of the k largest (or smallest) elements along `dim`, best first; of equals the first. Raises
    RuntimeError when `dim` has fewer than k elements."""
    x, axis = _rows(self, dim, "topk")
    if x.dtype is dtypes.bool_:
        raise RuntimeError("topk does not support bool dtypes")
    if not 0 <= k <= x.shape[axis]:
        raise RuntimeError(f"selected index k out of range: k is {k}, dimension {axis} of size {x.shape[axis]}")
    if not self.ndim:
        k = 1                           # as in PyTorch, which gives the one element for k = 0 too
    order = g.argsort(x, axis, largest)
    order = g.slice(order, *along(order.shape, axis, 0, k))
    return TopkResult(*_picked(self, x, order, axis, "TopkBackward0"))


def kthvalue(self: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> KthvalueResult:
    """(value, index) of the k-th smallest element along `dim`, k from 1; a NaN is larger than any number. Raises
    RuntimeError when `dim` has fewer than k elements."""
    x, axis = _rows(self, dim, "kthvalue")
    no_bool(x, "kthvalue")
    _nonempty(x, axis, "kthvalue")
    if not 1 <= k <= x.shape[axis]:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}: k is {k}, its size "
                           f"{x.shape[axis]}")
    order = g.argsort(x, axis, False)
    order = g.slice(order, *along(order.shape, axis, k - 1, 1))
    return KthvalueResult(*_picked(self, x, order, axis, "KthvalueBackward0", keepdim))


@overload
def median(self: Tensor, dim: None = None, keepdim: bool = False) -> Tensor: ...
@overload
def median(self: Tensor, dim: int, keepdim: bool = False) -> MedianResult: ...
def median(self: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor | MedianResult:
    """The lower median of all elements, whose equals share the gradient; over `dim`, (value, index) of it, and the one
    at the index takes the gradient. NaN where there is one."""
    return _median(self, dim, keepdim, "median", MedianResult)


@overload
def nanmedian(self: Tensor, dim: None = None, keepdim: bool = False) -> Tensor: ...
@overload
def nanmedian(self: Tensor, dim: int, keepdim: bool = False) -> NanmedianResult: ...
def nanmedian(self: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor | NanmedianResult:
    """As `median`, of what is not NaN; NaN where there is nothing else."""
    return _median(self, dim, keepdim, "nanmedian", NanmedianResult)


def _scanned(self: Tensor, scan: Callable[[Node, int], Node], name: str, dim: int, dtype: DType | None) -> Tensor:
    x = node_of(self, name)
    axis = normalise_dim(dim, len(x.shape))
    wanted = kind(dtype)
    if wanted is not None or not x.dtype.is_floating_point:
        x = g.cast(x, wanted or dtypes.int64)
    no_bool(x, name)
    return wrap(scan(x, axis) if x.shape else g.identity(x))


def _rows(self: Tensor, dim: int, name: str) -> tuple[Node, int]:
    """The operand with an axis to sort (a 0-d one as one element), and that axis."""
    x = node_of(self, name)
    axis = normalise_dim(dim, len(x.shape))
    return (x, axis) if x.shape else (g.reshape(x, (1,)), 0)


def _nonempty(x: Node, axis: int, name: str) -> None:
    if not x.shape[axis]:
        raise IndexError(f"{name}(): Expected reduction dim {axis} to have non-zero size.")


def _picked(self: Tensor, x: Node, order: Node, axis: int, name: str, keepdim: bool = True) -> tuple[Tensor, Tensor]:
    """The elements of x in that order along the axis, and the order; without the axis unless it is kept."""
    values = g.gather(x, order, axis)
    shape = order.shape if keepdim else tuple(n for i, n in enumerate(order.shape) if i != axis)
    shape = shape if self.ndim else ()
    return wrap(g.reshape(values, shape), name), wrap(g.reshape(order, shape))


def _median(self: Tensor, dim: int | None, keepdim: bool, name: str, result: type[R]) -> Tensor | R:
    skip_nan = name == "nanmedian"
    x = no_bool(node_of(self, name), name)
    if dim is None:
        if keepdim:
            raise TypeError(f"{name}(): keepdim needs a dim")
        if not x.spec.numel:
            if not x.dtype.is_floating_point:
                raise RuntimeError(f"{name}() of an empty tensor of {x.dtype!r}: there is no NaN to give")
            return wrap(g.add(g.sum(x, tuple(range(len(x.shape)))), float("nan")))
        return wrap((g.nanmedian if skip_nan else g.median)(x))
    x, axis = _rows(self, dim, name)
    _nonempty(x, axis, name)
    picked = _picked(self, x, median_index(x, axis, skip_nan), axis, f"{name.capitalize()}Backward1", keepdim)
    return result(*picked)
