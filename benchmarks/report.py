"""Results as text tables and as a JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from microtrain.bench.comparison import Entry
from microtrain.bench.text import columns, microseconds
from microtrain.files import replacing

from .launch_facts import Launched
from .suite import Result

HEADS = ("workload", "device", "peer", "microtrain us", "peer us", "ratio", "kernels", "check")
LIMIT_HEADS = ("workload", "clock", "microtrain us", "warm us", "loop us", "limit us", "set by", "of the limit",
               "target", "found", "met")
MET = {True: "yes", False: "NO", None: "-"}

SCHEMA = 2
"""Of the JSON file: raised when the meaning of a field changes."""

UNITS = {
    "time": "microseconds a call; lower and upper quartile",
    "ratio": "microtrain's time over the peer's, round by round; below 1 where microtrain is faster",
    "kernels": "kernels that microtrain launches a call; on the cpu, would launch on a GPU",
    "tolerance_used": "largest error over the error allowed",
    "otherwise": "quartiles of microseconds a call on further clocks",
    "limit": "the least microseconds of a call by the ceilings measured in this run, and what sets them",
    "share": "the limit over microtrain's time: 1 is as fast as can be",
    "launched": "the kernels of a call that missed a target; bytes are of whole values, once each; time is in "
                "microseconds, of each alone",
}


def table(results: Sequence[Result], device: str) -> str:
    """One line for each workload and peer; what has no figure says why."""
    return columns(HEADS, [row for result in results for row in _rows(result, device)], left=3)


def limits(results: Sequence[Result]) -> str:
    """One line for each workload and target, with the share of its limit; empty where no limit is known."""
    rows = [row for result in results for row in _limit_rows(result)]
    return columns(LIMIT_HEADS, rows, left=2) if rows else ""


def misses(results: Sequence[Result]) -> str:
    """Of each workload that missed a target: the kernels of a call, as measured; empty where there are none."""
    lines = []
    for result in results:
        missed = [verdict for verdict in result.verdicts if verdict.met is False]
        if missed:
            wanted = "; ".join(f"{verdict.target}: {verdict.found:.2f}" for verdict in missed)
            lines.append(f"{result.subject.name}: {wanted}; {result.kernels:g} launches a call")
            lines += [f"    {kernel}" for kernel in result.launched]
    return "\n".join(lines)


def dropped(results: Sequence[Result]) -> str:
    """What there was no time for; empty where there was for all."""
    names = [result.subject.name for result in results if result.dropped]
    return f"no time for {len(names)}: {', '.join(names)}" if names else ""


def _rows(result: Result, device: str) -> list[tuple[str, ...]]:
    name, first = result.subject.name, result.comparison.first
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


def _limit_rows(result: Result) -> list[tuple[str, ...]]:
    first, least = result.comparison.first, result.comparison.least
    if first.time is None or (least is None and not result.verdicts):
        return []
    share = result.comparison.share(first.name)
    times = [first.time, *(first.otherwise.get(clock) for clock in ("graph, warm L2", "loop"))]
    head = [result.subject.name, first.clock, *("-" if time is None else microseconds(time.median) for time in times)]
    head += ["-", "-"] if least is None else [microseconds(least.time), least.by]
    head += ["-" if share is None else f"{share:.2f}"]
    verdicts = [(verdict.target, "-" if verdict.found is None else f"{verdict.found:.2f}", MET[verdict.met])
                for verdict in result.verdicts]
    return [(*head, *verdict) for verdict in verdicts or [("-", "-", "-")]]


def document(results: Sequence[Result], environment: dict[str, Any], ceilings: dict[str, Any], date: str,
             effort: str, complete: bool) -> dict[str, Any]:
    """All there is to know of a run, for JSON. `effort`: "full", "quick", or "tiny", whose times mean nothing;
    `complete`: whether the run came to its end."""
    return {"schema": SCHEMA, "date": date, "effort": effort, "complete": complete, **environment,
            "ceilings": ceilings, "units": UNITS, "workloads": [_workload(result) for result in results]}


def _workload(result: Result) -> dict[str, Any]:
    subject, least = result.subject, result.comparison.least
    return {"name": subject.name, "family": subject.family, "about": subject.about, "format": subject.format,
            "passed": result.passed, "kernels": result.kernels, "costs": asdict(subject.limit),
            "limit": None if least is None else {"us": round(least.time, 4), "by": least.by},
            "share": result.comparison.share(result.comparison.first.name),
            "targets": [asdict(verdict) for verdict in result.verdicts],
            "launched": [_launched(kernel) for kernel in result.launched],
            "contenders": [_contender(entry) for entry in result.comparison.entries]}


def _launched(kernel: Launched) -> dict[str, Any]:
    return {**asdict(kernel), "bandwidth_GB_s": kernel.bandwidth}


def _contender(entry: Entry) -> dict[str, Any]:
    fields = asdict(entry)
    fields["samples"] = [round(value, 4) for value in entry.samples]
    return fields


def write_json(path: Path, contents: dict[str, Any]) -> None:
    """Write a document, whole or not at all. Raises OSError, and ValueError for a number that JSON does not know."""
    text = json.dumps(contents, indent=1, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
