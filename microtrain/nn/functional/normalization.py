"""Layers that bring activations to a common scale, and vectors to length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...runtime.lock import locked
from ...scopes import finish
from ...tensor import Tensor, float32, float64, is_grad_enabled, nn_ops, no_grad
from ..naming import scalar_type_name
from .distance import vector_norm


def _normalized_axes(input: Tensor, normalized_shape: Sequence[int], star: str) -> tuple[int, ...]:
    shape = list(normalized_shape)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, "
            f"but got normalized_shape = {shape}"
        )
    first = input.dim() - len(shape)
    if first < 0 or list(input.shape[first:]) != shape:
        raise RuntimeError(
            f"Given normalized_shape={shape}, expected input with shape [{star}{', '.join(map(str, shape))}], "
            f"but got input of size{list(input.shape)}"
        )
    return tuple(range(first, input.dim()))


def _check_affine(name: str, parameter: Tensor | None, normalized_shape: Sequence[int]) -> None:
    if parameter is not None and list(parameter.shape) != list(normalized_shape):
        raise RuntimeError(f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                           f"{list(parameter.shape)} and normalized_shape = {list(normalized_shape)}")


def _check_floating(input: Tensor, name: str) -> None:
    if not input.is_floating_point():
        raise NotImplementedError(
            f"\"{name}\" not implemented for '{scalar_type_name(input)}': convert to a floating-point dtype"
        )


def layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
               eps: float = 1e-5) -> Tensor:
    """(input - mean) / sqrt(variance + eps) weight + bias over the last dimensions (Ba et al., 2016).

    Args:
        input: (..., *normalized_shape), floating.
        normalized_shape: the sizes of the dimensions over which mean and (biased) variance are taken.
        weight, bias: normalized_shape, of the input's dtype, or None.
        eps: added to the variance.

    Raises:
        RuntimeError: shapes that do not fit; a parameter of another dtype.
        NotImplementedError: an integer input.
    """
    _check_affine("weight", weight, normalized_shape)
    _check_affine("bias", bias, normalized_shape)
    axes = _normalized_axes(input, normalized_shape, "*, ")
    _check_floating(input, "LayerNormKernelImpl")
    for parameter in (weight, bias):
        if parameter is not None and parameter.dtype is not input.dtype:
            raise RuntimeError(f"layer_norm: expected the parameters' dtype to be the input's, {input.dtype}, "
                               f"but got {parameter.dtype}; cast one of them")
    return _affine(nn_ops.normalised(input, axes, float(eps)), weight, bias)


def _affine(normalised: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scaled = normalised if weight is None else normalised * weight
    return scaled if bias is None else scaled + bias


def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
             eps: float | None = None) -> Tensor:
    """input / sqrt(mean(input²) + eps) weight over the last dimensions (Zhang & Sennrich, 2019).

    Args:
        input: (..., *normalized_shape), floating.
        normalized_shape: the sizes of the dimensions over which the mean is taken.
        weight: normalized_shape, or None.
        eps: None for the spacing of the numbers at 1 (of float32 for half precisions).

    Returns:
        The input's shape and dtype, whatever the weight's.

    Raises:
        RuntimeError: shapes that do not fit.
        NotImplementedError: an integer input.
    """
    axes = _normalized_axes(input, normalized_shape, "*")
    _check_affine("weight", weight, normalized_shape)
    _check_floating(input, "rms_norm")
    if eps is None:
        eps = 2.0**-52 if input.dtype is float64 else 2.0**-23
    result = _affine(nn_ops.rms_normalised(input, axes, float(eps)), weight, None)
    return result if result.dtype is input.dtype else result.to(input.dtype)


def _along_channels(vector: Tensor | None, input: Tensor) -> Tensor | None:
    """A (C,) vector shaped to broadcast along dimension 1 of `input`."""
    return vector if vector is None or input.dim() <= 2 else vector.reshape(-1, *[1] * (input.dim() - 2))


def _wide(input: Tensor) -> Tensor:
    """In float32 where it is in half precision."""
    return input.float() if input.element_size() < 4 else input


@locked
def batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
               bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """(input - mean) / sqrt(variance + eps) weight + bias for each channel (Ioffe & Szegedy, 2015).

    Args:
        input: (N, C, ...), floating.
        running_mean, running_var: (C,) or None. In training they are moved towards this batch's mean and unbiased
            variance, in place and without gradient (not by a batch of nothing); otherwise they are what is used.
        weight, bias: (C,) or None.
        training: whether the batch's own mean and (biased) variance are used.
        momentum: the share of the batch in the running statistics.
        eps: added to the variance.

    Raises:
        ValueError: in training, one value a channel; eps not positive.
        RuntimeError: vectors of another shape, or of another dtype than the input's (float32 goes with half
            precisions); no running statistics when not training, or such as require a gradient.
        NotImplementedError: an integer input.
    """
    result, changes = batch_normalised(input, running_mean, running_var, weight, bias, training, momentum, eps)
    move(changes)
    return result


def batch_normalised(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None,
                     bias: Tensor | None, training: bool, momentum: float,
                     eps: float) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """As `batch_norm`, and the running statistics with the values that they are to `move` to.

    By who has the lock.
    """
    changes: list[tuple[Tensor, Tensor]] = []
    if eps <= 0:
        raise ValueError(f"batch_norm eps must be positive, but got {eps}")
    count = math.prod(input.shape[:1] + input.shape[2:])
    if training and count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    channels = input.shape[1] if input.dim() > 1 else 0
    named = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, vector in named.items():
        if vector is not None and vector.shape != (channels,):
            raise RuntimeError(f"{name} should contain {channels} elements" + (
                f" not {vector.numel()}" if vector.numel() != channels else
                f" in one dimension, but its shape is {list(vector.shape)}"))
        if vector is not None and vector.dtype is not input.dtype and not (
                vector.dtype is float32 and input.element_size() < 4):
            raise RuntimeError(f"batch_norm: mixed dtype: all inputs must share same datatype, but the input has "
                               f"{input.dtype} and {name} {vector.dtype} (float32 goes with half precisions)")
        if vector is None and name in ("running_mean", "running_var") and not training:
            raise RuntimeError(f"{name} must be defined in evaluation mode")
        if vector is not None and name.startswith("running") and vector.requires_grad and is_grad_enabled():
            raise RuntimeError(f"The function 'batch_norm' is not differentiable with respect to argument '{name}'. "
                               "This input cannot have requires_grad True.")
    _check_floating(input, "batch_norm")
    axes = tuple(axis for axis in range(input.dim()) if axis != 1)
    if not training:
        assert running_mean is not None and running_var is not None
        mean, var = _along_channels(running_mean.detach(), input), _along_channels(running_var.detach(), input)
        assert mean is not None and var is not None
        normalised = ((input - mean) * (var + eps).rsqrt()).to(input.dtype)
    else:
        normalised = nn_ops.normalised(input, axes, float(eps))
        with no_grad():
            wide = _wide(input)
            for running, of_batch in ((running_mean, wide.mean), (running_var, wide.var)):
                if running is not None and count:
                    value = _wide(running) * (1 - momentum) + of_batch(axes) * momentum
                    changes.append((running, value.to(running.dtype)))
    result = _affine(normalised, _along_channels(weight, input), _along_channels(bias, input)).to(input.dtype)
    return result, changes


def move(changes: list[tuple[Tensor, Tensor]]) -> None:
    """Give tensors their new values, by who has the lock: all of them or, where an interrupt comes first, none."""
    def take() -> None:
        with no_grad():
            while changes:
                changes[-1][0].become(changes[-1][1])
                changes.pop()

    finish(take)


def normalize(input: Tensor, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12) -> Tensor:
    """input / max(norm(input), eps), norms taken along `dim`.

    Args:
        input: floating, any shape.
        p: the exponent of the norm.
        dim: the dimension (or dimensions) along which vectors lie.
        eps: the least length that is divided by.

    Raises:
        RuntimeError: an integer input.  IndexError: no such dimension.
    """
    return input / vector_norm(input, p, dim).clamp_min(eps)
