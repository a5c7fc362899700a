"""What a machine does at most, and the least time that this leaves a call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Literal

Format = Literal["float32", "tf32", "bfloat16"]
"""How numbers are kept and multiplied: float32 in IEEE products, float32 in TF32 products, bfloat16."""

Product = tuple[int, int, int]
"""(m, k, n) of an [m, k] @ [k, n]."""


class Ceilings(ABC):
    """What the machine was seen to do at most, each measured when it is first asked for; None where that cannot be.

    `copied` are the bytes of the array that is copied, past any cache; `large` the product whose rate stands for all.
    """

    def __init__(self, copied: int, large: Product) -> None:
        self.copied, self.large = copied, large
        self.rates: dict[str, float] = {}
        self.products: dict[tuple[Format, Product], float | None] = {}

    @abstractmethod
    def _copies(self) -> dict[str, float]:
        """Bytes a microsecond, read plus written, by what was done to large arrays."""

    @abstractmethod
    def _product(self, format: Format, product: Product) -> float | None:
        """As `product`, measured."""

    def bandwidth(self) -> float | None:
        """Bytes a microsecond, read plus written, of a large copy."""
        self.rates = self.rates or self._copies()
        return max(self.rates.values())

    def product(self, format: Format, product: Product) -> float | None:
        """Microseconds of the vendor's matrix product of that shape."""
        if (format, product) not in self.products:
            self.products[format, product] = self._product(format, product)
        return self.products[format, product]

    def rate(self, format: Format) -> float | None:
        """Operations a microsecond of a large matrix product."""
        return over(2 * prod(self.large), self.product(format, self.large))


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
