"""What a call costs at least, from ceilings that were measured, and what is asked of a figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from .comparison import Comparison, Entry

Format = Literal["float32", "tf32", "bfloat16"]
"""How a workload's numbers are kept and multiplied: float32 in IEEE products, float32 in TF32 products, bfloat16."""

Product = tuple[int, int, int]
"""(m, k, n) of an [m, k] @ [k, n]."""


class Ceilings(Protocol):
    """What the machine was seen to do at most. None where that could not be measured."""

    def bandwidth(self) -> float | None:
        """Bytes a microsecond, read plus written, of a large copy."""

    def product(self, format: Format, product: Product) -> float | None:
        """Microseconds of the vendor's matrix product of that shape."""

    def rate(self, format: Format) -> float | None:
        """Operations a microsecond of a large matrix product."""

    def launch(self) -> float | None:
        """Microseconds that the driver takes for a launch."""

    def document(self) -> dict[str, object]:
        """What was measured, for a report."""


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


@dataclass(frozen=True)
class Bound:
    """The least time of a call in microseconds, and what sets it: "bytes", "operations" or "launches"."""

    by: str
    time: float


def bound(limit: Limit, format: Format, ceilings: Ceilings) -> Bound | None:
    """The largest of a limit's times over the ceilings; None where no ceiling that it needs is known."""
    times = {"bytes": _over(limit.bytes, ceilings.bandwidth),
             "operations": _operations(limit, format, ceilings),
             "launches": _times(limit.launches, ceilings.launch)}
    known = [Bound(by, time) for by, time in times.items() if time]
    return max(known, key=lambda one: one.time, default=None)


def _over(amount: int, ceiling: Callable[[], float | None]) -> float | None:
    rate = ceiling() if amount else None
    return amount / rate if rate else None


def _times(amount: int, ceiling: Callable[[], float | None]) -> float | None:
    cost = ceiling() if amount else None
    return amount * cost if cost else None


def _operations(limit: Limit, format: Format, ceilings: Ceilings) -> float | None:
    times = [ceilings.product(format, product) for product in limit.products]
    times += [_over(limit.operations, lambda: ceilings.rate(format))] if limit.operations else []
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
        """As `Target`."""
        time = comparison.first.time
        found = None if time is None or least is None else least.time / time.median
        return _verdict(f">= {self.at_least:g} of the limit", found, lambda one: one >= self.at_least)


@dataclass(frozen=True)
class Speed:
    """The peer's time over microtrain's, at least."""

    peer: str
    at_least: float

    def judge(self, comparison: Comparison, least: Bound | None) -> Verdict:
        """As `Target`."""
        entry = _entry(comparison, self.peer)
        found = None if entry is None or entry.ratio is None else 1 / entry.ratio.median
        return _verdict(f">= {self.at_least:g} x {self.peer}", found, lambda one: one >= self.at_least)


@dataclass(frozen=True)
class Excess:
    """Microseconds that microtrain takes longer than the peer, at most."""

    peer: str
    at_most: float

    def judge(self, comparison: Comparison, least: Bound | None) -> Verdict:
        """As `Target`."""
        entry = _entry(comparison, self.peer)
        first = comparison.first.time
        found = None if entry is None or entry.time is None or first is None else first.median - entry.time.median
        return _verdict(f"<= {self.at_most:g} us over {self.peer}", found, lambda one: one <= self.at_most)


def _entry(comparison: Comparison, name: str) -> Entry | None:
    return next((entry for entry in comparison.entries if entry.name == name), None)


def _verdict(target: str, found: float | None, met: Callable[[float], bool]) -> Verdict:
    return Verdict(target, found, None if found is None else met(found))
