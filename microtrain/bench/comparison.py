"""What is found out about functions that do the same thing: figures, or why there are none."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .limits import Bound
from .text import columns, microseconds
from .timing import Quantiles

REASON_WIDTH = 100
"""Characters of a failure's reason in a table."""


class WrongResult(AssertionError):
    """A function computed something else than it should; its time means nothing."""


@dataclass(frozen=True)
class Failure:
    """Why there is no figure. Its text is short enough for a table; `reason` is whole."""

    kind: Literal["wrong", "cannot run", "not timed", "dropped"]
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {textwrap.shorten(self.reason, REASON_WIDTH, placeholder=' ...')}"


@dataclass(frozen=True)
class Entry:
    """What was found out about one function: a failure, or its figures.

    `clock` timed so many `calls` a sample; `samples` are microseconds a call, one a round, `time` their quartiles.
    `ratio` is the first function's time over this one's, round by round: below 1 where the first is faster. Further
    clocks have their quartiles in `otherwise`, and in `declined` why they could not time it, by name.
    """

    name: str
    failure: Failure | None = None
    clock: str = ""
    calls: int = 0
    samples: tuple[float, ...] = ()
    time: Quantiles | None = None
    ratio: Quantiles | None = None
    tolerance_used: float | None = None
    otherwise: Mapping[str, Quantiles] = field(default_factory=dict)
    declined: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """The entries in the order given; the others are compared with the first. `print` it for a table.

    `least` is the least time of a call, where that was asked for and the machine's ceilings are known.
    """

    entries: tuple[Entry, ...]
    least: Bound | None = None

    @property
    def first(self) -> Entry:
        return self.entries[0]

    @property
    def others(self) -> tuple[Entry, ...]:
        return self.entries[1:]

    def share(self, name: str) -> float | None:
        """The limit's time over a function's: 1 is as fast as can be. None where there is no limit or no figure."""
        time = self[name].time
        return None if self.least is None or time is None else self.least.time / time.median

    def __getitem__(self, name: str) -> Entry:
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(f"no function named '{name}'; there are {', '.join(e.name for e in self.entries)}")

    def __str__(self) -> str:
        further = list(dict.fromkeys(clock for entry in self.entries for clock in entry.otherwise))
        heads = ["function", "us a call", "quartiles", f"{self.first.name} / it", *further]
        heads += ["of the limit"] if self.least else []
        rows: list[list[str]] = []
        for entry in self.entries:
            if entry.time is None or entry.ratio is None:
                rows.append([entry.name, str(entry.failure)])
                continue
            spread = f"{microseconds(entry.time.lower)} to {microseconds(entry.time.upper)}"
            rows.append([entry.name, microseconds(entry.time.median), spread, f"{entry.ratio.median:.2f}"])
            rows[-1] += [microseconds(entry.otherwise[clock].median) if clock in entry.otherwise else "-"
                         for clock in further]
            share = self.share(entry.name)
            rows[-1] += [f"{share:.0%}"] if share is not None else []
        return columns(heads, rows)
