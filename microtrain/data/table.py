"""CSV files of numbers: reading them, and saying where they are wrong; and those that come with the package.

`files/README.md` names their origin and licence.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import shown

MOST_NAMED = 30
"""Columns that an error lists."""


class DataError(ValueError):
    """The data cannot be used as it is; the message says where and what would work."""


@dataclass(frozen=True)
class Table:
    """Features (rows, columns) and target (rows,) of a data set, float64, and what their columns are called. `name` is
    a file's name without its suffix, or a data set's."""

    name: str
    features: np.ndarray
    target: np.ndarray
    feature_names: tuple[str, ...]
    target_name: str

    def __len__(self) -> int:
        return len(self.target)


def read_csv(path: str | Path, target: str | None = None) -> Table:
    """Reads a comma-separated file whose first line names the columns and whose other cells are finite numbers.

    Args:
        path: the file, UTF-8 text. Blank lines are passed over.
        target: the column to predict, which is kept apart from the others; the last one if None.

    Raises:
        OSError: there is no such file, or it cannot be read.
        DataError: it is empty, has no header or no rows, rows of different length, a cell that is not a
            finite number (with line and column), a column name twice, or no column called `target`.
    """
    path = Path(path)
    names, rows = _read_rows(path)
    if target is None:
        target = names[-1]
    if target not in names:
        listed = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" * (len(names) > MOST_NAMED))
        raise DataError(f"{path}: no column '{shown(target)}'; the columns are {shown(listed)}")
    if len(names) < 2:
        raise DataError(f"{path}: '{shown(target)}' is the only column; there is nothing to predict it from")
    values = np.array(rows, dtype=np.float64)
    position = names.index(target)
    return Table(name=path.stem, features=np.delete(values, position, axis=1), target=values[:, position],
                 feature_names=tuple(name for name in names if name != target), target_name=target)


def _read_rows(path: Path) -> tuple[list[str], list[list[float]]]:
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if not path.is_file():
        raise DataError(f"{path} is not a file")
    rows: list[list[float]] = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            names = [name.strip() for name in next((row for row in reader if _filled(row)), [])]
            _check_names(path, names)
            for row in reader:
                if _filled(row):
                    rows.append(_numbers(path, reader.line_num, names, row))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from error
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if not rows:
        raise DataError(f"{path}: no rows below the header")
    return names, rows


def _filled(row: list[str]) -> bool:
    """Whether a line is not blank."""
    return len(row) > 1 or (bool(row) and not row[0].isspace() and row[0] != "")


def _check_names(path: Path, names: list[str]) -> None:
    if not names:
        raise DataError(f"{path}: the file is empty; its first line should name the columns")
    if all(_is_number(name) for name in names):
        raise DataError(f"{path}, line 1: expected column names but every cell is a number")
    met: set[str] = set()
    for position, name in enumerate(names):
        if not name:
            raise DataError(f"{path}, line 1: column {position + 1} has no name")
        if name in met:
            raise DataError(f"{path}, line 1: the column name '{shown(name)}' stands twice")
        met.add(name)


NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def number(text: str) -> float:
    """A finite number as one is written: digits, a point, an exponent; blanks around it do not count. Else ValueError.
    `float` takes more: `1_000`, digits of other scripts, "nan" and "infinity"."""
    if not NUMBER.fullmatch(text.strip(" \t")) or not math.isfinite(value := float(text)):
        raise ValueError(f"'{shown(text)}' is not a finite number")
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(path: Path, line: int, names: list[str], row: list[str]) -> list[float]:
    if len(row) != len(names):
        raise DataError(f"{path}, line {line}: {len(row)} cells, but the header names {len(names)} columns")
    # What float() takes and `number` does not: an underscore, a character that is not plain, "nan" and "inf".
    text = "".join(row)
    if text.isascii() and text.isprintable() and "_" not in text:
        try:
            values = list(map(float, row))
        except ValueError:
            values = [math.nan]
        if math.isfinite(sum(values)):
            return values
    return [_cell(path, line, name, cell) for name, cell in zip(names, row, strict=True)]


def _cell(path: Path, line: int, name: str, cell: str) -> float:
    try:
        return number(cell)
    except ValueError:
        text = cell.strip(" \t")
        known = _is_number(text) and "_" not in text and text.isascii() and text.isprintable()
        what = "the cell is empty" if not text else f"'{shown(text)}' is not a {'finite ' * known}number"
        raise DataError(f"{path}, line {line}, column '{shown(name)}': {what}") from None


_FILES = Path(__file__).parent / "files"
_TARGETS = {"breast_cancer": "malignant", "diabetes": "progression"}

NAMES = tuple(sorted(_TARGETS))


def load(name: str) -> Table:
    """Loads a data set that comes with the package.

    - `breast_cancer`: (569, 30), target `malignant`, 0 or 1 (Wisconsin, Diagnostic; CC BY 4.0).
    - `diabetes`: (442, 10) in raw units, target `progression`, 25 to 346 (Efron et al., 2004).

    DataError for another name.
    """
    if name not in _TARGETS:
        raise DataError(f"unknown data set '{name}'; the known ones are {', '.join(NAMES)}")
    return replace(read_csv(_FILES / f"{name}.csv", _TARGETS[name]), name=name)
