"""Files in the safetensors format: eight bytes of length, a header in JSON, then the values as they lie in memory.

Written and read here, so that no package is needed; `safetensors` itself reads what is written, and the other way
round.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import IO, Any

from ..graph import dtypes
from .entries import Entry, Notes

NAMES = {"BOOL": dtypes.bool_, "U8": dtypes.uint8, "I8": dtypes.int8, "I16": dtypes.int16, "I32": dtypes.int32,
         "I64": dtypes.int64, "F16": dtypes.float16, "BF16": dtypes.bfloat16, "F32": dtypes.float32,
         "F64": dtypes.float64}
METADATA = "__metadata__"
"""The header's key of notes, which no tensor can be called by."""

ALIGNMENT = 8
"""Bytes: values begin at a multiple of it, so that a file mapped into memory can be used as it is."""


def write(file: IO[bytes], entries: Mapping[str, Entry], notes: Notes) -> None:
    """Writes arrays and notes. Raises ValueError for an array called `__metadata__`."""
    if METADATA in entries:
        raise ValueError(f"a tensor cannot be called '{METADATA}' in a .safetensors file, which keeps its notes under "
                         "that name: rename it, or save as .npz")
    called = {dtype: name for name, dtype in NAMES.items()}
    # The widest first: then every array lies at a multiple of its item's size.
    ordered = sorted(entries, key=lambda name: -entries[name].dtype.itemsize)
    begin, places = 0, {}
    for name in ordered:
        end = begin + entries[name].array.nbytes
        places[name], begin = [begin, end], end
    header: dict[str, Any] = {METADATA: notes}
    header |= {name: {"dtype": called[entry.dtype], "shape": list(entry.array.shape), "data_offsets": places[name]}
               for name, entry in entries.items()}
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // ALIGNMENT) * ALIGNMENT)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in ordered:
        file.write(entries[name].bytes())


def read(file: IO[bytes]) -> tuple[dict[str, Entry], Notes]:
    """Arrays and notes of a file. Raises ValueError saying what is wrong with it."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise ValueError("it has no header of the length that its first eight bytes give")
    header = json.loads(file.read(length), object_pairs_hook=_once)
    notes = header.pop(METADATA, {}) if isinstance(header, dict) else {}
    _check(header, notes)
    entries = {}
    end = 0
    for name in sorted(header, key=lambda name: header[name]["data_offsets"]):
        dtype, shape, (begin, stop) = (header[name][key] for key in ("dtype", "shape", "data_offsets"))
        if dtype not in NAMES:
            raise ValueError(f"'{name}' is of type {dtype}; known are {', '.join(NAMES)}")
        if begin != end or stop - begin != math.prod(shape) * NAMES[dtype].itemsize:
            raise ValueError(f"'{name}', {dtype} {shape}, does not lie at the bytes {begin} to {stop}")
        data = file.read(stop - begin)
        if len(data) != stop - begin:
            raise ValueError(f"it is cut short: '{name}' ends at byte {8 + length + stop} of {size}")
        entries[name], end = Entry.of_bytes(NAMES[dtype], tuple(shape), data), stop
    if 8 + length + end != size:
        raise ValueError(f"it goes on after its last array: {size - 8 - length - end} bytes")
    return {name: entries[name] for name in header}, notes


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError where a name stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in its header")
    return found


def _check(header: Any, notes: Any) -> None:
    def number(value: Any) -> bool:
        return type(value) is int and value >= 0

    right = isinstance(header, dict) and isinstance(notes, dict) and all(
        isinstance(value, str) for value in notes.values()) and all(
        isinstance(entry, dict) and isinstance(entry.get("dtype"), str)
        and all(isinstance(entry.get(key), list) and all(map(number, entry[key])) for key in ("shape", "data_offsets"))
        and len(entry["data_offsets"]) == 2 for entry in header.values())
    if not right:
        raise ValueError("its header does not describe arrays")
