"""Building, checking and timing contenders in turn."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..engine.run import realize
from ..tensor import Tensor
from .ceilings import gpu_started
from .comparison import Comparison, Entry, Failure, WrongResult
from .timing import Clock, Contender, Quantiles

FURTHER_SAMPLES = 5
"""On each clock after the first."""


def computed(result: Any) -> Any:
    """The result, with every microtrain tensor in it computed: otherwise a dropped one never would be."""
    if isinstance(result, Tensor):
        realize(result.node)
    elif isinstance(result, tuple | list):
        for part in result:
            computed(part)
    return result


def synchronize() -> None:
    """Wait for the GPU, where PyTorch has started it."""
    if gpu_started():
        sys.modules["torch"].cuda.synchronize()


def measure(makers: Mapping[str, Callable[[], Contender]], clocks: Sequence[Clock], rounds: int) -> Comparison:
    """Build and check contenders, then time those that are right.

    A contender's figure is that of the first clock that can time it (a GPU's graphs cannot hold everything), taken
    `rounds` times in turn with the others; the clocks after that give further figures. A failure of one contender
    leaves the others theirs, but without the first nothing is timed.
    """
    runners: dict[str, _Runner | Failure] = {}
    first = next(iter(makers))
    for name, make in makers.items():
        if isinstance(runners.get(first), Failure):
            break
        runners[name] = _attempt(partial(_Runner, make, clocks))
    names = deque(runners)
    for _ in range(rounds):
        for name in names:
            runner = runners[name]
            if isinstance(runner, _Runner) and not isinstance(runners[first], Failure):
                runners[name] = _attempt(runner.sample) or runner
        names.rotate(-1)
    for runner in runners.values():
        if isinstance(runner, _Runner) and not isinstance(runners[first], Failure):
            runner.go_on()
    return Comparison(tuple(_entry(name, runners.get(name), runners[first]) for name in makers))


class _Runner:
    """A contender that passed its check, with its samples."""

    def __init__(self, make: Callable[[], Contender], clocks: Sequence[Clock]) -> None:
        self.contender = make()
        self.tolerance_used = self.contender.check()
        self.samples: list[float] = []
        self.otherwise: dict[str, Quantiles] = {}
        self.declined: dict[str, str] = {}
        for number, clock in enumerate(clocks, 1):
            try:
                self.sampler = clock.sampler(self.contender)
            except Exception as error:
                if number == len(clocks):
                    raise
                self.declined[clock.name] = failure(error).reason
                continue
            self.clock, self.further = clock.name, clocks[number:]
            break

    def sample(self) -> None:
        self.samples.append(self.sampler.take())

    def go_on(self) -> None:
        for clock in self.further:
            try:
                take = clock.sampler(self.contender).take
                self.otherwise[clock.name] = Quantiles.of([take() for _ in range(FURTHER_SAMPLES)])
            except Exception as error:
                self.declined[clock.name] = failure(error).reason


def _attempt(action: Callable[[], Any]) -> Any:
    """What an action returns, or the Failure that it ended in."""
    try:
        return action()
    except Exception as error:
        return failure(error)


def failure(error: Exception) -> Failure:
    """An exception as the reason why there is no figure."""
    text = " ".join(str(error).split())
    if isinstance(error, WrongResult):
        return Failure("wrong", text)
    return Failure("cannot run", f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _entry(name: str, runner: _Runner | Failure | None, first: _Runner | Failure) -> Entry:
    if isinstance(runner, Failure):
        return Entry(name, runner)
    if runner is None or isinstance(first, Failure):
        return Entry(name, Failure("not timed", "what it would be compared with has no figure"))
    ratios = [a / b for a, b in zip(first.samples, runner.samples, strict=True)]
    return Entry(name, None, runner.clock, runner.sampler.calls, tuple(runner.samples), Quantiles.of(runner.samples),
                 Quantiles.of(ratios), runner.tolerance_used, runner.otherwise, runner.declined)
