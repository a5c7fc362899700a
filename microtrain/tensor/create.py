"""Making tensors: from data, constant, counted, random."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np

from .. import ops as g
from .. import settings
from ..arguments import Number, refused
from ..graph import dtypes
from ..graph.dtypes import DType
from ..graph.node import Node
from ..graph.spec import Device, Shape
from ..runtime.detect import has_cuda
from .host import put
from .operands import called, converted
from .reading import checked, read
from .storage import wrap
from .types import Operand, Sizes, Tensor

__all__ = ["arange", "as_tensor", "default_device", "empty", "empty_like", "eye", "from_numpy", "full", "full_like",
           "linspace", "ones", "ones_like", "promote_types", "set_default_device", "tensor", "zeros", "zeros_like"]
DeviceLike = Device | str | int | None


def default_device() -> Device:
    """The device new tensors are made on: MICROTRAIN_DEVICE, else cuda where there is one, else cpu."""
    return (Device(settings.device.value) if settings.device.value else _best_device()).resolved


@cache
def _best_device() -> Device:
    return Device("cuda" if has_cuda() else "cpu")


def set_default_device(device: DeviceLike) -> None:
    """Make new tensors on `device`; None goes back to the default. "interpret" also chooses Triton's interpreter for
    every kernel decorated from now on, so a program with kernels of its own calls this before it imports Triton. Raises
    RuntimeError where that is too late."""
    if device is not None and Device(device).kind.interpreted:
        from ..runtime.interpret import choose_interpreter
        choose_interpreter()
    settings.device.set("" if device is None else str(Device(device)))


def place(device: DeviceLike) -> Device:
    """A device argument as a Device, "cuda" as the current GPU."""
    if device is None:
        return default_device()
    return (device if isinstance(device, Device) else Device(device)).resolved


def kind(dtype: DType | None) -> DType | None:
    """A dtype argument, checked: also Python's float (float64), int (int64) and bool. Raises TypeError for others."""
    if dtype is not None and not isinstance(dtype, DType):
        if isinstance(dtype, type) and dtype in (float, int, bool):
            return {float: dtypes.float64, int: dtypes.int64, bool: dtypes.bool_}[dtype]
        raise TypeError(f"dtype must be a microtrain dtype such as microtrain.float32, not {dtype!r}")
    return dtype


def promote_types(type1: DType | None, type2: DType | None) -> DType:
    """The smallest dtype to which both convert, by PyTorch's table; Python's float, int and bool are dtypes too. Raises
    TypeError for what is none."""
    one, two = kind(type1), kind(type2)
    if one is None or two is None:
        which = ("type1", 1) if one is None else ("type2", 2)
        raise refused("promote_types", *which, ("DType",), None)
    return dtypes.promote_types(one, two)


def sizes(size: Sequence[Sizes]) -> Shape:
    """A shape given as ints or as one sequence of ints. Raises on anything negative or not an integer."""
    listed = size[0] if len(size) == 1 and isinstance(size[0], Sequence) and not isinstance(size[0], str | bytes) \
        else size
    shape = []
    for n in listed:
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise TypeError(f"sizes must be ints, got {type(n).__name__} ({n!r}) in {tuple(listed)}")
        if not -2**63 <= operator.index(n) < 2**63:
            raise TypeError(f"argument 'size' failed to unpack: overflow, {n} is no 64-bit int")
        shape.append(operator.index(n))
        if shape[-1] < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(listed)}")
    if math.prod(shape) >= 2**60:
        raise RuntimeError(f"Storage size calculation overflowed with sizes={shape}")
    return tuple(shape)


def finish(node: Node, requires_grad: bool = False) -> Tensor:
    """A leaf tensor for a node."""
    out = wrap(node)
    return out if requires_grad is False else out.requires_grad_(requires_grad)


def tensor(data: object, *, dtype: DType | None = None, device: DeviceLike = None,
           requires_grad: bool = False) -> Tensor:
    """A leaf with a copy of `data` (numbers, nested sequences, arrays), of the dtype given or of `read`'s. Raises
    TypeError or ValueError for anything that is not a regular array of numbers, RuntimeError for a number that an
    integer dtype does not hold (numbers from an array are converted as NumPy does)."""
    array, own = read(data)
    wanted = kind(dtype) or own
    if not isinstance(data, np.ndarray | np.generic | Tensor):
        array = checked(array, wanted)
    elif wanted.category == 1 and array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise RuntimeError(f"cannot convert non-finite values to {wanted!r}")
    return finish(put(array, wanted, place(device)), requires_grad)


def as_tensor(data: object, dtype: DType | None = None, device: DeviceLike = None) -> Tensor:
    """`data` itself when it is a tensor of that dtype and device, else a new one."""
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor with a copy of an array, on the default device. PyTorch shares the memory; values are immutable here, so
    a later change of the array is not seen."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    return tensor(array)


def full(size: Sizes, fill_value: Operand, *, dtype: DType | None = None, device: DeviceLike = None,
         requires_grad: bool = False) -> Tensor:
    """`fill_value` in every element; its own dtype (as a Python number) unless one is given. Raises TypeError for what
    is no number, RuntimeError for one that the dtype does not hold."""
    value = _fill_value(fill_value, "full")
    wanted = kind(dtype) or dtypes.of_scalar(value)
    return finish(g.full(converted(value, wanted), sizes((size,)), wanted, place(device)), requires_grad)


def _fill_value(value: Operand, name: str) -> bool | int | float:
    if value.__class__ is float or value.__class__ is int:
        return value
    number: object = value
    if isinstance(value, np.generic) or (isinstance(value, Tensor) and not value.ndim):
        number = value.item()
    if not isinstance(number, bool | int | float):
        raise TypeError(f"{name}(): argument 'fill_value' (position 2) must be Number, not {type(value).__name__}")
    return number


def zeros(*size: Sizes, dtype: DType | None = None, device: DeviceLike = None, requires_grad: bool = False) -> Tensor:
    """Zeros."""
    return finish(g.full(0, sizes(size), kind(dtype) or dtypes.get_default_dtype(), place(device)), requires_grad)


def ones(*size: Sizes, dtype: DType | None = None, device: DeviceLike = None, requires_grad: bool = False) -> Tensor:
    """Ones."""
    return finish(g.full(1, sizes(size), kind(dtype) or dtypes.get_default_dtype(), place(device)), requires_grad)


def empty(*size: Sizes, dtype: DType | None = None, device: DeviceLike = None, requires_grad: bool = False) -> Tensor:
    """Values that mean nothing: zeros, or NaN where MICROTRAIN_POISON is on and the dtype has it."""
    wanted = kind(dtype) or dtypes.get_default_dtype()
    value = math.nan if settings.poison.value and wanted.is_floating_point else 0
    return finish(g.full(value, sizes(size), wanted, place(device)), requires_grad)


def eye(n: int, m: int | None = None, *, dtype: DType | None = None, device: DeviceLike = None,
        requires_grad: bool = False) -> Tensor:
    """The identity matrix (n, m)."""
    for letter, size in (("n", n), ("m", m)):
        if size is not None and size < 0:
            raise RuntimeError(f"eye(): {letter} must be greater or equal to 0, got {size}")
    rows, columns = sizes((n, n if m is None else m))
    where = place(device)
    hit = g.eq(g.reshape(g.iota(rows, where), (rows, 1)), g.reshape(g.iota(columns, where), (1, columns)))
    return finish(g.cast(hit, kind(dtype) or dtypes.get_default_dtype()), requires_grad)


def arange(start: Number | None = None, end: Number | None = None, step: Number = 1, *, dtype: DType | None = None,
           device: DeviceLike = None, requires_grad: bool = False) -> Tensor:
    """start, start + step, ... below `end`: ceil((end - start) / step) elements, int64 where all three are ints."""
    if end is None:
        if start is None:
            raise TypeError('arange() missing 1 required positional arguments: "end"')
        start, end = 0, start
    elif start is None:
        start = 0
    start, end, step = (v.item() if isinstance(v, Tensor | np.generic) else v for v in (start, end, step))
    if step == 0 or step != step:
        raise RuntimeError(f"arange(): step must be nonzero, got {step}")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"arange(): unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError(f"upper bound and lower bound inconsistent with step sign: start {start}, end {end}, step "
                           f"{step}")
    whole = all(isinstance(v, int) for v in (start, end, step))
    wanted = _countable(kind(dtype) or (dtypes.int64 if whole else dtypes.get_default_dtype()), "arange_cpu")
    if not whole and not wanted.is_floating_point:              # PyTorch steps without the fractions
        whole_step = int(step)
        if whole_step == 0:
            raise ValueError(f"arange(): step must be nonzero, and {step} is 0 in {wanted!r}")
        if wanted is dtypes.int64:                              # and counts without them in int64 alone
            start, end, step, whole = int(start), int(end), whole_step, True
    n = max(0, -(-(end - start) // step) if whole else math.ceil((end - start) / step))
    if whole:
        converted(end, dtypes.int64)
    if not wanted.is_floating_point:
        start, step = int(start), int(step)
    if n >= 2**60:
        raise RuntimeError(f"arange(): invalid size, possible overflow? {n} elements from {start} to {end} by {step}")
    node = g.iota(n, place(device))
    if wanted.is_floating_point:
        node = g.cast(node, dtypes.float64)
    node = g.mul(node, step) if step != 1 else node
    return finish(g.cast(g.add(node, start) if start != 0 else node, wanted), requires_grad)


def _countable(dtype: DType, name: str) -> DType:
    if dtype.category == 0:
        raise NotImplementedError(f'"{name}" not implemented for \'Bool\': there are but two of them')
    return dtype


def linspace(start: Operand, end: Operand, steps: int, *, dtype: DType | None = None, device: DeviceLike = None,
             requires_grad: bool = False) -> Tensor:
    """`steps` evenly spaced values from start to end, both included; computed from both ends, as PyTorch does."""
    if isinstance(steps, np.integer) or (isinstance(steps, Tensor) and steps.dtype.category == 1):
        steps = operator.index(steps)
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise TypeError("linspace() received an invalid combination of arguments - got "
                        f"({type(start).__name__}, {type(end).__name__}, {type(steps).__name__}): steps must be an "
                        f"int, not {steps!r}")
    if steps < 0:
        raise RuntimeError(f"linspace(): number of steps must be non-negative, got {steps}")
    for bound in (start, end):
        if not isinstance(bound, Tensor | int | float | np.generic):
            raise TypeError("linspace(): start and end must be numbers or 0-d tensors, not "
                            f"{type(bound).__name__} ({bound!r})")
        if isinstance(bound, Tensor) and bound.ndim:
            raise RuntimeError("linspace only supports 0-dimensional start and end tensors, but got one of shape "
                               f"{list(bound.shape)}")
    start, end = float(start), float(end)
    wanted = _countable(kind(dtype) or dtypes.get_default_dtype(), "linspace_cpu")
    for bound in (start, end):
        converted(bound, wanted)
    i = np.arange(steps)
    width: Any = np.float64 if not wanted.is_floating_point or wanted is dtypes.float64 else np.float32
    step = width((end - start) / (steps - 1)) if steps > 1 else width(0)
    low = width(start) + step * i.astype(width)
    high = width(end) - step * (steps - 1 - i).astype(width)
    return finish(put(np.where(i < steps // 2, low, high) if steps > 1 else low, wanted, place(device)), requires_grad)


class Alike(Protocol):
    """A function that takes a shape, and by default dtype and device, from another tensor."""

    def __call__(self, input: Tensor, *, dtype: DType | None = None, device: DeviceLike = None,
                 requires_grad: bool = False) -> Tensor: ...


def alike(make: Callable[..., Tensor], name: str, doc: str) -> Alike:
    """What `make` does, in the shape and by default of the dtype and device of another tensor."""
    def function(input: Tensor, *, dtype: DType | None = None, device: DeviceLike = None,
                 requires_grad: bool = False) -> Tensor:
        return make(input.shape, dtype=kind(dtype) or input.dtype, device=input.device if device is None else device,
                    requires_grad=requires_grad)
    return called(function, name, doc)


zeros_like = alike(zeros, "zeros_like", "Zeros of another tensor's shape, dtype and device.")
ones_like = alike(ones, "ones_like", "Ones of another tensor's shape, dtype and device.")
empty_like = alike(empty, "empty_like", "As `empty`, of another tensor's shape, dtype and device.")


def full_like(input: Tensor, fill_value: Operand, *, dtype: DType | None = None, device: DeviceLike = None,
              requires_grad: bool = False) -> Tensor:
    """`fill_value` in every element, of another tensor's shape, dtype and device. Raises as `full`."""
    wanted = kind(dtype) or input.dtype
    return finish(g.full(converted(_fill_value(fill_value, "full_like"), wanted), input.node.shape, wanted,
                         input.device if device is None else place(device)), requires_grad)


def new_full(self: Tensor, size: Sizes, fill_value: Operand, *, dtype: DType | None = None, device: DeviceLike = None,
             requires_grad: bool = False) -> Tensor:
    """`fill_value` in every element, by default of this dtype and device."""
    return full(sizes((size,)), fill_value, dtype=kind(dtype) or self.dtype,
                device=self.device if device is None else place(device), requires_grad=requires_grad)


def new_zeros(self: Tensor, *size: Sizes, **options: Any) -> Tensor:
    """Zeros, by default of this dtype and device."""
    return self.new_full(sizes(size), 0, **options)


def new_ones(self: Tensor, *size: Sizes, **options: Any) -> Tensor:
    """Ones, by default of this dtype and device."""
    return self.new_full(sizes(size), 1, **options)


def new_tensor(self: Tensor, data: object, *, dtype: DType | None = None, device: DeviceLike = None,
               requires_grad: bool = False) -> Tensor:
    """A new tensor from data, by default of this dtype and device."""
    return tensor(data, dtype=kind(dtype) or self.dtype,
                  device=self.device if device is None else device, requires_grad=requires_grad)
