"""Normalisation: over the last dimensions of each example, or over a batch with running statistics; to length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..graph.dtypes import TITLES
from ..runtime.lock import locked
from ..scopes import finish
from ..tensor import (
    Tensor,
    broadcast_tensors,
    float32,
    float64,
    int64,
    is_grad_enabled,
    nn_ops,
    no_grad,
    norms,
    ones,
    promote_types,
    tensor,
    zeros,
)
from . import init
from .function_module import FunctionModule, Layer
from .linear import along_channels

__all__ = ["BatchNorm1d", "BatchNorm2d", "CosineSimilarity", "LayerNorm", "RMSNorm", "batch_norm", "cosine_similarity",
           "layer_norm", "normalize", "rms_norm"]


def _axes(input: Tensor, normalized_shape: Sequence[int], star: str) -> tuple[int, ...]:
    """The last dimensions, of `normalized_shape`."""
    shape = list(normalized_shape)
    if not shape:
        raise RuntimeError("Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
                           f"element, but got normalized_shape = {shape}")
    first = input.dim() - len(shape)
    if first < 0 or list(input.shape[first:]) != shape:
        raise RuntimeError(f"Given normalized_shape={shape}, expected input with shape [{star}"
                           f"{', '.join(map(str, shape))}], but got input of size{list(input.shape)}")
    return tuple(range(first, input.dim()))


def _check_affine(normalized_shape: Sequence[int], **parameters: Tensor | None) -> None:
    for name, parameter in parameters.items():
        if parameter is not None and list(parameter.shape) != list(normalized_shape):
            raise RuntimeError(f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                               f"{list(parameter.shape)} and normalized_shape = {list(normalized_shape)}")


def _check_floating(input: Tensor, name: str) -> None:
    if not input.is_floating_point():
        raise NotImplementedError(f"\"{name}\" not implemented for '{TITLES[input.dtype.name]}': convert to a "
                                  "floating-point dtype")


def layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
               eps: float = 1e-5) -> Tensor:
    """(input - mean) / sqrt(variance + eps) weight + bias over the last dimensions (Ba et al., 2016).

    Args:
        input: (..., *normalized_shape), floating (else NotImplementedError).
        normalized_shape: the sizes of the dimensions over which mean and (biased) variance are taken.
        weight, bias: normalized_shape, of the input's dtype, or None; RuntimeError for others.
    """
    _check_affine(normalized_shape, weight=weight, bias=bias)
    axes = _axes(input, normalized_shape, "*, ")
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
    """input / sqrt(mean(input²) + eps) weight over the last dimensions (Zhang & Sennrich, 2019). As `layer_norm`, but
    the result has the input's dtype, whatever the weight's; no `eps` is the spacing of the numbers at 1 (of float32 for
    half precisions)."""
    axes = _axes(input, normalized_shape, "*")
    _check_affine(normalized_shape, weight=weight)
    _check_floating(input, "rms_norm")
    if eps is None:
        eps = 2.0**-52 if input.dtype is float64 else 2.0**-23
    result = _affine(nn_ops.rms_normalised(input, axes, float(eps)), weight, None)
    return result if result.dtype is input.dtype else result.to(input.dtype)


def _wide(input: Tensor) -> Tensor:
    """In float32 where it is in half precision."""
    return input.float() if input.element_size() < 4 else input


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

    Raises:
        ValueError: in training, one value a channel; eps not positive.
        RuntimeError: vectors of another shape, or of another dtype than the input's (float32 goes with half
            precisions); no running statistics when not training, or such as require a gradient.
        NotImplementedError: an integer input.
    """
    return _batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


@locked
def _batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None,
                bias: Tensor | None, training: bool, momentum: float | Tensor, eps: float,
                count: Tensor | None = None) -> Tensor:
    """As `batch_norm`; one more is in the `count` of batches. Statistics and count change together, or not at all."""
    if eps <= 0:
        raise ValueError(f"batch_norm eps must be positive, but got {eps}")
    values = math.prod(input.shape[:1] + input.shape[2:])
    if training and values == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    channels = input.shape[1] if input.dim() > 1 else 0
    named = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, vector in named.items():
        if vector is None:
            if name.startswith("running") and not training:
                raise RuntimeError(f"{name} must be defined in evaluation mode")
            continue
        if vector.shape != (channels,):
            raise RuntimeError(f"{name} should contain {channels} elements" + (
                f" not {vector.numel()}" if vector.numel() != channels else
                f" in one dimension, but its shape is {list(vector.shape)}"))
        if vector.dtype is not input.dtype and not (vector.dtype is float32 and input.element_size() < 4):
            raise RuntimeError(f"batch_norm: mixed dtype: all inputs must share same datatype, but the input has "
                               f"{input.dtype} and {name} {vector.dtype} (float32 goes with half precisions)")
        if name.startswith("running") and vector.requires_grad and is_grad_enabled():
            raise RuntimeError(f"The function 'batch_norm' is not differentiable with respect to argument '{name}'. "
                               "This input cannot have requires_grad True.")
    _check_floating(input, "batch_norm")
    changes = [] if count is None else [(count, count + 1)]
    if not training:
        assert running_mean is not None and running_var is not None
        mean, var = along_channels(running_mean.detach(), input), along_channels(running_var.detach(), input)
        normalised = ((input - mean) * (var + eps).rsqrt()).to(input.dtype)
    else:
        axes = tuple(axis for axis in range(input.dim()) if axis != 1)
        normalised = nn_ops.normalised(input, axes, float(eps))
        with no_grad():
            wide = _wide(input)
            for running, of_batch in ((running_mean, wide.mean), (running_var, wide.var)):
                if running is not None and values:
                    value = _wide(running) * (1 - momentum) + of_batch(axes) * momentum
                    changes.append((running, value.to(running.dtype)))
    weight, bias = (None if vector is None else along_channels(vector, input) for vector in (weight, bias))
    result = _affine(normalised, weight, bias).to(input.dtype)

    def take() -> None:
        with no_grad():
            while changes:
                changes[-1][0].become(changes[-1][1])
                changes.pop()

    finish(take)
    return result


def normalize(input: Tensor, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12) -> Tensor:
    """input / max(norm(input), eps), p-norms taken along `dim` (one or several); RuntimeError for an integer input."""
    return input / norms.vector_norm(input, p, dim, keepdim=True).clamp_min(eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along `dim`: sum(x1/max(|x1|, eps) x2/max(|x2|, eps)). As in PyTorch, the
    derivative of a length goes past its limit eps. The result has the shape that x1 and x2 broadcast to, without `dim`.
    RuntimeError for two integer tensors."""
    dtype = promote_types(x1.dtype, x2.dtype)
    if not dtype.is_floating_point:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {dtype}")
    directions = []
    for x in broadcast_tensors(x1.to(dtype), x2.to(dtype)):
        length = norms.vector_norm(x, 2, dim, keepdim=True)
        directions.append(x / (length + (length.clamp_min(eps) - length).detach()))
    return (directions[0] * directions[1]).sum(dim)


class _Normalisation(Layer):
    def reset_parameters(self) -> None:
        """Sets the weight to 1 and the bias to 0."""
        for name, value in (("weight", 1.0), ("bias", 0.0)):
            if (parameter := getattr(self, name, None)) is not None:
                init.constant_(parameter, value)

    def _keep(self, normalized_shape: int | Sequence[int], eps: float | None,
              elementwise_affine: bool) -> tuple[int, ...]:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        return shape

    def extra_repr(self) -> str:
        bias = f", bias={self.bias is not None}" if "bias" in self._parameters else ""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}{bias}"


class LayerNorm(_Normalisation, function=layer_norm):
    """`functional.layer_norm` with a `weight` and a `bias` of `normalized_shape` (an int for one dimension). They start
    at 1 and 0; without `elementwise_affine` there is neither, without `bias` no bias."""

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
                 bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        shape = self._keep(normalized_shape, eps, elementwise_affine)
        self.make_parameters(device, dtype, weight=shape if elementwise_affine else None,
                             bias=shape if elementwise_affine and bias else None)


class RMSNorm(_Normalisation, function=rms_norm):
    """`functional.rms_norm` with a `weight` of `normalized_shape`, which starts at 1, if `elementwise_affine`."""

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        shape = self._keep(normalized_shape, eps, elementwise_affine)
        self.make_parameters(device, dtype, weight=shape if elementwise_affine else None)


class _BatchNorm(_Normalisation):
    """`functional.batch_norm` with `weight` and `bias` (num_features,), which start at 1 and 0, if `affine`. In
    training mean and variance are the batch's, and `running_mean` and `running_var` move towards them by `momentum`
    (None: they are the averages of all batches so far, whose number `num_batches_tracked` is) while
    `track_running_stats` is set; in evaluation they are the running ones, or the batch's where there are none.
    ValueError for an input of another number of dimensions."""

    _dims: tuple[int, ...]
    _version, _added = 2, {"num_batches_tracked": 2}
    eps: float
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name, make in (("running_mean", zeros), ("running_var", ones)):
            self.register_buffer(name, make(num_features, device=device, dtype=dtype) if track_running_stats else None)
        count = tensor(0, device=device, dtype=int64) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        shape = (num_features,)
        self.make_parameters(device, dtype, weight=shape if affine else None, bias=shape if affine and bias else None)

    def reset_running_stats(self) -> None:
        """Sets the running mean to 0, the running variance to 1 and the count to 0."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Starts again: statistics, weight and bias."""
        self.reset_running_stats()
        super().reset_parameters()

    @locked
    def forward(self, input: Tensor) -> Tensor:
        """input (N, C, ...) to the same shape."""
        if input.dim() not in self._dims:
            wanted = " or ".join(f"{dims}D" for dims in self._dims)
            raise ValueError(f"expected {wanted} input (got {input.dim()}D input)")
        share: float | Tensor = 0.0 if self.momentum is None else self.momentum
        updated = self.training and self.track_running_stats
        count = self.num_batches_tracked if updated else None
        if count is not None and self.momentum is None:
            share = 1.0 / (count.double() + 1)
        read = updated or not self.training
        return _batch_norm(
            input, self.running_mean if read else None, self.running_var if read else None, self.weight, self.bias,
            self.training or (self.running_mean is None and self.running_var is None), share, self.eps, count)

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}")


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L): arguments and errors are the base class's."""

    _dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W): arguments and errors are the base class's."""

    _dims = (4,)


class CosineSimilarity(FunctionModule, function=cosine_similarity): ...
