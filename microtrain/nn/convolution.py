"""Convolutions as modules, and the sliding blocks they are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from ..tensor import Tensor
from . import functional, init
from .function_module import FunctionModule
from .functional.sizes import each
from .module import Module
from .parameter import Parameter, blank, registered

_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """Cross-correlation with `weight` (out_channels, in_channels/groups, *kernel_size) plus `bias`.

    Both start uniform in ±1/sqrt(in_channels/groups prod(kernel_size)), as PyTorch's do. The other arguments are those
    of `functional.conv2d`; `padding_mode` says what is put where "zeros" are not.

    Raises:
        ValueError: channels that the groups do not divide; an unknown padding.
    """

    _function: ClassVar[Callable[..., Tensor]]
    _dims: ClassVar[int]
    weight: Parameter = registered()
    bias: Parameter | None = registered()

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
        self.weight = blank(*shape, device=device, dtype=dtype)
        self.register_parameter("bias", blank(out_channels, device=device, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew from the global generator."""
        inputs = math.prod(self.weight.shape[1:])
        bound = 1 / math.sqrt(inputs) if inputs > 0 else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """input (N, C, *sizes) or (C, *sizes) to (N, O, *sizes) or (O, *sizes)."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = functional.pad(input, self._around(), self.padding_mode)
            padding = 0
        function = type(self)._function
        return function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _around(self) -> list[int]:
        """What `functional.pad` is to put around: the last dimension comes first."""
        if self.padding == "valid":
            return [0, 0] * self._dims
        if self.padding == "same":
            totals = [apart * (size - 1) for size, apart in zip(self.kernel_size, self.dilation, strict=True)]
            return [side for total in reversed(totals) for side in (total // 2, total - total // 2)]
        assert not isinstance(self.padding, str)
        return [size for size in reversed(self.padding) for _ in range(2)]

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * self._dims:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self._dims:
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class Conv1d(_Convolution):
    """Convolution along one dimension, of (N, C, L); arguments and errors are the base class's."""

    _function, _dims = functional.conv1d, 1


class Conv2d(_Convolution):
    """Convolution over two dimensions, of (N, C, H, W); arguments and errors are the base class's."""

    _function, _dims = functional.conv2d, 2


class _Blocks(FunctionModule):
    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self._options)


class Unfold(_Blocks, function=functional.unfold):
    """Sliding blocks of images as columns; see `functional.unfold`."""

    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C KH KW, L)."""
        return self._applied(input)


class Fold(_Blocks, function=functional.fold):
    """Blocks added up into images where they overlap; see `functional.fold`."""

    output_size: Any
    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1

    def forward(self, input: Tensor) -> Tensor:
        """(N, C KH KW, L) to (N, C, H, W)."""
        return self._applied(input)
