"""Activations made of straight pieces. Where two meet, the derivative is PyTorch's.

Half precisions are computed in float32 and rounded once; a hard shrink compares in them, as PyTorch's does. `inplace`
overwrites the input.
"""

from __future__ import annotations

from typing import Any

from ..ops import activations as a
from ..tensor import Tensor
from ..tensor.operands import flag, floats_only, in_float32, no_bool
from ..tensor.storage import wrap
from .activation import Activation, single
from .function_module import checked
from .init import constant_
from .module import Module
from .parameter import Parameter, blank, registered

__all__ = ["Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "PReLU", "ReLU", "ReLU6", "Softshrink",
           "Threshold", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "prelu", "relu", "relu6",
           "softshrink", "threshold"]

_leaky_relu = single(a.leaky_relu, "leaky_relu")
_threshold = single(a.threshold, "threshold", no_bool)
_hardtanh = single(a.hardtanh, "hardtanh", no_bool)
_hardsigmoid = single(a.hardsigmoid, "hardsigmoid")
_hardswish = single(a.hardswish, "hardswish")
_hardshrink = single(a.hardshrink, "hardshrink", widen=lambda operation: operation)
_softshrink = single(a.softshrink, "softshrink")
_prelu = in_float32(a.prelu)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), elementwise; the derivative at 0 is 0."""
    if inplace is not False:
        inplace = flag(inplace, "relu", "inplace")
    return (Tensor.relu_ if inplace else Tensor.relu)(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """The input above 0, `negative_slope` times it below."""
    return _leaky_relu(input, float(negative_slope), inplace=inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """The input where it is above `threshold`, else `value`."""
    limits = [float(limit) if input.is_floating_point() else int(limit) for limit in (threshold, value)]
    return _threshold(input, *limits, inplace=inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """The input limited to [`min_val`, `max_val`]; unlike `clamp`'s, the derivative at the limits is 0.

    Raises:
        ValueError: min_val > max_val.
        RuntimeError: the input is bool, or unsigned with negative limits.
    """
    if min_val > max_val:
        raise ValueError(f"min_val cannot be greater than max_val: {min_val} > {max_val}")
    kind = input.dtype.name
    if kind == "bool":
        raise RuntimeError("Bool inputs not supported for hardtanh")
    limits = [float(limit) if input.is_floating_point() else int(limit) for limit in (min_val, max_val)]
    if kind == "uint8" and min(limits) < 0:
        raise RuntimeError(f"cannot do hardtanh on an unsigned type with negative limits: {limits}")
    return _hardtanh(input, *limits, inplace=inplace)


class Hardtanh(Activation, function=hardtanh):
    """x limited to [min_val, max_val]. Raises AssertionError for a max_val not greater than min_val."""

    def __post_init__(self) -> None:
        if self.max_val <= self.min_val:
            raise AssertionError(f"max_val ({self.max_val}) must be greater than min_val ({self.min_val})")


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """The input limited to [0, 6]; the derivative at the limits is 0."""
    return hardtanh(input, 0.0, 6.0, inplace)


class ReLU6(Hardtanh, shown="inplace"):
    """x limited to [0, 6]."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(input + 3) / 6; the derivative at -3 and 3 is 0."""
    return _hardsigmoid(input, inplace=inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input relu6(input + 3) / 6 (Howard et al., 2019)."""
    return _hardswish(input, inplace=inplace)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input, but 0 from -`lambd` to `lambd`."""
    return _hardshrink(input, float(lambd))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input brought nearer to 0 by `lambd`, and 0 between. Raises RuntimeError for a negative `lambd`."""
    if not lambd >= 0:
        raise RuntimeError(f"softshrink: lambda must not be below 0 for input dtype {input.dtype!r}, found {lambd}")
    return _softshrink(input, float(lambd))


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """The input above 0, `weight` times it below (He et al., 2015).

    Args:
        input: (N, C, ...) or of any shape for a single weight.
        weight: one number, 0-d or (1,), or one for each channel, (C,).

    Raises:
        RuntimeError: the weight has another shape, or another dtype than the input.
    """
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
    return wrap(_prelu(floats_only(input.node, "prelu"), weight.reshape(spread).node))


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


class PReLU(Module):
    """x above 0, weight x below; the weight, one or `num_parameters` for as many channels, starts at `init`."""

    _function = staticmethod(checked(prelu))
    weight: Parameter = registered()

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = blank(num_parameters, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to where it starts."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) to the same shape."""
        return self._function(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
