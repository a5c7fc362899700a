"""Several tensors as one (`cat`, `stack` and their kin), and tensors brought to one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import ops as g
from ..graph.node import Node
from ..graph.spec import broadcast_shapes as common_shape
from ..graph.spec import normalise_dim
from .core import Size
from .operands import called, no_out, node_of, result_dtype
from .storage import wrap
from .types import Tensor

__all__ = ["atleast_1d", "atleast_2d", "atleast_3d", "broadcast_shapes", "broadcast_tensors", "cat", "column_stack",
           "dstack", "hstack", "meshgrid", "stack", "vstack"]


def _nodes(tensors: Sequence[Tensor], name: str) -> list[Node]:
    if not tensors:
        if name == "cat":
            raise ValueError("torch.cat(): expected a non-empty list of Tensors")
        raise RuntimeError(f"{name} expects a non-empty TensorList, got 0 tensors")
    nodes = []
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
        nodes.append(t.node)
    dtype = nodes[0].spec.dtype
    for node in nodes[1:]:
        if node.spec.dtype is not dtype:
            one = g.full(0, (1,) if node.shape else (), dtype, node.device)
            dtype = result_dtype(one, node)
    return [g.cast(node, dtype) for node in nodes]


def cat(tensors: Sequence[Tensor], dim: int = 0, *, out: object = None) -> Tensor:
    """Tensors joined along `dim`; the other sizes agree. A 1-d tensor of no elements goes with any, as in PyTorch."""
    nodes = _nodes(tensors, "cat")
    no_out(out, "cat")
    for i, node in enumerate(nodes):
        if not node.shape:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    first = next((n.shape for n in nodes if n.shape != (0,)), (0,))
    axis = normalise_dim(dim, len(first))
    full = [g.reshape(n, (*first[:axis], 0, *first[axis + 1:])) if n.shape == (0,) else n for n in nodes]
    for i, node in enumerate(full):
        if len(node.shape) != len(first):
            raise RuntimeError(f"Tensors must have same number of dimensions: got {len(first)} and {len(node.shape)}")
        for d, (a, b) in enumerate(zip(first, node.shape, strict=True)):
            if d != axis and a != b:
                raise RuntimeError(f"Sizes of tensors must match except in dimension {axis}. Expected size {a} but "
                                   f"got size {b} for tensor number {i} in the list.")
    return wrap(g.cat(tuple(full), axis) if len(full) > 1 else g.identity(full[0]))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis."""
    nodes = _nodes(tensors, "stack")
    shape = nodes[0].shape
    for i, node in enumerate(nodes):
        if node.shape != shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                               f"{list(node.shape)} at entry {i}")
    axis = normalise_dim(dim, len(shape) + 1)
    wide = (*shape[:axis], 1, *shape[axis:])
    parts = tuple(g.reshape(n, wide) for n in nodes)
    return wrap(g.cat(parts, axis) if len(parts) > 1 else parts[0], "StackBackward0")


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors expanded to their common shape."""
    shape = common_shape(*[node_of(t, "broadcast_tensors").shape for t in tensors])
    return tuple(t.expand(shape) for t in tensors)


def _one_axis(t: Tensor) -> Tensor:
    return t if t.ndim else t.reshape(1)


def _two_axes(t: Tensor) -> Tensor:
    return t if t.ndim > 1 else _one_axis(t).unsqueeze(0)


def _columns(t: Tensor) -> Tensor:
    return t if t.ndim > 1 else t.reshape(-1, 1)


def _three_axes(t: Tensor) -> Tensor:
    return t if t.ndim > 2 else _two_axes(t).unsqueeze(-1)


def _at_least(name: str, widen: Callable[[Tensor], Tensor], doc: str) -> Callable[..., Tensor | tuple[Tensor, ...]]:
    def function(*tensors: object) -> Tensor | tuple[Tensor, ...]:
        listed = tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else tensors
        if not isinstance(listed, Sequence) or not all(isinstance(t, Tensor) for t in listed):
            wrong = next((t for t in listed if not isinstance(t, Tensor)), None) if isinstance(listed, Sequence) else \
                listed
            raise TypeError(f"{name}(): expected Tensors, got {type(wrong).__name__}")
        parts = tuple(widen(t) for t in listed)
        return parts[0] if listed is tensors and len(parts) == 1 else parts
    return called(function, name, f"Tensors with at least {doc}. Several, also as one list, give a tuple.")


atleast_1d = _at_least("atleast_1d", _one_axis, "1 axis: a 0-d one as (1,)")
atleast_2d = _at_least("atleast_2d", _two_axes, "2 axes: a vector as one row")
atleast_3d = _at_least("atleast_3d", _three_axes, "3 axes: a vector as (1, n, 1), a matrix as (m, n, 1)")


def _stacked(name: str, widen: Callable[[Tensor], Tensor], dim: int, doc: str) -> Callable[[Sequence[Tensor]], Tensor]:
    def function(tensors: Sequence[Tensor]) -> Tensor:
        wide = [widen(wrap(node)) for node in _nodes(tensors, name)]
        return cat(wide, min(dim, wide[0].ndim - 1))
    return called(function, name, f"Tensors {doc}.")


vstack = _stacked("vstack", _two_axes, 0, "one under the other, vectors as rows: joined along the first axis")
hstack = _stacked("hstack", _one_axis, 1, "side by side: vectors joined end to end, others along the second axis")
dstack = _stacked("dstack", _three_axes, 2, "one behind the other: joined along the third of at least 3 axes")
column_stack = _stacked("column_stack", _columns, 1, "side by side, vectors as columns")


def broadcast_shapes(*shapes: object) -> Size:
    """The shape to which all of `shapes` (ints or sequences of ints) broadcast. Raises RuntimeError where there is
    none, ValueError for a negative size."""
    listed = [(shape,) if isinstance(shape, int) else tuple(shape) if isinstance(shape, Sequence) else (None,)
              for shape in shapes]
    for given, shape in zip(shapes, listed, strict=True):
        if not all(isinstance(n, int) for n in shape):
            raise RuntimeError("Input shapes should be of type ints, a tuple of ints, or a list of ints, got "
                               f"{type(given).__name__}")
    for shape in listed:
        if any(n < 0 for n in shape):
            raise ValueError(f"Attempting to broadcast a dimension with negative length! Got {shape}")
    return Size(common_shape((), *listed))


def meshgrid(*tensors: object, indexing: str = "ij") -> tuple[Tensor, ...]:
    """For vectors of n1, n2, ... elements as many tensors (n1, n2, ...), each varying along its own axis.
    `indexing="xy"` exchanges the first two axes. Raises RuntimeError for more than 1 axis or several dtypes."""
    listed = list(tensors[0] if len(tensors) == 1 and isinstance(tensors[0], Sequence) else tensors)
    if not listed:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for t in listed:
        if node_of(t, "meshgrid").spec.ndim > 1:
            raise RuntimeError("torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got shape "
                               f"{list(t.shape)}")
        if t.dtype is not listed[0].dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype, got "
                               f"{listed[0].dtype!r} and {t.dtype!r}")
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    swapped = indexing == "xy" and len(listed) > 1
    if swapped:
        listed[:2] = listed[1::-1]
    shape = [t.numel() for t in listed]
    grids = [t.reshape([-1 if d == i else 1 for d in range(len(listed))]).expand(shape) for i, t in enumerate(listed)]
    if swapped:
        grids[:2] = grids[1::-1]
    return tuple(grids)
