"""Element types, PyTorch's promotion rules between them, and what an operation's attributes may be: numbers, dtypes and
tuples of them, made of Python's own types.

Attributes become text: of NumPy expressions, of kernels. So none is taken that could say what its text is, or that is
no number to begin with. It costs nothing where it is asked for: once for each signature, when it is first inferred.
"""

from __future__ import annotations

import math
from functools import cache, cached_property
from typing import Any

import numpy as np

from .. import settings

__all__ = ["DType", "bfloat16", "bool_", "float16", "float32", "float64", "get_default_dtype", "int8", "int16", "int32",
           "int64", "set_default_dtype", "uint8"]


class DType:
    """One element type: its name, its NumPy twin and its place in the promotion order. `category` orders kinds as
    PyTorch does: 0 bool, 1 integral, 2 floating point. `wide`: float32 or float64, in which a Python number is computed
    with as it is. `low` and `high`: its smallest and largest value, infinite for floats."""

    __slots__ = ("__dict__", "category", "high", "itemsize", "low", "name", "wide")

    def __init__(self, name: str, category: int, itemsize: int) -> None:
        self.name, self.category, self.itemsize = name, category, itemsize
        self.wide = category == 2 and itemsize > 2
        bits = 8 * itemsize - (name != "uint8") if category else 1
        self.high: float | int = math.inf if category == 2 else 2**bits - 1
        self.low: float | int = -math.inf if category == 2 else -(2**bits) if category and name != "uint8" else 0

    @cached_property
    def numpy(self) -> np.dtype:
        """The NumPy dtype; bfloat16 is ml_dtypes', imported only when it is asked for. Raises ImportError, naming the
        extra, when ml_dtypes is not installed."""
        if self.name != "bfloat16":
            return np.dtype(self.name)
        try:
            import ml_dtypes
        except ImportError as error:
            raise ImportError("bfloat16 needs ml_dtypes: pip install 'microtrain[bfloat16]'") from error
        return np.dtype(ml_dtypes.bfloat16)

    @property
    def is_floating_point(self) -> bool:
        return self.category == 2

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str | tuple[object, ...]:
        return (from_name, (self.name,))


bool_ = DType("bool", 0, 1)
uint8 = DType("uint8", 1, 1)
int8 = DType("int8", 1, 1)
int16 = DType("int16", 1, 2)
int32 = DType("int32", 1, 4)
int64 = DType("int64", 1, 8)
float16 = DType("float16", 2, 2)
bfloat16 = DType("bfloat16", 2, 2)
float32 = DType("float32", 2, 4)
float64 = DType("float64", 2, 8)

HALF = (float16, bfloat16)
DTYPES = {d.name: d for d in (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64)}

TITLES = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long",
          "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool"}
"""What the dtypes are called in PyTorch's complaints, by name."""

_default = [float32]


def get_default_dtype() -> DType:
    """The dtype that Python floats take; float32 unless `set_default_dtype` changed it."""
    return _default[0]


def set_default_dtype(dtype: DType) -> None:
    """Set the dtype of tensors made from Python floats. Raises TypeError unless it is floating point."""
    if not isinstance(dtype, DType) or not dtype.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, got {dtype!r}")
    _default[0] = dtype
    settings.changed()


def from_name(name: str) -> DType:
    """The DType called `name`. Raises TypeError listing the known names."""
    if name not in DTYPES:
        raise TypeError(f"unsupported dtype {name!r}; supported: {', '.join(DTYPES)}")
    return DTYPES[name]


def from_numpy(dtype: np.dtype) -> DType:
    """The DType of a NumPy dtype. Raises TypeError listing the supported ones."""
    return from_name(np.dtype(dtype).name)


@cache
def promote_types(a: DType, b: DType) -> DType:
    """The smallest dtype to which both convert, by PyTorch's table."""
    if a is b:
        return a
    if a.category != b.category:
        return a if a.category > b.category else b
    if a.category == 2 and a.itemsize == b.itemsize:
        return float32                              # float16 with bfloat16
    if uint8 in (a, b):
        other = b if a is uint8 else a
        return int16 if other is int8 else other
    return a if a.itemsize > b.itemsize else b


def of_scalar(value: bool | int | float) -> DType:
    """The dtype a bare Python number takes: bool, int64 or the default floating type."""
    if isinstance(value, bool):
        return bool_
    return int64 if isinstance(value, int) else _default[0]


def holds(dtype: DType, value: bool | int | float | complex) -> bool:
    """Whether PyTorch fills a tensor of a dtype with a number: a float holds infinities and NaN, an unsigned integer
    the negative of what it holds."""
    if isinstance(value, complex):
        return False
    if dtype.category == 2:
        return value != value or value in (math.inf, -math.inf) or abs(value) <= largest_finite(dtype)
    return (-dtype.high if dtype is uint8 and isinstance(value, int) else dtype.low) <= value <= dtype.high


def below(dtype: DType, bound: int | float) -> float:
    """The largest number of a floating dtype that is less than `bound`."""
    with np.errstate(over="ignore"):
        nearest = dtype.numpy.type(bound)
        return float(nearest if float(nearest) < bound else np.nextafter(nearest, dtype.numpy.type(-np.inf)))


@cache
def largest_finite(dtype: DType) -> float:
    """The largest finite number of a floating dtype; its negative is the smallest."""
    return 2.0**128 - 2.0**120 if dtype is bfloat16 else float(np.finfo(dtype.numpy).max)


PLAIN = frozenset((int, float, bool, type(None)))

OBJECTS: set[type] = {DType}
"""Classes of the graph's own whose instances are attributes."""

WORDS = frozenset(("mean", "sum", "none"))
"""All text that is an attribute."""


def number(value: object, operation: str = "") -> bool | int | float:
    """A number as one of Python's own types: subclasses say what their text is, NumPy's have other types. Raises
    TypeError for what is no number."""
    if type(value) in PLAIN and isinstance(value, int | float):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return value.item()
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise TypeError(f"{operation or 'an operation'}: a number is needed, not {type(value).__name__}")


def plain(value: object, operation: str) -> Any:
    """An attribute, its numbers as Python's own. Raises TypeError for what an attribute cannot be."""
    kind = type(value)
    if kind in PLAIN or kind in OBJECTS or (kind is str and value in WORDS):
        return value
    if isinstance(value, tuple):
        parts = tuple([plain(part, operation) for part in tuple.__iter__(value)])
        same = kind is tuple and all(new is old for new, old in zip(parts, value, strict=True))
        return value if same else parts
    return number(value, operation)
