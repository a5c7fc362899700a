"""Activations: of straight pieces (where two meet, the derivative is PyTorch's), and smooth ones.

Half precisions are computed in float32 and rounded once; a hard shrink compares in them, as PyTorch's does. `inplace`
overwrites the input.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

from ..graph.node import Node
from ..ops import activations as a
from ..runtime.lock import lock
from ..tensor import Tensor, where
from ..tensor.operands import flag, floats_only, in_float32, no_bool, node_of
from ..tensor.storage import wrap
from .function_module import FunctionModule, Layer
from .init import constant_

__all__ = ["CELU", "ELU", "GELU", "GLU", "SELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
           "LogSigmoid", "LogSoftmax", "Mish", "PReLU", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Softmax", "Softmin",
           "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold", "celu", "elu", "gelu", "glu",
           "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax", "logsigmoid", "mish",
           "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softmin", "softplus", "softshrink",
           "softsign", "tanh", "tanhshrink", "threshold"]

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
_wide = cache(in_float32)


def _single(operation: Callable[..., Node], name: str, input: Tensor, *numbers: float, inplace: bool = False,
            accept: Callable[[Node, str], Node] = floats_only, widen: bool = True) -> Tensor:
    """One node of a tensor and numbers; `inplace` overwrites the tensor, through its twin."""
    operation = _wide(operation) if widen else operation
    x = accept(node_of(input, name), name)
    if not inplace:
        return wrap(operation(x, *numbers))
    with lock:
        input.check_inplace()
        return input.assign(operation(input.twin().node, *numbers), name + "_")


class Activation(FunctionModule, shown="*"):
    """The module of an activation; its repr tells of `inplace` only where it holds."""

    def extra_repr(self) -> str:
        return super().extra_repr().removesuffix("inplace=False").removesuffix(", ")


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), elementwise; the derivative at 0 is 0."""
    if inplace is not False:
        inplace = flag(inplace, "relu", "inplace")
    return (Tensor.relu_ if inplace else Tensor.relu)(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """The input above 0, `negative_slope` times it below."""
    return _single(a.leaky_relu, "leaky_relu", input, float(negative_slope), inplace=inplace)


def _limits(input: Tensor, *numbers: float) -> list[float]:
    return [float(number) if input.is_floating_point() else int(number) for number in numbers]


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """The input where it is above `threshold`, else `value`."""
    return _single(a.threshold, "threshold", input, *_limits(input, threshold, value), inplace=inplace,
                   accept=no_bool)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """The input limited to [`min_val`, `max_val`]; unlike `clamp`'s, the derivative at the limits is 0. ValueError for
    min_val > max_val; RuntimeError for a bool input, or an unsigned one with negative limits."""
    if min_val > max_val:
        raise ValueError(f"min_val cannot be greater than max_val: {min_val} > {max_val}")
    if input.dtype.name == "bool":
        raise RuntimeError("Bool inputs not supported for hardtanh")
    limits = _limits(input, min_val, max_val)
    if input.dtype.name == "uint8" and min(limits) < 0:
        raise RuntimeError(f"cannot do hardtanh on an unsigned type with negative limits: {limits}")
    return _single(a.hardtanh, "hardtanh", input, *limits, inplace=inplace, accept=no_bool)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """The input limited to [0, 6]; the derivative at the limits is 0."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(input + 3) / 6; the derivative at -3 and 3 is 0."""
    return _single(a.hardsigmoid, "hardsigmoid", input, inplace=inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input relu6(input + 3) / 6 (Howard et al., 2019)."""
    return _single(a.hardswish, "hardswish", input, inplace=inplace)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input, but 0 from -`lambd` to `lambd`."""
    return _single(a.hardshrink, "hardshrink", input, float(lambd), widen=False)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input brought nearer to 0 by `lambd`, and 0 between. Raises RuntimeError for a negative `lambd`."""
    if not lambd >= 0:
        raise RuntimeError(f"softshrink: lambda must not be below 0 for input dtype {input.dtype!r}, found {lambd}")
    return _single(a.softshrink, "softshrink", input, float(lambd))


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """The input above 0, `weight` times it below (He et al., 2015). `weight` is one number, 0-d or (1,), or one for
    each channel, (C,), of an input (N, C, ...), and of its dtype; RuntimeError for others."""
    if not isinstance(weight, Tensor):
        raise TypeError(f"prelu(): argument 'weight' (position 2) must be Tensor, not {type(weight).__name__}")
    if weight.dtype is not input.dtype:
        raise RuntimeError(f"prelu: Type promoting not supported. Got {input.dtype!r} and {weight.dtype!r}")
    if weight.dim() > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.dim()}")
    if weight.numel() != 1:
        if input.dim() == 0:
            raise RuntimeError(f"prelu: Not allow zero-dim input tensor. Found parameter numbers = {weight.numel()}.")
        channels = input.shape[1] if input.dim() > 1 else 1
        if weight.numel() != channels:
            raise RuntimeError("Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                               f"{weight.numel()} and channel size = {channels}.")
    spread = [weight.numel() if axis == 1 else 1 for axis in range(input.dim())]
    return wrap(_wide(a.prelu)(floats_only(input.node, "prelu"), weight.reshape(spread).node))


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
    return _single(a.elu, "elu", input, float(alpha), 1.0, 1.0, inplace=inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """`elu` with the scale and alpha that keep mean and variance (Klambauer et al., 2017)."""
    return _single(a.elu, "elu", input, SELU_ALPHA, SELU_SCALE, 1.0, inplace=inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input above 0, alpha (exp(input / alpha) - 1) below (Barron, 2017). Raises RuntimeError for an alpha of 0."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _single(a.elu, "elu", input, float(alpha), 1.0, 1 / alpha, inplace=inplace)


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """The input times the normal distribution function of it (Hendrycks and Gimpel, 2016). approximate: "none", or
    "tanh" for input (1 + tanh(sqrt(2 / pi) (input + 0.044715 input^3))) / 2; RuntimeError for another."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"approximate argument must be either none or tanh, but got {approximate!r}")
    return _single(a.gelu if approximate == "none" else a.gelu_tanh, "gelu", input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input sigmoid(input), also called swish."""
    return _single(a.silu, "silu", input, inplace=inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input tanh(softplus(input)) (Misra, 2019)."""
    return _single(a.mish, "mish", input, inplace=inplace)


def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-input))), without overflow."""
    return _single(a.log_sigmoid, "log_sigmoid", input)


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    return input - input.tanh()


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim` times the sigmoid of the second (Dauphin et al., 2017): half the size there.
    RuntimeError for a 0-d input and for an odd size; IndexError for a missing dim; NotImplementedError for integers."""
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    if not input.is_floating_point():
        raise NotImplementedError(f'"glu" not implemented for {input.dtype!r}: convert to a floating-point dtype')
    size = input.size(dim)
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim % input.dim()} is size {size}")
    return input.narrow(dim, 0, size // 2) * input.narrow(dim, size // 2, size // 2).sigmoid()


class _Shrink(Activation):
    def extra_repr(self) -> str:
        return str(self.lambd)


class ReLU(Activation, function=relu): ...
class LeakyReLU(Activation, function=leaky_relu): ...
class Threshold(Activation, function=threshold): ...
class Hardsigmoid(Activation, function=hardsigmoid, shown=""): ...
class Hardswish(Activation, function=hardswish, shown=""): ...
class Hardshrink(_Shrink, function=hardshrink): ...
class Softshrink(_Shrink, function=softshrink): ...
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


class Hardtanh(Activation, function=hardtanh):
    """x limited to [min_val, max_val]. Raises AssertionError for a max_val not greater than min_val."""

    def __post_init__(self) -> None:
        if self.max_val <= self.min_val:
            raise AssertionError(f"max_val ({self.max_val}) must be greater than min_val ({self.min_val})")


class ReLU6(Hardtanh, shown="inplace"):
    """x limited to [0, 6]."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)


class GELU(Activation, function=gelu):
    """`functional.gelu` as a module."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate


class PReLU(Layer, function=prelu, shown="num_parameters"):
    """x above 0, weight x below; the weight, one or `num_parameters` for as many channels, starts at `init`."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.make_parameters(device, dtype, weight=(num_parameters,))

    def reset_parameters(self) -> None:
        """Sets the weight to where it starts."""
        constant_(self.weight, self.init)
