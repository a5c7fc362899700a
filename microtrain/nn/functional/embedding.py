"""Rows of a table, looked up by index."""

from __future__ import annotations

from ...tensor import Tensor, nn_ops, no_grad, where
from ..naming import scalar_type_name
from .distance import vector_norm


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
              norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """Rows of `weight` at the indices `input`; its derivative adds up the cotangents of each row, in order.

    Args:
        input: indices 0..K-1, int64 or int32, any shape.
        weight: (K, D).
        padding_idx: a row that takes no gradient; negative ones count from the end.
        max_norm: rows looked up that are longer are shortened to this, in place and without gradient.
        norm_type: the exponent of that norm.
        scale_grad_by_freq, sparse: not supported.

    Returns:
        input.shape + (D,).

    Raises:
        RuntimeError: `weight` is not a matrix, or `input` not of indices.
        IndexError: an index out of range (on a GPU indices are not looked at: its row is NaN).
        AssertionError: `padding_idx` out of range.
        NotImplementedError: `scale_grad_by_freq` or `sparse`.
    """
    if weight.dim() != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got shape {list(weight.shape)}")
    kind = scalar_type_name(input)
    if kind not in ("Long", "Int"):
        raise RuntimeError("Expected tensor for argument #1 'indices' to have one of the following scalar types: "
                           f"Long, Int; but got torch.{kind}Tensor instead (while checking arguments for embedding)")
    check_dense(scale_grad_by_freq, sparse)
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


def check_dense(scale_grad_by_freq: bool, sparse: bool) -> None:
    """Raises NotImplementedError for gradients other than dense, plain sums."""
    if scale_grad_by_freq or sparse:
        name = "sparse" if sparse else "scale_grad_by_freq"
        raise NotImplementedError(f"embedding: {name}=True is not supported; gradients are dense and plain sums")


def _shorten(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scales the rows of `weight` that `index` names down to `max_norm` where they are longer."""
    with no_grad():
        length = vector_norm(weight, norm_type, 1)
        used = nn_ops.occurs(index, weight.shape[0]).unsqueeze(1)
        weight.copy_(where(used & (length > max_norm), weight * (max_norm / (length + 1e-7)), weight))
