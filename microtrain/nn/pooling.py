"""Pooling as modules."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import functional
from .function_module import FunctionModule, options


@options
class _Pool(FunctionModule):
    """Holds the arguments of the function; `stride` is the kernel's size unless given."""

    kernel_size: Any
    stride: Any = None
    padding: Any = 0

    def __post_init__(self) -> None:
        if self.stride is None:
            self.stride = self.kernel_size

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


@options
class _MaxPool(_Pool):
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class MaxPool1d(_MaxPool, function=functional.max_pool1d):
    """The largest element of each window along the last dimension; see `functional.max_pool1d`."""

    def forward(self, input: Tensor) -> Any:
        """(N, C, L) or (C, L) to fewer windows; with `return_indices` their places as well."""
        return self._applied(input)


class MaxPool2d(_MaxPool, function=functional.max_pool2d):
    """The largest element of each window over the last two dimensions; see `functional.max_pool2d`."""

    def forward(self, input: Tensor) -> Any:
        """(N, C, H, W) or (C, H, W) to fewer windows; with `return_indices` their places as well."""
        return self._applied(input)


@options
class _AvgPool(_Pool):
    ceil_mode: bool = False
    count_include_pad: bool = True


class AvgPool1d(_AvgPool, function=functional.avg_pool1d):
    """The mean of each window along the last dimension; see `functional.avg_pool1d`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("kernel_size", "stride", "padding"):
            value = getattr(self, name)
            setattr(self, name, (value,) if isinstance(value, int) else value)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, L) or (C, L) to fewer windows."""
        return self._applied(input)


class AvgPool2d(_AvgPool, function=functional.avg_pool2d):
    """The mean of each window over the last two dimensions; see `functional.avg_pool2d`."""

    divisor_override: int | None = None

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) or (C, H, W) to fewer windows."""
        return self._applied(input)
