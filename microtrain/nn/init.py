"""Initial values for parameters: each function fills a tensor in place, without recording, and returns it.

Names, arguments and formulas are `torch.nn.init`'s. Random values come from the global generator.
"""

from __future__ import annotations

import math as _math
import warnings as _warnings
from typing import Any as _Any

from ..arguments import tidy as _tidy
from ..tensor import Tensor, no_grad

_FIXED_GAINS = {**dict.fromkeys((f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)), 1.0),
                "linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": _math.sqrt(2.0), "selu": 0.75}  # fmt: skip


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Fills `tensor` with draws from U(a, b)."""
    with no_grad():
        return tensor.uniform_(a, b)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fills `tensor` with draws from N(mean, std²)."""
    with no_grad():
        return tensor.normal_(mean, std)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills `tensor` with `val`."""
    with no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Fills `tensor` with zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fills `tensor` with ones."""
    return constant_(tensor, 1.0)


def calculate_gain(nonlinearity: str, param: _Any = None) -> float:
    """The factor that weights are scaled by to keep the variance through `nonlinearity`; `param` is leaky_relu's slope.
    ValueError for a nonlinearity that is not known, and for a slope that is no number."""
    if nonlinearity in _FIXED_GAINS:
        return _FIXED_GAINS[nonlinearity]
    if nonlinearity == "leaky_relu":
        if isinstance(param, bool) or not isinstance(param, int | float | None):
            raise ValueError(f"negative_slope {param} not a valid number")
        slope = 0.01 if param is None else param
        return _math.sqrt(2.0 / (1 + slope**2))
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, *kernel)."""
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    receptive_field = _math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive_field, tensor.shape[0] * receptive_field


def _fan(tensor: Tensor, mode: str) -> int:
    wanted = mode.lower()
    if wanted not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _fans(tensor)[wanted == "fan_out"]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """U(±gain sqrt(6 / (fan_in + fan_out))): Glorot & Bengio, 2010. ValueError for fewer than two dimensions."""
    bound = gain * _math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """N(0, gain² 2 / (fan_in + fan_out)): Glorot & Bengio, 2010. ValueError for fewer than two dimensions."""
    return normal_(tensor, 0.0, gain * _math.sqrt(2.0 / sum(_fans(tensor))))


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """U(±gain sqrt(3 / fan)): He et al., 2015. ValueError: fewer than two dimensions, an unknown name."""
    if 0 in tensor.shape:
        _warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return tensor
    bound = calculate_gain(nonlinearity, a) * _math.sqrt(3.0 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """N(0, gain² / fan): He et al., 2015. ValueError as `kaiming_uniform_`."""
    if 0 in tensor.shape:
        _warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return tensor
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / _math.sqrt(_fan(tensor, mode)))

_tidy(globals())
