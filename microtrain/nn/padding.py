"""Padding as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..tensor import Tensor
from . import functional
from .module import Module


class _Padding(Module):
    """Holds `padding`: (before, after) of the last dimension, then of the last but one; an int for all of them."""

    _dims: ClassVar[int] = 0
    _mode: ClassVar[str] = "constant"
    value: float | None = None

    def __init_subclass__(cls, dims: int = 0, mode: str = "", **more: Any) -> None:
        super().__init_subclass__(**more)
        cls._dims, cls._mode = dims or cls._dims, mode or cls._mode

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self._dims) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        """Any shape to one with larger last dimensions."""
        return functional.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_Padding, dims=1):
    """Zeros before and after the last dimension."""


class ZeroPad2d(_Padding, dims=2):
    """Zeros around the last two dimensions."""


class _ConstantPad(_Padding):
    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad, dims=1):
    """`value` before and after the last dimension."""


class ConstantPad2d(_ConstantPad, dims=2):
    """`value` around the last two dimensions."""


class ReflectionPad1d(_Padding, dims=1, mode="reflect"):
    """The last dimension reflected about its border elements."""


class ReflectionPad2d(_Padding, dims=2, mode="reflect"):
    """The last two dimensions reflected about their border elements."""


class ReplicationPad1d(_Padding, dims=1, mode="replicate"):
    """The last dimension's border elements repeated."""


class ReplicationPad2d(_Padding, dims=2, mode="replicate"):
    """The last two dimensions' border elements repeated."""


class _CircularPad(_Padding, mode="circular"):
    def forward(self, input: Tensor) -> Tensor:
        """One batch dimension may be missing; raises ValueError for more or fewer."""
        if input.dim() not in (self._dims + 1, self._dims + 2):
            raise ValueError(f"expected {self._dims + 1}D or {self._dims + 2}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPad, dims=1):
    """The last dimension continued around."""


class CircularPad2d(_CircularPad, dims=2):
    """The last two dimensions continued around."""
