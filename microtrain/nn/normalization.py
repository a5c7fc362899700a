"""Normalisation as modules: over the last dimensions of each example, or over a batch with running statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..runtime.lock import locked
from ..tensor import Tensor, int64, ones, tensor, zeros
from . import functional, init
from .functional.normalization import batch_normalised, move
from .module import Module
from .parameter import Parameter, blank, registered


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) weight + bias over the last dimensions; see `functional.layer_norm`.

    `weight` and `bias` have `normalized_shape` (an int for one dimension) and start at 1 and 0; without
    `elementwise_affine` there is neither, without `bias` no bias.
    """

    weight: Parameter | None = registered()
    bias: Parameter | None = registered()

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
                 bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        _register(self, self.normalized_shape, elementwise_affine, elementwise_affine and bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to 1 and the bias to 0."""
        _reset(self)

    def forward(self, input: Tensor) -> Tensor:
        """input (..., *normalized_shape) to the same shape."""
        return functional.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
                f"bias={self.bias is not None}")


class RMSNorm(Module):
    """x / sqrt(mean(x²) + eps) weight over the last dimensions; see `functional.rms_norm`.

    `weight` has `normalized_shape` (an int for one dimension) and starts at 1; there is none without
    `elementwise_affine`.
    """

    weight: Parameter | None = registered()

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        shape = self.normalized_shape
        self.register_parameter("weight", blank(*shape, device=device, dtype=dtype) if elementwise_affine else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        """input (..., *normalized_shape) to the same shape."""
        return functional.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class _BatchNorm(Module):
    """(x - mean) / sqrt(variance + eps) weight + bias for each channel; see `functional.batch_norm`.

    In training mean and variance are the batch's, and `running_mean` and `running_var` move towards them by
    `momentum` (None: they are the averages of all batches so far, of which `num_batches_tracked` counts the number,
    and which is read at every step) while `track_running_stats` is set; in evaluation they are the running ones, or
    the batch's where there are none.
    `weight` and `bias` (num_features,) start at 1 and 0; without `affine` there are none.

    Raises:
        ValueError: an input of another number of dimensions; in training, one value a channel.
    """

    _dims: tuple[int, ...]
    _version, _added = 2, {"num_batches_tracked": 2}
    weight: Parameter | None = registered()
    bias: Parameter | None = registered()
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        _register(self, (num_features,), affine, affine and bias, device, dtype)
        tracked: dict[str, Tensor | None] = dict.fromkeys(("running_mean", "running_var", "num_batches_tracked"))
        if track_running_stats:
            tracked["running_mean"] = zeros(num_features, device=device, dtype=dtype)
            tracked["running_var"] = ones(num_features, device=device, dtype=dtype)
            tracked["num_batches_tracked"] = tensor(0, device=device, dtype=int64)
        for name, buffer in tracked.items():
            self.register_buffer(name, buffer)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Sets the running mean to 0, the running variance to 1 and the count to 0."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Starts again: statistics, weight and bias."""
        self.reset_running_stats()
        _reset(self)

    @locked
    def forward(self, input: Tensor) -> Tensor:
        """input (N, C, ...) to the same shape."""
        if input.dim() not in self._dims:
            wanted = " or ".join(f"{dims}D" for dims in self._dims)
            raise ValueError(f"expected {wanted} input (got {input.dim()}D input)")
        share = 0.0 if self.momentum is None else self.momentum
        updated = self.training and self.track_running_stats
        count = self.num_batches_tracked if updated else None
        if count is not None and self.momentum is None:
            share = 1.0 / (float(count) + 1)
        read = updated or not self.training
        result, changes = batch_normalised(
            input, self.running_mean if read else None, self.running_var if read else None, self.weight, self.bias,
            self.training or (self.running_mean is None and self.running_var is None), share, self.eps,
        )  # fmt: skip
        if count is not None:
            changes.append((count, count + 1))
        move(changes)
        return result

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}")


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L): arguments and errors are the base class's."""

    _dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W): arguments and errors are the base class's."""

    _dims = (4,)


def _shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


def _register(module: Module, shape: tuple[int, ...], weight: bool, bias: bool, device: Any, dtype: Any) -> None:
    """A weight and a bias of `shape`, or None in their places."""
    for name, wanted in (("weight", weight), ("bias", bias)):
        parameter = blank(*shape, device=device, dtype=dtype) if wanted else None
        module.register_parameter(name, parameter)


def _reset(module: Any) -> None:
    if module.weight is not None:
        init.ones_(module.weight)
    if module.bias is not None:
        init.zeros_(module.bias)
