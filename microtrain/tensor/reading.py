"""What is made into a tensor: nested numbers, arrays and tensors, as one array of one dtype, or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import zip_longest
from typing import Any

import numpy as np

from ..graph import dtypes
from ..graph.dtypes import DType
from ..graph.spec import Shape
from .types import Tensor

_PYTHON: dict[type, Callable[[], DType]] = {
    bool: lambda: dtypes.bool_, int: lambda: dtypes.int64, float: dtypes.get_default_dtype}


def read(data: object) -> tuple[np.ndarray, DType]:
    """Nested numbers, arrays and tensors as one array, and the dtype of them all together, as PyTorch has it. A Python
    float counts as the default dtype, an int as int64, a NumPy number, an array and a tensor as what they are. Raises
    ValueError or TypeError, in PyTorch's words, for what is not regular or no number."""
    if isinstance(data, Tensor):
        return data.detach().cpu().numpy(), data.dtype
    if isinstance(data, np.ndarray | np.generic):
        return np.asarray(data), _dtype_of(data)
    if data.__class__ in _PYTHON:
        return np.asarray(data), _PYTHON[data.__class__]()
    found: set[DType | type] = set()
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        data, _ = _plain(data, found, 1)
    elif isinstance(data, bool | int | float):
        found.add(_kind_of(data))
    else:
        raise TypeError(f"new(): data must be a sequence or a number (got {type(data).__name__})")
    kinds = [kind if isinstance(kind, DType) else _PYTHON[kind]() for kind in found]
    return np.asarray(data), reduce(dtypes.promote_types, kinds) if kinds else dtypes.get_default_dtype()


def _dtype_of(array: np.ndarray | np.generic) -> DType:
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise TypeError("can't convert np.ndarray of type "
                        f"{array.dtype.type.__module__}.{array.dtype.type.__name__}. The only supported types "
                        f"are: {', '.join(dtypes.DTYPES)}.")
    return dtypes.from_numpy(array.dtype)


def _kind_of(number: bool | int | float) -> type:
    return bool if isinstance(number, bool) else int if isinstance(number, int) else float


def _plain(data: Any, found: set[DType | type], dim: int) -> tuple[object, Shape]:
    """Nested sequences with Python numbers in place of others, and their shape; the kinds of numbers are `found`."""
    if isinstance(data, np.ndarray):
        found.add(_dtype_of(data))
        return data, data.shape
    if isinstance(data, Tensor):
        found.add(data.dtype)
        return data.tolist(), data.node.shape
    kinds = set(map(type, data))
    if kinds <= _PYTHON.keys():
        found |= kinds
        return data, (len(data),)
    nested = [v.ndim > 0 if isinstance(v, np.ndarray) else isinstance(v, Sequence) and not isinstance(v, str)
              for v in data]
    if not any(nested):
        return [_bare(v, found) for v in data], (len(data),)
    nested = [inner or (isinstance(v, Tensor) and v.ndim > 0) for inner, v in zip(nested, data, strict=True)]
    if not all(nested):
        n, alone = len(data[nested.index(True)]), data[nested.index(False)]
        raise TypeError(f"expected a sequence of length {n} at dim {dim} (got {type(alone).__name__})")
    rows = [_plain(v, found, dim + 1) for v in data]
    first = rows[0][1]
    for _, shape in rows:
        for place, (expected, got) in enumerate(zip_longest(first, shape, fillvalue="a number"), dim):
            if got != expected:
                raise ValueError(f"expected sequence of length {expected} at dim {place} (got {got})")
    return [row for row, _ in rows], (len(data), *first)


def _bare(value: object, found: set[DType | type]) -> bool | int | float:
    """A number, or what holds a single one, as a Python number."""
    if isinstance(value, Tensor):
        if value.node.spec.numel != 1:
            raise ValueError("only one element tensors can be converted to Python scalars, not one of shape "
                             f"{list(value.node.shape)}: stack() makes a tensor of tensors")
        found.add(value.dtype)
        return value.item()
    if isinstance(value, np.ndarray | np.generic):
        found.add(_dtype_of(value))
        return value.item()
    if not isinstance(value, bool | int | float):
        raise TypeError(f"must be real number, not {type(value).__name__}")
    found.add(_kind_of(value))
    return value


def checked(array: np.ndarray, dtype: DType) -> np.ndarray:
    """An array of Python numbers that a dtype holds. Raises RuntimeError, or ValueError beyond 64 bits."""
    if array.dtype == dtype.numpy or not array.size:
        return array
    if dtype.category == 1 and array.dtype.kind != "b":
        for value in (array.min(), array.max()):
            number = value.item() if isinstance(value, np.generic) else value
            if not dtypes.holds(dtype, number):
                if dtype is dtypes.int64 and isinstance(number, int):
                    raise ValueError(f"Overflow when unpacking long long: {number} does not fit {dtype!r}")
                raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow: {number}")
    return array.astype(bool if dtype.category == 0 else np.float64) if array.dtype == object else array
