"""The linear map and the activations."""

from __future__ import annotations

import warnings
from typing import Any

from ...tensor import Tensor, float32, losses, rand, where
from ...tensor.operands import flag, node_of


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input @ weight.T + bias`.

    Args:
        input: (..., in_features).
        weight: (out_features, in_features).
        bias: (out_features,) or None.

    Returns:
        (..., out_features).

    Raises:
        RuntimeError: the shapes do not fit.
    """
    return losses.linear(input, weight, bias)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), elementwise; the derivative at 0 is 0. `inplace` overwrites the input."""
    if inplace is not False:
        inplace = flag(inplace, "relu", "inplace")
    return (Tensor.relu_ if inplace else Tensor.relu)(input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input)), elementwise."""
    return Tensor.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """tanh(input), elementwise."""
    return Tensor.tanh(input)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta input)) / beta, elementwise; the input itself where beta input > threshold."""
    scaled = input if beta == 1 else input * beta
    smooth = scaled.softplus()
    return where(scaled > threshold, input, smooth if beta == 1 else smooth / beta)


def _implicit_dim(name: str, input: Tensor, stacklevel: int = 3) -> int:
    """The dimension PyTorch falls back to when none is given, with its warning."""
    node_of(input, name)
    warnings.warn(f"Implicit dimension choice for {name} has been deprecated. "
                  "Change the call to include dim=X as an argument.", stacklevel=stacklevel)
    return 0 if input.dim() in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """exp(input) / sum(exp(input)) along `dim`, computed after the largest value is taken off.

    Args:
        input: any shape.
        dim: the dimension along which the result sums to 1.
        dtype: cast the input to this first.
    """
    along = _implicit_dim("softmax", input) if dim is None else dim
    return Tensor.softmax(input, along, dtype)


def log_softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """input - logsumexp(input) along `dim`.

    Args:
        input: any shape.
        dim: the dimension along which exp of the result sums to 1.
        dtype: cast the input to this first.
    """
    along = _implicit_dim("log_softmax", input) if dim is None else dim
    return Tensor.log_softmax(input, along, dtype)


def check_dropout_probability(p: float) -> None:
    """Raises ValueError unless 0 <= p <= 1."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes each element with probability `p` and scales the others by 1/(1-p), if `training`.

    Random values come from the global generator (Srivastava et al., 2014).

    Raises:
        ValueError: p outside [0, 1].
    """
    check_dropout_probability(p)
    if not training or p == 0:
        return input
    factor: Any = 0.0
    if p < 1:
        keep = rand(input.shape, dtype=float32, device=input.device) >= p
        factor = keep.to(input.dtype) * (1 / (1 - p))
    return input.mul_(factor) if inplace else input * factor
