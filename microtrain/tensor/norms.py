"""Norms of vectors and matrices, and the distance of two tensors.

PyTorch's gradients: that of a 2-norm, or of any other of order above 1, is 0 at the zero vector; equal largest (or
smallest) magnitudes share an infinity norm's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import ops as g
from ..arguments import Number
from ..graph.dtypes import DType, promote_types
from ..graph.node import Node
from ..graph.spec import normalise_dim, normalise_dims
from .create import kind
from .operands import labelled, must_be_operands, node_of
from .storage import wrap
from .types import Tensor


def _floats(x: Node, dtype: DType | None, name: str) -> Node:
    """The operand of a norm, in `dtype` where one is given. Raises RuntimeError in PyTorch's words."""
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {x.dtype!r}")
    wanted = kind(dtype)
    if wanted is None:
        return x
    if not wanted.is_floating_point:
        raise RuntimeError(f"{name}: dtype should be floating point or complex, but got {wanted!r}")
    if promote_types(x.dtype, wanted) is not wanted:
        raise RuntimeError(f"{name}: the dtype of the input ({x.dtype!r}) should be convertible without narrowing to "
                           f"the specified dtype ({wanted!r})")
    return g.cast(x, wanted)


def _no_identity(x: Node, axes: tuple[int, ...], p: float) -> None:
    """Raise where a norm that has no value for no elements is taken over none."""
    if p >= 0 and p != math.inf:
        return
    if x.spec.numel == 0 and len(axes) == len(x.shape):
        raise RuntimeError(f"linalg.vector_norm cannot compute the {p:g} norm on an empty tensor because the operation "
                           "does not have an identity")
    for axis in axes:
        if x.shape[axis] == 0:
            raise RuntimeError(f"linalg.vector_norm cannot compute the {p:g} norm on the dimension {axis} because this "
                               "dimension is empty and the operation does not have an identity")


def vector_norm(x: Tensor, ord: Number = 2, dim: int | Sequence[int] | None = None, keepdim: bool = False, *,
                dtype: DType | None = None) -> Tensor:
    """sum(|x|^ord)^(1/ord) over `dim` (all axes by default), computed in `dtype` where one is given. Order 0 counts
    what is not zero; inf and -inf give the largest and the smallest magnitude. Raises RuntimeError for integers, and
    for a negative order or inf over no elements."""
    node = _floats(node_of(x, "linalg_vector_norm"), dtype, "linalg.vector_norm")
    if not isinstance(ord, int | float):
        raise TypeError(f"linalg_vector_norm(): argument 'ord' (position 2) must be Number, not {type(ord).__name__}")
    p, axes = float(ord), normalise_dims(dim, len(node.shape))
    _no_identity(node, axes, p)
    if math.isinf(p):
        out = (g.amax if p > 0 else g.amin)(g.abs(node), axes, keepdim)
    elif p == 1 or (p != 0 and all(node.shape[axis] == 1 for axis in axes)):   # of one element it is |x|, exactly
        out = g.sum(g.abs(node), axes, keepdim)
    else:
        out = g.norm(node, axes, p, keepdim)
    return wrap(out, "LinalgVectorNormBackward0")


def matrix_norm(A: Tensor, ord: object = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, *,
                dtype: DType | None = None) -> Tensor:
    """The norm of the matrices of axes `dim`: "fro" (the root of the sum of squares), 1 and -1 (the largest and the
    smallest sum of magnitudes of a column), inf and -inf (of a row). Raises RuntimeError for integers, fewer than 2
    axes or another order; NotImplementedError for the orders 2, -2 and "nuc", which need singular values."""
    node = _floats(node_of(A, "linalg_matrix_norm"), dtype, "linalg.matrix_norm")
    ndim = len(node.shape)
    if ndim < 2:
        raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions, got shape "
                           f"{list(node.shape)}.")
    if not isinstance(ord, int | float | str):
        raise TypeError(f"linalg_matrix_norm(): argument 'ord' must be Number or str, not {type(ord).__name__}")
    dims = [dim] if isinstance(dim, int) else list(dim)
    if len(dims) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {' '.join(map(str, dims))}")
    rows, columns = (normalise_dim(d, ndim) for d in dims)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dims[0]}, {dims[1]})")
    if ord == "fro":
        return vector_norm(wrap(node), 2, (rows, columns), keepdim)
    if ord in (2, -2, "nuc"):
        raise NotImplementedError(f"linalg.matrix_norm: order {ord} needs singular values, which are not there; the "
                                  "orders 'fro', 1, -1, inf and -inf are")
    if ord not in (1, -1, math.inf, -math.inf):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    folded, other = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = wrap(node).abs().sum(folded, keepdim=True)
    if ord < 0:
        out = sums.amin(other, keepdim=True)
    elif node.shape[other]:
        out = sums.amax(other, keepdim=True)
    else:
        out = sums.sum(other, keepdim=True)                     # of no sums at all the largest is 0, as in PyTorch
    return out if keepdim else out.squeeze((rows, columns))


def norm(A: Tensor, ord: object = None, dim: int | Sequence[int] | None = None, keepdim: bool = False, *,
         dtype: DType | None = None) -> Tensor:
    """torch.linalg.norm: a matrix norm over two axes where `ord` is given, else a vector norm; the 2-norm by default.
    Raises as `vector_norm` and `matrix_norm` do, and RuntimeError for more than 2 axes where `ord` is given."""
    ndim = node_of(A, "linalg_norm").spec.ndim
    dims = None if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {dims}")
    if ord is None:
        return vector_norm(A, 2, dims, keepdim, dtype=dtype)
    if dims is None and ndim not in (1, 2):
        raise RuntimeError("linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
                           f"{ndim}D.")
    if isinstance(ord, str) or len(dims or range(ndim)) == 2:
        return matrix_norm(A, ord, dims or (0, 1), keepdim, dtype=dtype)
    return vector_norm(A, ord, dims, keepdim, dtype=dtype)


def tensor_norm(self: Tensor, p: object = "fro", dim: int | Sequence[int] | None = None, keepdim: bool = False,
         dtype: DType | None = None) -> Tensor:
    """The vector norm of order `p` over `dim` (all axes by default); "fro" is 2. Raises NotImplementedError for the
    nuclear norm "nuc", RuntimeError for integers."""
    if isinstance(p, str) and (p != "fro" or (isinstance(dim, Sequence) and len(dim) > 2)):
        axes = range(self.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
        return matrix_norm(self, p, axes, keepdim, dtype=dtype)
    return vector_norm(self, 2 if p is None or isinstance(p, str) else p, dim, keepdim, dtype=dtype)


tensor_norm.__name__ = "norm"


def dist(self: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The norm of order `p` of the difference of two tensors, which broadcast. Raises TypeError for a number."""
    x, y = must_be_operands(self, other, "dist")
    return labelled(vector_norm(wrap(g.sub(x, y)), p), "DistBackward0")
