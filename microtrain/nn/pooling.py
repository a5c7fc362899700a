"""Pooling in one and two dimensions: the largest or the mean of each window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..tensor import Tensor, arange, nn_ops, no_grad, tensor, where
from .convolution import check_positive, each
from .function_module import FunctionModule

__all__ = ["AvgPool1d", "AvgPool2d", "MaxPool1d", "MaxPool2d", "avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d"]


@dataclass(frozen=True)
class _Windows:
    """Windows along one dimension of `size` elements: `count` of them; what is padded before and after."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    count: int


def _along(function: str, size: int, k: int, step: int, pad: int, apart: int, ceil_mode: bool) -> _Windows:
    """Raises RuntimeError where no window fits. In `ceil_mode` the last window may hang over the end."""
    span = apart * (k - 1) + 1
    count = (size + 2 * pad - span + (step - 1 if ceil_mode else 0)) // step + 1
    if ceil_mode and (count - 1) * step >= size + pad:
        count -= 1                      # it would start beyond the elements
    if count < 1:
        raise RuntimeError(f"{function}: Invalid computed output size: {count}. Output size is too small for an input "
                           f"size of {size} and a kernel size of {k}")
    return _Windows(size, k, step, apart, pad, max(pad, (count - 1) * step + span - size - pad), count)


def _windows(function: str, n: int, input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
             ceil_mode: bool) -> list[_Windows]:
    """The windows along each of the last n dimensions."""
    kernel = each(kernel_size, n, function, "kernel_size")
    given = stride is not None and not (isinstance(stride, tuple | list) and not stride)
    steps = each(stride, n, function, "stride") if given else kernel
    pads, apart = each(padding, n, function, "padding"), each(dilation, n, function, "dilation")
    for name, sizes in (("kernel_size", kernel), ("stride", steps), ("dilation", apart)):
        check_positive(sizes, function, name)
    if min(pads) < 0:
        raise RuntimeError(f"{function}: pad must be non-negative, but got pad: {min(pads)}")
    for k, pad, d in zip(kernel, pads, apart, strict=True):
        if pad > (d * (k - 1) + 1) // 2:
            raise RuntimeError(f"{function}: pad should be at most half of effective kernel size, but got pad={pad}, "
                               f"kernel_size={k} and dilation={d}")
    dims = input.dim()
    if dims not in (n + 1, n + 2) or 0 in input.shape[max(dims - n - 1, 0 if dims == n + 1 else 1):]:
        dimensions = f"{n + 1}D or {n + 2}D (batch mode) tensor"
        raise RuntimeError(f"{function}: non-empty {dimensions} expected for input. Expected {dimensions} with "
                           f"optional 0 dim batch size for input, but got:{list(input.shape)}")
    along = zip(input.shape[-n:], kernel, steps, pads, apart, strict=True)
    return [_along(function, size, k, step, pad, d, ceil_mode) for size, k, step, pad, d in along]


def _unrolled(input: Tensor, windows: Sequence[_Windows], filler: float) -> Tensor:
    """(..., *sizes) as (..., *counts, elements of a window in row-major order), `filler` outside."""
    lead = input.dim() - len(windows)
    x = nn_ops.flat(input)
    if any(w.before or w.after for w in windows):
        shape = (*input.shape[:lead], *[w.size + w.before + w.after for w in windows])
        x = nn_ops.padded(x, (*[0] * lead, *[w.before for w in windows]), shape, filler)
    for d, w in enumerate(windows):
        x = nn_ops.windows(x, lead + d, w.kernel, w.stride, w.dilation)
    return x.reshape(*x.shape[: lead + len(windows)], math.prod(w.kernel for w in windows))


def _max_pool(function: str, n: int, input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
              ceil_mode: bool, return_indices: bool) -> Any:
    windows = _windows(function, n, input, kernel_size, stride, padding, dilation, ceil_mode)
    if str(input.dtype).endswith("bool"):
        raise NotImplementedError(f"\"{function}\" not implemented for 'Bool': convert to another dtype")
    unrolled = _unrolled(input, windows, input.dtype.low)
    with no_grad():
        # An element's place in the plane says which it is, wherever windows overlap; what is padded comes last of all.
        # The first of equals is taken, but the last NaN, as in PyTorch: the places of NaN count down from -1.
        n_places = math.prod(w.size for w in windows)
        plane = arange(n_places, device=input.device).reshape(*[w.size for w in windows])
        places = _unrolled(plane, windows, n_places)
        largest = unrolled.amax(-1, keepdim=True)
        candidates = where(unrolled == largest, places, n_places)
        if input.is_floating_point():
            candidates = where(unrolled.isnan(), -1 - places, candidates)
        first = candidates.amin(-1)
        indices = where(first < 0, -1 - first, first)
        chosen = places == indices.unsqueeze(-1)
    values = where(chosen, unrolled, 0).sum(-1, dtype=input.dtype)
    return (values, indices) if return_indices else values


def max_pool1d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """`max_pool2d` along the last dimension: `input` is (N, C, L) or (C, L)."""
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The largest element of each window over the last two dimensions; the first of equals takes the gradient.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: an int or one a dimension.
        stride: how far apart windows start; None for the kernel's size.
        padding: at most half the kernel's extent, on both sides; what is padded is never the largest.
        dilation: how far apart the elements of a window are.
        ceil_mode: whether a last window may hang over the end.
        return_indices: whether to return the largest elements' places in their plane, row-major, as well.

    Returns:
        (N, C, HO, WO) or (C, HO, WO); with `return_indices` two such tensors, the second of int64. RuntimeError for
        sizes that are not positive, or leave no window, too much padding, another shape; NotImplementedError for bool.
    """
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _counts(w: _Windows, count_include_pad: bool) -> list[int]:
    """How many elements each window's mean is over along one dimension: padding counts, what hangs over does not."""
    starts = [i * w.stride - w.before for i in range(w.count)]
    if count_include_pad:
        return [min(start + w.kernel, w.size + w.before) - start for start in starts]
    return [min(start + w.kernel, w.size) - max(start, 0) for start in starts]


def _avg_pool(function: str, n: int, input: Tensor, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
              count_include_pad: bool, divisor_override: int | None) -> Tensor:
    if divisor_override == 0:
        raise RuntimeError(f"{function}: divisor must be not zero, got divisor_override={divisor_override}")
    windows = _windows(function, n, input, kernel_size, stride, padding, 1, ceil_mode)
    if not input.is_floating_point():
        raise NotImplementedError(f'"{function}" not implemented for {input.dtype}: convert to a floating-point dtype')
    total = _unrolled(input, windows, 0).sum(-1)
    if divisor_override is not None:
        return total / divisor_override
    counts = [_counts(w, count_include_pad) for w in windows]
    if all(len(set(along)) == 1 for along in counts):
        return total / math.prod(along[0] for along in counts)
    for d, along in enumerate(counts):
        shape = [-1 if other == d else 1 for other in range(n)]
        total = total / tensor(along, dtype=input.dtype, device=input.device).reshape(*shape)
    return total


def avg_pool1d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Tensor:
    """`avg_pool2d` along the last dimension: `input` is (N, C, L) or (C, L)."""
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:
    """The mean of each window over the last two dimensions.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        kernel_size, stride, padding, ceil_mode: as those of `max_pool2d`.
        count_include_pad: whether padded zeros count as elements.
        divisor_override: what to divide each sum by instead of the number of elements.

    Returns:
        (N, C, HO, WO) or (C, HO, WO); errors as `max_pool2d`, and for a divisor 0 and integers.
    """
    return _avg_pool("avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
                     divisor_override)


class _Pool(FunctionModule, shown="kernel_size stride padding"):
    """Holds the arguments of the function; `stride` is the kernel's size unless given."""

    stride: Any

    def __post_init__(self) -> None:
        if self.stride is None:
            self.stride = self.kernel_size


_OF_MAX = {"options": "kernel_size stride padding dilation return_indices ceil_mode",
           "shown": "kernel_size stride padding dilation ceil_mode"}


class MaxPool1d(_Pool, function=max_pool1d, **_OF_MAX): ...
class MaxPool2d(_Pool, function=max_pool2d, **_OF_MAX): ...
class AvgPool2d(_Pool, function=avg_pool2d): ...


class AvgPool1d(_Pool, function=avg_pool1d):
    """`functional.avg_pool1d` as a module; it keeps sizes as tuples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("kernel_size", "stride", "padding"):
            value = getattr(self, name)
            setattr(self, name, (value,) if isinstance(value, int) else value)
