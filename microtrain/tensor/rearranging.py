"""Diagonals, triangles, repetitions and rotations: the elements of a tensor in other places.

A diagonal of an (r, c) matrix is every (c + 1)-th element of its r*c elements in a row, so it is a slice with a step, a
view that costs nothing; a matrix with a given diagonal is the adjoint of that slice. A triangle is a comparison of the
row's number with the column's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import ops as g
from ..graph import dtypes
from ..graph.dtypes import DType, number
from ..graph.node import Node
from ..graph.spec import Shape, normalise_dim
from .create import DeviceLike, kind, place
from .host import put, values
from .operands import called, labelled, no_bool, node_of
from .storage import wrap
from .strides import along
from .types import Sizes, Tensor


def _two_axes(dim1: int, dim2: int, ndim: int) -> tuple[int, int]:
    """The two different axes of a diagonal. Raises IndexError for one out of range, RuntimeError for equal ones."""
    a, b = normalise_dim(dim1, ndim), normalise_dim(dim2, ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return a, b


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(order.index(i) for i in range(len(order)))


def _size(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}(): expected ints, got {type(value).__name__} ({value!r})")
    return int(number(value))


def _ints(given: Sequence[object], name: str) -> list[int]:
    """Ints given one by one or as one sequence. Raises TypeError for anything else."""
    many = given[0] if len(given) == 1 and isinstance(given[0], Sequence) and not isinstance(given[0], bytes) else given
    return [_size(value, name) for value in many]


class _Diagonal:
    """Where the diagonal of axes `a` and `b` lies: with those axes last and merged, in a slice with a step."""

    def __init__(self, shape: Shape, offset: int, a: int, b: int) -> None:
        self.offset = offset
        rest = [d for d in range(len(shape)) if d not in (a, b)]
        r, c = shape[a], shape[b]
        self.order = (*rest, a, b)
        self.rest = tuple(shape[d] for d in rest)
        self.square, self.flat = (*self.rest, r, c), (*self.rest, r * c)
        length = max(0, min(r, c - offset) if offset >= 0 else min(r + offset, c))
        start = 0 if not length else offset if offset >= 0 else -offset * c
        self.sizes = (*self.rest, length)
        self.starts, self.steps = (*[0] * len(rest), start), (*[1] * len(rest), c + 1)

    def of(self, x: Node) -> Node:
        """The diagonal."""
        return g.slice(g.reshape(g.permute(x, self.order), self.flat), self.starts, self.sizes, self.steps)

    def replaced(self, base: Node, value: Node) -> Node:
        """`base` with another diagonal."""
        flat = g.slice_update(g.reshape(g.permute(base, self.order), self.flat), value, self.starts, self.steps)
        return g.permute(g.reshape(flat, self.square), _inverse(self.order))

    def alone(self, value: Node) -> Node:
        """Zeros but for this diagonal: the adjoint of `of`."""
        flat = g.pad(value, self.starts, self.flat, self.steps)
        return g.permute(g.reshape(flat, self.square), _inverse(self.order))


def diagonal(self: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of axes dim1 and dim2, as the last axis, `offset` to the right of the main one. A view. Raises
    RuntimeError for equal axes, IndexError for one out of range."""
    x = node_of(self, "diagonal")
    a, b = _two_axes(dim1, dim2, len(x.shape))
    where = _Diagonal(x.shape, offset, a, b)
    strides = self.stride()
    steps = (*(strides[d] for d in where.order[:-2]), strides[a] + strides[b])
    start = max(where.offset, 0) * strides[b] + max(-where.offset, 0) * strides[a]
    return labelled(self.share(where.of, where.replaced, steps, start), "DiagonalBackward0")


def diag(self: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix with a vector on its diagonal; of a matrix, a copy of its diagonal. Raises RuntimeError for other than
    1 or 2 axes."""
    x = node_of(self, "diag")
    if len(x.shape) == 1:
        return self.diag_embed(diagonal)
    if len(x.shape) != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {len(x.shape)}D")
    return wrap(_Diagonal(x.shape, diagonal, 0, 1).of(x), "DiagonalBackward0_copy")


def diag_embed(self: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices of axes dim1 and dim2 whose diagonal is the last axis, zero elsewhere. Raises RuntimeError for
    equal axes, IndexError for one out of range."""
    x = node_of(self, "diag_embed")
    ndim = len(x.shape)
    a, b = _two_axes(dim1, dim2, ndim + 1)
    if not ndim:
        raise RuntimeError("diag_embed(): expected a tensor of at least 1 dimension, got a 0-d tensor")
    n = x.shape[-1] + abs(offset)
    sizes = iter(x.shape[:-1])
    shape = tuple(n if d in (a, b) else next(sizes) for d in range(ndim + 1))
    return wrap(_Diagonal(shape, offset, a, b).alone(x), "DiagEmbedBackward0")


def trace(self: Tensor) -> Tensor:
    """The sum of a matrix's diagonal; integers give int64. Raises RuntimeError for other than 2 axes,
    NotImplementedError for booleans."""
    x = node_of(self, "trace")
    if len(x.shape) != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {len(x.shape)}")
    x = no_bool(x if x.dtype.is_floating_point or not x.dtype.category else g.cast(x, dtypes.int64), "trace")
    return wrap(g.sum(_Diagonal(x.shape, 0, 0, 1).of(x), (0,)), "TraceBackward0")


def _triangle(name: str, compare: Callable[[Node, int], Node], doc: str) -> Callable[..., Tensor]:
    def method(self: Tensor, diagonal: int = 0) -> Tensor:
        x = node_of(self, name)
        if len(x.shape) < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions, got {len(x.shape)} "
                               f"(shape {list(x.shape)})")
        r, c = x.shape[-2:]
        k = max(-r, min(diagonal, c))          # beyond, nothing changes; an int64 cannot overflow
        inside = compare(g.sub(g.reshape(g.iota(c, x.device), (1, c)), g.reshape(g.iota(r, x.device), (r, 1))), k)
        return wrap(g.where(inside, x, 0), f"{name.capitalize()}Backward0")
    return called(method, name, f"The {doc} it. Raises RuntimeError for fewer than 2 axes.")


tril = _triangle("tril", g.le, "lower triangle of the last two axes, up to the given diagonal; zero above")
triu = _triangle("triu", g.ge, "upper triangle of the last two axes, from the given diagonal on; zero below")


def repeat(self: Tensor, *repeats: Sizes) -> Tensor:
    """The tensor so many times along each axis, in a copy; more numbers than axes make new leading axes. Raises
    RuntimeError for fewer numbers than axes, or a negative one."""
    x = node_of(self, "repeat")
    if not repeats:
        raise TypeError("repeat(): missing 1 required positional argument: 'repeats'")
    times = _ints(repeats, "repeat")
    lead = len(times) - len(x.shape)
    if lead < 0:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of "
                           f"tensor: {times} for shape {list(x.shape)}")
    if any(n < 0 for n in times):
        raise RuntimeError(f"Trying to create tensor with negative dimension: repeat by {times}")
    shape = (*[1] * lead, *x.shape)
    apart = tuple(n for size in shape for n in (1, size))
    wide = tuple(n for count, size in zip(times, shape, strict=True) for n in (count, size))
    out = g.reshape(g.expand(g.reshape(x, apart), wide),
                    tuple(count * size for count, size in zip(times, shape, strict=True)))
    return wrap(g.identity(x) if out is x else out, "RepeatBackward0")


def tile(self: Tensor, *dims: Sizes) -> Tensor:
    """As `repeat`, where fewer numbers than axes stand for the last axes."""
    times = _ints(dims, "tile")
    return self.repeat([*[1] * (self.ndim - len(times)), *times])


def repeat_interleave(self: Tensor, repeats: object, dim: int | None = None, *,
                      output_size: int | None = None) -> Tensor:
    """Each element `repeats` times, one copy after the other, along `dim` (of all elements in a row by default).
    `repeats` is an int, or an int tensor with one number for each place along `dim` (its values are read at once).
    Raises RuntimeError for a negative number, or numbers that do not match the axis."""
    x = node_of(self, "repeat_interleave")
    if dim is None:
        return self.flatten().repeat_interleave(repeats, 0, output_size=output_size)
    axis = normalise_dim(dim, len(x.shape))
    x = x if x.shape else g.reshape(x, (1,))
    n = x.shape[axis]
    counts = values(repeats.node) if isinstance(repeats, Tensor) else \
        np.asarray(_size(repeats, "repeat_interleave"))
    if counts.dtype.kind not in "iu":
        raise NotImplementedError(f'"repeat_interleave" not implemented for repeats of dtype {counts.dtype.name}: '
                                  "use int32 or int64")
    if counts.ndim > 1:
        raise RuntimeError(f"repeat_interleave only accept 1D vector as repeat, got shape {list(counts.shape)}")
    if counts.size not in (1, n):
        raise RuntimeError("repeats must have the same size as input along dim, but got repeats.size(0) = "
                           f"{counts.size} and input.size({axis}) = {n}")
    if (counts < 0).any():
        raise RuntimeError(f"repeats can not be negative, got {counts.min()}")
    total = int(np.broadcast_to(counts, n).sum())
    if output_size is not None and total != output_size:
        raise RuntimeError(f"allocated size does not match required size: output_size is {output_size}, the repeats "
                           f"add up to {total}")
    if counts.size == 1:
        count = int(counts.reshape(()))
        before, after = x.shape[:axis + 1], x.shape[axis + 1:]
        spread = g.expand(g.reshape(x, (*before, 1, *after)), (*before, count, *after))
        out = g.reshape(spread, (*x.shape[:axis], n * count, *after))
        return wrap(g.identity(x) if out is x else out)
    places = put(np.repeat(np.arange(n), counts), dtypes.int64, x.device)
    return wrap(x).index_select(axis, wrap(places))


def roll(self: Tensor, shifts: Sizes, dims: Sizes = ()) -> Tensor:
    """The elements moved `shifts` places along `dims`, those pushed out coming in at the other end; without dims,
    the tensor is taken as one row. Raises RuntimeError where shifts and dims differ in number."""
    x = node_of(self, "roll")
    moves, axes = _ints((shifts,), "roll"), _ints((dims,), "roll")
    if not moves:
        raise RuntimeError("`shifts` required")
    if not axes and len(moves) == 1:
        return self.flatten().roll(moves, 0).reshape(self.shape)
    if len(moves) != len(axes):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(moves)}, dims:{len(axes)}")
    if not x.shape:
        raise IndexError(f"Dimension specified as {axes[0]} but tensor has no dimensions")
    out = x
    for move, dim in zip(moves, axes, strict=True):
        axis = normalise_dim(dim, len(x.shape))
        n = x.shape[axis]
        cut = -move % n if n else 0
        if cut:
            out = g.cat((g.slice(out, *along(x.shape, axis, cut, n - cut)),
                         g.slice(out, *along(x.shape, axis, 0, cut))), axis)
    return wrap(g.identity(x) if out is x else out, "RollBackward0")


def rot90(self: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by k * 90 degrees from the first of two axes towards the second. Raises RuntimeError for other than two
    different axes."""
    ndim, turns = node_of(self, "rot90").spec.ndim, k % 4
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {ndim}")
    a, b = (normalise_dim(d, ndim) for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    if turns == 0:
        return self.clone()
    if turns == 2:
        return self.flip(a, b)
    return self.flip(b).transpose(a, b) if turns == 1 else self.flip(a).transpose(a, b)


def _triangle_indices(name: str, indices: Callable[..., tuple[np.ndarray, ...]], doc: str) -> Callable[..., Tensor]:
    def function(row: int, col: int, offset: int = 0, *, dtype: DType | None = dtypes.int64,
                 device: DeviceLike = None) -> Tensor:
        if row < 0 or col < 0:
            raise RuntimeError(f"{name}: row and col must be non-negative, got row {row}, col {col}")
        wanted = kind(dtype) or dtypes.int64
        if wanted not in (dtypes.int32, dtypes.int64):
            raise RuntimeError(f"{name}: dtype must be int32 or int64, got {wanted!r}")
        return wrap(put(np.stack(indices(row, offset, col)), wanted, place(device)))
    return called(function, name, doc)


tril_indices = _triangle_indices(
    "tril_indices", np.tril_indices, "Row and column numbers (2, n) of the elements of a lower triangle, row by row. "
    "Raises RuntimeError for a negative size or a dtype that is neither int32 nor int64.")
triu_indices = _triangle_indices("triu_indices", np.triu_indices, "As `tril_indices`, of an upper triangle.")
