"""Files in NumPy's .npz format: a zip file of arrays. `numpy.load` reads what is written, and the other way round."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from ..graph.dtypes import bfloat16, from_numpy
from .entries import Entry, Notes

CONTENTS = "microtrain.json"
"""The member that says how the arrays are called, and of which type those are that NumPy does not know. Its name does
not end in .npy, so no array's member is called like it."""

OURS = b"microtrain"
"""The zip file's comment, by which a file is ours even where its list of members is damaged."""

PLAIN = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_./ -]{0,198}[A-Za-z0-9_])?")
"""Names that every reader of zip files takes as they are; the members of others are numbered."""


def write(file: IO[bytes], entries: Mapping[str, Entry], notes: Notes) -> None:
    """Writes arrays and notes."""
    contents = []
    with zipfile.ZipFile(file, "w") as archive:
        for number, (name, entry) in enumerate(entries.items()):
            plain = PLAIN.fullmatch(name) and ".." not in name and "//" not in name
            # No plain name begins with a hyphen.
            member = f"{name if plain else f'-{number}'}.npy"
            contents.append([member, name, entry.dtype.name])
            with archive.open(member, "w", force_zip64=True) as part:
                np.lib.format.write_array(part, entry.array, allow_pickle=False)
        archive.comment = OURS
        archive.writestr(CONTENTS, json.dumps({"arrays": contents, "notes": notes}))


def read(file: IO[bytes]) -> tuple[dict[str, Entry], Notes]:
    """Arrays and notes of a file; an array's name is its member's without .npy where the file is not of ours. Raises
    ValueError, or another error of zipfile or NumPy, saying what is wrong with it. Nothing is unpickled."""
    with zipfile.ZipFile(file) as archive:
        members = archive.namelist()
        if len(set(members)) != len(members):
            raise ValueError("a name stands twice in it")
        notes: Notes = {}
        contents: list[list[Any]] = [[member, member.removesuffix(".npy"), None] for member in members]
        if CONTENTS in members or archive.comment == OURS:
            told = json.loads(archive.read(CONTENTS))
            contents, notes = told["arrays"], told["notes"]
            if archive.comment != OURS or {CONTENTS, *(member for member, _, _ in contents)} != set(members):
                raise ValueError("it does not hold all that it lists")
        return {name: _entry(archive, member, name, dtype) for member, name, dtype in contents}, notes


def _entry(archive: zipfile.ZipFile, member: str, name: str, dtype: str | None) -> Entry:
    if not member.endswith(".npy"):
        raise ValueError(f"it holds '{member}', which is no array")
    with archive.open(member) as part:
        array = np.lib.format.read_array(part, allow_pickle=False)
        if part.read(1):
            raise ValueError(f"'{name}' goes on after its last value")
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
    if dtype == bfloat16.name and array.dtype == np.uint16:
        return Entry(bfloat16, array)
    try:
        return Entry(from_numpy(array.dtype), array)
    except TypeError as error:
        raise ValueError(f"'{name}': {error}") from error
