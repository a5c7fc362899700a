"""What was found of whole steps: ratios to PyTorch's time, as a table and for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from microtrain.bench.comparison import Comparison, Entry
from microtrain.bench.text import columns, microseconds
from microtrain.bench.timing import Quantiles

from .contenders import CHECKED_STEPS, IN_ONE_CALL, LOOPED, PLAIN, REPLAYED, TORCH, Row

SCHEMA = 1
"""Of the JSON file: raised when the meaning of a field changes."""

UNITS = {
    "time": "microseconds of processor time a step, all threads of the process together; quartiles of the samples",
    "ratio": "its time over PyTorch's, round by round; below 1 where it is faster than PyTorch; quartiles",
    "at_once": f"steps of one call of {', '.join(IN_ONE_CALL)}; the others return to Python after each",
    "tolerance_used": f"largest error of {CHECKED_STEPS} losses and of the weights after them, over the error allowed",
}


@dataclass(frozen=True)
class Result:
    """A row and what was found."""

    row: Row
    comparison: Comparison

    def ratio(self, entry: Entry) -> Quantiles | None:
        """Its time over PyTorch's, round by round; None where there is no figure."""
        samples = self.comparison.first.samples
        return Quantiles.of([a / b for a, b in zip(entry.samples, samples, strict=True)]) if entry.samples else None

    @property
    def failed(self) -> list[str]:
        """Who was wrong, and which of microtrain's ways could not run."""
        return [entry.name for entry in self.comparison.entries if entry.failure is not None
                and (entry.failure.kind == "wrong" or entry.name in (TORCH, PLAIN, REPLAYED, LOOPED))]


def table(results: Sequence[Result]) -> str:
    """Each row's times over PyTorch's, which is told in microseconds."""
    names = list(dict.fromkeys(entry.name for result in results for entry in result.comparison.entries))[1:]
    lines = []
    for result in results:
        found = {entry.name: entry for entry in result.comparison.entries}
        time = result.comparison.first.time
        lines.append([result.row.workload.name, "-" if time is None else microseconds(time.median),
                      *(cell(result, found.get(name)) for name in names)])
    return columns(["time over PyTorch's", f"{TORCH} us", *names], lines)


def cell(result: Result, entry: Entry | None) -> str:
    """A ratio in three figures, or why there is none, in a word or two."""
    if entry is None:
        return "-"
    ratio = result.ratio(entry)
    if ratio is not None:
        return figure(ratio.median)
    assert entry.failure is not None
    if entry.failure.reason.startswith(("ModuleNotFoundError", "ImportError")):
        return "not installed"
    return "WRONG" if entry.failure.kind == "wrong" else entry.failure.kind


def figure(ratio: float) -> str:
    """Two figures that count: 0.00021, 0.033, 0.78, 5.1."""
    return f"{ratio:.1f}" if ratio >= 0.995 else f"{ratio:.{1 - math.floor(math.log10(ratio))}f}"


def reasons(results: Sequence[Result]) -> str:
    """A line for each figure that is missing."""
    return "\n".join(f"{result.row.workload.name}, {entry.name}: {entry.failure}" for result in results
                     for entry in result.comparison.entries if entry.failure is not None)


def document(results: Sequence[Result], environment: dict[str, Any], date: str, effort: str) -> dict[str, Any]:
    """All there is to know of a run, for JSON."""
    return {"schema": SCHEMA, "date": date, "effort": effort, **environment, "units": UNITS,
            "checked_steps": CHECKED_STEPS, "rows": [_row(result) for result in results]}


def _row(result: Result) -> dict[str, Any]:
    row = result.row
    return {"name": row.workload.name, "about": row.workload.about, "at_once": row.at_once,
            "contenders": [_contender(result, entry) for entry in result.comparison.entries]}


def _contender(result: Result, entry: Entry) -> dict[str, Any]:
    ratio = result.ratio(entry)
    return {"name": entry.name, "in_one_call": entry.name in IN_ONE_CALL,
            "failure": None if entry.failure is None else asdict(entry.failure),
            "time": None if entry.time is None else asdict(entry.time),
            "ratio": None if ratio is None else asdict(ratio), "steps_a_sample": entry.calls,
            "tolerance_used": entry.tolerance_used, "samples": [round(value, 5) for value in entry.samples]}
