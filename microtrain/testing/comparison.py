"""A trial compared with an oracle, part by part and array by array."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..errors import AcceleratorError
from .closeness import (
    EPSILON,
    ULPS,
    Difference,
    Tolerance,
    allowance,
    difference,
    exact_difference,
    gap,
    ulps,
    yardstick,
)
from .derivatives import Library, Run, Trial, on, run
from .tallies import GRADIENT, ORDERS, SECOND, VALUE


class OracleError(ValueError):
    """The oracle could not compute a trial: nothing can be said of what is tested."""


class Oracle(NamedTuple):
    """PyTorch's results in the dtype under test, in float64, and in the dtype in which its own error is measured."""

    expected: Run
    precise: Run
    rough: Run


def consult(function: Callable[..., Any], trial: Trial) -> Oracle:
    """Ask a function of PyTorch's. Raises OracleError where it raises."""
    import torch
    library = Library(torch)
    try:
        precise = run(library, function, trial, "float64")
        expected = precise if trial.dtype == "float64" else run(library, function, trial)
        rough = expected if trial.coarse == trial.dtype else run(library, function, trial, trial.coarse)
    except Exception as error:
        raise OracleError(f"the oracle itself raised {type(error).__name__} for shapes {trial.sample.shapes}, "
                          f"{trial.dtype}: {error}") from error
    return Oracle(expected, precise, rough)


NEIGHBOURS = 4
"""Where else the oracle's error is measured before an array counts as wrong; see `nearby`."""

Errors = dict[tuple[int, int], np.ndarray]
"""The oracle's largest errors by part and number of the array."""


def nearby(function: Callable[..., Any], trial: Trial) -> Errors:
    """The oracle's own errors at inputs up to a percent smaller.

    On few elements, or where terms cancel to zero, it may be right by luck, on one processor and not on another.
    """
    errors: Errors = {}
    for number in range(NEIGHBOURS):
        rng = np.random.default_rng(number)
        arrays = [array * (1 - 0.01 * rng.random(array.shape)) if array.dtype.kind == "f" else array
                  for array in trial.sample.arrays]
        try:
            _, precise, rough = consult(function, trial.with_sample(replace(trial.sample, arrays=tuple(arrays))))
        except OracleError:
            continue
        for part, found in precise.parts.items():
            for i, (fine, coarse) in enumerate(zip(found, rough.parts[part], strict=True)):
                if fine is not None and coarse is not None and fine.dtype.kind == "f":
                    error = gap(coarse, fine)
                    errors[part, i] = np.fmax(errors.get((part, i), error), error)
    return errors


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


def described(part: int, number: int, trial: Trial, count: int) -> str:
    """What array `number` of a part is: "the gradient of input 1"."""
    if part == VALUE:
        return "the value" if count == 1 else f"value {number}"
    inputs = trial.sample.differentiated
    if number < len(inputs):
        return f"the {ORDERS[part]} of input {inputs[number]}"
    return f"the {ORDERS[part]} of the cotangent of value {number - len(inputs)}"


def compare(got: Run, oracle: Oracle, trial: Trial, tolerance: Tolerance, slack: float = 0.0,
            errors: Errors | None = None) -> Iterator[Finding]:
    """Each array of a run against the oracle's.

    `tolerance` is that of the value; derivatives have a reduction's. `slack` is the relative error of the oracle's own
    second gradient, where it is an approximation. `errors` are its errors nearby.
    """
    expected, precise, rough = oracle
    if trial.order > VALUE and got.live != expected.live:
        yield Finding(GRADIENT, 0, "the gradient", f"of the results {list(got.live)} require grad, of the oracle's "
                                                   f"{list(expected.live)}", None, np.inf)
        return
    for part, theirs in expected.parts.items():
        mine = got.parts.get(part, [])
        if len(mine) != len(theirs):
            yield Finding(part, 0, f"the {ORDERS[part]}", f"{len(mine)} results, the oracle has {len(theirs)}", None,
                          np.inf)
            continue
        kind = tolerance if part == VALUE else Tolerance.REDUCTION
        pairs = zip(mine, theirs, precise.parts[part], rough.parts[part], strict=True)
        for number, (a, b, fine, coarse) in enumerate(pairs):
            what, extra = described(part, number, trial, len(theirs)), 0.0
            if part == SECOND and fine is not None and b is not None and b.dtype.name in EPSILON:
                extra = slack * np.abs(fine) if slack else contraction(precise, trial, number, fine, b.dtype.name)
            error = (errors or {}).get((part, number))
            yield judged(part, number, what, a, b, fine, coarse, trial, kind, extra, error)


def contraction(precise: Run, trial: Trial, number: int, result: np.ndarray, dtype: str) -> float:
    """What is allowed beyond the rest where terms cancel: in the second gradient of a cotangent.

    That is the Jacobian times random weights, whose terms are of the size of the gradient however small their sum.
    """
    if number < len(trial.sample.differentiated):
        return 0.0
    sizes = [np.abs(array[np.isfinite(array)]).max(initial=0.0) for array in precise.parts[GRADIENT]
             if array is not None]
    count = sum(array.size for array in trial.sample.arrays) / max(1, result.size)
    return float(ULPS * EPSILON[dtype] * max(1.0, count) ** 0.5 * max(sizes, default=0.0))


def judged(part: int, number: int, what: str, got: np.ndarray | None, expected: np.ndarray | None,
           fine: np.ndarray | None, rough: np.ndarray | None, trial: Trial, kind: Tolerance, extra: Any,
           error: np.ndarray | None = None) -> Finding:
    """One array; a gradient that is not there is a zero one. `extra` is added to what is allowed, which follows from
    the oracle's error, here or nearby (`error`)."""
    like: Any = next((array for array in (expected, got) if array is not None), None)
    if like is None:
        return Finding(part, number, what)
    a, b, truth, coarse = (np.zeros_like(like) if array is None else array for array in (got, expected, fine, rough))
    if a.dtype != b.dtype or a.shape != b.shape:
        return Finding(part, number, what, f"is {a.dtype.name}{list(a.shape)}, the oracle's {b.dtype.name}"
                                           f"{list(b.shape)}", None, np.inf, a, b)
    dtype = b.dtype.name
    if kind is Tolerance.EXACT or dtype not in EPSILON:
        wrong = exact_difference(a, b, dtype)
        return Finding(part, number, what, None, wrong, np.inf if wrong else 0.0, a, b)
    truth = truth.astype(np.float64)
    narrow = coarse.dtype.name if fine is not None and rough is not None else dtype
    allowed = allowance(truth, coarse.astype(np.float64), dtype, narrow, kind, terms(trial, truth))
    if error is not None:
        allowed = np.maximum(allowed, allowance(truth, truth + error, dtype, narrow, kind, terms(trial, truth)))
    wrong = difference(a, b, truth, allowed + extra, dtype)
    return Finding(part, number, what, None, wrong, worst(a, b, truth, kind), a, b)


def terms(trial: Trial, result: np.ndarray) -> int:
    """The number of terms behind an element: the sample's own word, else all elements for each of the result's."""
    if trial.sample.terms is not None:
        return trial.sample.terms
    return max(1, sum(array.size for array in trial.sample.arrays) // max(1, result.size))


def worst(got: np.ndarray, expected: np.ndarray, truth: np.ndarray, kind: Tolerance) -> float:
    """The largest error in ulps of the element, or for a reduction of the largest element."""
    dtype = got.dtype.name
    truth = yardstick(got, expected, truth)
    if kind is not Tolerance.REDUCTION:
        return float(ulps(got, truth, dtype).max(initial=0.0))
    finite = np.isfinite(truth)
    units = ulps(got, truth, dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(np.where(finite, got.astype(np.float64) - truth, 0.0)).max(initial=0.0)
    largest = np.array(np.abs(np.where(finite, truth, 0.0)).max(initial=0.0))
    special = float(np.where(np.isfinite(units), 0.0, units).max(initial=0.0))
    return max(special, float(ulps(largest + error, largest, dtype)))


@dataclass(frozen=True)
class Subject:
    """What is tested, on which device, and the function of PyTorch's that it is compared with."""

    name: str
    fn: Callable[..., Any]
    oracle: Callable[..., Any]
    device: str
    tolerance: Tolerance = Tolerance.REDUCTION
    slack: float = 0.0

    def findings(self, trial: Trial) -> list[Finding]:
        """How every array of a trial compares; one finding for the part at which the function raises.

        Raises OracleError where the oracle raises.
        """
        oracle = consult(self.oracle, trial)
        try:
            got = run(on(self.device), self.fn, trial)
        except AcceleratorError:
            raise
        except Exception as error:
            part = next((order for order in range(trial.order) if self.raises(replace(trial, order=order))),
                        trial.order)
            text = f"raised {type(error).__name__}: {error}"
            return [Finding(part, 0, f"the {ORDERS[part]}", text, None, np.inf)]
        found = list(compare(got, oracle, trial, self.tolerance, self.slack))
        if any(finding.difference is not None and finding.difference.allowed for finding in found):
            found = list(compare(got, oracle, trial, self.tolerance, self.slack, nearby(self.oracle, trial)))
        return found

    def raises(self, trial: Trial) -> bool:
        """Whether the function raises."""
        try:
            run(on(self.device), self.fn, trial)
        except Exception:
            return True
        return False

    def failures(self, trial: Trial) -> list[Finding]:
        """The findings in which something is wrong; none where the oracle raises."""
        try:
            return [finding for finding in self.findings(trial) if finding.wrong]
        except OracleError:
            return []
