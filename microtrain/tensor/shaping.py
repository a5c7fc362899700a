"""Shapes: views and splits. A view shares memory with its source as in PyTorch and costs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import index
from typing import Any

from .. import ops as g
from ..graph.dtypes import TITLES, int64
from ..graph.node import Node
from ..graph.spec import Shape, normalise_dim, normalise_dims
from .memory import one_of_several
from .operands import called, labelled
from .storage import wrap
from .strides import along, repeats, view_strides
from .types import Dims, Sizes, Tensor


def _reshaped(self: Tensor, shape: Shape, strides: Shape, label: str) -> Tensor:
    """A view of the same elements in another shape."""
    return labelled(self.share(lambda x: g.reshape(x, shape), lambda base, v: g.reshape(v, base.shape), strides), label)


def full_shape(shape: Sequence[int], numel: int) -> Shape:
    """A shape argument with its -1, if any, worked out. Raises RuntimeError in PyTorch's words."""
    if shape.count(-1) > 1:
        raise RuntimeError(f"only one dimension can be inferred, but the shape is {list(shape)}")
    known = 1
    for n in shape:
        if n < -1:
            raise RuntimeError(f"invalid shape dimension {n}")
        known *= n if n != -1 else 1
    if -1 in shape:
        if known == 0:
            if numel:
                raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
            raise RuntimeError(f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified "
                               "dimension size -1 can be any value and is ambiguous")
        if numel % known == 0:
            return tuple(numel // known if n == -1 else n for n in shape)
    elif known == numel:
        return tuple(shape)
    raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")


def _signed(given: Sequence[Any]) -> list[int]:
    """Ints given one by one or as one sequence; also NumPy's, and tensors of one. Raises TypeError for others."""
    listed = list(given[0] if len(given) == 1 and isinstance(given[0], Sequence) and
                  not isinstance(given[0], str | bytes) else given)
    for i, n in enumerate(listed):
        if n.__class__ is not int:
            try:
                listed[i] = index(None if isinstance(n, bool) else n)       # type: ignore[arg-type]
            except TypeError:
                raise TypeError(f"a shape is made of ints, got {type(n).__name__} ({n!r})") from None
    return listed


def reshape(self: Tensor, *shape: Sizes) -> Tensor:
    """The same elements in another shape; one size may be -1. A view where PyTorch has one, else a copy."""
    new = full_shape(_signed(shape), self.numel())
    strides = view_strides(self.node.shape, self.stride(), new)
    if strides is None:
        return wrap(g.reshape(self.node, new), "UnsafeViewBackward0")
    return _reshaped(self, new, strides, "ViewBackward0")


def view(self: Tensor, *shape: Sizes) -> Tensor:
    """As `reshape`, but never a copy: raises RuntimeError where the strides do not allow a view."""
    new = full_shape(_signed(shape), self.numel())
    strides = view_strides(self.node.shape, self.stride(), new)
    if strides is None:
        raise RuntimeError("view size is not compatible with input tensor's size and stride (at least one dimension "
                           "spans across two contiguous subspaces). Use .reshape(...) instead.")
    return _reshaped(self, new, strides, "ViewBackward0")


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """A view in another tensor's shape."""
    return self.view(other.shape)


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """Reshaped to another tensor's shape."""
    return self.reshape(other.shape)


def flatten(self: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes start_dim to end_dim as one: the tensor itself where they are one."""
    shape = self.node.shape
    first, last = normalise_dim(start_dim, len(shape)), normalise_dim(end_dim, len(shape))
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return self.reshape(1)
    if first == last:
        return self
    return self.reshape(*shape[:first], math.prod(shape[first:last + 1]), *shape[last + 1:])


def unflatten(self: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several."""
    axis = normalise_dim(dim, self.ndim)
    shape = self.node.shape or (1,)
    return self.reshape(*shape[:axis], *full_shape(list(sizes), shape[axis]), *shape[axis + 1:])


def ravel(self: Tensor) -> Tensor:
    """All axes as one."""
    return self.reshape(-1)


def permute(self: Tensor, *dims: Sizes) -> Tensor:
    """Axes in another order: output axis i is input axis dims[i]."""
    listed, ndim = _signed(dims), self.ndim
    if len(listed) != ndim:
        raise RuntimeError("permute(sparse_coo): number of dimensions in the tensor input does not match the length of "
                           f"the desired ordering of dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = "
                           f"{len(listed)}")
    order = tuple(normalise_dim(d, ndim) for d in listed)
    if len(set(order)) != ndim:
        raise RuntimeError(f"permute(): duplicate dims are not allowed: {listed}")
    return permuted(self, order, "PermuteBackward0")


def transpose(self: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged."""
    a, b = normalise_dim(dim0, self.ndim), normalise_dim(dim1, self.ndim)
    order = list(range(self.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    return permuted(self, tuple(order), "TransposeBackward0")


def movedim(self: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Axes moved to other places, the rest kept in order."""
    froms = [source] if isinstance(source, int) else list(source)
    tos = [destination] if isinstance(destination, int) else list(destination)
    if len(froms) != len(tos):
        raise RuntimeError("movedim: Invalid source or destination dims: source "
                           f"({froms} dims) should contain the same number of dims as destination ({tos} dims)")
    froms, tos = ([normalise_dim(d, self.ndim) for d in dims] for dims in (froms, tos))
    for name, dims in (("source", froms), ("destination", tos)):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({dims})")
    rest = iter([d for d in range(self.ndim) if d not in froms])
    places = dict(zip(tos, froms, strict=True))
    order = tuple(places[i] if i in places else next(rest) for i in range(self.ndim))
    return permuted(self, order, "PermuteBackward0")


def t(self: Tensor) -> Tensor:
    """The transpose of a tensor of at most two axes."""
    if self.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {self.ndim}D")
    return permuted(self, tuple(reversed(range(self.ndim))), "TBackward0")


def expand(self: Tensor, *size: Sizes) -> Tensor:
    """Axes of size 1 repeated to `size`, without copying; -1 keeps a size."""
    listed = _signed(size)
    shape = self.node.shape
    lead = len(listed) - len(shape)
    if lead < 0:
        raise RuntimeError(f"expand(torch.{TITLES[self.dtype.name]}Tensor{{{list(shape)}}}, size={listed}): the "
                           f"number of sizes provided ({len(listed)}) must be greater or equal to the number of "
                           f"dimensions in the tensor ({len(shape)})")
    new, strides, mine = [], [], self.stride()
    for i, n in enumerate(listed):
        have = shape[i - lead] if i >= lead else 1
        if n == -1:
            if i < lead:
                raise RuntimeError(f"expand: -1 is not allowed in a leading, non-existing dimension {i}")
            n = have
        if have not in (1, n):
            raise RuntimeError(f"The expanded size of the tensor ({n}) must match the existing size ({have}) at "
                               f"non-singleton dimension {i}.  Target sizes: {listed}.  Tensor sizes: {list(shape)}")
        new.append(n)
        strides.append(mine[i - lead] if i >= lead and have == n else 0)
    for i in reversed(range(lead if shape else 0)):
        strides[i] = new[i + 1] * strides[i + 1] if new[i] == 1 else 0
    # Where nothing is repeated the view can be written through.
    update = _expanded_update if repeats(tuple(new), tuple(strides)) else \
        lambda base, v: g.reshape(v, base.shape) if v.spec.numel == base.spec.numel else base
    return labelled(self.share(lambda x: g.expand(x, tuple(new)), update, tuple(strides)), "ExpandBackward0")


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """Expanded to another tensor's shape."""
    return self.expand(other.shape)


def broadcast_to(self: Tensor, *size: Sizes) -> Tensor:
    """As `expand`."""
    return self.expand(*size)


def squeeze(self: Tensor, dim: Dims = None) -> Tensor:
    """Without axes of size 1: all of them, or those among `dim`."""
    shape = self.node.shape
    chosen = range(len(shape)) if dim is None else \
        () if isinstance(dim, tuple | list) and not dim else {*normalise_dims(dim, len(shape))}
    kept = [i for i, n in enumerate(shape) if not (n == 1 and i in chosen)]
    strides = self.stride()
    return _reshaped(self, tuple(shape[i] for i in kept), tuple(strides[i] for i in kept),
                     "SqueezeBackward0" if dim is None else "SqueezeBackward1")


def unsqueeze(self: Tensor, dim: int) -> Tensor:
    """With a new axis of size 1 at `dim`."""
    axis = normalise_dim(dim, self.ndim + 1)
    shape, strides = self.node.shape, self.stride()
    step = strides[axis] * shape[axis] if axis < len(shape) else 1
    return _reshaped(self, (*shape[:axis], 1, *shape[axis:]), (*strides[:axis], step, *strides[axis:]),
                     "UnsqueezeBackward0")


def flip(self: Tensor, *axis: Sizes, dims: Dims = None) -> Tensor:
    """Reversed along `dims`, given as ints or as one sequence (a copy, as in PyTorch)."""
    if dims is None and not axis:
        raise TypeError('flip() missing 1 required positional arguments: "dims"')
    axes = tuple(normalise_dim(d, self.ndim) for d in _signed(axis if dims is None else (dims,)))
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"dim {max(axes, key=axes.count)} appears multiple times in the list of dims")
    return wrap(g.flip(self.node, tuple(sorted(axes))) if self.ndim else g.identity(self.node))


def contiguous(self: Tensor) -> Tensor:
    """Itself where its elements lie in row-major order, else a copy."""
    return self if self.is_contiguous() else self.clone()


def narrow(self: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """`length` elements from `start` along `dim`."""
    if not self.ndim:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    axis = normalise_dim(dim, self.ndim)
    size = self.node.shape[axis]
    if isinstance(start, Tensor):
        if start.ndim or start.dtype.category != 1:
            raise RuntimeError("narrow(): start must be an 0-dim integral Tensor, but got a "
                               f"{start.dtype!r} tensor of shape {list(start.shape)}.")
        start = int(start.item())
    start, length = index(start), index(length)
    first = start + size if start < 0 else start
    if length < 0:
        raise RuntimeError(f"narrow(): length must be non-negative. Got {length}.")
    if not -size <= start <= size:
        raise IndexError(f"narrow(): start out of range (expected to be in range of [{-size}, {size}], but got "
                         f"{start})")
    if first + length > size:
        raise RuntimeError(f"narrow(): start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return sliced(self, axis, first, length)


def select(self: Tensor, dim: int, index: int) -> Tensor:
    """One index along `dim`, which goes."""
    if not self.ndim:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    axis = normalise_dim(dim, self.ndim)
    size = self.node.shape[axis]
    if not -size <= index < size:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(self.node.shape)} at "
                         f"dimension {axis}")
    return labelled(sliced(self, axis, index % size, 1).squeeze(axis), "SelectBackward0")


def split(self: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of `split_size` (the last may be smaller), or of the sizes listed."""
    axis = normalise_dim(dim, self.ndim)
    if not self.ndim:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    size = self.node.shape[axis]
    if isinstance(split_size, int):
        if split_size < 0 or (split_size == 0 and size):
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={split_size}")
        parts = [min(split_size, size - i) for i in range(0, size, split_size or 1)] or [0]
    else:
        parts = list(split_size)
        if sum(parts) != size or min(parts, default=0) < 0:
            raise RuntimeError(f"split_with_sizes expects split_sizes to sum exactly to {size} (input tensor's "
                               f"size at dimension {axis}), but got split_sizes={parts}")
    label = "SplitBackward0" if isinstance(split_size, int) else "SplitWithSizesBackward0"
    return one_of_several(labelled(sliced(self, axis, start, length), label)
                          for start, length in zip(accumulate(parts, initial=0), parts, strict=False))


def chunk(self: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` equal parts (the last may be smaller)."""
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    if not self.ndim:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    size = self.node.shape[normalise_dim(dim, self.ndim)]
    if not size:
        return tuple(self.narrow(dim, 0, 0) for _ in range(chunks))
    return self.split(-(-size // chunks), dim)


def tensor_split(self: Tensor, indices_or_sections: Sizes | Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """As many parts as the number given, sizes differing by at most 1; or cut before each of the indices given (a
    tensor's values are read at once). Raises RuntimeError for no parts or a 0-d tensor, TypeError for what is neither
    int nor ints."""
    if not self.ndim:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    axis = normalise_dim(dim, self.ndim)
    size = self.node.shape[axis]
    wanted = indices_or_sections
    if isinstance(wanted, Tensor):
        if wanted.dtype is not int64 or wanted.ndim > 1:
            raise RuntimeError("tensor_split expected tensor_indices_or_sections to be a zero-dimensional or "
                               "one-dimensional tensor with dtype of long, but got a tensor with "
                               f"{wanted.ndim} dims and dtype {wanted.dtype!r}")
        wanted = wanted.tolist()
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        if wanted <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {wanted}")
        if wanted >= 2**31:
            raise RuntimeError(f"tensor_split(): number of sections is out of range, got {wanted}")
        least, larger = divmod(size, wanted)
        wanted = [i * least + min(i, larger) for i in range(1, wanted)]
    elif not isinstance(wanted, list | tuple):
        raise TypeError(f"tensor_split(): expected an int or a sequence of ints, got {type(wanted).__name__} "
                        f"({wanted!r})")
    cuts = [max(0, min(i + size if i < 0 else i, size)) for i in _signed([wanted])]
    return tuple(sliced(self, axis, start, max(0, end - start))
                 for start, end in zip([0, *cuts], [*cuts, size], strict=True))


def _into_equal(name: str, least: int, axis: int, doc: str) -> Callable[..., tuple[Tensor, ...]]:
    """`tensor_split` into equal parts only, of a tensor of at least so many axes."""
    def method(self: Tensor, indices_or_sections: Sizes | Tensor) -> tuple[Tensor, ...]:
        wanted, dim = indices_or_sections, min(axis, self.ndim - 1)
        if self.ndim < least:
            raise RuntimeError(f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with "
                               f"{self.ndim} dimensions!")
        if isinstance(wanted, int) and (wanted <= 0 or self.node.shape[dim] % wanted):
            raise RuntimeError(f"torch.{name} attempted to split along dimension {dim}, but the size of the dimension "
                               f"{self.node.shape[dim]} is not divisible by the split_size {wanted}!")
        return self.tensor_split(wanted, dim)
    return called(method, name, f"Parts {doc}: equal ones, or cut before each index, along the axis {axis}.")


hsplit = _into_equal("hsplit", 1, 1, "side by side (of a vector, one after the other)")
vsplit = _into_equal("vsplit", 2, 0, "one under the other")
dsplit = _into_equal("dsplit", 3, 2, "one behind the other")


def unbind(self: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The parts along `dim`, each without it."""
    if not self.ndim:
        raise IndexError(f"unbind(): Dimension specified as {dim} but tensor has no dimensions")
    size = self.shape[normalise_dim(dim, self.ndim)]
    return one_of_several(labelled(self.select(dim, i), "UnbindBackward0") for i in range(size))


def permuted(self: Tensor, order: Shape, label: str) -> Tensor:
    """A view with its axes in another order."""
    back, strides = tuple(order.index(i) for i in range(len(order))), self.stride()
    return labelled(self.share(lambda x: g.permute(x, order), lambda base, v: g.permute(v, back),
                               tuple(strides[d] for d in order)), label)


def _expanded_update(base: Node, value: Node) -> Node:
    raise RuntimeError("unsupported operation: more than one element of the written-to tensor refers to a single "
                       "memory location. Please clone() the tensor before performing the operation.")


def sliced(self: Tensor, axis: int, start: int, length: int, step: int = 1) -> Tensor:
    """A view of every `step`-th of the elements from `start` along an axis, `length` of them."""
    shape, strides = self.node.shape, self.stride()
    starts, counts, steps = along(shape, axis, start, length, step)
    part = self.share(lambda x: g.slice(x, starts, counts, steps),
                      lambda base, v: g.slice_update(base, v, starts, steps),
                      tuple(s * k for s, k in zip(strides, steps, strict=True)), start * strides[axis])
    return labelled(part, "SliceBackward0")
