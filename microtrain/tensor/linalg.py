"""Products of vectors and matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..graph import ops as g
from ..graph.node import Node
from ..graph.spec import broadcast_shapes
from .core import Handle
from .operands import labelled, node_of
from .storage import wrap

if TYPE_CHECKING:
    from .tensor_class import Tensor


def _pair(a: Any, b: Any, name: str) -> tuple[Node, Node]:
    x = node_of(a, name)
    if not isinstance(b, Handle):
        raise TypeError(f"{name}(): argument 'other' (position 1) must be Tensor, not {type(b).__name__}")
    y = b.node
    if x.dtype is not y.dtype:
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {x.dtype.name} != {y.dtype.name}")
    return x, y


def _expect(node: Node, ndim: int, name: str, which: str) -> None:
    if len(node.shape) != ndim:
        kind = {1: "vector", 2: "matrix", 3: "3D tensor"}[ndim]
        if name == "outer":
            raise RuntimeError(f"outer: Expected 1-D argument {which}, but got {len(node.shape)}-D")
        raise RuntimeError(f"{name}: {which} must be a {kind}, got {len(node.shape)}-D tensor of shape "
                           f"{list(node.shape)}")


def _dot(x: Node, y: Node) -> Tensor:
    n = x.shape[0]
    if y.shape[0] != n:
        raise RuntimeError(f"inconsistent tensor size, expected tensor [{n}] and src [{y.shape[0]}] to have the same "
                           f"number of elements, but got {n} and {y.shape[0]} elements respectively")
    return labelled(wrap(g.reshape(g.matmul(g.reshape(x, (1, n)), g.reshape(y, (n, 1))), ())), "DotBackward0")


def _mv(x: Node, y: Node) -> Tensor:
    (m, k), n = x.shape, y.shape[0]
    if k != n:
        raise RuntimeError(f"size mismatch, got input ({m}), mat ({m}x{k}), vec ({n})")
    return labelled(wrap(g.reshape(g.matmul(x, g.reshape(y, (n, 1))), (m,))), "MvBackward0")


class Linalg:
    """Products of vectors and matrices."""

    __slots__ = ()

    def matmul(self: Tensor, other: Tensor) -> Tensor:          # type: ignore[misc]
        """The matrix product, with PyTorch's rules for vectors and batches."""
        x, y = _pair(self, other, "matmul")
        a, b = len(x.shape), len(y.shape)
        if a == 2 and b == 2:
            return wrap(g.matmul(x, y))
        if a == 0 or b == 0:
            raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {a}D and {b}D")
        if a == 1 and b == 1:
            return _dot(x, y)
        if a == 2 and b == 1:
            return _mv(x, y)
        if b == 1:
            return wrap(g.reshape(_batched(x, g.reshape(y, (y.shape[0], 1))), x.shape[:-1]))
        if a == 1:
            out = _batched(g.reshape(x, (1, x.shape[0])), y)
            return wrap(g.reshape(out, (*out.shape[:-2], out.shape[-1])))
        return labelled(wrap(_batched(x, y)), "UnsafeViewBackward0")

    __matmul__ = matmul

    def __rmatmul__(self: Tensor, other: Tensor) -> Tensor:     # type: ignore[misc]
        return other.matmul(self) if isinstance(other, Handle) else NotImplemented

    def mm(self: Tensor, mat2: Tensor) -> Tensor:               # type: ignore[misc]
        """(M, K) @ (K, N)."""
        x, y = _pair(self, mat2, "mm")
        _expect(x, 2, "mm", "self")
        _expect(y, 2, "mm", "mat2")
        return wrap(g.matmul(x, y))

    def bmm(self: Tensor, mat2: Tensor) -> Tensor:              # type: ignore[misc]
        """(B, M, K) @ (B, K, N)."""
        x, y = _pair(self, mat2, "bmm")
        _expect(x, 3, "bmm", "batch1")
        _expect(y, 3, "bmm", "batch2")
        if x.shape[0] != y.shape[0] or x.shape[2] != y.shape[1]:
            raise RuntimeError("Expected size for first two dimensions of batch2 tensor to be: "
                               f"[{x.shape[0]}, {x.shape[2]}] but got: [{y.shape[0]}, {y.shape[1]}].")
        return labelled(wrap(g.matmul(x, y)), "BmmBackward0")

    def mv(self: Tensor, vec: Tensor) -> Tensor:                # type: ignore[misc]
        """(M, K) @ (K,)."""
        x, y = _pair(self, vec, "mv")
        _expect(x, 2, "mv", "self")
        _expect(y, 1, "mv", "vec")
        return _mv(x, y)

    def dot(self: Tensor, other: Tensor) -> Tensor:             # type: ignore[misc]
        """The inner product of two vectors."""
        if isinstance(other, Handle) and other.dtype is not self.dtype:
            raise RuntimeError(f"dot : expected both vectors to have same dtype, but found {self.dtype.name} and "
                               f"{other.dtype.name}")
        x, y = _pair(self, other, "dot")
        if len(x.shape) != 1 or len(y.shape) != 1:
            raise RuntimeError(f"1D tensors expected, but got {len(x.shape)}D and {len(y.shape)}D tensors")
        return _dot(x, y)

    def outer(self: Tensor, vec2: Tensor) -> Tensor:            # type: ignore[misc]
        """The product of every element of one vector with every one of another."""
        x, y = node_of(self, "outer"), node_of(vec2, "outer")
        _expect(x, 1, "outer", "self")
        _expect(y, 1, "outer", "vec2")
        return self.unsqueeze(1) * vec2.unsqueeze(0)


def _batched(x: Node, y: Node) -> Node:
    """A product with batch axes; a common matrix on the right is multiplied once with all rows together."""
    k, k2 = x.shape[-1], y.shape[-2]
    if len(y.shape) == 2:
        rows = x.spec.numel // k if k else 0
        if k != k2:
            raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({rows}x{k} and {k2}x{y.shape[1]})")
        if k:
            return g.reshape(g.matmul(g.reshape(x, (rows, k)), y), (*x.shape[:-1], y.shape[1]))
    if k != k2:
        batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
        n = 1
        for size in batch:
            n *= size
        raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{n}, {k}] but got: "
                           f"[{n}, {k2}].")
    return g.matmul(x, y)
