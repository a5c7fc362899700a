"""Reductions: sums, means, extremes, norms of rows, with `dim` and `keepdim` as PyTorch has them."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import TypeVar, overload

from .. import ops as g
from ..arguments import Number
from ..graph import dtypes
from ..graph.dtypes import DType
from ..graph.node import Node
from ..graph.spec import normalise_dim, normalise_dims
from .create import kind
from .operands import called, flag, floating, labelled, node_of, truth
from .storage import wrap
from .types import Dims, Tensor

MaxResult = namedtuple("MaxResult", "values indices", module="torch.return_types")
MinResult = namedtuple("MinResult", "values indices", module="torch.return_types")
AminmaxResult = namedtuple("AminmaxResult", "min max", module="torch.return_types")
R = TypeVar("R", MaxResult, MinResult)
Method = Callable[..., Tensor]


def _integral_total(x: Node, dtype: DType | None) -> Node:
    """The operand of a sum: in `dtype`, or integers as int64."""
    if dtype is not None:
        return g.cast(x, dtype)
    return x if x.spec.dtype.category == 2 else g.cast(x, dtypes.int64)


def _some(x: Node, axes: tuple[int, ...], name: str, dim: Dims) -> None:
    """Raise when an extreme would be taken over no elements: RuntimeError over all, IndexError along `dim`."""
    for axis in axes:
        if x.spec.shape[axis] == 0:
            if dim is None or dim == ():
                raise RuntimeError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                                   "Specify the reduction dim with the 'dim' argument.")
            raise IndexError(f"{name}(): Expected reduction dim {axis} to have non-zero size.")


def _needs_float(x: Node, message: str) -> Node:
    if x.spec.dtype.category != 2:
        raise RuntimeError(message)
    return x


def sum(self: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The sum over `dim` (all axes by default); integers and booleans give int64."""
    x = _integral_total(node_of(self, "sum"), kind(dtype))
    if keepdim is not False:
        keepdim = flag(keepdim, "sum", "keepdim")
    out = wrap(g.sum(x, normalise_dims(dim, len(x.spec.shape)), keepdim))
    return out if dim is None else labelled(out, "SumBackward1")


def mean(self: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The mean over `dim` (all axes by default). Raises RuntimeError for integers."""
    x, wanted = node_of(self, "mean"), kind(dtype)
    x = x if wanted is None else g.cast(x, wanted)
    _needs_float(x, "mean(): could not infer output dtype. Input dtype must be either a floating point or complex "
                    f"dtype. Got: {x.spec.dtype.name.capitalize()}")
    if keepdim is not False:
        keepdim = flag(keepdim, "mean", "keepdim")
    out = wrap(g.mean(x, normalise_dims(dim, len(x.spec.shape)), keepdim))
    return out if dim is None else labelled(out, "MeanBackward1")


def _spread(name: str, doc: str) -> Method:
    operation = getattr(g, name)

    def method(self: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *,
               correction: Number | None = None) -> Tensor:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        if correction is None:
            correction = 1 if unbiased is None else int(unbiased)
        x = _needs_float(node_of(self, name), "std and var only support floating point and complex dtypes")
        axes = normalise_dims(dim, len(x.spec.shape))
        out = operation(x, axes, correction)
        return wrap(g.keep(out, x.spec.shape, axes) if keepdim else out, f"{name.capitalize()}Backward0")
    return called(method, name, doc)


var = _spread("var", "The variance over `dim` with divisor n - correction (1 by default).")
std = _spread("std", "The standard deviation over `dim` with divisor n - correction (1 by default).")


def prod(self: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The product over one axis or all; integers and booleans give int64."""
    x = _integral_total(node_of(self, "prod"), kind(dtype))
    axes = normalise_dims(dim, len(x.spec.shape))
    return wrap(g.prod(x, axes, keepdim), "ProdBackward0" if dim is None else "ProdBackward1")


def _extreme(name: str, doc: str) -> Method:
    operation = getattr(g, name)

    def method(self: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
        x = node_of(self, name)
        axes = normalise_dims(dim, len(x.spec.shape))
        _some(x, axes, name, dim)
        return wrap(operation(x, axes, keepdim))
    return called(method, name, doc)


amax = _extreme("amax", "The maximum over `dim`; ties share the gradient.")
amin = _extreme("amin", "The minimum over `dim`; ties share the gradient.")


def aminmax(self: Tensor, *, dim: int | None = None, keepdim: bool = False) -> AminmaxResult:
    """(min, max) of all elements, or along `dim`; ties share the gradient. Raises where there are no elements."""
    x = node_of(self, "aminmax")
    axes = normalise_dims(dim, len(x.spec.shape))
    if dim is None and x.spec.numel == 0:
        raise RuntimeError("aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
                           f"identity (shape {list(x.shape)})")
    _some(x, axes, "aminmax", dim)
    return AminmaxResult(*(wrap(fold(x, axes, keepdim), "AminmaxBackward0") for fold in (g.amin, g.amax)))


@overload
def max(self: Tensor, dim: Tensor | None = None, keepdim: bool = False) -> Tensor: ...
@overload
def max(self: Tensor, dim: int, keepdim: bool = False) -> MaxResult: ...
def max(self: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Tensor | MaxResult:
    """The maximum of all elements; over `dim`, (values, indices); with a tensor, `maximum`."""
    return _max_or_min(self, dim, keepdim, "max", MaxResult)


@overload
def min(self: Tensor, dim: Tensor | None = None, keepdim: bool = False) -> Tensor: ...
@overload
def min(self: Tensor, dim: int, keepdim: bool = False) -> MinResult: ...
def min(self: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Tensor | MinResult:
    """The minimum of all elements; over `dim`, (values, indices); with a tensor, `minimum`."""
    return _max_or_min(self, dim, keepdim, "min", MinResult)


def _place(name: str, doc: str) -> Method:
    operation = getattr(g, name)

    def method(self: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        x = node_of(self, name)
        if x.spec.dtype.category == 0:
            raise RuntimeError(f"{name}(): does not support bool input")
        shape = x.spec.shape
        if dim is None:
            if x.spec.numel == 0:
                raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                                 "Specify the reduction dim with the 'dim' argument.")
            out = operation(g.reshape(x, (x.spec.numel,)), 0)
            return wrap(g.reshape(out, (1,) * len(shape)) if keepdim else out)
        axis = normalise_dim(dim, len(shape))
        if not shape:
            return wrap(g.full(0, (), dtypes.int64, x.device))
        _some(x, (axis,), name, dim)
        out = operation(x, axis)
        return wrap(g.keep(out, shape, (axis,)) if keepdim else out)
    return called(method, name, doc)


argmax = _place("argmax", "Index of the largest element of the flattened tensor, or along `dim`; the first of equals.")
argmin = _place("argmin", "Index of the smallest element of the flattened tensor, or along `dim`; the first of equals.")


def _truth(name: str, operation: Callable[..., Node], of_none: bool, doc: str) -> Method:
    def method(self: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
        x = node_of(self, name)
        axes = () if isinstance(dim, tuple | list) and not dim else normalise_dims(dim, len(x.spec.shape))
        if 0 in (x.spec.shape[a] for a in axes):
            out = g.full(of_none, tuple(n for i, n in enumerate(x.spec.shape) if i not in axes), dtypes.bool_, x.device)
            out = g.keep(out, x.spec.shape, axes) if keepdim else out
        else:
            out = operation(truth(x), axes, keepdim)
        return wrap(g.cast(out, dtypes.uint8) if x.spec.dtype is dtypes.uint8 else out)
    return called(method, name, doc)


any = _truth("any", g.amax, False, "Whether some element over `dim` is non-zero.")
all = _truth("all", g.amin, True, "Whether every element over `dim` is non-zero.")


def count_nonzero(self: Tensor, dim: Dims = None) -> Tensor:
    """How many elements over `dim` (all axes by default) are not zero, as int64."""
    x = node_of(self, "count_nonzero")
    return wrap(g.sum(g.cast(truth(x), dtypes.int64), normalise_dims(dim, len(x.spec.shape))))


def nansum(self: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """As `sum`, with every NaN taken as 0."""
    x = node_of(self, "nansum")
    total = wrap(g.where(g.ne(x, x), 0, x)).sum(dim, keepdim, dtype=dtype)
    return labelled(total, "NansumBackward0")


def logsumexp(self: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over `dim`, without overflow."""
    x = floating(node_of(self, "logsumexp"))
    return wrap(g.logsumexp(x, normalise_dims(dim, len(x.spec.shape)), keepdim), "LogsumexpBackward0")


def _row(name: str, doc: str) -> Method:
    operation = getattr(g, name)

    def method(self: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
        x, wanted = node_of(self, name), kind(dtype)
        x = x if wanted is None else g.cast(x, wanted)
        if x.spec.dtype.category != 2:
            mine = x.spec.dtype.name
            title = {"int64": "Long", "int32": "Int", "bool": "Bool", "uint8": "Byte"}.get(mine, mine)
            raise NotImplementedError(f'"{name}_lastdim_kernel_impl" not implemented for \'{title}\'; '
                                      "pass a floating-point dtype, e.g. dtype=float32")
        axis = normalise_dim(dim, len(x.spec.shape))
        if not x.spec.shape:
            return wrap(g.reshape(operation(g.reshape(x, (1,)), 0), ()))
        return wrap(operation(x, axis) if x.spec.shape[axis] else g.identity(x))
    return called(method, name, doc)


softmax = _row("softmax", "exp(x) / sum(exp(x)) along `dim`.")
log_softmax = _row("log_softmax", "x - logsumexp(x) along `dim`.")


def _max_or_min(self: Tensor, dim: int | Tensor | None, keepdim: bool, name: str, result: type[R]) -> Tensor | R:
    x = node_of(self, name)
    if keepdim is not False:
        keepdim = flag(keepdim, name, "keepdim")
    operation, arg = (g.amax, g.argmax) if name == "max" else (g.amin, g.argmin)
    if dim is None:
        axes = tuple(range(len(x.spec.shape)))
        _some(x, axes, name, dim)
        return wrap(operation(x, axes), f"{name.capitalize()}Backward1")
    if isinstance(dim, Tensor):
        return self.maximum(dim) if name == "max" else self.minimum(dim)
    axis = normalise_dim(dim, len(x.spec.shape))
    if not x.spec.shape:
        return result(wrap(g.identity(x)), wrap(g.full(0, (), dtypes.int64, x.device)))
    _some(x, (axis,), name, dim)
    n, index = x.spec.shape[axis], arg(x, axis)
    kept = g.keep(index, x.spec.shape, (axis,))
    # Selecting by comparison, not by a gather, keeps the reduction in one kernel and gives the gradient to one element.
    if x.spec.dtype.category == 2:
        places = g.reshape(g.iota(n, x.device), tuple(n if i == axis else 1 for i in range(len(x.spec.shape))))
        values = g.sum(g.where(g.eq(places, kept), x, 0), (axis,), keepdim)
    else:
        values = operation(x, (axis,), keepdim)
    return result(wrap(values, f"{name.capitalize()}Backward0"), wrap(kept if keepdim else index))
