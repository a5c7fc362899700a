"""Results as a text table and as a JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..train.atomic import replacing
from .comparison import Entry
from .suite import Result
from .text import columns, microseconds

HEADS = ("workload", "device", "peer", "microtrain us", "peer us", "ratio", "kernels", "check")

SCHEMA = 1
"""Of the JSON file: raised when the meaning of a field changes."""

UNITS = {
    "time": "microseconds a call; lower and upper quartile",
    "ratio": "microtrain's time over the peer's, round by round; below 1 where microtrain is faster",
    "kernels": "kernels that microtrain launches a call; on the cpu, would launch on a GPU",
    "tolerance_used": "largest error over the error allowed",
}


def table(results: Sequence[Result], device: str) -> str:
    """One line for each workload and peer; what has no figure says why."""
    return columns(HEADS, [row for result in results for row in _rows(result, device)], left=3)


def _rows(result: Result, device: str) -> list[tuple[str, ...]]:
    name, first = result.workload.name, result.comparison.first
    if first.time is None or result.kernels is None:
        return [(name, device, first.name, f"{first.failure}")]
    rows: list[tuple[str, ...]] = []
    for entry in result.comparison.others:
        if entry.time is None or entry.ratio is None:
            rows.append((name, device, entry.name, f"{entry.failure}"))
        else:
            rows.append((name, device, entry.name, microseconds(first.time.median), microseconds(entry.time.median),
                         f"{entry.ratio.median:.2f}", f"{result.kernels:g}", _check(first)))
    if not rows:
        rows.append((name, device, "-", microseconds(first.time.median), "-", "-", f"{result.kernels:g}",
                     _check(first)))
    return rows


def _check(entry: Entry) -> str:
    return "ok" if entry.tolerance_used is None else f"ok ({entry.tolerance_used:.0%})"


def document(results: Sequence[Result], environment: dict[str, Any], date: str, quick: bool) -> dict[str, Any]:
    """All there is to know of a run, for JSON."""
    return {"schema": SCHEMA, "date": date, "quick": quick, **environment, "units": UNITS,
            "workloads": [_workload(result) for result in results]}


def _workload(result: Result) -> dict[str, Any]:
    workload = result.workload
    return {"name": workload.name, "family": workload.family, "about": workload.about, "passed": result.passed,
            "kernels": result.kernels, "contenders": [_contender(entry) for entry in result.comparison.entries]}


def _contender(entry: Entry) -> dict[str, Any]:
    fields = asdict(entry)
    fields["samples"] = [round(value, 4) for value in entry.samples]
    return fields


def write_json(path: Path, contents: dict[str, Any]) -> None:
    """Write a document, whole or not at all. Raises OSError, and ValueError for a number that JSON does not know."""
    text = json.dumps(contents, indent=1, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
