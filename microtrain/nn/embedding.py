"""Rows of a table, looked up by index."""

from __future__ import annotations

from typing import Any, Self

from ..graph.dtypes import TITLES
from ..tensor import Tensor, empty, nn_ops, no_grad, norms, where
from . import init
from .function_module import Layer
from .parameter import Parameter

__all__ = ["Embedding", "embedding"]


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
              norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """Rows of `weight` at the indices `input`; its derivative adds up the cotangents of each row, in order.

    Args:
        input: indices 0..K-1, int64 or int32, any shape; IndexError for one out of range (on a GPU its row is NaN).
        weight: (K, D); the result has the shape input.shape + (D,).
        padding_idx: a row that takes no gradient; negative ones count from the end, AssertionError out of range.
        max_norm: rows looked up that are longer are shortened to this, in place and without gradient.
        norm_type: the exponent of that norm.
        scale_grad_by_freq, sparse: NotImplementedError.
    """
    if weight.dim() != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got shape {list(weight.shape)}")
    kind = TITLES[input.dtype.name]
    if kind not in ("Long", "Int"):
        raise RuntimeError("Expected tensor for argument #1 'indices' to have one of the following scalar types: "
                           f"Long, Int; but got torch.{kind}Tensor instead (while checking arguments for embedding)")
    _check_dense(scale_grad_by_freq, sparse)
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < max(rows, 1):
        raise AssertionError(f"Padding_idx must be within num_embeddings, got {padding_idx} for {rows} rows")
    index = input.long()
    if max_norm is not None:
        _shorten(weight, index, max_norm, norm_type)
    found = nn_ops.rows_of(weight, index)
    if padding_idx is None:
        return found
    return where((index == padding_idx % rows).unsqueeze(-1), found.detach(), found)


def _check_dense(scale_grad_by_freq: bool, sparse: bool) -> None:
    if scale_grad_by_freq or sparse:
        name = "sparse" if sparse else "scale_grad_by_freq"
        raise NotImplementedError(f"embedding: {name}=True is not supported; gradients are dense and plain sums")


def _shorten(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scales the rows of `weight` that `index` names down to `max_norm` where they are longer."""
    with no_grad():
        length = norms.vector_norm(weight, norm_type, 1, keepdim=True)
        used = nn_ops.occurs(index, weight.shape[0]).unsqueeze(1)
        weight.copy_(where(used & (length > max_norm), weight * (max_norm / (length + 1e-7)), weight))


class Embedding(Layer, function=embedding):
    """Rows of `weight` (num_embeddings, embedding_dim), which start normal; the others are `functional.embedding`'s.
    Row `padding_idx` starts at 0."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
                 max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
                 sparse: bool = False, _weight: Tensor | None = None, _freeze: bool = False, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise AssertionError(f"Padding_idx must be within num_embeddings, got {padding_idx}")
            padding_idx %= num_embeddings
        _check_dense(scale_grad_by_freq, sparse)
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        if _weight is None:
            new = empty(num_embeddings, embedding_dim, device=device, dtype=dtype)
            self.weight = Parameter.adopt(new, requires_grad=not _freeze)
            self.reset_parameters()
        elif list(_weight.shape) != [num_embeddings, embedding_dim]:
            raise AssertionError("Shape of weight does not match num_embeddings and embedding_dim")
        else:
            self.weight = Parameter(_weight, requires_grad=not _freeze)

    def reset_parameters(self) -> None:
        """Draws the rows anew from the global generator."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None,
                        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
                        sparse: bool = False) -> Self:
        """A module of rows `embeddings` (K, D), else AssertionError; not to be trained unless `freeze` is False."""
        if embeddings.dim() != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        rows, columns = embeddings.shape
        return cls(rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, embeddings, freeze)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        return text if self.norm_type == 2 else f"{text}, norm_type={self.norm_type}"
