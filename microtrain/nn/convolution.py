"""Convolution in one and two dimensions, and the sliding blocks it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..tensor import Tensor, nn_ops
from .function_module import FunctionModule, Layer, checked
from .linear import along_channels, uniform_by_inputs
from .padding import pad

__all__ = ["Conv1d", "Conv2d", "Fold", "Unfold", "conv1d", "conv2d", "fold", "unfold"]


def each(value: Any, n: int, function: str, name: str) -> tuple[int, ...]:
    """`value` as n ints: itself n times, or its n (or one) elements. Raises TypeError or RuntimeError."""
    listed = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    for size in listed:
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"{function}(): argument '{name}' must be an int or a sequence of ints, got {value!r}")
    if any(abs(size) >= 2**31 for size in listed):
        raise RuntimeError(f"{function}: {name} is out of range, got {listed}")
    if len(listed) not in (1, n):
        raise RuntimeError(f"{function}: expected {name} to be a single integer value or a list of {n} values, but got "
                           f"{listed}")
    return tuple(listed * n if len(listed) == 1 else listed)


def check_positive(sizes: Sequence[int], function: str, name: str) -> None:
    """Raises RuntimeError unless every one of `sizes` is above zero."""
    if min(sizes) <= 0:
        what = "kernel size" if name == "kernel_size" else name
        raise RuntimeError(f"{function}: {what} should be greater than zero, {name} must be greater than zero, "
                           f"but got {min(sizes)}")


def conv1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
           dilation: Any = 1, groups: int = 1) -> Tensor:
    """`conv2d` along one dimension: `input` is (N, C, L) or (C, L), `weight` (O, C/groups, K), `bias` (O,) or None."""
    return _convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
           dilation: Any = 1, groups: int = 1) -> Tensor:
    """Cross-correlation of `input` with `weight` over two dimensions (LeCun et al., 1989).

    Args:
        input: (N, C, H, W) or (C, H, W).
        weight: (O, C/groups, KH, KW), of the input's dtype.
        bias: (O,) or None.
        stride: an int or one a dimension: how far apart outputs are.
        padding: zeros on both sides, an int or one a dimension; "valid" for none; "same" for as many as keep the
            size (with stride 1; one more behind than before where their number is odd).
        dilation: how far apart the elements are that a kernel is applied to.
        groups: the number of groups of channels that are convolved apart.

    Returns:
        (N, O, HO, WO) or (O, HO, WO), with HO = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1; RuntimeError for
        shapes, dtypes or options that do not fit.
    """
    return _convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def _convolution(name: str, n: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any,
                 dilation: Any, groups: int) -> Tensor:
    for what, other in (("weight", weight), ("bias", bias)):
        if other is not None and other.dtype is not input.dtype:
            raise RuntimeError(f"{name}: Input type ({input.dtype}) and {what} type ({other.dtype}) should be the same")
    if groups <= 0:
        raise RuntimeError(f"{name}: non-positive groups is not supported, got {groups}")
    strides, dilations = each(stride, n, name, "stride"), each(dilation, n, name, "dilation")
    if min(strides) <= 0:
        raise RuntimeError(f"{name}: non-positive stride is not supported, got {list(strides)}")
    if min(dilations) <= 0:
        raise RuntimeError(f"{name}: dilation should be greater than zero, but got {list(dilations)}")
    if weight.dim() < 3:
        raise RuntimeError(f"{name}: weight should have at least three dimensions, got shape {list(weight.shape)}")
    if weight.dim() != n + 2:
        raise RuntimeError(f"{name}: Expected {weight.dim()}-dimensional input for {weight.dim()}-dimensional weight "
                           f"{list(weight.shape)}, but got {n + 2}-dimensional input")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of "
                           f"size: {list(input.shape)}")
    kernel = tuple(weight.shape[2:])
    pads = _padding(name, padding, kernel, strides, dilations)
    x = input if input.dim() == n + 2 else input.unsqueeze(0)
    _check_channels(name, x, weight, bias, groups)
    padded = [size + sum(pad) for size, pad in zip(x.shape[2:], pads, strict=True)]
    spans = [apart * (size - 1) + 1 for size, apart in zip(kernel, dilations, strict=True)]
    if min(kernel) <= 0:
        raise RuntimeError(f"{name}: kernel size should be greater than zero, but got {list(kernel)}")
    if any(span > size for span, size in zip(spans, padded, strict=True)):
        raise RuntimeError(f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel size: "
                           f"({' x '.join(map(str, spans))}). Kernel size can't be greater than actual input size")
    out = nn_ops.convolution(x, weight, strides, pads, dilations, groups)
    if bias is not None:
        out = out + along_channels(bias, out)
    return out if input.dim() == n + 2 else out.squeeze(0)


def _padding(name: str, padding: Any, kernel: tuple[int, ...], strides: tuple[int, ...],
             dilations: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Zeros before and after each dimension."""
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * len(kernel)
        if padding != "same":
            raise RuntimeError(f"{name}: Invalid padding string: '{padding}'; it is 'valid', 'same', an int or a tuple")
        if max(strides) != 1:
            raise RuntimeError(f"{name}: padding='same' is not supported for strided convolutions, got {list(strides)}")
        # What keeps a size: the odd element of it goes behind.
        totals = [apart * (size - 1) for size, apart in zip(kernel, dilations, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    sizes = each(padding, len(kernel), name, "padding")
    if min(sizes) < 0:
        raise RuntimeError(f"{name}: negative padding is not supported, got {list(sizes)}")
    return tuple((size, size) for size in sizes)


def _check_channels(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    shape, out = list(weight.shape), weight.shape[0]
    if out < groups or out % groups:
        wanted = "at least" if out < groups else "divisible by"
        raise RuntimeError(f"Given groups={groups}, expected weight to be {wanted} {groups} at dimension 0, "
                           f"but got weight of size [{shape}] instead")
    if x.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(f"Given groups={groups}, weight of size {shape}, expected input{list(x.shape)} to have "
                           f"{weight.shape[1] * groups} channels, but got {x.shape[1]} channels instead")
    if x.shape[1] == 0:
        raise RuntimeError(f"{name}: an input without channels is not supported, got input of size {list(x.shape)}")
    if bias is not None and list(bias.shape) != [out]:
        raise RuntimeError(f"Given weight of size {shape}, expected bias to be 1-dimensional with {out} elements, "
                           f"but got bias of size {list(bias.shape)} instead")


def _blocks(function: str, kernel_size: Any, dilation: Any, padding: Any,
            stride: Any) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    given = {"kernel_size": kernel_size, "dilation": dilation, "padding": padding, "stride": stride}
    kernel, apart, pads, steps = (each(value, 2, function, name) for name, value in given.items())
    for name, sizes in (("kernel_size", kernel), ("dilation", apart), ("stride", steps)):
        check_positive(sizes, function, name)
    if min(pads) < 0:
        raise RuntimeError(f"{function}: padding should be non-negative, but got {list(pads)}")
    return kernel, apart, pads, steps


def _places(given: str, size: tuple[int, ...], kernel: Any, apart: Any, pads: Any, steps: Any) -> list[int]:
    """How many blocks there are along each dimension. Raises RuntimeError, telling what was `given`, for none."""
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1
              for n, k, d, p, s in zip(size, kernel, apart, pads, steps, strict=True)]
    if min(counts) < 1:
        raise RuntimeError(f"{given}, calculated shape of the array of sliding blocks as ({counts[0]}, {counts[1]}), "
                           "but its components must be at least one.")
    return counts


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Sliding blocks of a batch of images as columns: (N, C, H, W) to (N, C KH KW, L), or either without N. Column l is
    block l, blocks in row-major order; the sizes are as those of `conv2d`, ints or tuples. RuntimeError for sizes that
    are not positive, or leave no block, and for an input of another shape."""
    kernel, apart, pads, steps = _blocks("unfold", kernel_size, dilation, padding, stride)
    if input.dim() not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError("Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
                           f"dimensions for input, but got: {list(input.shape)}")
    x = input if input.dim() == 4 else input.unsqueeze(0)
    n, c, h, w = x.shape
    places = _places(f"Given input with spatial size {h, w}, kernel_size={kernel}, dilation={apart}, padding={pads}",
                     (h, w), kernel, apart, pads, steps)
    if any(pads):
        x = nn_ops.padded(x, (0, 0, *pads), (n, c, h + 2 * pads[0], w + 2 * pads[1]), 0)
    for d in range(2):
        x = nn_ops.windows(x, 2 + d, kernel[d], steps[d], apart[d])
    columns = x.permute(0, 1, 4, 5, 2, 3).reshape(n, c * math.prod(kernel), math.prod(places))
    return columns if input.dim() == 4 else columns.squeeze(0)


def fold(input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
         stride: Any = 1) -> Tensor:
    """Blocks added up into images of `output_size` (H, W) where they overlap: the adjoint of `unfold`. Maps (N, C KH
    KW, L) to (N, C, H, W), or either without N. RuntimeError for sizes that are not positive, and for an input that
    such blocks do not make."""
    kernel, apart, pads, steps = _blocks("fold", kernel_size, dilation, padding, stride)
    size = each(output_size, 2, "fold", "output_size")
    if input.dim() not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError("Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero "
                           f"dimensions for input, but got: {list(input.shape)}")
    x = input if input.dim() == 3 else input.unsqueeze(0)
    n, rows, count = x.shape
    if rows % math.prod(kernel):
        raise RuntimeError("Expected size of input's dimension 1 to be divisible by the product of kernel_size, but "
                           f"got input.size(1)={rows} and kernel_size={kernel}.")
    given = f"Given output_size={size}, kernel_size={kernel}, dilation={apart}, padding={pads}, stride={steps}"
    places = _places(given, size, kernel, apart, pads, steps)
    if math.prod(places) != count:
        raise RuntimeError(f"{given}, expected size of input's dimension 2 to match the calculated number of sliding "
                           f"blocks {places[0]} * {places[1]} = {math.prod(places)}, but got input.size(2)={count}.")
    x = x.reshape(n, rows // math.prod(kernel), *kernel, *places).permute(0, 1, 4, 5, 2, 3)
    for d in (1, 0):
        x = nn_ops.fold_windows(x, 2 + d, size[d] + 2 * pads[d], steps[d], apart[d])
    x = x[:, :, pads[0] : pads[0] + size[0], pads[1] : pads[1] + size[1]]
    return x if input.dim() == 3 else x.squeeze(0)


_pad = checked(pad)
_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Layer):
    """Cross-correlation with `weight` (out_channels, in_channels/groups, *kernel_size) plus `bias`. Both start uniform
    in ±1/sqrt(in_channels/groups prod(kernel_size)), as PyTorch's do. The other arguments are those of
    `functional.conv2d`; `padding_mode` says what is put where "zeros" are not. ValueError for channels that the groups
    do not divide, and for an unknown padding."""

    _function: ClassVar[Callable[..., Tensor]]
    _dims: ClassVar[int]

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        name, n = type(self).__name__, self._dims
        if groups <= 0:
            raise ValueError(f"groups must be a positive integer, got {groups}")
        for what, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{what} must be divisible by groups, got {channels} and {groups}")
        if padding_mode not in _MODES:
            raise ValueError(f"padding_mode must be one of {_MODES}, but got padding_mode='{padding_mode}'")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = each(kernel_size, n, name, "kernel_size")
        self.stride, self.dilation = each(stride, n, name, "stride"), each(dilation, n, name, "dilation")
        self.padding: str | tuple[int, ...]
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of 'same', 'valid'")
            if padding == "same" and max(self.stride) != 1:
                raise ValueError(f"padding='same' is not supported for strided convolutions, got {self.stride}")
            self.padding = padding
        else:
            self.padding = each(padding, n, name, "padding")
        self.padding_mode = padding_mode
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.make_parameters(device, dtype, weight=shape, bias=(out_channels,) if bias else None)

    def reset_parameters(self) -> None:
        """Draws weight and bias anew from the global generator."""
        uniform_by_inputs(self)

    def forward(self, input: Tensor) -> Tensor:
        """input (N, C, *sizes) or (C, *sizes) to (N, O, *sizes) or (O, *sizes)."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            around = [(size, size) for size in padding] if isinstance(padding, tuple) else _padding(
                type(self).__name__, padding, self.kernel_size, self.stride, self.dilation)
            input = _pad(input, [size for pair in reversed(around) for size in pair], self.padding_mode)
            padding = 0
        return self._function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        usual = {"padding": (0,) * self._dims, "dilation": (1,) * self._dims, "groups": 1}
        text += "".join(f", {name}={getattr(self, name)}" for name, value in usual.items()
                        if getattr(self, name) != value)
        text += ", bias=False" if self.bias is None else ""
        return text + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")


class Conv1d(_Convolution):
    """Convolution along one dimension, of (N, C, L); arguments and errors are the base class's."""

    _function, _dims = staticmethod(checked(conv1d)), 1


class Conv2d(_Convolution):
    """Convolution over two dimensions, of (N, C, H, W); arguments and errors are the base class's."""

    _function, _dims = staticmethod(checked(conv2d)), 2


class Unfold(FunctionModule, function=unfold, shown="*"): ...
class Fold(FunctionModule, function=fold, shown="*"): ...
