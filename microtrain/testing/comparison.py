"""A trial compared with an oracle, part by part and array by array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..errors import AcceleratorError
from .closeness import EPSILON, ULPS, Difference, Tolerance, allowance, difference, exact_difference, gap, worst
from .report import GRADIENT, ORDERS, SECOND, VALUE
from .running import Run, Trial, Tried, attempt, on

NEIGHBOURS = 4
"""Where else the oracle's error is measured before an array counts as wrong; see `Tried.neighbour`."""


class OracleError(ValueError):
    """The oracle could not compute a trial: nothing can be said of what is tested."""


class Oracle(NamedTuple):
    """PyTorch's results in the dtype under test, in float64, and in the dtype in which its own error is measured."""

    expected: Run
    precise: Run
    rough: Run


def consult(function: Callable[..., Any], trial: Tried) -> Oracle:
    """Ask a function of PyTorch's."""
    dtypes = (trial.own, "float64", trial.coarse)
    runs = {dtype: attempt(on("torch"), function, trial, dtype) for dtype in dict.fromkeys(dtypes)}
    return Oracle(*(runs[dtype] for dtype in dtypes))


@dataclass(frozen=True)
class Finding:
    """How one array compares: which it is, what is wrong with it, if anything, and its largest error in ulps."""

    part: int
    number: int
    what: str
    problem: str | None = None
    difference: Difference | None = None
    ulps: float = 0.0
    got: np.ndarray | None = None
    expected: np.ndarray | None = None

    @property
    def wrong(self) -> bool:
        return self.problem is not None or self.difference is not None

    def __str__(self) -> str:
        return f"{self.what}: {self.problem or self.difference or 'as it should be'}"


def unlike(part: int, problem: str) -> Finding:
    """A part of which something is wrong as a whole."""
    return Finding(part, 0, f"the {ORDERS[part]}", problem, None, np.inf)


@dataclass(frozen=True)
class Comparison:
    """A run against the oracle's.

    `tolerance` is that of the value; derivatives have a reduction's. `slack` is the relative error of the oracle's own
    second gradient, where it is an approximation. `near` tells what the oracle says of neighbours: it is asked where an
    array differs, and what they differ by is allowed, too.
    """

    got: Run
    oracle: Oracle
    trial: Tried
    tolerance: Tolerance
    slack: float = 0.0
    near: Callable[[], Sequence[Oracle]] = tuple

    def findings(self) -> list[Finding]:
        if self.trial.order > VALUE and self.got.live != self.oracle.expected.live:
            return [self.other_live(GRADIENT)]
        return [finding for part in self.oracle.expected.parts for finding in self.part(part)]

    def other_live(self, part: int) -> Finding:
        """What is said where other results require grad than the oracle's."""
        return unlike(part, f"of the results {list(self.got.live)} require grad, of the oracle's "
                            f"{list(self.oracle.expected.live)}")

    def part(self, part: int) -> list[Finding]:
        count, wanted = len(self.got.parts.get(part, [])), len(self.oracle.expected.parts[part])
        if count != wanted:
            return [unlike(part, f"{count} results, the oracle has {wanted}")]
        return [self.array(part, number) for number in range(count)]

    def described(self, part: int, number: int) -> str:
        """What array `number` of a part is: "the gradient of input 1"."""
        if part == VALUE:
            return f"value {number}" if len(self.oracle.expected.parts[part]) > 1 else "the value"
        inputs = self.trial.differentiated
        return f"the {ORDERS[part]} of " + (f"input {inputs[number]}" if number < len(inputs) else
                                            f"the cotangent of value {number - len(inputs)}")

    def array(self, part: int, number: int) -> Finding:
        """How one array compares; a gradient that is not there is a zero one."""
        what = self.described(part, number)
        kind = self.tolerance if part == VALUE else Tolerance.REDUCTION
        found = [run.array(part, number) for run in (self.got, *self.oracle)]
        like = next((array for array in (found[1], found[0]) if array is not None), None)
        if like is None:
            return Finding(part, number, what)
        mine, expected, fine, rough = (np.zeros_like(like) if array is None else array for array in found)
        if mine.dtype != expected.dtype or mine.shape != expected.shape:
            problem = (f"is {mine.dtype.name}{list(mine.shape)}, the oracle's "
                       f"{expected.dtype.name}{list(expected.shape)}")
            return Finding(part, number, what, problem, None, np.inf, mine, expected)
        dtype = expected.dtype.name
        if kind is Tolerance.EXACT or dtype not in EPSILON:
            wrong = exact_difference(mine, expected, dtype)
            return Finding(part, number, what, None, wrong, np.inf if wrong else 0.0, mine, expected)
        truth = fine.astype(np.float64)
        second = part == SECOND and found[1] is not None and found[2] is not None

        def judged(error: np.ndarray) -> Finding:
            error = np.fmax(error * (EPSILON[dtype] / EPSILON[rough.dtype.name]), gap(expected, truth))
            terms = self.trial.terms or max(1, self.trial.size // max(1, truth.size))
            allowed = allowance(truth, error, dtype, kind, terms)
            if second:
                allowed += self.slack * np.abs(truth) if self.slack else self.contraction(number, truth, dtype)
            return Finding(part, number, what, None, difference(mine, expected, truth, allowed, dtype),
                           worst(mine, expected, truth, kind, error), mine, expected)

        error = gap(rough, truth)
        finding = judged(error)
        if finding.wrong:
            for other in self.near():
                a, b = other.rough.array(part, number), other.precise.array(part, number)
                if a is not None and b is not None and a.shape == b.shape == error.shape:
                    error = np.fmax(error, gap(a, b))
            finding = judged(error)
        return finding

    def contraction(self, number: int, result: np.ndarray, dtype: str) -> float:
        """What is allowed beyond the rest where terms cancel: they are of the size of the gradient however small their
        sum. In the second gradient of a cotangent, the Jacobian times random weights, as much as the dtype rounds; in
        that of an input what the oracle in float64 rounds itself, which may give 1e-18 for 0."""
        size = max((np.abs(array[np.isfinite(array)]).max(initial=0.0)
                    for array in self.oracle.precise.parts[GRADIENT] if array is not None), default=0.0)
        epsilon = EPSILON["float64" if number < len(self.trial.differentiated) else dtype]
        return float(ULPS * epsilon * max(1.0, self.trial.size / max(1, result.size)) ** 0.5 * size)


@dataclass(frozen=True)
class Subject:
    """What is tested, on which device, and the function of PyTorch's that it is compared with."""

    name: str
    fn: Callable[..., Any]
    oracle: Callable[..., Any]
    device: str
    tolerance: Tolerance = Tolerance.REDUCTION
    slack: float = 0.0

    def attempt(self, trial: Trial) -> Run:
        return attempt(on(self.device), self.fn, trial)

    def against(self, got: Run, trial: Trial) -> list[Finding]:
        """How every array of a run compares with the oracle's. Raises OracleError where the oracle raises."""
        oracle = consult(self.oracle, trial)
        error = next((run.error for run in oracle if run.error), None)
        if error is not None:
            raise OracleError(f"the oracle itself raised {type(error).__name__} for shapes {trial.sample.shapes}, "
                              f"{trial.dtype}: {error}") from error
        if isinstance(got.error, AcceleratorError):
            raise got.error
        if got.error is not None:
            part = next((order for order in range(trial.order) if self.attempt(replace(trial, order=order)).error),
                        trial.order)
            return [unlike(part, f"raised {type(got.error).__name__}: {got.error}")]
        near = cache(lambda: [consult(self.oracle, trial.neighbour(number)) for number in range(NEIGHBOURS)])
        return Comparison(got, oracle, trial, self.tolerance, self.slack, near).findings()

    def findings(self, trial: Trial) -> list[Finding]:
        """How every array of a trial compares; one finding for the part at which the function raises.

        Raises OracleError where the oracle raises.
        """
        return self.against(self.attempt(trial), trial)

    def failures(self, trial: Trial) -> list[Finding]:
        try:
            return [finding for finding in self.findings(trial) if finding.wrong]
        except OracleError:
            return []
