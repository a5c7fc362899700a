"""Layers with weights, and the identity."""

from __future__ import annotations

import math
from typing import Any

from ..tensor import Tensor, empty
from . import functional, init
from .module import Module
from .parameter import Parameter, Registered


class Linear(Module):
    """`y = x @ weight.T + bias` for x of shape (..., in_features); y is (..., out_features).

    `weight` is (out_features, in_features), `bias` (out_features,); both start uniform in
    ±1/sqrt(in_features), as PyTorch's do (LeCun et al., "Efficient BackProp", 1998).

    Raises:
        RuntimeError: x's last dimension is not in_features.
    """

    weight: Parameter = Registered()  # type: ignore[assignment]
    bias: Parameter | None = Registered()  # type: ignore[assignment]

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter.adopt(empty(out_features, in_features, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter.adopt(empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew from the global generator."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """input (..., in_features) to (..., out_features)."""
        return functional.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}")


class Identity(Module):
    """Returns its input; takes and ignores any arguments, so that it can stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The input itself."""
        return input
