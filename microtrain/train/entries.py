"""What a checkpoint file holds, whatever its format: arrays by name, and notes; nested values taken apart for that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..graph.dtypes import DType, bfloat16, bool_
from ..tensor import Tensor, tensor

Notes = dict[str, str]

VERSION, CHECKSUM, FORM = "microtrain.version", "microtrain.sha256", "microtrain.state"
"""Notes: by which a file is ours, and so has a checksum; a hash of all else; in JSON, how tensors are nested and what
lies between them (a flat dict of tensors needs none)."""


class Entry(NamedTuple):
    """One array as it lies in a file: contiguous; bfloat16 as uint16, so that files need no ml_dtypes."""

    dtype: DType
    array: np.ndarray

    @classmethod
    def of(cls, value: Tensor) -> Entry:
        """A tensor's values."""
        array = value.detach().cpu().numpy()
        # A view may lie in memory in another order; what has no dimension keeps none.
        array = np.ascontiguousarray(array).reshape(array.shape)
        return cls(value.dtype, array.view(np.uint16) if value.dtype is bfloat16 else array)

    @classmethod
    def of_bytes(cls, dtype: DType, shape: tuple[int, ...], data: bytes) -> Entry:
        """An array of a shape (a tuple of ints) from its bytes, little-endian. Raises ValueError for a truth value that
        is neither 0 nor 1: NumPy takes such for whatever it likes."""
        if dtype is bool_ and np.frombuffer(data, np.uint8).max(initial=0) > 1:
            raise ValueError("a byte of a BOOL array is neither 0 nor 1")
        raw = np.dtype(np.uint16) if dtype is bfloat16 else dtype.numpy
        return cls(dtype, np.frombuffer(data, raw.newbyteorder("<")).astype(raw, copy=False).reshape(shape))

    def bytes(self) -> Any:
        """Its bytes as they lie in memory, not copied."""
        return self.array.reshape(-1).view(np.uint8)

    def tensor(self) -> Tensor:
        """A tensor on the CPU. Raises ImportError for bfloat16 without ml_dtypes."""
        return tensor(self.array.view(self.dtype.numpy) if self.dtype is bfloat16 else self.array, device="cpu")


def checksum(entries: Mapping[str, Entry], notes: Notes) -> str:
    """A hash of names, types, shapes and values, whatever their order, and of the other notes that are ours."""
    whole = hashlib.sha256()
    for name, (dtype, array) in sorted(entries.items()):
        whole.update(json.dumps([name, dtype.name, array.shape]).encode())
        whole.update(entries[name].bytes())
    whole.update(json.dumps([notes.get(key) for key in ("format", VERSION, FORM)]).encode())
    return whole.hexdigest()


ATOMS = (bool, int, float, str, type(None))


def taken_apart(value: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """What stands for `value` in JSON, each type kept exactly; its tensors go to `tensors`, named by the way to them.
    `value` is a tensor, a number, a string, None, an array of numbers, or a dict, list or tuple of such (else
    TypeError)."""
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
    """The value that `taken_apart` made `form` of; `tensor` gives those by name. An error where it is no such form."""
    if type(form) in ATOMS:
        return form
    ((kind, inner),) = form.items()
    if kind == "tensor":
        return tensor(inner)
    if kind == "dict":
        return {key: put_together(item, tensor) for key, item in inner}
    if kind == "array":
        dtype, shape, values = inner
        array = np.array(values, dtype).reshape(shape)
        return array if shape else array[()]
    return {"list": list, "tuple": tuple}[kind](put_together(item, tensor) for item in inner)


def _at(name: str) -> str:
    return f"state dict entry '{name}'" if name else "the state"
