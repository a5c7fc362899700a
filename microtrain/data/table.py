"""CSV files of numbers: reading them, and saying where they are wrong."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class DataError(ValueError):
    """The data cannot be used as it is; the message says where and what would work."""


@dataclass(frozen=True)
class Table:
    """Features and target of a data set.

    Attributes:
        name: what the data is called: a file's name without its suffix, or a data set's.
        features: (rows, columns) float64.
        target: (rows,) float64.
        feature_names: one for each column of ``features``.
        target_name: the target's column.
    """

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
        target: the column to predict; the last one if None.

    Returns:
        The target's column apart from the others.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
        DataError: it is empty, has no header or no rows, rows of different length, a cell that is not a
            finite number (with line and column), a column name twice, or no column called ``target``.
    """
    path = Path(path)
    names, rows = _read_rows(path)
    if target is None:
        target = names[-1]
    if target not in names:
        raise DataError(f"{path}: no column '{target}'; the columns are {', '.join(names)}")
    if len(names) < 2:
        raise DataError(f"{path}: '{target}' is the only column; there is nothing to predict it from")
    values = np.array(rows, dtype=np.float64)
    position = names.index(target)
    return Table(
        name=path.stem,
        features=np.delete(values, position, axis=1),
        target=values[:, position],
        feature_names=tuple(name for name in names if name != target),
        target_name=target,
    )


def _read_rows(path: Path) -> tuple[list[str], list[list[float]]]:
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if not path.is_file():
        raise DataError(f"{path} is not a file")
    rows: list[list[float]] = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            names = [name.strip() for name in next((row for row in reader if row), [])]
            _check_names(path, names)
            for row in reader:
                if row:
                    rows.append(_numbers(path, reader.line_num, names, row))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from error
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if not rows:
        raise DataError(f"{path}: no rows below the header")
    return names, rows


def _check_names(path: Path, names: list[str]) -> None:
    if not names:
        raise DataError(f"{path}: the file is empty; its first line should name the columns")
    if all(_is_number(name) for name in names):
        raise DataError(f"{path}, line 1: expected column names but every cell is a number")
    for position, name in enumerate(names):
        if not name:
            raise DataError(f"{path}, line 1: column {position + 1} has no name")
        if name in names[:position]:
            raise DataError(f"{path}, line 1: the column name '{name}' stands twice")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(path: Path, line: int, names: list[str], row: list[str]) -> list[float]:
    if len(row) != len(names):
        raise DataError(f"{path}, line {line}: {len(row)} cells, but the header names {len(names)} columns")
    values = []
    for name, cell in zip(names, row, strict=True):
        try:
            value = float(cell)
        except ValueError:
            what = "the cell is empty" if not cell.strip() else f"'{cell.strip()}' is not a number"
            raise DataError(f"{path}, line {line}, column '{name}': {what}") from None
        if not math.isfinite(value):
            raise DataError(f"{path}, line {line}, column '{name}': '{cell.strip()}' is not a finite number")
        values.append(value)
    return values
