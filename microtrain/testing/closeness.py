"""How near a result must lie to the truth, and by how many units in the last place it misses.

The truth is the oracle's result in float64. The oracle's own error in the dtype under test says how ill-conditioned a
result is: what is tested may err by a small multiple of it, and by a few units in the last place. So a tolerance is
measured, not chosen; where the oracle is exact only the units are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Distance from 1 to the next number of each dtype."""

NORMAL = {"float64": 2.0**-1022, "float32": 2.0**-126, "float16": 2.0**-14, "bfloat16": 2.0**-126}
"""The smallest normal number of each dtype."""

TINY = {name: NORMAL[name] * EPSILON[name] for name in EPSILON}
"""The smallest positive (subnormal) number of each dtype."""

ACCUMULATOR = {"float16": "float32", "bfloat16": "float32"}
"""Where a sum of half precisions is accumulated: rounding errors of its terms do not add up in the dtype itself."""

ERROR_FACTOR = 4.0
"""Times the oracle's own error: two right ways of computing the same thing differ by about as much."""

ULPS = 4.0
"""A library function may be off by a few units in the last place, in the oracle and here."""


class Tolerance(Enum):
    """How far from the truth a value may lie."""

    EXACT = "bit for bit, the sign of zero included"
    ELEMENTWISE = "a few units in the last place of each element"
    REDUCTION = "a few units in the last place times the root of the number of terms, on the scale of the whole result"


def spacing(values: np.ndarray, dtype: str) -> np.ndarray:
    """The distance (float64) from each finite value to the next larger magnitude in `dtype`: one ulp there."""
    _, exponent = np.frexp(np.maximum(np.abs(values), NORMAL[dtype]))
    return np.maximum(np.ldexp(EPSILON[dtype], exponent - 1), TINY[dtype])


def ulps(got: np.ndarray, truth: np.ndarray, dtype: str) -> np.ndarray:
    """|got - truth| in units in the last place of `dtype`: 0 where both are NaN or the same infinity, inf where only
    one of them is finite."""
    got, truth = np.asarray(got, np.float64), np.asarray(truth, np.float64)
    same = alike(got, truth)
    finite = np.isfinite(got) & np.isfinite(truth)
    with np.errstate(invalid="ignore", over="ignore"):
        units = np.abs(got - truth) / spacing(np.where(finite, truth, 1.0), dtype)
    return np.where(same, 0.0, np.where(finite, units, np.inf))


def gap(rough: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """The error of a result, element by element; none where it is infinite or NaN."""
    with np.errstate(invalid="ignore"):
        error = np.abs(rough.astype(np.float64) - fine.astype(np.float64))
    return np.where(np.isfinite(error), error, 0.0)


def allowance(truth: np.ndarray, error: np.ndarray, dtype: str, kind: Tolerance, terms: int = 1) -> np.ndarray:
    """How far from `truth` each element of a result in `dtype` may lie, float64 of its shape.

    `truth` is the oracle's result in float64 and `error` its own error in `dtype`, measured there or scaled;
    `terms` is how many lie behind an element. What a REDUCTION is allowed is on the scale of the largest element.
    """
    size = np.abs(np.where(np.isfinite(truth), truth, 0.0))
    if kind is Tolerance.REDUCTION and size.size:
        sums = EPSILON[ACCUMULATOR.get(dtype, dtype)] / EPSILON[dtype]
        error, size = np.full_like(error, error.max()), sums * max(1, terms) ** 0.5 * size + size.max()
    return np.asarray(ERROR_FACTOR * error + ULPS * EPSILON[dtype] * size + ULPS * TINY[dtype])


@dataclass(frozen=True)
class Difference:
    """Where a result first misses: the index, the three values, what was allowed, and how many elements miss."""

    index: tuple[int, ...]
    got: float
    expected: float
    truth: float
    allowed: float
    ulps: float
    count: int
    size: int

    def __str__(self) -> str:
        far = f"{self.ulps:.3g} ulps" if np.isfinite(self.ulps) else "not comparable"
        margin = f", float64 {self.truth!r} +- {self.allowed:.3g}" if self.allowed else ""
        return (f"at {list(self.index)}: {self.got!r}, expected {self.expected!r}{margin} ({far}; "
                f"{self.count} of {self.size} elements differ)")


def differing(good: np.ndarray, got: np.ndarray, expected: np.ndarray, truth: np.ndarray, allowed: np.ndarray,
              dtype: str) -> Difference | None:
    """The first element that is not good; None where all are."""
    if good.all():
        return None
    at = tuple(int(i) for i in np.argwhere(~good)[0])
    units = ulps(got[at], truth[at], dtype) if dtype in EPSILON else abs(float(got[at]) - float(truth[at]))
    return Difference(at, got[at].item(), expected[at].item(), truth[at].item(), float(allowed[at]), float(units),
                      int(np.sum(~good)), good.size)


def difference(got: np.ndarray, expected: np.ndarray, truth: np.ndarray, allowed: np.ndarray,
               dtype: str) -> Difference | None:
    """Where `got` is farther from the truth than `allowed`, or is not the NaN or infinity that it is."""
    mine, theirs = got.astype(np.float64), expected.astype(np.float64)
    right = yardstick(mine, theirs, truth)
    with np.errstate(invalid="ignore"):
        good = np.where(np.isfinite(right), np.abs(mine - right) <= allowed, alike(mine, right))
    return differing(good, mine, theirs, truth, allowed, dtype)


def yardstick(got: np.ndarray, expected: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """What `got` is held against, float64: the truth, or an overflow on the way to it that the oracle had as well.

    Where the truth itself is not finite the oracle does not count: what its vector code makes of infinities differs
    between processors.
    """
    overflowed = np.isfinite(truth) & ~np.isfinite(expected.astype(np.float64)) & alike(got, expected)
    return np.where(overflowed, expected.astype(np.float64), truth)


def worst(got: np.ndarray, expected: np.ndarray, truth: np.ndarray, kind: Tolerance, error: np.ndarray) -> float:
    """The largest error in ulps of the element, or for a reduction of its largest term.

    That is the largest element, unless the oracle's own `error` says that larger terms cancelled.
    """
    dtype, truth = got.dtype.name, yardstick(got, expected, truth)
    units = ulps(got, truth, dtype)
    if kind is Tolerance.REDUCTION and units.size:
        term = max(np.abs(np.where(np.isfinite(truth), truth, 0.0)).max(), error.max() / EPSILON[dtype])
        units = np.where(np.isfinite(units), gap(got, truth) / spacing(term, dtype), units)
    return float(units.max(initial=0.0))


def alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two arrays are equal, any NaN being equal to any other."""
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))


def exact_difference(got: np.ndarray, expected: np.ndarray, dtype: str) -> Difference | None:
    """Where `got` is not `expected` bit for bit (any NaN equals any other)."""
    good = alike(got, expected)
    if expected.dtype.kind == "f":
        good = good & ((np.signbit(got) == np.signbit(expected)) | (expected != expected))
    return differing(np.asarray(good), got, expected, expected, np.zeros(expected.shape), dtype)
