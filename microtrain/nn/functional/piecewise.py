"""Activations made of straight pieces. Where two meet, the derivative is PyTorch's."""

from __future__ import annotations

from ...tensor import Tensor, activations


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """The input above 0, `negative_slope` times it below. `inplace` overwrites the input."""
    return activations.leaky_relu(input, float(negative_slope), inplace=inplace)    # type: ignore[no-any-return]


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
    return activations.prelu(input, weight.reshape(spread))


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """The input where it is above `threshold`, else `value`. `inplace` overwrites the input."""
    limits = [float(limit) if input.is_floating_point() else int(limit) for limit in (threshold, value)]
    return activations.threshold(input, *limits, inplace=inplace)       # type: ignore[no-any-return]


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
    return activations.hardtanh(input, *limits, inplace=inplace)        # type: ignore[no-any-return]


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """The input limited to [0, 6]; the derivative at the limits is 0. `inplace` overwrites the input."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(input + 3) / 6; the derivative at -3 and 3 is 0. `inplace` overwrites the input."""
    return activations.hardsigmoid(input, inplace=inplace)      # type: ignore[no-any-return]


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input relu6(input + 3) / 6 (Howard et al., 2019). `inplace` overwrites the input."""
    return activations.hardswish(input, inplace=inplace)        # type: ignore[no-any-return]


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input, but 0 from -`lambd` to `lambd`."""
    return activations.hardshrink(input, float(lambd))          # type: ignore[no-any-return]


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input brought nearer to 0 by `lambd`, and 0 between.

    Raises:
        RuntimeError: lambd is negative.
    """
    if not lambd >= 0:
        raise RuntimeError(f"softshrink: lambda must not be below 0 for input dtype {input.dtype!r}, found {lambd}")
    return activations.softshrink(input, float(lambd))          # type: ignore[no-any-return]
