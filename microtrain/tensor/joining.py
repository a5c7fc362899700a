"""Several tensors as one: `cat`, `stack`, and tensors brought to one shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..graph import ops as g
from ..graph.node import Node
from ..graph.spec import broadcast_shapes, normalise_dim
from .core import Handle
from .operands import labelled, node_of, result_dtype
from .storage import wrap

if TYPE_CHECKING:
    from .tensor_class import Tensor


def _nodes(tensors: Any, name: str) -> list[Node]:
    if isinstance(tensors, Handle) or not isinstance(tensors, Sequence):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not "
                        f"{type(tensors).__name__}")
    if not tensors:
        raise (ValueError if name == "cat" else RuntimeError)(
            f"torch.{name}(): expected a non-empty list of "
            "Tensors" if name == "cat" else "stack expects a non-empty TensorList")
    nodes = []
    for i, t in enumerate(tensors):
        if not isinstance(t, Handle):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
        nodes.append(t.node)
    dtype = nodes[0].spec.dtype
    for node in nodes[1:]:
        if node.spec.dtype is not dtype:
            one = g.full(0, (1,) if node.shape else (), dtype, node.device)
            dtype = result_dtype(one, node)
    return [g.cast(node, dtype) for node in nodes]


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors joined along `dim`; the other sizes agree. A 1-d tensor of no elements goes with any, as in
    PyTorch."""
    nodes = _nodes(tensors, "cat")
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
    return labelled(wrap(g.cat(parts, axis) if len(parts) > 1 else parts[0]), "StackBackward0")


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors expanded to their common shape."""
    shape = broadcast_shapes(*[node_of(t, "broadcast_tensors").shape for t in tensors])
    return tuple(t.expand(shape) for t in tensors)
