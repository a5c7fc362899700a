"""Indexing: x[...] and x[...] = v with integers, slices, None, Ellipsis, integer arrays and masks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, overload

import numpy as np

from .. import ops as g
from ..graph import dtypes
from ..graph.dtypes import TITLES
from ..graph.node import Node
from ..graph.spec import broadcast_shapes
from ..graph.tape import grad_mode
from ..runtime.lock import locked
from .create import tensor
from .host import answered, put, values
from .memory import named
from .operands import converted, node_of, stranger
from .reading import read
from .shaping import sliced
from .storage import wrap
from .types import Operand, Tensor

MASKS = (np.bool_, np.uint8)


@overload
def nonzero(input: Tensor, *, as_tuple: Literal[False] = False) -> Tensor: ...
@overload
def nonzero(input: Tensor, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]: ...
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Tensor | tuple[Tensor, ...]:
    """Indices of the non-zero elements: one row each (n, ndim), or a tuple of ndim tensors (n,)."""
    node = node_of(input, "nonzero")
    places = np.nonzero(np.atleast_1d(values(node)))
    if as_tuple:
        return tuple(wrap(put(p, dtypes.int64, node.device)) for p in places)
    rows = np.stack(places, 1) if node.shape else np.zeros((len(places[0]), 0))
    return wrap(put(rows, dtypes.int64, node.device))


def _axes(index: object, stacklevel: int) -> tuple[object, ...]:
    """The index as a tuple. A short list of more than numbers counts as one, as in PyTorch, which warns of it too."""
    if isinstance(index, tuple):
        return index
    if isinstance(index, list) and len(index) < 32 and any(
            item is None or item is Ellipsis or isinstance(item, slice | Sequence | Tensor | np.ndarray)
            for item in index):
        warnings.warn("Using a non-tuple sequence for multidimensional indexing is deprecated; use x[tuple(index)] for "
                      "an index of each axis, x[torch.tensor(index)] for rows.", stacklevel=stacklevel)
        return tuple(index)
    return (index,)


def _items(index: tuple[object, ...], ndim: int) -> list[object]:
    """The index as a list with Ellipsis spelled out; lists and arrays as arrays."""
    listed: list[Any] = []
    for item in index:
        if isinstance(item, list | tuple | range):
            within = any(isinstance(member, Tensor) for member in item)
            item = read(item)[0] if within else np.asarray(item, dtype=None if len(item) else np.int64)
        if isinstance(item, np.integer):
            item = int(item)
        elif isinstance(item, Tensor | np.ndarray) and not item.ndim and not _dims(item):      # a mask of no axes
            item = bool(item)
        listed.append(item)
    used = sum(0 if item is None or item is Ellipsis or isinstance(item, bool) else
               _dims(item) if isinstance(item, Tensor | np.ndarray) else 1 for item in listed)
    if used > ndim:
        only = listed[0] if not ndim and len(listed) == 1 else None
        raise IndexError("slice() cannot be applied to a 0-dim tensor." if isinstance(only, slice) else
                         "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ "
                         "to convert a 0-dim tensor to a number" if isinstance(only, int) else
                         f"too many indices for tensor of dimension {ndim}")
    listed = [int(values(item.node)) if _is_integer(item) else item for item in listed]
    dots = [i for i, item in enumerate(listed) if item is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    rest = [slice(None)] * (ndim - used)
    return [*listed[:dots[0]], *rest, *listed[dots[0] + 1:]] if dots else listed + rest


def _is_integer(item: object) -> bool:
    """Whether a tensor stands for one integer, so that it gives a view."""
    return isinstance(item, Tensor) and not item.ndim and item.dtype.category == 1 and item.dtype is not dtypes.uint8


def _dims(item: Tensor | np.ndarray) -> int:
    """How many axes an array index stands for: a mask for as many as it has."""
    return item.ndim if item.dtype in ((dtypes.bool_, dtypes.uint8) if isinstance(item, Tensor) else MASKS) else 1


def _basic(self: Tensor, items: list[object]) -> tuple[Tensor, dict[int, Node]]:
    """Apply what is no array, as views; array indices (checked, wrapped) by the axis they apply to."""
    out, dim = self, 0
    arrays: dict[int, Node] = {}
    for item in items:
        if item is None:
            out, dim = out.unsqueeze(dim), dim + 1
        elif isinstance(item, bool):
            out = out.unsqueeze(dim)
            arrays[dim] = put(np.zeros(int(item), np.int64), dtypes.int64, out.device)
            dim += 1
        elif isinstance(item, int):
            size = out.shape[dim]
            if not -size <= item < size:
                axis = self.ndim - (out.ndim - dim)
                raise IndexError(f"index {item} is out of bounds for dimension {axis} with size {size}")
            out = out.select(dim, item)
        elif isinstance(item, slice):
            out, dim = _slice(out, dim, item), dim + 1
        elif isinstance(item, Tensor | np.ndarray):
            for node in _array(item, out, dim):
                arrays[dim] = node
                dim += 1
        elif isinstance(item, str | bytes):
            raise TypeError(f"an index is made of ints, slices, None, Ellipsis and Tensors, not {type(item).__name__}")
        elif not hasattr(item, "__index__"):
            raise IndexError("only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are "
                             f"valid indices (got {type(item).__name__})")
        else:
            out = out.select(dim, item.__index__())
    return out, arrays


def _slice(x: Tensor, dim: int, item: slice) -> Tensor:
    size = x.shape[dim]
    if item.step == 0 or (parts := item.indices(size))[2] < 0:      # TypeError for bounds that are no integers
        raise ValueError("step must be greater than zero")
    start, stop, step = parts
    if start == 0 and step == 1 and stop >= size:
        return x
    return sliced(x, dim, start, max(0, -(-(stop - start) // step)), step)


def _array(item: Tensor | np.ndarray, x: Tensor, dim: int) -> list[Node]:
    """An array index as int64 nodes in range, one for each axis it stands for. Raises IndexError."""
    device = x.device
    if isinstance(item, Tensor):
        node = item.node
        if node.device is not device:
            node = put(values(node), node.dtype, device)
    else:
        if item.dtype.kind not in "biu" or item.dtype == np.uint64:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors, got an array of "
                             f"{item.dtype}")
        node = put(item, dtypes.from_numpy(item.dtype), device)
    if node.dtype in (dtypes.bool_, dtypes.uint8):
        for i, n in enumerate(node.shape):
            if n != x.shape[dim + i]:
                raise IndexError(f"The shape of the mask {list(node.shape)} at index {i} does not match the shape of "
                                 f"the indexed tensor {list(x.shape)} at index {dim + i}")
        return [put(p, dtypes.int64, device) for p in np.nonzero(values(node))]
    if node.dtype.is_floating_point or (isinstance(item, Tensor) and node.dtype in (dtypes.int8, dtypes.int16)):
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    given = None if isinstance(item, Tensor) else item
    return [checked(node, x.shape[dim], dim, IndexError, -x.shape[dim], -x.numel(), given)]


def placed(index: Node, size: int, low: int, nowhere: int) -> Node:
    """An index that may count from the end where `low` is negative, counted from the beginning. On a GPU, where it is
    not looked at, one out of range becomes `nowhere`, a negative number."""
    if low < 0:
        index = g.where(g.lt(index, 0), g.add(index, size), index)
    return index if index.device.kind.readable else g.where(g.between(index, 0, size - 1), index, nowhere)


def picked(x: Node, index: Node, pick: Callable[[Node, Node], Node] = g.take) -> Node:
    """Elements or rows of x at an index, as `placed` gave it: on a GPU NaN, or an integer dtype's lowest number, where
    there is none."""
    if index.device.kind.readable:
        return pick(x, index)
    there = g.ge(index, 0)
    found = pick(x, g.where(there, index, 0))
    nothing = math.nan if x.dtype.is_floating_point else x.dtype.low
    return g.where(g.reshape(there, (*index.shape, *[1] * (len(found.shape) - len(index.shape)))), found, nothing)


def checked(index: Node, size: int, dim: int, error: type[Exception] = RuntimeError, low: int = 0, nowhere: int = -1,
            given: np.ndarray | None = None) -> Node:
    """An integer index as int64, its elements from `low` (0, or -size: those then count from the end) to `size` - 1.
    Raises `error`, naming one out of range, on devices whose values can be looked at without waiting, or where the host
    has them still; elsewhere it is `placed`."""
    index = g.cast(index, dtypes.int64)
    if given is not None or index.device.kind.readable:
        question = partial(_range, low, size)
        outside, from_end = answered(index, question) if given is None else question(given)
        if outside is not None:
            raise error(f"index {outside} is out of bounds for dimension {dim} with size {size}")
        if not from_end:
            return index
    return placed(index, size, low, nowhere)


def _range(low: int, size: int, index: np.ndarray) -> tuple[int | None, bool]:
    """The first element out of range, if there is one, and whether one counts from the end."""
    outside = index[(index < low) | (index >= size)]
    return int(outside[0]) if outside.size else None, bool((index < 0).any())


def _flat_index(x: Node, arrays: dict[int, Node]) -> tuple[tuple[int, ...], Node, tuple[int, ...], int]:
    """Array indices as one. Returns the axis order with theirs in front, the index into those axes flattened, and where
    they return."""
    dims = tuple(arrays)
    try:
        shape = broadcast_shapes(*[n.shape for n in arrays.values()])
    except RuntimeError:
        listed = ", ".join(str(list(n.shape)) for n in arrays.values())
        raise IndexError("shape mismatch: indexing tensors could not be broadcast together with shapes "
                         + listed) from None
    flat: Node | None = None
    for dim, node in arrays.items():
        flat = node if flat is None else g.add(g.mul(flat, x.shape[dim]), node)
    assert flat is not None
    order = (*dims, *[d for d in range(len(x.shape)) if d not in dims])
    adjacent = dims == tuple(range(dims[0], dims[0] + len(dims)))
    return order, g.expand(flat, shape), shape, dims[0] if adjacent else 0


def _rows(x: Node, order: tuple[int, ...], n: int) -> Node:
    """x with its first n axes of `order` in front and flattened to one."""
    moved = g.permute(x, order)
    return g.reshape(moved, (math.prod(moved.shape[:n]), *moved.shape[n:]))


def getitem(self: Tensor, index: object) -> Tensor:
    """x[index]: a view for integers and slices, a copy for arrays and masks."""
    out, arrays = _basic(self, _items(_axes(index, 3), self.ndim))
    if not arrays:
        return out if out is not self else self.share(g.identity, lambda base, v: v)
    x = out.node
    order, flat, shape, place = _flat_index(x, arrays)
    found = picked(_rows(x, order, len(arrays)), flat)
    lead, rest = len(shape), len(found.shape) - len(shape)
    back = (*range(lead, lead + place), *range(lead), *range(lead + place, lead + rest))
    return wrap(g.permute(found, back), "IndexBackward0")


@locked
def setitem(self: Tensor, index: object, value: Operand) -> None:
    """x[index] = value, broadcast; where an element is named twice the last value wins."""
    index = (None,) if index is True else _axes(index, 4)          # a view, to be copied to
    out, arrays = _basic(self, _items(index, self.ndim))
    if not arrays:
        out.copy_(_spread(value if isinstance(value, Tensor) else _number(value, self), out))
        return
    self.check_inplace()
    x = out.former() if grad_mode.enabled else out.node
    order, flat, shape, place = _flat_index(x, arrays)
    rows = _rows(x, order, len(arrays))
    rest = rows.shape[1:]
    view = (*rest[:place], *shape, *rest[place:])
    source = g.cast(value.node if isinstance(value, Tensor) else _number(value, self).node, x.dtype)
    extra = max(len(source.shape) - len(view), 0)
    if any(n not in (1, m) for n, m in zip(source.shape[::-1], (*view[::-1], *[1] * extra), strict=False)):
        raise RuntimeError(f"shape mismatch: value tensor of shape {list(source.shape)} cannot be broadcast to "
                           f"indexing result of shape {list(view)}")
    source = g.reshape(source, source.shape[extra:]) if extra else source
    if isinstance(value, Tensor) and value.dtype is not x.dtype and not (value.numel() == 1 and _one_mask(index)):
        raise RuntimeError("Index put requires the source and destination dtypes match, got "
                           f"{TITLES[x.dtype.name]} for the destination and {TITLES[value.dtype.name]} for the source.")
    source = g.expand(source, view)
    front = (*range(place, place + len(shape)), *range(place), *range(place + len(shape), len(view)))
    updated = g.index_put(rows, flat, g.permute(source, front))
    moved = tuple(x.shape[d] for d in order)
    back = tuple(order.index(i) for i in range(len(order)))
    out.rebind(named(g.permute(g.reshape(updated, moved), back), "IndexPutBackward0"))


def _spread(value: Tensor, target: Tensor) -> Tensor:
    """A value in the shape of what it is assigned to, which may have fewer axes where those in front are of size 1."""
    shape, wanted = value.node.shape, target.node.shape
    if shape == wanted:
        return value
    lead = len(shape) - len(wanted)
    while lead > 0 and shape[0] == 1:
        shape, lead = shape[1:], lead - 1
    return (value if len(shape) == value.ndim else value.reshape(shape)).expand(wanted)


def _one_mask(index: tuple[Any, ...]) -> bool:
    """Whether an index picks by one mask, so that a number is filled in, of whatever dtype."""
    arrays = [item for item in index if hasattr(item, "dtype")]
    return len(arrays) == 1 and arrays[0].ndim > 0 and arrays[0].dtype in (dtypes.bool_, np.bool_)


def _number(value: Operand, like: Tensor) -> Tensor:
    if isinstance(value, np.generic | int | float) and (like.dtype.category == 1 or like.dtype.wide):
        value = converted(value, like.dtype, "__setitem__")
    return tensor(value, dtype=like.dtype if not hasattr(value, "dtype") else None, device=like.device)


def masked_select(self: Tensor, mask: Tensor) -> Tensor:
    """The elements where `mask` (bool) holds, as one axis."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_select: expected BoolTensor for mask, got {mask.dtype!r}")
    shape = broadcast_shapes(self.node.shape, mask.node.shape)
    return self.expand(shape).reshape(-1)[mask.expand(shape).reshape(-1)]


def iterated(self: Tensor) -> Iterator[Tensor]:
    """The parts along the first axis."""
    if not self.ndim:
        raise TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


def contains(self: Tensor, value: Operand) -> bool:
    """Whether some element equals a number or a tensor's."""
    if not isinstance(value, Tensor) and stranger(value) is None:
        raise RuntimeError("Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
                           f"{type(value)}.")
    return bool((self == value).any())


