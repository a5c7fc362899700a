"""Smooth activations: exponential units, gates by a sigmoid or a normal distribution, and their kin.

`inplace` overwrites the input.
"""

from __future__ import annotations

import warnings
from typing import Any

from ..ops import activations as a
from ..tensor import Tensor, where
from ..tensor.operands import node_of
from .activation import Activation, single

__all__ = ["CELU", "ELU", "GELU", "GLU", "SELU", "LogSigmoid", "LogSoftmax", "Mish", "SiLU", "Sigmoid", "Softmax",
           "Softmin", "Softplus", "Softsign", "Tanh", "Tanhshrink", "celu", "elu", "gelu", "glu", "log_softmax",
           "logsigmoid", "mish", "selu", "sigmoid", "silu", "softmax", "softmin", "softplus", "softsign", "tanh",
           "tanhshrink"]

_elu = single(a.elu, "elu")
_gelu = {"none": single(a.gelu, "gelu"), "tanh": single(a.gelu_tanh, "gelu")}
_silu = single(a.silu, "silu")
_mish = single(a.mish, "mish")
_logsigmoid = single(a.log_sigmoid, "log_sigmoid")
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input)), elementwise."""
    return Tensor.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """tanh(input), elementwise."""
    return Tensor.tanh(input)


def _implicit_dim(name: str, input: Tensor, stacklevel: int = 3) -> int:
    """The dimension PyTorch falls back to when none is given, with its warning."""
    node_of(input, name)
    warnings.warn(f"Implicit dimension choice for {name} has been deprecated. "
                  "Change the call to include dim=X as an argument.", stacklevel=stacklevel)
    return 0 if input.dim() in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """exp(input) / sum(exp(input)) along `dim`, computed after the largest value is taken off, in `dtype` if given."""
    return Tensor.softmax(input, _implicit_dim("softmax", input) if dim is None else dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """input - logsumexp(input) along `dim`, in `dtype` if given."""
    return Tensor.log_softmax(input, _implicit_dim("log_softmax", input) if dim is None else dim, dtype)


def softmin(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """softmax(-input) along `dim`, in `dtype` if given."""
    return Tensor.softmax(-input, _implicit_dim("softmin", input, 4) if dim is None else dim, dtype)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta input)) / beta, elementwise; the input itself where beta input > threshold."""
    scaled = input if beta == 1 else input * beta
    smooth = scaled.softplus()
    return where(scaled > threshold, input, smooth if beta == 1 else smooth / beta)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input above 0, alpha (exp(input) - 1) below (Clevert et al., 2015)."""
    return _elu(input, float(alpha), 1.0, 1.0, inplace=inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """`elu` with the scale and alpha that keep mean and variance (Klambauer et al., 2017)."""
    return _elu(input, SELU_ALPHA, SELU_SCALE, 1.0, inplace=inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input above 0, alpha (exp(input / alpha) - 1) below (Barron, 2017). Raises RuntimeError for an alpha of 0."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _elu(input, float(alpha), 1.0, 1 / alpha, inplace=inplace)


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """The input times the normal distribution function of it (Hendrycks and Gimpel, 2016).

    approximate: "none", or "tanh" for input (1 + tanh(sqrt(2 / pi) (input + 0.044715 input^3))) / 2; RuntimeError for
    another.
    """
    if approximate not in _gelu:
        raise RuntimeError(f"approximate argument must be either none or tanh, but got {approximate!r}")
    return _gelu[approximate](input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input sigmoid(input), also called swish."""
    return _silu(input, inplace=inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input tanh(softplus(input)) (Misra, 2019)."""
    return _mish(input, inplace=inplace)


def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-input))), without overflow."""
    return _logsigmoid(input)


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    return input - input.tanh()


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim` times the sigmoid of the second (Dauphin et al., 2017): half the size there.

    Raises:
        RuntimeError: the input is 0-d, or its size along dim is odd.  IndexError: there is no such dim.
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


class Sigmoid(Activation, function=sigmoid): ...
class Tanh(Activation, function=tanh): ...
class Softmax(Activation, function=softmax, options="dim"): ...
class LogSoftmax(Activation, function=log_softmax, options="dim"): ...
class Softmin(Activation, function=softmin, options="dim"): ...
class Softplus(Activation, function=softplus): ...
class ELU(Activation, function=elu): ...
class SELU(Activation, function=selu): ...
class CELU(Activation, function=celu): ...
class SiLU(Activation, function=silu): ...
class Mish(Activation, function=mish): ...
class LogSigmoid(Activation, function=logsigmoid): ...
class Softsign(Activation, function=softsign): ...
class Tanhshrink(Activation, function=tanhshrink): ...
class GLU(Activation, function=glu): ...


class GELU(Activation, function=gelu):
    """`functional.gelu` as a module."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate
