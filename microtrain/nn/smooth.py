"""Smooth activations: exponential units, gates by a sigmoid or a normal distribution, and their kin."""

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


class Sigmoid(Activation, function=sigmoid):
    """1 / (1 + exp(-x)), elementwise."""

    def forward(self, input: Tensor) -> Tensor:
        return sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """tanh(input), elementwise."""
    return Tensor.tanh(input)


class Tanh(Activation, function=tanh):
    """tanh(x), elementwise."""

    def forward(self, input: Tensor) -> Tensor:
        return tanh(input)


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


class Softmax(Activation, function=softmax):
    """exp(x) / sum exp(x) along `dim`."""

    dim: int | None = None

    def forward(self, input: Tensor) -> Tensor:
        return softmax(input, self.dim)


def log_softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """input - logsumexp(input) along `dim`.

    Args:
        input: any shape.
        dim: the dimension along which exp of the result sums to 1.
        dtype: cast the input to this first.
    """
    along = _implicit_dim("log_softmax", input) if dim is None else dim
    return Tensor.log_softmax(input, along, dtype)


class LogSoftmax(Activation, function=log_softmax):
    """x - logsumexp(x) along `dim`."""

    dim: int | None = None

    def forward(self, input: Tensor) -> Tensor:
        return log_softmax(input, self.dim)


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


class Softmin(Activation, function=softmin):
    """softmax(-x) along `dim`."""

    dim: int | None = None


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta input)) / beta, elementwise; the input itself where beta input > threshold."""
    scaled = input if beta == 1 else input * beta
    smooth = scaled.softplus()
    return where(scaled > threshold, input, smooth if beta == 1 else smooth / beta)


class Softplus(Activation, function=softplus):
    """log(1 + exp(beta x)) / beta, elementwise; x itself where beta x > threshold."""

    beta: float = 1.0
    threshold: float = 20.0


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input above 0, alpha (exp(input) - 1) below (Clevert et al., 2015). `inplace` overwrites the input."""
    return _elu(input, float(alpha), 1.0, 1.0, inplace=inplace)


class ELU(Activation, function=elu):
    """x above 0, alpha (exp(x) - 1) below (Clevert et al., 2015)."""

    alpha: float = 1.0
    inplace: bool = False


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """`elu` with the scale and alpha that keep mean and variance (Klambauer et al., 2017)."""
    return _elu(input, SELU_ALPHA, SELU_SCALE, 1.0, inplace=inplace)


class SELU(Activation, function=selu):
    """`ELU` with the scale and alpha that keep mean and variance (Klambauer et al., 2017)."""

    inplace: bool = False


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input above 0, alpha (exp(input / alpha) - 1) below (Barron, 2017). `inplace` overwrites the input.

    Raises:
        RuntimeError: alpha is 0.
    """
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _elu(input, float(alpha), 1.0, 1 / alpha, inplace=inplace)


class CELU(Activation, function=celu):
    """x above 0, alpha (exp(x / alpha) - 1) below (Barron, 2017)."""

    alpha: float = 1.0
    inplace: bool = False


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """The input times the normal distribution function of it (Hendrycks and Gimpel, 2016).

    Args:
        input: any shape, floating point.
        approximate: "none", or "tanh" for input (1 + tanh(sqrt(2 / pi) (input + 0.044715 input^3))) / 2.

    Raises:
        RuntimeError: another value of approximate.
    """
    if approximate not in _gelu:
        raise RuntimeError(f"approximate argument must be either none or tanh, but got {approximate!r}")
    return _gelu[approximate](input)


class GELU(Activation, function=gelu):
    """x times the normal distribution function of x, or its approximation by "tanh" (Hendrycks and Gimpel, 2016)."""

    approximate: str = "none"


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input sigmoid(input), also called swish. `inplace` overwrites the input."""
    return _silu(input, inplace=inplace)


class SiLU(Activation, function=silu):
    """x sigmoid(x)."""

    inplace: bool = False


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input tanh(softplus(input)) (Misra, 2019). `inplace` overwrites the input."""
    return _mish(input, inplace=inplace)


class Mish(Activation, function=mish):
    """x tanh(softplus(x)) (Misra, 2019)."""

    inplace: bool = False


def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-input))), without overflow."""
    return _logsigmoid(input)


class LogSigmoid(Activation, function=logsigmoid):
    """log(1 / (1 + exp(-x)))."""


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|)."""
    return input / (input.abs() + 1)


class Softsign(Activation, function=softsign):
    """x / (1 + |x|)."""


def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    return input - input.tanh()


class Tanhshrink(Activation, function=tanhshrink):
    """x - tanh(x)."""


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


class GLU(Activation, function=glu):
    """The first half along `dim` times the sigmoid of the second (Dauphin et al., 2017)."""

    dim: int = -1

    def forward(self, input: Tensor) -> Tensor:
        """Half the size along `dim`."""
        return self._applied(input)
