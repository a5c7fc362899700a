"""What a machine does at most, and the least time that this leaves a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Format = Literal["float32", "tf32", "bfloat16"]
"""How numbers are kept and multiplied: float32 in IEEE products, float32 in TF32 products, bfloat16."""

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


@dataclass(frozen=True)
class Bound:
    """The least time of a call in microseconds, and what sets it: "bytes" or "operations"."""

    by: str
    time: float


def bound(times: dict[str, float | None]) -> Bound | None:
    """The largest of some least times, by what sets them; None where none is known."""
    known = [Bound(by, time) for by, time in times.items() if time]
    return max(known, key=lambda one: one.time, default=None)


def over(amount: int, ceiling: float | None) -> float | None:
    """An amount over what is done of it a microsecond, where that is known."""
    return amount / ceiling if ceiling else None
