"""The linear map and attention, and what stands between layers: the identity, dropout, flatten."""

from __future__ import annotations

import math
from typing import Any

from ..tensor import Tensor, bool_, float32, nn_ops, rand, where
from . import init
from .function_module import FunctionModule, Layer, checked
from .module import Module

__all__ = ["Dropout", "Flatten", "Identity", "Linear", "dropout", "linear", "scaled_dot_product_attention"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input @ weight.T + bias`: (..., in_features) by (out_features, in_features) plus (out_features,)."""
    return nn_ops.linear(input, weight, bias)


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes each element with probability `p` and scales the others by 1/(1-p), if `training`. Random values come from
    the global generator (Srivastava et al., 2014). ValueError for a `p` outside [0, 1]."""
    _check_probability(p)
    if not training or p == 0:
        return input
    factor: Any = 0.0
    if p < 1:
        keep = rand(input.shape, dtype=float32, device=input.device) >= p
        factor = keep.to(input.dtype) * (1 / (1 - p))
    return input.mul_(factor) if inplace else input * factor


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
                                 dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
                                 enable_gqa: bool = False) -> Tensor:
    """softmax(scale query keyᵀ + mask) value (Vaswani et al., 2017).

    Args:
        query, key, value: (..., L, E), (..., S, E) and (..., S, EV), floating; the result is (..., L, EV).
        attn_mask: broadcast to (..., L, S): bool, True where a query may see a key, or floating, added to the scores.
            A query that sees no key gets zeros, and gives no gradient.
        dropout_p: the probability with which a weight is dropped, whatever mode a module is in.
        is_causal: whether query i sees the keys 0 to i alone.
        scale: 1 / sqrt(E) unless given.
        enable_gqa: whether several heads (dimension -3) of the query share one of the key and of the value.

    Raises:
        RuntimeError: shapes or dtypes that do not fit; a mask beside `is_causal`.  ValueError: as `dropout`.
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


class Linear(Layer, function=linear):
    """`y = x @ weight.T + bias` for x of shape (..., in_features), else RuntimeError; y is (..., out_features).
    `weight` is (out_features, in_features), `bias` (out_features,); both start uniform in ±1/sqrt(in_features), as
    PyTorch's do (LeCun et al., "Efficient BackProp", 1998)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.make_parameters(device, dtype, weight=(out_features, in_features), bias=(out_features,) if bias else None)

    def reset_parameters(self) -> None:
        """Draws weight and bias anew from the global generator."""
        uniform_by_inputs(self)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def uniform_by_inputs(layer: Layer) -> None:
    """Draws weight and bias from ±1/sqrt(the number of inputs that each output has)."""
    inputs = math.prod(layer.weight.shape[1:])
    bound = 1 / math.sqrt(inputs) if inputs > 0 else 0.0
    for parameter in (layer.weight, layer.bias):
        if parameter is not None:
            init.uniform_(parameter, -bound, bound)


def along_channels(vector: Tensor, input: Tensor) -> Tensor:
    """A (C,) vector shaped to broadcast along dimension 1 of `input`, or along the one that it has."""
    return vector if input.dim() <= 2 else vector.reshape(-1, *[1] * (input.dim() - 2))


class Identity(Module):
    """Returns its input; takes and ignores any arguments, so that it can stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The input itself."""
        return input


class Dropout(FunctionModule, function=dropout, options="p inplace", shown="*"):
    """`functional.dropout` while the module is in training; else the identity. ValueError for p outside [0, 1]."""

    def __post_init__(self) -> None:
        _check_probability(self.p)

    def forward(self, input: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return _dropout(input, self.p, self.training, self.inplace)


_dropout = checked(dropout)


def flatten(input: Tensor, start_dim: int = 1, end_dim: int = -1) -> Tensor:
    """Merges dimensions `start_dim` to `end_dim` into one: (N, a, b, ...) to (N, a*b*...) by default."""
    return input.flatten(start_dim, end_dim)


class Flatten(FunctionModule, function=flatten, shown="*"): ...
