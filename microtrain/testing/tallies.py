"""Comparisons with an oracle, counted by operation, device, dtype and order of derivative."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

VALUE, GRADIENT, SECOND, ERRORS = range(4)
"""What a case compares: the result, its gradient, the gradient's gradient; or that wrong arguments raise."""

ORDERS = ("value", "gradient", "second gradient", "errors")


@dataclass
class Tally:
    """The cases of one operation on one device, in one dtype, of one order.

    Of those `tried`, each has `passed`, was `refused` on purpose, or failed; a failed one is described in `failures`.
    `worst_ulps` is the largest error met, in units in the last place: inf where something could not be compared (a
    NaN for a number, a wrong shape). `uncounted` cases, which the oracle cannot compute, are not among those tried.
    """

    operation: str
    device: str
    dtype: str
    order: int
    tried: int = 0
    passed: int = 0
    refused: int = 0
    worst_ulps: float = 0.0
    failures: list[str] = field(default_factory=list)
    uncounted: int = 0

    @property
    def failed(self) -> int:
        """The cases that neither passed nor were refused."""
        return self.tried - self.passed - self.refused

    def add(self, other: Tally) -> None:
        """Count the other's cases too."""
        self.tried += other.tried
        self.passed += other.passed
        self.refused += other.refused
        self.worst_ulps = max(self.worst_ulps, other.worst_ulps)
        self.failures += other.failures
        self.uncounted += other.uncounted

    @property
    def document(self) -> dict[str, Any]:
        """Its fields for JSON, which knows no infinity: that is the text "inf"."""
        ulps = float(f"{self.worst_ulps:.3g}") if math.isfinite(self.worst_ulps) else "inf"
        return asdict(self) | {"order": ORDERS[self.order], "worst_ulps": ulps}


def ulps_text(ulps: float) -> str:
    """Two figures: 0.51, 7.4, 310, 4e+05; `-` for none that can be told."""
    if not math.isfinite(ulps):
        return "-"
    return f"{ulps:.0f}" if 10 <= ulps < 1e4 or ulps == 0 else f"{ulps:.2g}"


def cases_text(tally: Tally) -> str:
    """`46/48`, or with some that were refused on purpose `46+2r/48`."""
    refused = f"+{tally.refused}r" if tally.refused else ""
    return f"{tally.passed}{refused}/{tally.tried}"


class Tallies:
    """Outcomes of comparisons. `about` says what was compared (versions, device), `absent` why names are not there."""

    def __init__(self, about: dict[str, str] | None = None, absent: dict[str, str] | None = None) -> None:
        self.about = dict(about or {})
        self.absent = dict(absent or {})
        self.tallies: dict[tuple[str, str, str, int], Tally] = {}

    def add(self, tally: Tally) -> None:
        """Count some cases; those with the same operation, device, dtype and order are counted together."""
        key = (tally.operation, tally.device, tally.dtype, tally.order)
        if key in self.tallies:
            self.tallies[key].add(tally)
        else:
            self.tallies[key] = replace(tally, failures=list(tally.failures))

    def merge(self, other: Tallies) -> None:
        """Count another report's cases too."""
        for tally in other.tallies.values():
            self.add(tally)
        self.absent |= other.absent

    @property
    def operations(self) -> list[str]:
        """The operations of which something was tried, in order of name."""
        return sorted({tally.operation for tally in self.tallies.values()})

    @property
    def columns(self) -> list[tuple[str, int]]:
        """Device and order of each column: those of which there is a case."""
        return sorted({(tally.device, tally.order) for tally in self.tallies.values() if tally.tried})

    def of(self, operation: str | None = None, device: str | None = None, order: int | None = None) -> list[Tally]:
        """The tallies with the given operation, device and order, sorted."""
        wanted = (operation, device, order)
        return [self.tallies[key] for key in sorted(self.tallies)
                if all(want in (None, has) for want, has in zip(wanted, (key[0], key[1], key[3]), strict=True))]

    def total(self, operation: str | None = None, device: str | None = None, order: int | None = None) -> Tally:
        """Their sum."""
        found = Tally(operation or "", device or "", "", order or VALUE)
        for tally in self.of(operation, device, order):
            found.add(tally)
        return found

    @property
    def failures(self) -> list[str]:
        """What failed, one line each, by operation."""
        return [f"{tally.operation} {ORDERS[tally.order]} {tally.dtype} {tally.device}: {failure}"
                for tally in self.of() for failure in tally.failures]
