"""The linear layer, and what stands between layers: the identity, dropout, flatten."""

from __future__ import annotations

import math
from typing import Any

from ..tensor import Tensor
from . import functional, init
from .function_module import FunctionModule
from .module import Module
from .parameter import Parameter, blank, registered


class Linear(Module):
    """`y = x @ weight.T + bias` for x of shape (..., in_features); y is (..., out_features).

    `weight` is (out_features, in_features), `bias` (out_features,); both start uniform in
    ±1/sqrt(in_features), as PyTorch's do (LeCun et al., "Efficient BackProp", 1998).

    Raises:
        RuntimeError: x's last dimension is not in_features.
    """

    weight: Parameter = registered()
    bias: Parameter | None = registered()

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = blank(out_features, in_features, device=device, dtype=dtype)
        self.register_parameter("bias", blank(out_features, device=device, dtype=dtype) if bias else None)
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


class Dropout(FunctionModule, function=functional.dropout):
    """In training zeroes each element with probability p and scales the others by 1/(1-p); else the identity.

    Raises:
        ValueError: p outside [0, 1].
    """

    p: float = 0.5
    inplace: bool = False

    def __post_init__(self) -> None:
        functional.check_dropout_probability(self.p)

    def forward(self, input: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return functional.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Flatten(FunctionModule, function=Tensor.flatten):
    """Merges dimensions `start_dim` to `end_dim` into one; by default all but the batch dimension."""

    start_dim: int = 1
    end_dim: int = -1

    def forward(self, input: Tensor) -> Tensor:
        """(N, a, b, ...) to (N, a*b*...) by default."""
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
