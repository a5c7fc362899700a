"""Numbers and tables as text."""

from __future__ import annotations

from collections.abc import Sequence


def microseconds(value: float) -> str:
    """Three figures where there are fewer than three before the point: 7.31, 73.1, 731, 7312."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows under heads: the first `left` columns flush left, the others flush right.

    A row shorter than the heads ends in a remark, which runs on to the right and widens no column.
    """
    cells = [row if len(row) == len(heads) else row[:-1] for row in (heads, *rows)]
    widths = [max(len(row[i]) for row in cells if i < len(row)) for i in range(len(heads))]

    def line(row: Sequence[str], remark: Sequence[str]) -> str:
        words = [f"{word:<{widths[i]}}" if i < left else f"{word:>{widths[i]}}" for i, word in enumerate(row)]
        return "  ".join([*words, *remark]).rstrip()

    remarks = [row[len(part):] for row, part in zip((heads, *rows), cells, strict=True)]
    return "\n".join(line(row, remark) for row, remark in zip(cells, remarks, strict=True))
