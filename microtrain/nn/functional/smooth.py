"""Smooth activations: exponential units, gates by a sigmoid or a normal distribution, and their kin."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor, activations
from .activation import _implicit_dim

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input above 0, alpha (exp(input) - 1) below (Clevert et al., 2015). `inplace` overwrites the input."""
    return activations.elu(input, float(alpha), 1.0, 1.0, inplace=inplace)      # type: ignore[no-any-return]


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """`elu` with the scale and alpha that keep mean and variance (Klambauer et al., 2017)."""
    return activations.elu(input, SELU_ALPHA, SELU_SCALE, 1.0, inplace=inplace)     # type: ignore[no-any-return]


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input above 0, alpha (exp(input / alpha) - 1) below (Barron, 2017). `inplace` overwrites the input.

    Raises:
        RuntimeError: alpha is 0.
    """
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return activations.elu(input, float(alpha), 1.0, 1 / alpha, inplace=inplace)    # type: ignore[no-any-return]


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """The input times the normal distribution function of it (Hendrycks and Gimpel, 2016).

    Args:
        input: any shape, floating point.
        approximate: "none", or "tanh" for input (1 + tanh(sqrt(2 / pi) (input + 0.044715 input^3))) / 2.

    Raises:
        RuntimeError: another value of approximate.
    """
    functions = {"none": activations.gelu, "tanh": activations.gelu_tanh}
    if approximate not in functions:
        raise RuntimeError(f"approximate argument must be either none or tanh, but got {approximate!r}")
    return functions[approximate](input)        # type: ignore[no-any-return]


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input sigmoid(input), also called swish. `inplace` overwrites the input."""
    return activations.silu(input, inplace=inplace)     # type: ignore[no-any-return]


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input tanh(softplus(input)) (Misra, 2019). `inplace` overwrites the input."""
    return activations.mish(input, inplace=inplace)     # type: ignore[no-any-return]


def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-input))), without overflow."""
    return activations.logsigmoid(input)                # type: ignore[no-any-return]


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    return input - input.tanh()


def softmin(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """softmax(-input) along `dim`.

    Args:
        input: any shape.
        dim: the dimension along which the result sums to 1.
        dtype: cast the input to this first.
    """
    along = _implicit_dim("softmin", input, 4) if dim is None else dim
    negated = -input
    return Tensor.softmax(negated, along, dtype)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim` times the sigmoid of the second (Dauphin et al., 2017): half the size there.

    Raises:
        RuntimeError: the input is 0-d, or its size along dim is odd.
        IndexError: there is no such dim.
        NotImplementedError: the input is not floating point.
    """
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    if not input.is_floating_point():
        raise NotImplementedError(f'"glu" not implemented for {input.dtype!r}: convert to a floating-point dtype')
    size = input.size(dim)
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim % input.dim()} is size {size}")
    return input.narrow(dim, 0, size // 2) * input.narrow(dim, size // 2, size // 2).sigmoid()
