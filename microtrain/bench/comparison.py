"""Functions that do the same thing, checked and then timed in turn."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..compiler.realize import realize
from ..tensor import Tensor
from .text import columns, microseconds
from .timing import Quantiles, calibrate, sample

ROUNDS = 21
SECONDS = 0.02
"""Of one sample: long against the clock's resolution and a GPU's synchronisation, short against a machine's moods."""


REASON_WIDTH = 100
"""Characters of a failure's reason in a table."""


class WrongResult(AssertionError):
    """A function computed something else than it should; its time means nothing."""


@dataclass(frozen=True)
class Contender:
    """One of the functions.

    `check()` raises WrongResult, or returns the share of the allowed error that was used (None where that is unknown);
    `call()` is timed, and so is `finish()`, once after the last call of a sample.
    """

    call: Callable[[], Any]
    check: Callable[[], float | None]
    finish: Callable[[], Any]


@dataclass(frozen=True)
class Failure:
    """Why there is no figure. Its text is short enough for a table; `reason` is whole."""

    kind: Literal["wrong", "cannot run", "not timed"]
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {textwrap.shorten(self.reason, REASON_WIDTH, placeholder=' ...')}"


@dataclass(frozen=True)
class Entry:
    """What was found out about one function: a failure, or its figures.

    Attributes:
        calls: calls a sample.
        samples: microseconds a call, one number a round.
        time: their quartiles.
        ratio: the first function's time over this one's, taken round by round; below 1 where the first is faster.
        tolerance_used: the largest error found over the error allowed.
    """

    name: str
    failure: Failure | None = None
    calls: int = 0
    samples: tuple[float, ...] = ()
    time: Quantiles | None = None
    ratio: Quantiles | None = None
    tolerance_used: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The entries in the order given; the others are compared with the first. `print` it for a table."""

    entries: tuple[Entry, ...]

    @property
    def first(self) -> Entry:
        """The one that the others are compared with."""
        return self.entries[0]

    @property
    def others(self) -> tuple[Entry, ...]:
        """All but the first."""
        return self.entries[1:]

    def __getitem__(self, name: str) -> Entry:
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(f"no function named '{name}'; there are {', '.join(e.name for e in self.entries)}")

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = []
        for entry in self.entries:
            if entry.time is None or entry.ratio is None:
                rows.append((entry.name, str(entry.failure)))
            else:
                spread = f"{microseconds(entry.time.lower)} to {microseconds(entry.time.upper)}"
                rows.append((entry.name, microseconds(entry.time.median), spread, f"{entry.ratio.median:.2f}"))
        return columns(("function", "us a call", "quartiles", f"{self.first.name} / it"), rows)


def compare(
    functions: Mapping[str, Callable[[], Any]],
    check: Callable[[Any], object],
    *,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
) -> Comparison:
    """Time functions that compute the same thing, once each has shown that it does.

    >>> x = mt.rand(1024, 1024)
    >>> right = np.tanh(x.numpy().astype(np.float64))
    >>> print(compare({"ours": lambda: my_tanh(x), "microtrain": lambda: x.tanh()},
    ...               check=lambda out: np.testing.assert_allclose(out.numpy(), right, atol=1e-6)))

    Every function is called and checked before it is timed. They are timed in turn, `rounds` times, in a rotating
    order, so that a machine that slows down slows all of them; ratios are taken within a round. A microtrain tensor
    that a function returns is computed within its time. Where PyTorch has started CUDA, the GPU is waited for.

    Args:
        functions: name to function of no arguments. The others are compared with the first.
        check: takes a function's result; raises AssertionError, or returns what is false, where it is wrong.
        rounds: samples of each function.
        seconds: that a sample takes at least, unless one call takes longer.

    Returns:
        A Comparison. Where a check failed or a function raised, its entry holds the failure and no figure; where the
        first one's did, nothing is timed.

    Raises:
        ValueError: no functions, or `rounds` or `seconds` not above 0.
        TypeError: `check` cannot be called.
    """
    if not callable(check):
        raise TypeError(f"compare(): check must be a function of a result, got {type(check).__name__}")
    return measure({name: _contender(function, check) for name, function in functions.items()}, rounds, seconds)


def _contender(function: Callable[[], Any], check: Callable[[Any], object]) -> Callable[[], Contender]:
    def call() -> Any:
        return computed(function())

    def judged() -> None:
        result = call()
        try:
            verdict = check(result)
            if verdict is not None and not verdict:
                raise WrongResult(f"its check returned {verdict}")
        except AssertionError as error:
            raise WrongResult(str(error)) from error

    return lambda: Contender(call, judged, synchronize)


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
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def measure(makers: Mapping[str, Callable[[], Contender]], rounds: int, seconds: float) -> Comparison:
    """Build and check contenders, then time those that are right. A failure of one leaves the others their figures,
    but without the first nothing is timed. Raises ValueError as `compare`."""
    if not makers:
        raise ValueError("compare(): there are no functions to compare")
    if rounds < 1 or not seconds > 0:
        raise ValueError(f"compare(): rounds should be at least 1 and seconds above 0, got {rounds} and {seconds}")
    runners: dict[str, _Runner | Failure] = {}
    first = next(iter(makers))
    for name, make in makers.items():
        if isinstance(runners.get(first), Failure):
            break
        try:
            runners[name] = _Runner(make(), seconds)
        except Exception as error:
            runners[name] = _failure(error)
    for turn in range(rounds):
        names = list(runners)
        for name in names[turn % len(names):] + names[: turn % len(names)]:
            runner = runners[name]
            if isinstance(runner, _Runner) and not isinstance(runners[first], Failure):
                try:
                    runner.sample()
                except Exception as error:
                    runners[name] = _failure(error)
    return Comparison(tuple(_entry(name, runners.get(name), runners[first]) for name in makers))


class _Runner:
    """A contender that passed its check, with its samples."""

    def __init__(self, contender: Contender, seconds: float) -> None:
        self.contender = contender
        self.tolerance_used = contender.check()
        self.calls = calibrate(contender.call, contender.finish, seconds)
        self.samples: list[float] = []

    def sample(self) -> None:
        self.samples.append(sample(self.contender.call, self.contender.finish, self.calls))


def _failure(error: Exception) -> Failure:
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
    return Entry(name, None, runner.calls, tuple(runner.samples), Quantiles.of(runner.samples), Quantiles.of(ratios),
                 runner.tolerance_used)
