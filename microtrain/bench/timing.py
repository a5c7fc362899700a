"""Clocks that run on the host: microseconds a call over many samples, and their quartiles."""

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


@dataclass(frozen=True)
class Contender:
    """One of the functions that are timed.

    `check()` raises WrongResult, or returns the share of the allowed error that was used (None where that is unknown);
    `call()` is timed, and so is `finish()`, once after the last call of a sample. A call takes `steps` of what a figure
    is of. `on_stream`: what it queues on a GPU goes to PyTorch's current stream.
    """

    call: Callable[[], Any]
    check: Callable[[], float | None]
    finish: Callable[[], Any]
    steps: int = 1
    on_stream: bool = True


@dataclass(frozen=True)
class Sampler:
    """A contender on a clock: `take()` gives microseconds a call, over `calls` calls."""

    calls: int
    take: Callable[[], float]


@dataclass(frozen=True)
class Clock:
    """A way to time contenders, by the name that a report gives it.

    `sampler` warms a contender up and finds how many of its calls make a sample; it raises what the contender raises.
    """

    name: str
    sampler: Callable[[Contender], Sampler]


def loop_clock(seconds: float, processor: bool = False) -> Clock:
    """A loop on the host, from its first call until all that it queued is done: what a user of a loop waits for.

    `seconds`: of a sample, at least, unless one call takes longer. `processor`: of this process's time on processors,
    all threads together, which other processes do not add to.
    """
    def sampler(contender: Contender) -> Sampler:
        calls = calibrate(contender.call, contender.finish, seconds, processor)
        return Sampler(calls * contender.steps,
                       lambda: sample(contender.call, contender.finish, calls, processor) / contender.steps)
    return Clock("loop, processor time" if processor else "loop", sampler)


def sample(call: Callable[[], Any], finish: Callable[[], Any], calls: int, processor: bool = False) -> float:
    """Microseconds a call: `calls` of them, then `finish`, which waits for what they queued.

    A call's result is held until the next call returns, as a training loop holds its loss: what nobody holds, a lazy
    package need not compute.
    """
    now = time.process_time_ns if processor else time.perf_counter_ns
    start = now()
    for _ in range(calls):
        held = call()
    finish()
    elapsed = now() - start
    del held
    return elapsed / calls / 1e3


def calibrate(call: Callable[[], Any], finish: Callable[[], Any], seconds: float, processor: bool = False) -> int:
    """How many calls fill `seconds`, found by doubling, which is the warm-up as well."""
    calls = 1
    while calls < MAX_CALLS:
        took = sample(call, finish, calls, processor) * calls / 1e6
        if took >= seconds:
            break
        # Half-way measurements are too short to be trusted: at most four times as many calls at once.
        calls *= min(4, max(2, round(seconds / max(took, 1e-9))))
    return min(calls, MAX_CALLS)
