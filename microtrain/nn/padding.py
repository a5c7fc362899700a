"""Padding: a constant, or the tensor's own elements reflected, repeated or continued around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..tensor import Tensor, cat, nn_ops
from .function_module import checked
from .module import Module

__all__ = ["CircularPad1d", "CircularPad2d", "ConstantPad1d", "ConstantPad2d", "ReflectionPad1d", "ReflectionPad2d",
           "ReplicationPad1d", "ReplicationPad2d", "ZeroPad1d", "ZeroPad2d", "pad"]


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """`input` with elements put before and after its last dimensions; negative numbers take elements away.

    Args:
        input: any shape; for the modes other than "constant" the last one (of 2 or 3), two (of 3 or 4) or three (of 4
            or 5) dimensions can be padded, else NotImplementedError, as for an unknown mode.
        pad: (before, after) of the last dimension, then of the last but one, and so on; RuntimeError where they are odd
            or too many, leave nothing, or ask for more elements than there are to reflect.
        mode: "constant"; "reflect" about the border elements; "replicate" them; "circular".
        value: what is put in mode "constant", 0 unless given; RuntimeError in another.
    """
    listed, dims = list(pad), input.dim()
    if len(listed) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2, got {len(listed)}")
    if len(listed) > 2 * dims:
        raise RuntimeError("Padding length should be less than or equal to two times the input dimension but got "
                           f"padding length {len(listed)} and input of dimension {dims}")
    pairs = [(dims - 1 - i, listed[2 * i], listed[2 * i + 1]) for i in range(len(listed) // 2)]
    if mode == "constant":
        return _constant(input, pairs, 0 if value is None else value)
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}; it is constant, reflect, replicate, circular")
    if len(pairs) not in (1, 2, 3) or dims not in (len(pairs) + 1, len(pairs) + 2):
        raise NotImplementedError(f"Padding size {len(listed)} is not supported for {dims}D input tensor.\n"
                                  "Supported combinations for non-constant padding:\n"
                                  "  - 2D or 3D input: padding size = 2 (pads last dimension)\n"
                                  "  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n"
                                  "  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)")
    if mode != "circular" and 0 in input.shape[-len(pairs) - 1 :]:
        raise RuntimeError(f"Expected {len(pairs) + 1}D or {len(pairs) + 2}D (batch mode) tensor with possibly 0 batch "
                           f"size and other non-zero dimensions for input, but got: {list(input.shape)}")
    out = input if mode == "circular" else nn_ops.flat(input)
    for axis, before, after in pairs:
        out = _sided(out, axis, before, after, mode)
    return out


def _constant(input: Tensor, pairs: Sequence[tuple[int, int, int]], value: float) -> Tensor:
    kept, starts, shape = input, [0] * input.dim(), list(input.shape)
    for axis, before, after in pairs:
        size = shape[axis] + before + after
        if size < 0:
            raise RuntimeError(f"pad: the input size {shape[axis]}, plus negative padding {before} and {after}, "
                               f"resulted in a negative output size, dimension {axis}")
        first = max(0, -before)
        kept = kept.narrow(axis, first, max(0, shape[axis] - first - max(0, -after)))
        starts[axis], shape[axis] = max(0, before), size
    if kept.numel() == 0:
        starts = [0] * input.dim()      # of nothing there is no place
    return nn_ops.padded(kept, tuple(starts), tuple(shape), value)


def _beside(x: Tensor, axis: int, before: int, after: int, mode: str) -> tuple[Tensor, Tensor]:
    """What goes before and after an axis."""
    size = x.shape[axis]
    if mode == "replicate":
        ends = (x.narrow(axis, 0, 1), before), (x.narrow(axis, size - 1, 1), after)
        first, last = (end.expand(*x.shape[:axis], n, *x.shape[axis + 1 :]) for end, n in ends)
        return first, last
    wrong = f"Got padding ({before}, {after}) at dimension {axis} of input {list(x.shape)}"
    if mode == "circular":
        if max(before, after) > size:
            raise RuntimeError(f"Padding value causes wrapping around more than once. {wrong}")
        return x.narrow(axis, size - before, before), x.narrow(axis, 0, after)
    if max(before, after) >= size:
        raise RuntimeError("Padding size should be less than the corresponding input dimension, but got: "
                           f"{wrong.removeprefix('Got ')}")
    return x.narrow(axis, 1, before).flip(axis), x.narrow(axis, size - 1 - after, after).flip(axis)


def _sided(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """`x` with so many elements more (or fewer) at both ends of an axis."""
    size, total = x.shape[axis], x.shape[axis] + before + after
    if total < (0 if mode == "circular" else 1):
        what = "Negative padding value is resulting in an empty dimension: " if mode == "circular" else ""
        raise RuntimeError(f"{what}input (size {size} at dimension {axis}) is too small. Calculated output size: "
                           f"{total}")
    # Where one end loses more elements than there are, the other supplies them all.
    head, tail = min(max(before, 0), total), min(max(after, 0), total)
    start = max(0, -before)
    middle = x.narrow(axis, min(start, size), max(0, size - start - max(0, -after)))
    # What is continued around is what is left; what is reflected or repeated, the elements beside it.
    first, last = _beside(middle if mode == "circular" else x, axis, head, tail, mode)
    parts = [part for part in (first, middle, last) if part.shape[axis]]
    return cat(parts, axis) if parts else x.narrow(axis, 0, 0)


_pad = checked(pad)


class _Padding(Module):
    """Pads the last one or two dimensions, as `functional.pad` does, with what the name says. Holds `padding`: (before,
    after) of the last dimension, then of the last but one; an int for all of them. Of what is circular one batch
    dimension may be missing; ValueError for more or fewer."""

    _dims: ClassVar[int] = 0
    _mode: ClassVar[str] = "constant"
    value: float | None = None

    def __init_subclass__(cls, dims: int = 0, mode: str = "") -> None:
        super().__init_subclass__()
        cls._dims, cls._mode = dims or cls._dims, mode or cls._mode

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self._dims) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        """Any shape to one with larger last dimensions."""
        if self._mode == "circular" and input.dim() not in (self._dims + 1, self._dims + 2):
            raise ValueError(f"expected {self._dims + 1}D or {self._dims + 2}D input (got {input.dim()}D input)")
        return _pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Padding):
    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPad1d(_Padding, dims=1): ...
class ZeroPad2d(_Padding, dims=2): ...
class ConstantPad1d(_ConstantPad, dims=1): ...
class ConstantPad2d(_ConstantPad, dims=2): ...
class ReflectionPad1d(_Padding, dims=1, mode="reflect"): ...
class ReflectionPad2d(_Padding, dims=2, mode="reflect"): ...
class ReplicationPad1d(_Padding, dims=1, mode="replicate"): ...
class ReplicationPad2d(_Padding, dims=2, mode="replicate"): ...
class CircularPad1d(_Padding, dims=1, mode="circular"): ...
class CircularPad2d(_Padding, dims=2, mode="circular"): ...
