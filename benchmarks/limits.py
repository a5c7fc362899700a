"""What a call of a workload costs at least, and what is asked of its figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from microtrain.bench.comparison import Comparison, Entry
from microtrain.bench.limits import Bound, Format, Product, bound, over

from .ceilings import SuiteCeilings


@dataclass(frozen=True)
class Limit:
    """What a call must do at least.

    Attributes:
        bytes: read and written, each value once.
        products: matrix products, held against the vendor's library at the same shapes.
        operations: of further matrix products, held against the best rate measured (2mkn for one of them).
        launches: kernels that one launch each would start.
        arithmetic: other operations, for the roofline alone: they bound nothing here.
    """

    bytes: int = 0
    products: tuple[Product, ...] = ()
    operations: int = 0
    launches: int = 0
    arithmetic: int = 0

    @property
    def work(self) -> int:
        """All operations, those of products included."""
        return self.operations + self.arithmetic + sum(2 * m * k * n for m, k, n in self.products)


def least(limit: Limit, format: Format, ceilings: SuiteCeilings) -> Bound | None:
    """The largest of a limit's times over the ceilings; None where no ceiling that it needs is known."""
    launch = ceilings.launch() if limit.launches else None
    return bound({"bytes": over(limit.bytes, ceilings.bandwidth()) if limit.bytes else None,
                  "operations": _operations(limit, format, ceilings),
                  "launches": limit.launches * launch if launch else None})


def _operations(limit: Limit, format: Format, ceilings: SuiteCeilings) -> float | None:
    times = [ceilings.product(format, product) for product in limit.products]
    times += [over(limit.operations, ceilings.rate(format))] if limit.operations else []
    known = [time for time in times if time is not None]
    return sum(known) if known and len(known) == len(times) else None


@dataclass(frozen=True)
class Verdict:
    """A target held against what was found; `met` is None where there was nothing to hold it against."""

    target: str
    found: float | None
    met: bool | None


class Target(Protocol):
    """What is asked of microtrain's figure."""

    def judge(self, comparison: Comparison, least: Bound | None) -> Verdict:
        """Hold the figures against the target."""


@dataclass(frozen=True)
class Share:
    """The limit's time over microtrain's, at least."""

    at_least: float

    def judge(self, comparison: Comparison, least: Bound | None) -> Verdict:
        time = comparison.first.time
        found = None if time is None or least is None else least.time / time.median
        return _verdict(f">= {self.at_least:g} of the limit", found, lambda one: one >= self.at_least)


@dataclass(frozen=True)
class Speed:
    """The peer's time over microtrain's, at least."""

    peer: str
    at_least: float

    def judge(self, comparison: Comparison, least: Bound | None) -> Verdict:
        entry = _entry(comparison, self.peer)
        found = None if entry is None or entry.ratio is None else 1 / entry.ratio.median
        return _verdict(f">= {self.at_least:g} x {self.peer}", found, lambda one: one >= self.at_least)


@dataclass(frozen=True)
class Excess:
    """Microseconds that microtrain takes longer than the peer, at most."""

    peer: str
    at_most: float

    def judge(self, comparison: Comparison, least: Bound | None) -> Verdict:
        entry = _entry(comparison, self.peer)
        first = comparison.first.time
        found = None if entry is None or entry.time is None or first is None else first.median - entry.time.median
        return _verdict(f"<= {self.at_most:g} us over {self.peer}", found, lambda one: one <= self.at_most)


def _entry(comparison: Comparison, name: str) -> Entry | None:
    return next((entry for entry in comparison.entries if entry.name == name), None)


def _verdict(target: str, found: float | None, met: Callable[[float], bool]) -> Verdict:
    return Verdict(target, found, None if found is None else met(found))
