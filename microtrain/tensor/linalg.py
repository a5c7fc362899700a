"""Products of vectors and matrices, and how those of float32 matrices are computed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .. import ops as g
from .. import settings
from ..arguments import Number
from ..engine.run import flush
from ..engine.session import pending
from ..graph.dtypes import bool_
from ..graph.node import Node, literal
from ..graph.spec import broadcast_shapes, normalise_dim
from .operands import labelled, must_be_operands, no_bool, node_of, stranger
from .storage import wrap
from .types import Operand, Tensor


def _pair(a: Operand, b: Operand, name: str) -> tuple[Node, Node]:
    x = node_of(a, name)
    if not isinstance(b, Tensor):
        hint = ": write microtrain.tensor(array)" if isinstance(b, np.ndarray) else ""
        raise TypeError(f"{name}(): argument 'other' (position 1) must be Tensor, not {type(b).__name__}{hint}")
    y = b.node
    if x.dtype is not y.dtype:
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {x.dtype.name} != {y.dtype.name}")
    return x, y


def _expect(name: str, *expected: tuple[str, Node, int]) -> None:
    for which, node, ndim in expected:
        if len(node.shape) != ndim:
            kind = {1: "vector", 2: "matrix", 3: "3D tensor"}[ndim]
            raise RuntimeError(f"outer: Expected 1-D argument {which}, but got {len(node.shape)}-D" if name == "outer"
                               else f"{name}: {which} must be a {kind}, got {len(node.shape)}-D tensor of shape "
                               f"{list(node.shape)}")


def _dot(x: Node, y: Node) -> Tensor:
    n = x.shape[0]
    if y.shape[0] != n:
        raise RuntimeError(f"inconsistent tensor size, expected tensor [{n}] and src [{y.shape[0]}] to have the same "
                           f"number of elements, but got {n} and {y.shape[0]} elements respectively")
    return wrap(g.reshape(g.matmul(g.reshape(x, (1, n)), g.reshape(y, (n, 1))), ()), "DotBackward0")


def _mv(x: Node, y: Node) -> Tensor:
    (m, k), n = x.shape, y.shape[0]
    if k != n:
        raise RuntimeError(f"size mismatch, got input ({m}), mat ({m}x{k}), vec ({n})")
    return wrap(g.reshape(g.matmul(x, g.reshape(y, (n, 1))), (m,)), "MvBackward0")


def matmul(self: Tensor, other: Tensor) -> Tensor:
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
    return wrap(_batched(x, y), "UnsafeViewBackward0")


def matmul_operator(self: Tensor, other: Tensor) -> Tensor:
    """self @ other."""
    if isinstance(other, Tensor | np.ndarray) or not hasattr(type(other), "__rmatmul__"):
        return self.matmul(other)
    stranger(other)
    return NotImplemented


def rmatmul_operator(self: Tensor, other: Tensor) -> Tensor:
    """other @ self."""
    if isinstance(other, Tensor):
        return other.matmul(self)
    stranger(other)
    return NotImplemented


def mm(self: Tensor, mat2: Tensor) -> Tensor:
    """(M, K) @ (K, N)."""
    x, y = _pair(self, mat2, "mm")
    _expect("mm", ("self", x, 2), ("mat2", y, 2))
    return wrap(g.matmul(x, y))


def bmm(self: Tensor, mat2: Tensor) -> Tensor:
    """(B, M, K) @ (B, K, N)."""
    x, y = _pair(self, mat2, "bmm")
    _expect("bmm", ("batch1", x, 3), ("batch2", y, 3))
    _same_batches(x, y)
    return wrap(g.matmul(x, y), "BmmBackward0")


def mv(self: Tensor, vec: Tensor) -> Tensor:
    """(M, K) @ (K,)."""
    x, y = _pair(self, vec, "mv")
    _expect("mv", ("self", x, 2), ("vec", y, 1))
    return _mv(x, y)


def dot(self: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors."""
    if isinstance(other, Tensor) and other.dtype is not self.dtype:
        raise RuntimeError(f"dot : expected both vectors to have same dtype, but found {self.dtype.name} and "
                           f"{other.dtype.name}")
    x, y = _pair(self, other, "dot")
    if len(x.shape) != 1 or len(y.shape) != 1:
        raise RuntimeError(f"1D tensors expected, but got {len(x.shape)}D and {len(y.shape)}D tensors")
    return _dot(x, y)


def outer(self: Tensor, vec2: Tensor) -> Tensor:
    """The product of every element of one vector with every one of another."""
    x, y = node_of(self, "outer"), node_of(vec2, "outer")
    _expect("outer", ("self", x, 1), ("vec2", y, 1))
    return self.unsqueeze(1) * vec2.unsqueeze(0)


def addmm(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * self + alpha * (mat1 @ mat2), for matrices; self broadcasts. With beta 0 self is not read."""
    x, y = _factors(mat1, mat2, "addmm", 2, ("mat1", "mat2"))
    return labelled(_added(self, g.matmul(x, y), beta, alpha, "addmm"), "AddmmBackward0")


def addmv(self: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * self + alpha * (mat @ vec), for a matrix and a vector; self broadcasts. With beta 0 it is not read."""
    x, y = _tensors(mat, vec, "addmv", ("mat", "vec"))
    if len(x.shape) != 2 or len(y.shape) != 1 or self.ndim > 1:
        raise RuntimeError(f"addmv: vector + matrix @ vector expected, got {self.ndim}, {len(x.shape)}, {len(y.shape)}")
    (m, k), n = x.shape, y.shape[0]
    if k != n or self.shape not in ((), (1,), (m,)):
        raise RuntimeError(f"addmv: size mismatch, got input ({self.numel()}), mat ({m}x{k}), vec ({n})")
    product = g.reshape(g.matmul(x, g.reshape(y, (n, 1))), (m,))
    return labelled(_added(self, product, beta, alpha, "addmv"), "AddmvBackward0")


def baddbmm(self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * self + alpha * (batch1 @ batch2), for batches of matrices; self broadcasts. With beta 0 it is not read."""
    x, y = _factors(batch1, batch2, "baddbmm", 3, ("batch1", "batch2"))
    _same_batches(x, y)
    return labelled(_added(self, g.matmul(x, y), beta, alpha, "baddbmm"), "BaddbmmBackward0")


def addbmm(self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * self + alpha * (the sum of the products of a batch's matrices); self broadcasts. With beta 0 self is
    not read."""
    x, y = _factors(batch1, batch2, "addbmm", 3, ("batch1", "batch2"))
    if x.shape[0] != y.shape[0]:
        raise RuntimeError(f"addbmm: batch1 and batch2 must have same number of batches, got {x.shape[0]} and "
                           f"{y.shape[0]}")
    _same_batches(x, y)
    (b, m, k), n = x.shape, y.shape[2]
    product = g.matmul(g.reshape(g.permute(x, (1, 0, 2)), (m, b * k)), g.reshape(y, (b * k, n)))    # one long sum
    return labelled(_added(self, product, beta, alpha, "addbmm"), "AddbmmBackward0")


def tensordot(self: Tensor, other: Tensor, dims: object = 2) -> Tensor:
    """The sum of products over the last `dims` axes of self and the first of other, or over two lists of axes. Raises
    RuntimeError where the axes' sizes, or the dtypes, differ."""
    x, y = _tensors(self, other, "tensordot", ("input", "other"), "both inputs should have same dtype")
    mine, theirs = _contracted(dims, len(x.shape), len(y.shape))
    for a, b in zip(mine, theirs, strict=True):
        if x.shape[a] != y.shape[b] and 1 not in (x.shape[a], y.shape[b]):
            raise RuntimeError("contracted dimensions need to match, but first has size "
                               f"{x.shape[a]} in dim {a} and second has size {y.shape[b]} in dim {b}")
        common = max(x.shape[a], y.shape[b]) if 0 not in (x.shape[a], y.shape[b]) else 0
        # An axis of size 1 stands for as many as the other has: its sum with them all is the same.
        x, y = (g.expand(n, tuple(common if d == axis else size for d, size in enumerate(n.shape)))
                for n, axis in ((x, a), (y, b)))
    left = [d for d in range(len(x.shape)) if d not in mine]
    right = [d for d in range(len(y.shape)) if d not in theirs]
    rows, columns = ([n.shape[d] for d in dims] for n, dims in ((x, left), (y, right)))
    k, m, n = (math.prod(sizes) for sizes in ([x.shape[d] for d in mine], rows, columns))
    product = g.matmul(g.reshape(g.permute(x, (*left, *mine)), (m, k)),
                       g.reshape(g.permute(y, (*theirs, *right)), (k, n)))
    return wrap(g.reshape(product, (*rows, *columns)))


def kron(self: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: every element of self times all of other, in blocks. Missing leading axes are 1."""
    x, y = must_be_operands(self, other, "kron")
    ndim = max(len(x.shape), len(y.shape))
    outer, inner = ((*[1] * (ndim - len(n.shape)), *n.shape) for n in (x, y))
    product = g.mul(g.reshape(x, tuple(size for n in outer for size in (n, 1))),
                    g.reshape(y, tuple(size for n in inner for size in (1, n))))
    return wrap(g.reshape(product, tuple(a * b for a, b in zip(outer, inner, strict=True))))


def _tensors(a: Tensor, b: Tensor, name: str, which: tuple[str, str], complaint: str = "") -> tuple[Node, Node]:
    """Two factors. Raises RuntimeError unless they are of one dtype."""
    x, y = a.node, b.node
    if x.dtype is not y.dtype:
        raise RuntimeError(f"{name}: {complaint or f'{which[0]} and {which[1]} must have the same dtype'}, but got "
                           f"{x.dtype!r} and {y.dtype!r}")
    return no_bool(x, name), y


def _factors(a: Tensor, b: Tensor, name: str, ndim: int, which: tuple[str, str]) -> tuple[Node, Node]:
    """As `_tensors`, of `ndim` axes each. Raises RuntimeError for other numbers of axes."""
    x, y = _tensors(a, b, name, which)
    _expect(name, (which[0], x, ndim), (which[1], y, ndim))
    return x, y


def _same_batches(x: Node, y: Node) -> None:
    if x.shape[0] != y.shape[0] or x.shape[2] != y.shape[1]:
        raise RuntimeError("Expected size for first two dimensions of batch2 tensor to be: "
                           f"[{x.shape[0]}, {x.shape[2]}] but got: [{y.shape[0]}, {y.shape[1]}].")


def _added(self: Tensor, product: Node, beta: float, alpha: float, name: str) -> Tensor:
    """beta * self + alpha * product, where self broadcasts to the product. Raises RuntimeError where it does not."""
    x = node_of(self, name)
    if x.dtype is not product.dtype:
        raise RuntimeError(f"{name}: self and the factors must have the same dtype, but got {x.dtype!r} and "
                           f"{product.dtype!r}")
    for factor, called in ((beta, "beta"), (alpha, "alpha")):
        if isinstance(factor, float) and not x.dtype.is_floating_point:
            raise RuntimeError(f"{name}: For integral input tensors, argument {called} must not be a floating point "
                               f"number, got {factor}.")
    sizes = zip(reversed(x.shape), reversed(product.shape), strict=False)
    if len(x.shape) > len(product.shape) or any(n not in (1, wanted) for n, wanted in sizes):
        raise RuntimeError(f"{name}: The expanded size of the tensor must match the existing size at every "
                           f"non-singleton dimension.  Target sizes: {list(product.shape)}.  Tensor sizes: "
                           f"{list(x.shape)}")
    scaled = product if alpha == 1 else g.mul(product, alpha)
    if beta == 0:                           # not even NaN or infinity counts; its gradient is zero
        return wrap(g.where(literal(True, bool_, x.device), scaled, x))
    return wrap(g.add(x if beta == 1 else g.mul(x, beta), scaled))


def _contracted(dims: object, a: int, b: int) -> tuple[list[int], list[int]]:
    """The axes that `tensordot` sums over, of tensors with a and b axes. Raises RuntimeError in PyTorch's words."""
    if isinstance(dims, Tensor):
        dims = dims.tolist() if dims.ndim else dims.item()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a, b):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        return list(range(a - dims, a)), list(range(dims))
    if not isinstance(dims, Sequence) or len(dims) != 2 or any(isinstance(d, str | float) for d in dims):
        raise RuntimeError(f"tensordot expects dims to be an int or two lists of axes, but got dims={dims!r}")
    first, second = ([listed] if isinstance(listed, int) else list(listed) for listed in dims)
    if len(first) != len(second):
        raise RuntimeError(f"tensordot: both dimension lists should have same length, got {first} and {second}")
    mine, theirs = [normalise_dim(d, a) for d in first], [normalise_dim(d, b) for d in second]
    for listed in (mine, theirs):
        for d in listed:
            if listed.count(d) > 1:
                raise RuntimeError(f"tensordot: dim {d} appears multiple times in the list of dims")
    return mine, theirs


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
        n = math.prod(batch)
        raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{n}, {k}] but got: "
                           f"[{n}, {k2}].")
    return g.matmul(x, y)


def get_float32_matmul_precision() -> str:
    """"highest" (IEEE arithmetic, the default), "high" or "medium" (TF32)."""
    return str(settings.matmul_precision.value)


def set_float32_matmul_precision(precision: str) -> None:
    """How products of float32 matrices are computed from now on; what was recorded before is computed as it was meant.

    "highest" is IEEE arithmetic; "high" is TF32, which rounds the operands to 11 significant bits for the tensor cores
    and accumulates in float32; "medium" is the same here (PyTorch may round to bfloat16). It matters on the devices
    cuda and null: cpu and interpret have no TF32. Raises ValueError for another word.
    """
    if precision not in ("highest", "high", "medium"):
        raise ValueError(f"set_float32_matmul_precision(): expected 'highest', 'high' or 'medium', not {precision!r}")
    for device in {node.spec.device for node in pending()}:
        flush(device)
    settings.matmul_precision.set(precision)
