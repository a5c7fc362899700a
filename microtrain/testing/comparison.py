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


def described(part: int, number: int, trial: Tried, count: int) -> str:
    """What array `number` of a part is: "the gradient of input 1"."""
    if part == VALUE:
        return "the value" if count == 1 else f"value {number}"
    inputs = trial.differentiated
    if number < len(inputs):
        return f"the {ORDERS[part]} of input {inputs[number]}"
    return f"the {ORDERS[part]} of the cotangent of value {number - len(inputs)}"


Near = Callable[[], Sequence[Oracle]]
"""What the oracle says of neighbours: asked where an array differs, and allowed for."""


def compare(got: Run, oracle: Oracle, trial: Tried, tolerance: Tolerance, slack: float = 0.0,
            near: Near = tuple) -> list[Finding]:
    """Each array of a run against the oracle's.

    `tolerance` is that of the value; derivatives have a reduction's. `slack` is the relative error of the oracle's own
    second gradient, where it is an approximation.
    """
    if trial.order > VALUE and got.live != oracle.expected.live:
        return [other_live(GRADIENT, got, oracle)]
    return [finding for part in oracle.expected.parts
            for finding in compare_part(part, got, oracle, trial, tolerance, slack, near)]


def other_live(part: int, got: Run, oracle: Oracle) -> Finding:
    """What is said where other results require grad than the oracle's."""
    return unlike(part, f"of the results {list(got.live)} require grad, of the oracle's {list(oracle.expected.live)}")


def compare_part(part: int, got: Run, oracle: Oracle, trial: Tried, tolerance: Tolerance, slack: float = 0.0,
                 near: Near = tuple) -> list[Finding]:
    """Each array of a part; see `compare`."""
    count, wanted = len(got.parts.get(part, [])), len(oracle.expected.parts[part])
    if count != wanted:
        return [unlike(part, f"{count} results, the oracle has {wanted}")]
    kind = tolerance if part == VALUE else Tolerance.REDUCTION
    return [compare_array(part, number, got, oracle, trial, kind, slack, near) for number in range(count)]


def compare_array(part: int, number: int, got: Run, oracle: Oracle, trial: Tried, kind: Tolerance, slack: float,
                  near: Near) -> Finding:
    """One array; a gradient that is not there is a zero one."""
    what = described(part, number, trial, len(oracle.expected.parts[part]))
    found = [run.array(part, number) for run in (got, *oracle)]
    like = next((array for array in (found[1], found[0]) if array is not None), None)
    if like is None:
        return Finding(part, number, what)
    mine, expected, fine, rough = (np.zeros_like(like) if array is None else array for array in found)
    if mine.dtype != expected.dtype or mine.shape != expected.shape:
        return Finding(part, number, what, f"is {mine.dtype.name}{list(mine.shape)}, the oracle's "
                                           f"{expected.dtype.name}{list(expected.shape)}", None, np.inf, mine, expected)
    dtype = expected.dtype.name
    if kind is Tolerance.EXACT or dtype not in EPSILON:
        wrong = exact_difference(mine, expected, dtype)
        return Finding(part, number, what, None, wrong, np.inf if wrong else 0.0, mine, expected)
    truth = fine.astype(np.float64)
    second = part == SECOND and found[1] is not None and found[2] is not None

    def judged(error: np.ndarray) -> Finding:
        error = np.fmax(error * (EPSILON[dtype] / EPSILON[rough.dtype.name]), gap(expected, truth))
        allowed = allowance(truth, error, dtype, kind, trial.terms or max(1, trial.size // max(1, truth.size)))
        if second:
            allowed += slack * np.abs(truth) if slack else contraction(oracle.precise, trial, number, truth, dtype)
        return Finding(part, number, what, None, difference(mine, expected, truth, allowed, dtype),
                       worst(mine, expected, truth, kind, error), mine, expected)

    error = gap(rough, truth)
    finding = judged(error)
    if finding.wrong:
        for other in near():
            a, b = other.rough.array(part, number), other.precise.array(part, number)
            if a is not None and b is not None and a.shape == b.shape == error.shape:
                error = np.fmax(error, gap(a, b))
        finding = judged(error)
    return finding


def contraction(precise: Run, trial: Tried, number: int, result: np.ndarray, dtype: str) -> float:
    """What is allowed beyond the rest where terms cancel: in the second gradient of a cotangent.

    That is the Jacobian times random weights, whose terms are of the size of the gradient however small their sum.
    """
    if number < len(trial.differentiated):
        return 0.0
    sizes = [np.abs(array[np.isfinite(array)]).max(initial=0.0) for array in precise.parts[GRADIENT]
             if array is not None]
    return float(ULPS * EPSILON[dtype] * max(1.0, trial.size / max(1, result.size)) ** 0.5 * max(sizes, default=0.0))


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
        """What the function makes of a trial, on its device."""
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
        return compare(got, oracle, trial, self.tolerance, self.slack, near)

    def findings(self, trial: Trial) -> list[Finding]:
        """How every array of a trial compares; one finding for the part at which the function raises.

        Raises OracleError where the oracle raises.
        """
        return self.against(self.attempt(trial), trial)

    def failures(self, trial: Trial) -> list[Finding]:
        """The findings in which something is wrong; none where the oracle raises."""
        try:
            return [finding for finding in self.findings(trial) if finding.wrong]
        except OracleError:
            return []
