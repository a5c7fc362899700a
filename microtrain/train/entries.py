"""What a checkpoint file holds, whatever its format: arrays by name, and notes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..graph.dtypes import DType, bfloat16, bool_
from ..tensor import Tensor, tensor

Notes = dict[str, str]

VERSION = "microtrain.version"
"""The note by which a file is ours, and so has a checksum."""

CHECKSUM = "microtrain.sha256"
"""The note that holds a hash of all else."""

FORM = "microtrain.state"
"""The note that says in JSON how tensors are nested, and what lies between them; a flat dict of tensors needs none."""


class Entry(NamedTuple):
    """One array as it lies in a file.

    Attributes:
        dtype: of its values.
        array: contiguous; bfloat16 as uint16, so that neither writing nor reading needs ml_dtypes.
    """

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
        """An array of a shape (a tuple of ints) from its bytes, little-endian.

        Raises ValueError for a truth value that is neither 0 nor 1: NumPy takes such for whatever it likes.
        """
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
