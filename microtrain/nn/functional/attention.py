"""Attention: values averaged with weights that queries give to keys."""

from __future__ import annotations

import math

from ...tensor import Tensor, bool_, float32, nn_ops, where
from .linear import dropout


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
                                 dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
                                 enable_gqa: bool = False) -> Tensor:
    """softmax(scale query keyᵀ + mask) value (Vaswani et al., 2017).

    Args:
        query: (..., L, E), floating.
        key: (..., S, E).
        value: (..., S, EV).
        attn_mask: broadcast to (..., L, S): bool, True where a query may see a key, or floating, added to the scores.
            A query that sees no key gets zeros, and gives no gradient.
        dropout_p: the probability with which a weight is dropped, whatever mode a module is in.
        is_causal: whether query i sees the keys 0 to i alone.
        scale: 1 / sqrt(E) unless given.
        enable_gqa: whether several heads (dimension -3) of the query share one of the key and of the value.

    Returns:
        (..., L, EV).

    Raises:
        RuntimeError: shapes or dtypes that do not fit; a mask beside `is_causal`.
        ValueError: a probability outside [0, 1].
    """
    _check(query, key, value, attn_mask, is_causal)
    if enable_gqa:
        key, value = _for_heads(query, key), _for_heads(query, value)
    factor = (1 / math.sqrt(query.shape[-1]) if query.shape[-1] else math.inf) if scale is None else scale
    scores = (query * factor) @ key.transpose(-2, -1)
    if is_causal:           # every query sees the first key
        scores = where(nn_ops.lower_triangle(query.shape[-2], key.shape[-2], query.device), scores, -math.inf)
    elif attn_mask is not None:
        scores = where(attn_mask, scores, -math.inf) if attn_mask.dtype is bool_ else scores + attn_mask
    if attn_mask is None:
        weights = scores.softmax(-1)
    else:       # a query that sees no key: its weights are 0, and so is every gradient through them
        unseeing = (scores == -math.inf).all(-1, keepdim=True)
        weights = where(unseeing, 0.0, where(unseeing, 0.0, scores).softmax(-1))
    return dropout(weights.to(query.dtype), dropout_p) @ value


def _check(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, is_causal: bool) -> None:
    if min(query.dim(), key.dim(), value.dim()) < 2:
        raise RuntimeError("Expected query, key, and value to all be  at least 2 dimensional, but got "
                           f"query.dim: {query.dim()} key.dim: {key.dim()} and value.dim: {value.dim()} instead.")
    if not query.dtype is key.dtype is value.dtype:
        raise RuntimeError("Expected query, key, and value to have the same dtype, but got "
                           f"query.dtype: {query.dtype} key.dtype: {key.dtype} and value.dtype: {value.dtype} instead.")
    if not query.is_floating_point():
        raise RuntimeError(f"scaled_dot_product_attention: expected floating-point tensors, got {query.dtype}")
    if attn_mask is None:
        return
    if is_causal:
        raise RuntimeError("scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if attn_mask.dtype not in (bool_, float32, query.dtype):
        raise RuntimeError("Expected attn_mask dtype to be bool or float or to match query dtype, but got "
                           f"attn_mask.dtype: {attn_mask.dtype} and  query.dtype: {query.dtype} instead.")


def _for_heads(query: Tensor, shared: Tensor) -> Tensor:
    """Each head of `shared` (..., H, S, E) as often as there are query heads to it."""
    if query.dim() < 3 or shared.dim() < 3 or not shared.shape[-3] or query.shape[-3] % shared.shape[-3]:
        raise RuntimeError("Number of heads in key and value must divide the number of heads in query, but got query "
                           f"of shape {list(query.shape)} and {list(shared.shape)}")
    *lead, heads, s, e = shared.shape
    times = query.shape[-3] // heads
    return shared.unsqueeze(-3).expand(*lead, heads, times, s, e).reshape(*lead, heads * times, s, e)
