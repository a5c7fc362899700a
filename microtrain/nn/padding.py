"""Padding as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..tensor import Tensor
from . import functional
from .module import Module


class _Padding(Module):
    """Holds `padding`: (before, after) of the last dimension, then of the last but one; an int for all of them."""

    _dims: ClassVar[int]
    _mode: ClassVar[str] = "constant"
    value: float | None = None

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self._dims) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        """Any shape to one with larger last dimensions."""
        return functional.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_Padding):
    """Zeros before and after the last dimension."""

    _dims = 1


class ZeroPad2d(_Padding):
    """Zeros around the last two dimensions."""

    _dims = 2


class _ConstantPad(_Padding):
    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """`value` before and after the last dimension."""

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """`value` around the last two dimensions."""

    _dims = 2


class ReflectionPad1d(_Padding):
    """The last dimension reflected about its border elements."""

    _dims, _mode = 1, "reflect"


class ReflectionPad2d(_Padding):
    """The last two dimensions reflected about their border elements."""

    _dims, _mode = 2, "reflect"


class ReplicationPad1d(_Padding):
    """The last dimension's border elements repeated."""

    _dims, _mode = 1, "replicate"


class ReplicationPad2d(_Padding):
    """The last two dimensions' border elements repeated."""

    _dims, _mode = 2, "replicate"


class _CircularPad(_Padding):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        """One batch dimension may be missing; raises ValueError for more or fewer."""
        if input.dim() not in (self._dims + 1, self._dims + 2):
            raise ValueError(f"expected {self._dims + 1}D or {self._dims + 2}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """The last dimension continued around."""

    _dims = 1


class CircularPad2d(_CircularPad):
    """The last two dimensions continued around."""

    _dims = 2
