"""The clock: microseconds a call over many samples, and their quartiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_CALLS = 1 << 20
"""Calls a sample at most, however short a call is."""


@dataclass(frozen=True)
class Quantiles:
    """Quartiles of a set of samples, in their unit."""

    lower: float
    median: float
    upper: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Quantiles:
        """Of at least one sample, by linear interpolation. Raises ValueError for none."""
        if not samples:
            raise ValueError("quantiles of no samples")
        lower, median, upper = np.quantile(samples, (0.25, 0.5, 0.75)).tolist()
        return cls(lower, median, upper)


def sample(call: Callable[[], Any], finish: Callable[[], Any], calls: int) -> float:
    """Microseconds a call: `calls` of them, then `finish`, which waits for what they queued.

    A call's result is held until the next call returns, as a training loop holds its loss: what nobody holds, a lazy
    package need not compute.
    """
    start = time.perf_counter_ns()
    for _ in range(calls):
        held = call()
    finish()
    elapsed = time.perf_counter_ns() - start
    del held
    return elapsed / calls / 1e3


def calibrate(call: Callable[[], Any], finish: Callable[[], Any], seconds: float) -> int:
    """How many calls fill `seconds`, found by doubling, which is the warm-up as well."""
    calls = 1
    while calls < MAX_CALLS:
        took = sample(call, finish, calls) * calls / 1e6
        if took >= seconds:
            break
        # Half-way measurements are too short to be trusted: at most four times as many calls at once.
        calls *= min(4, max(2, round(seconds / max(took, 1e-9))))
    return min(calls, MAX_CALLS)
