"""Elements picked, replaced or added at indices along one axis, or by a condition.

Indices are checked when they are used where values can be looked at without waiting (`cpu` and `interpret`), and not
on `cuda`. Of several elements written to one place the last one wins; sums are made in a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

import numpy as np

from .. import ops as g
from ..arguments import Number
from ..engine.handle import type_of
from ..graph import dtypes
from ..graph.constants import constant
from ..graph.node import Node
from ..graph.spec import Shape, broadcast_shapes, normalise_dim
from ..ops.indexing import beside, hits
from .host import values
from .index import checked, nonzero, picked
from .operands import beyond, converted, filling, labelled, must_be_operands, stranger, truth
from .storage import wrap
from .types import Operand, Tensor


def gather(self: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """out[..., i, ...] = self[..., index[..., i, ...], ...] along `dim`; of the index's shape. Raises RuntimeError for
    an index that is larger than self on another axis, or out of range."""
    x, i = self.node, index.node
    axis = normalise_dim(dim, len(x.shape))
    if sparse_grad:
        raise NotImplementedError("gather(): sparse_grad=True is not supported: gradients are dense")
    if not i.spec.numel:
        nothing = g.slice(g.reshape(x, (x.spec.numel,)), (0,), (0,), (1,))
        return wrap(g.reshape(nothing, i.shape), "GatherBackward0")
    _integers(i, "gather")
    x, flat = _with_axes(x), _with_axes(i)
    if len(flat.shape) != len(x.shape):
        raise RuntimeError("gather(): Index tensor must have the same number of dimensions as input tensor: index "
                           f"has {index.ndim}, input {self.ndim}")
    large = next((d for d, n in enumerate(flat.shape) if d != axis and n > x.shape[d]), None)
    if large is not None:
        raise RuntimeError(f"Size does not match at dimension {large} expected index {list(i.shape)} to be no larger "
                           f"than self {list(self.shape)} apart from dimension {axis}")
    out = picked(_corner(x, flat.shape, axis), checked(flat, x.shape[axis], axis), lambda x, at: g.gather(x, at, axis))
    return wrap(g.reshape(out, i.shape), "GatherBackward0")


def scatter(self: Tensor, dim: int, index: Tensor, src: Operand | None = None, *, value: Operand | None = None,
            reduce: str | None = None) -> Tensor:
    """A copy with self[..., index[..., i, ...], ...] replaced by src[..., i, ...] along `dim`; the last one wins. `src`
    is a tensor of this dtype, at least as large as the index, or a number (also as `value`). With `reduce` "add" or
    "multiply" it is combined with what is there instead; a product is formed by comparison, so it costs the length of
    the axis times that of the index."""
    source = value if src is None else src
    if src is not None and value is not None:
        raise TypeError("scatter(): takes the argument 'src' or 'value', not both")
    if source is None:
        raise TypeError("scatter(): missing the argument 'src' (or 'value')")
    if reduce not in (None, "add", "multiply"):
        raise RuntimeError(f"reduce argument must be either add or multiply, got {reduce!r}.")
    write = {None: g.scatter, "add": _added, "multiply": _multiplied}[reduce]
    if not isinstance(source, Tensor) and stranger(source) is None:
        raise TypeError(f"scatter(): argument 'src' must be Tensor or Number, not {type(source).__name__}")
    label = f"ScatterBackward{int(not isinstance(source, Tensor))}"
    return labelled(_scattered(self, dim, index, source, "scatter", write), label)


def scatter_add(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy with src[..., i, ...] added at self[..., index[..., i, ...], ...] along `dim`."""
    return labelled(_scattered(self, dim, index, src, "scatter", _added), "ScatterAddBackward0")


def take_along_dim(self: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As `gather`, the other axes broadcast; an index may count from the end. Without `dim`, of all elements. Raises
    RuntimeError for an index out of range (PyTorch takes it modulo the size)."""
    x, i = self.node, indices.node
    if i.dtype is not dtypes.int64:
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {i.dtype!r}")
    if dim is None:
        x, i, dim = g.reshape(x, (x.spec.numel,)), g.reshape(i, (i.spec.numel,)), 0
    if len(x.shape) != len(i.shape):
        raise RuntimeError("torch.take_along_dim(): input and indices should have the same number of dimensions, "
                           f"but got {len(x.shape)} dimensions for input, and {len(i.shape)} dimensions for "
                           "indices")
    axis, point = normalise_dim(dim, len(x.shape)), not x.shape
    x, i = _with_axes(x), _with_axes(i)
    n, m = x.shape[axis], i.shape[axis]
    common = broadcast_shapes(_resized(x.shape, axis, 1), _resized(i.shape, axis, 1))
    x, i = g.expand(x, _resized(common, axis, n)), g.expand(i, _resized(common, axis, m))
    out = picked(x, checked(i, n, axis, low=-n), lambda x, at: g.gather(x, at, axis))
    return wrap(g.reshape(out, ()) if point else out, "GatherBackward0")


def take(self: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened tensor at `index` (int64, any shape), which may count from the end. Raises
    IndexError for an index out of range."""
    i = index.node
    if i.dtype is not dtypes.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {i.dtype!r}")
    n = self.numel()
    if i.spec.numel and not n:
        raise IndexError("take(): tried to take from an empty tensor")
    return wrap(picked(g.reshape(self.node, (n,)), checked(i, n, 0, IndexError, -n)), "TakeBackward0")


def index_select(self: Tensor, dim: int, index: Tensor) -> Tensor:
    """The indices listed in the 1-d `index` along `dim`, each from 0 to its size - 1."""
    x, i = self.node, index.node
    axis = normalise_dim(dim, len(x.shape))
    if i.dtype not in INTEGERS:
        raise RuntimeError(f"index_select(): Expected dtype int32 or int64 for index, got {i.dtype!r}")
    if len(i.shape) > 1:
        raise IndexError(f"index_select(): Index is supposed to be a vector, got {len(i.shape)} dimensions")
    if not x.shape and i.spec.numel != 1:
        raise RuntimeError(f"index_select(): Index to scalar can have only 1 value, got {i.spec.numel} value(s)")
    rows = _slices(x, axis)
    found = picked(rows, _listed(i, rows, axis))
    return wrap(_unsliced(found, x.shape, axis), "IndexSelectBackward0")


def index_add(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Number = 1) -> Tensor:
    """A copy with alpha times slice i of `source` added to slice index[i] along `dim`."""
    x, src, i = self.node, source.node, index.node
    axis = normalise_dim(dim, len(x.shape))
    if i.dtype not in INTEGERS:
        raise RuntimeError(f"index_add_(): Expected dtype int32/int64 for index but got: {i.dtype!r}")
    if src.dtype is not x.dtype:
        raise RuntimeError(f"index_add_(): self ({x.dtype!r}) and source ({src.dtype!r}) must have the same scalar "
                           "type")
    if len(i.shape) > 1:
        raise IndexError(f"index_add_(): Index is supposed to be a vector, but got dim: {len(i.shape)}")
    if isinstance(alpha, float) and not x.dtype.is_floating_point:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    rows, added = _slices(x, axis), _slices(src, axis)
    if i.spec.numel != added.shape[0]:
        raise RuntimeError(f"index_add_(): Number of indices ({i.spec.numel}) should be equal to source.size(dim): "
                           f"({added.shape[0]}), for dim: {axis}")
    if len(src.shape) != len(x.shape) or rows.shape[1:] != added.shape[1:]:
        raise RuntimeError("source tensor shape must match self tensor shape, excluding the specified dimension. "
                           f"Got self.shape = {list(x.shape)} source.shape = {list(src.shape)}")
    i = _listed(i, rows, axis)
    total = g.mul(g.index_add(_numbers(added), i, rows.shape[0]), alpha)
    out = _like(g.add(_numbers(rows), total), x.dtype)
    return wrap(_unsliced(out, x.shape, axis), "IndexAddBackward0")


def index_copy(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy with slice index[i] along `dim` replaced by slice i of `source`; the last one wins."""
    x, src, i = self.node, source.node, index.node
    axis = normalise_dim(dim, len(x.shape))
    if len(i.shape) > 1:
        raise IndexError(f"index_copy_(): Index should have dimension 1 or 0 (got {len(i.shape)})")
    if i.dtype is not dtypes.int64:
        raise RuntimeError(f"index_copy_(): Expected a long tensor for index, but got {i.dtype!r}")
    if src.dtype is not x.dtype:
        raise RuntimeError("index_copy_(): self and source expected to have the same dtype, but got (self) "
                           f"{x.dtype!r} and (source) {src.dtype!r}")
    rows, written = _slices(x, axis), _slices(src, axis)
    if i.spec.numel != written.shape[0]:
        raise IndexError(f"index_copy_(): Number of indices ({i.spec.numel}) should be equal to source.size(dim) "
                         f"({written.shape[0]})")
    if rows.shape[1:] != written.shape[1:]:
        raise RuntimeError("index_copy_(): Source/destination tensor must have same slice shapes. Destination "
                           f"shape: {list(x.shape)}, source shape: {list(src.shape)}, dimension {axis}")
    written = g.index_put(rows, _listed(i, rows, axis, IndexError), written)
    return wrap(_unsliced(written, x.shape, axis), "IndexCopyBackward0")


def index_fill(self: Tensor, dim: int, index: Tensor, value: Operand) -> Tensor:
    """A copy with the slices at `index` along `dim` filled with a number or a 0-d tensor, in this dtype."""
    x, i = self.node, index.node
    axis = normalise_dim(dim, len(x.shape))
    if i.dtype is not dtypes.int64:
        raise IndexError(f"index_fill_(): Expected dtype int64 for index, got {i.dtype!r}.")
    if len(i.shape) > 1:
        raise RuntimeError(f"Index has to be a vector/scalar, got {len(i.shape)} dimensions")
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError("index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                           f"{value.ndim} dimension(s).")
    rows = _slices(x, axis)
    i = _listed(i, rows, axis, IndexError, -rows.shape[0])
    reached = g.index_put(g.full(False, rows.shape[:1], dtypes.bool_, x.device), i,
                          g.full(True, i.shape, dtypes.bool_, x.device))
    reached = g.reshape(reached, (rows.shape[0], *[1] * (len(rows.shape) - 1)))
    out = _unsliced(g.where(reached, filling(value, x, "index_fill"), rows), x.shape, axis)
    return wrap(out, f"IndexFillBackward{int(isinstance(value, Tensor))}")


def masked_scatter(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy with the elements where `mask` holds replaced by those of `source`, in order; both are broadcast. Raises
    RuntimeError when `source` has too few elements, on devices whose values can be looked at without waiting; elsewhere
    its last element is repeated."""
    x, m, src = self.node, mask.node, source.node
    if m.dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {m.dtype!r}")
    if src.dtype is not x.dtype:
        raise RuntimeError("masked_scatter: expected self and source to have same dtypes but got "
                           f"{x.dtype!r} and {src.dtype!r}")
    shape = broadcast_shapes(x.shape, m.shape)
    x, m = g.expand(x, shape), g.expand(m, shape)
    n, count = x.spec.numel, src.spec.numel
    if m.device.kind.readable and int(values(m).sum()) > count:
        raise RuntimeError(f"Number of elements of source < number of ones in mask ({count} < "
                           f"{int(values(m).sum())})")
    if not count:
        return wrap(g.identity(x))
    place = g.sub(g.cumsum(g.cast(g.reshape(m, (n,)), dtypes.int64), 0), 1)
    place = g.clamp(place, 0, count - 1)
    fresh = g.reshape(g.take(g.reshape(src, (count,)), place), shape)
    return wrap(g.where(m, fresh, x), "MaskedScatterBackward0")


Write = Callable[[Node, Node, Node, int], Node]
INTEGERS = (dtypes.int32, dtypes.int64)


def _integers(index: Node, name: str) -> None:
    if index.dtype not in INTEGERS:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, got {index.dtype!r}")


def _with_axes(x: Node) -> Node:
    """The node, a 0-d one as one element."""
    return x if x.shape else g.reshape(x, (1,))


def _resized(shape: Shape, axis: int, n: int) -> Shape:
    return (*shape[:axis], n, *shape[axis + 1:])


def _corner(x: Node, shape: Shape, axis: int) -> Node:
    """The first elements of x, as many as `shape` has on every axis but one."""
    sizes = _resized(shape, axis, x.shape[axis])
    return x if sizes == x.shape else g.slice(x, (0,) * len(sizes), sizes, (1,) * len(sizes))


def _numbers(x: Node) -> Node:
    """Booleans as integers, in which they are added and multiplied."""
    return g.cast(x, dtypes.int64) if x.dtype is dtypes.bool_ else x


def _like(x: Node, dtype: dtypes.DType) -> Node:
    return truth(x) if dtype is dtypes.bool_ else x


def _added(x: Node, index: Node, source: Node, axis: int) -> Node:
    return _like(g.add(_numbers(x), g.scatter_add(_numbers(source), index, axis, x.shape[axis])), x.dtype)


def _multiplied(x: Node, index: Node, source: Node, axis: int) -> Node:
    chosen = g.where(hits(index, x.shape[axis], axis), beside(_numbers(source), axis), 1)
    factor = g.transpose(g.prod(chosen, (len(x.shape),)), axis, -1)
    return _like(g.mul(_numbers(x), factor), x.dtype)


def _scattered(self: Tensor, dim: int, index: Tensor, source: Operand, name: str, write: Write) -> Tensor:
    """`write` applied to the part of the tensor that the index reaches, with the part of the source it covers."""
    whole, i = self.node, index.node
    axis = normalise_dim(dim, len(whole.shape))
    _integers(i, name)
    src = source.node if isinstance(source, Tensor) else g.full(converted(source, whole.dtype, name), i.shape,
                                                                          whole.dtype, whole.device)
    if src.dtype is not whole.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype, got {whole.dtype!r} and "
                           f"{src.dtype!r}")
    if not i.spec.numel:
        return wrap(g.identity(whole))
    x, i, src = map(_with_axes, (whole, i, src))
    for other, what in ((x, "self"), (src, "src")):
        if len(i.shape) != len(other.shape):
            raise RuntimeError(f"Index tensor must have the same number of dimensions as {what} tensor: index "
                               f"{list(i.shape)}, {what} {list(other.shape)}")
    if any(m > k or (d != axis and m > n)
           for d, (m, n, k) in enumerate(zip(i.shape, x.shape, src.shape, strict=True))):
        raise RuntimeError(f"Expected index {list(i.shape)} to be no larger than self {list(x.shape)} apart from "
                           f"dimension {axis} and to be no larger size than src {list(src.shape)}")
    zeros, ones = (0,) * len(i.shape), (1,) * len(i.shape)
    src = src if src.shape == i.shape else g.slice(src, zeros, i.shape, ones)
    out = write(_corner(x, i.shape, axis), checked(i, x.shape[axis], axis), src, axis)
    out = out if out.shape == x.shape else g.slice_update(x, out, zeros, ones)
    return wrap(g.reshape(out, whole.shape))


def _slices(x: Node, axis: int) -> Node:
    """Slices along an axis as rows: that axis exchanged with the first; a 0-d node is one row."""
    return g.transpose(x, 0, axis) if x.shape else g.reshape(x, (1,))


def _listed(index: Node, rows: Node, axis: int, error: type[Exception] = RuntimeError, low: int = 0) -> Node:
    """An index of slices, `checked`, as a vector."""
    return g.reshape(checked(index, rows.shape[0], axis, error, low), (index.spec.numel,))


def _unsliced(rows: Node, shape: Shape, axis: int) -> Node:
    return g.transpose(rows, 0, axis) if shape else g.reshape(rows, ())


@overload
def where(condition: Tensor) -> tuple[Tensor, ...]: ...
@overload
def where(condition: Tensor, input: Operand, other: Operand) -> Tensor: ...
def where(condition: Tensor, input: Operand | None = None, other: Operand | None = None) -> Tensor | tuple[Tensor, ...]:
    """`input` where `condition` holds, else `other`; with the condition alone, the indices where it holds. Raises
    TypeError for a condition that is no Tensor, and for values that are neither Tensors nor numbers; RuntimeError for a
    condition that is not bool."""
    must_be("condition", 1, condition, "Tensor")
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    must_be("input", 2, input, "Tensor or Number")
    must_be("other", 3, other, "Tensor or Number")
    assert input is not None and other is not None          # `must_be` takes none
    mask = condition.node
    if mask.spec.dtype is dtypes.uint8:
        mask = truth(mask)
    if mask.spec.dtype is not dtypes.bool_:
        raise RuntimeError("where expected condition to be a boolean tensor, but got a tensor with dtype "
                           f"{mask.spec.dtype!r}")
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        dtype = max(dtypes.of_scalar(input), dtypes.of_scalar(other), key=lambda d: d.category)
        return wrap(g.where(mask, *(constant(converted(v, dtype, "where"), dtype, mask.spec.device)
                                    for v in (input, other))))
    if isinstance(input, Tensor) and beyond(other, input.node):
        other = converted(other, input.dtype, "where")
    elif isinstance(other, Tensor) and beyond(input, other.node):
        input = converted(input, other.dtype, "where")
    return wrap(g.where(mask, *must_be_operands(input, other, "where")))


def must_be(name: str, position: int, value: object, kinds: str) -> None:
    """Raise TypeError, in PyTorch's words, for an argument that is no Tensor, nor a number where one will do."""
    if not isinstance(value, Tensor) and not (position > 1 and isinstance(value, complex | float | int | np.generic)):
        hint = f": microtrain.tensor({name}) makes one" if hasattr(value, "__array__") else ""
        raise TypeError(f"where(): argument '{name}' (position {position}) must be {kinds}, not {type_of(value)}{hint}")


def chosen(self: Tensor, condition: Tensor, other: Operand) -> Tensor:
    """self where `condition` holds, else `other`."""
    return where(condition, self, other)


chosen.__name__ = "where"
