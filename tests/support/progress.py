"""The suite where there is a GPU for minutes only: what has finished is kept, and a broken GPU ends the process.

An illegal memory access ends the use of the GPU in its process: every later test would fail with it. So after each test
on `cuda` the GPU is waited for, and where that raises the process ends with status BROKEN, naming the test.

With MICROTRAIN_DONE=path each finished test appends one JSON object to that file, on a line of its own: `test`,
`outcome` (passed, failed, error, skipped, xfailed, xpassed, died), `seconds`, `error` (its first line and place, ""
where there is none) and `broken` (it ended the GPU's use). Tests that are in the file already are deselected, so the
same command, given again, goes on where it was cut off. A test that took the process with it is found in `path.running`
and counted as died. One process a file: give each MICROTRAIN_SHARD its own.

    until MICROTRAIN_DONE=out/0.jsonl python -m pytest; status=$?; test $status -lt 6; do :; done
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

BROKEN = 13
"""The status of a process that ended since its GPU could no longer be used. pytest's own are 0 to 6."""


class Progress:
    """Keeps what has finished in a file (None: nowhere), and waits for the GPU after each test.

    synchronize: raises where the GPU can no longer be used.
    """

    def __init__(self, path: Path | None, synchronize: Callable[[], object]) -> None:
        self.path, self.synchronize = path, synchronize
        self.broken = ""
        self.reports: list[Any] = []
        self.done: set[str] = set()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.running = path.with_name(path.name + ".running")
            self.done = read(path)
            last = self.running.read_text() if self.running.exists() else ""
            if last and last not in self.done:
                self.keep({"test": last, "outcome": "died", "seconds": None, "broken": False,
                           "error": "the process ended in this test"})

    def keep(self, entry: dict[str, Any]) -> None:
        """Append an entry, in one write: a process that is killed leaves whole lines."""
        assert self.path is not None
        self.done.add(entry["test"])
        with self.path.open("ab", buffering=0) as file:
            file.write((json.dumps(entry) + "\n").encode())
        self.running.write_text("")

    def left(self, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        """The tests that have not finished yet."""
        return [item for item in items if item.nodeid not in self.done]

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self.session = session

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.reports = []
        if self.path is not None:
            self.running.write_text(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.reports.append(report)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        entry = {"test": nodeid, **summary(self.reports)}
        try:
            self.synchronize()
        except Exception as error:
            entry |= {"broken": True, "outcome": "failed" if entry["outcome"] == "passed" else entry["outcome"],
                      "error": entry["error"] or first_line(str(error))}
        if self.path is not None:
            self.keep(entry)
        if entry["broken"]:
            self.broken = f"the GPU can no longer be used in this process after {nodeid}: {entry['error']}"
            self.session.shouldfail = self.broken

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.broken:
            session.exitstatus = BROKEN

    def pytest_collectreport(self, report: Any) -> None:
        """A file that cannot be imported, or is skipped whole, has finished too; it is tried again all the same."""
        if self.path is not None and report.outcome != "passed":
            self.keep({"test": report.nodeid, **summary([report]), "broken": False})


def read(path: Path) -> set[str]:
    """The tests of a file of finished ones; a last line that was cut off is none, and is ended so that the next is."""
    text = path.read_text() if path.exists() else ""
    if text and not text.endswith("\n"):
        with path.open("a") as file:
            file.write("\n")
    found = set()
    for line in text.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            found.add(json.loads(line)["test"])
    return found


def summary(reports: Sequence[Any]) -> dict[str, Any]:
    """What came of a test, from the reports of its set-up, its call and its end."""
    outcome, error = "passed", ""
    for report in reports:
        expected = hasattr(report, "wasxfail")
        if report.failed:
            outcome = "failed" if getattr(report, "when", "") == "call" else "error"
        elif report.skipped:
            outcome = "xfailed" if expected else "skipped"
        else:
            outcome = "xpassed" if expected else outcome
            continue
        error = said(report.longrepr)
        if report.failed:
            break
    return {"outcome": outcome, "seconds": round(sum(getattr(report, "duration", 0.0) for report in reports), 4),
            "error": error, "broken": False}


def said(longrepr: Any) -> str:
    """The first line of an error, or of a reason to skip, and where it was raised."""
    if isinstance(longrepr, tuple):
        return f"{first_line(longrepr[2])} ({longrepr[0]}:{longrepr[1]})"
    crash = getattr(longrepr, "reprcrash", None)
    if crash is not None:
        return f"{first_line(crash.message)} ({crash.path}:{crash.lineno})"
    lines = [line for line in str(longrepr).splitlines() if line.startswith("E ")] or [str(longrepr)]
    return first_line(lines[-1].removeprefix("E "))


def first_line(text: str) -> str:
    """The first line that has anything on it, cut to what fits a table."""
    return next((line.strip()[:300] for line in text.splitlines() if line.strip()), "")
