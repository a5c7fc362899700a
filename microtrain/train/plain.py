"""Nested plain values taken apart for a file, and put together again: tensors aside, everything else as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..tensor import Tensor

ATOMS = (bool, int, float, str, type(None))


def taken_apart(value: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """What stands for `value` in JSON; its tensors go to `tensors`, named by the way to them.

    Args:
        value: a tensor, a number, a string, None, an array of numbers, or a dict, list or tuple of such. The type is
            kept exactly: a tuple comes back as one, an int as a dict's key as an int.

    Raises:
        TypeError: anything else, naming the way to it.
    """
    kind = type(value)
    if isinstance(value, Tensor):
        key = name
        while key in tensors:       # "a.b" beside "b" in "a"
            key += "'"
        tensors[key] = value
        return {"tensor": key}
    if kind in ATOMS:
        return value
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in ATOMS:
                raise TypeError(f"{_at(name)} has a key of type {type(key).__name__}, not a string or a number")
        return {"dict": [[key, taken_apart(item, tensors, f"{name}.{key}" if name else str(key))]
                         for key, item in value.items()]}
    if kind in (list, tuple):
        return {kind.__name__: [taken_apart(item, tensors, f"{name}.{i}") for i, item in enumerate(value)]}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return {"array": [value.dtype.str, list(value.shape), value.reshape(-1).tolist()]}
    raise TypeError(f"{_at(name)} is a {kind.__name__}, not a Tensor, a number, a string, None, or a dict, list or "
                    "tuple of such")


def put_together(form: Any, tensor: Callable[[str], Tensor]) -> Any:
    """The value that `taken_apart` made `form` of; `tensor` gives those by name.

    Raises:
        ValueError, TypeError, KeyError: it is no such form.
    """
    if type(form) in ATOMS:
        return form
    ((kind, inner),) = form.items()
    if kind == "tensor":
        return tensor(inner)
    if kind == "dict":
        return {key: put_together(item, tensor) for key, item in inner}
    if kind == "array":
        dtype, shape, values = inner
        return np.array(values, dtype).reshape(shape)[()] if not shape else np.array(values, dtype).reshape(shape)
    return {"list": list, "tuple": tuple}[kind](put_together(item, tensor) for item in inner)


def _at(name: str) -> str:
    return f"state dict entry '{name}'" if name else "the state"
