"""The data sets that come with the package; `files/README.md` names their origin and licence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .table import DataError, Table, read_csv

_FILES = Path(__file__).parent / "files"
_TARGETS = {"breast_cancer": "malignant", "diabetes": "progression"}

NAMES = tuple(sorted(_TARGETS))


def load(name: str) -> Table:
    """Loads a data set that comes with the package.

    - `breast_cancer`: (569, 30), target `malignant`, 0 or 1 (Wisconsin, Diagnostic; CC BY 4.0).
    - `diabetes`: (442, 10) in raw units, target `progression`, 25 to 346 (Efron et al., 2004).

    Raises:
        DataError: the name is not one of these.
    """
    if name not in _TARGETS:
        raise DataError(f"unknown data set '{name}'; the known ones are {', '.join(NAMES)}")
    return replace(read_csv(_FILES / f"{name}.csv", _TARGETS[name]), name=name)
