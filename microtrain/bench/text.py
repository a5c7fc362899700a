"""Numbers and tables as text."""

from __future__ import annotations

from collections.abc import Sequence


def microseconds(value: float) -> str:
    """Three figures where there are fewer than three before the point: 7.31, 73.1, 731, 7312."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Rows under heads: columns in `left` flush left, the others flush right.

    A row shorter than the heads ends in a remark, which runs on to the right and widens no column.
    """
    full = [row for row in (heads, *rows) if len(row) == len(heads)]
    plain = [row if len(row) == len(heads) else row[:-1] for row in (heads, *rows)]
    widths = [max(len(row[i]) for row in (plain if i == 0 else full)) for i in range(len(heads))]
    for row in plain:
        for i, cell in enumerate(row):
            widths[i] = max(widths[i], len(cell))

    def line(row: Sequence[str]) -> str:
        cells = [f"{cell:<{width}}" if i in left or (i == len(row) - 1 and len(row) < len(heads)) else f"{cell:>{width}}"
                 for i, (cell, width) in enumerate(zip(row, widths, strict=False))]
        return "  ".join(cells).rstrip()

    return "\n".join(line(row) for row in (heads, *rows))
