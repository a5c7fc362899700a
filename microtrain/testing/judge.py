"""Judging one case of the operator database: value, gradient and second gradient against PyTorch in float64.

PyTorch runs a case in the dtype under test and in float64; how far the two lie apart says how ill-conditioned the case
is (for float64 a run in float32 says it). See `closeness` for what is then allowed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .closeness import EPSILON, ULPS, Tolerance, allowance, difference, exact_difference, spacing, ulps
from .operators import Case, find
from .refusals import refusal
from .report import GRADIENT, SECOND, VALUE, Tally
from .running import Package, Run, Torch, run
from .unspecified import Unspecified, unspecified


class Oracle(NamedTuple):
    """PyTorch in the dtypes of the case, in float64, and in the dtype in which its own error is measured."""

    expected: Run
    precise: Run
    coarse: Run


def judge(case: Case, device: str, order: int = SECOND) -> list[Tally]:
    """A tally of one case for each order, up to `order`, that PyTorch has for it.

    Raises LookupError where microtrain has nothing of that name.
    """
    function = find(case.operation)
    if function is None:
        raise LookupError(f"microtrain has no {case.operation}")
    loose = unspecified(case)
    order = VALUE if loose and not loose.given else min(order, case.order)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = run(Package(device), function, case, order)
        oracle = consult(case, order, loose, ours)
    tallies = []
    for part in range(order + 1):
        theirs = [run.part(part) for run in oracle]
        if theirs[0] is None:
            break
        tally = Tally(case.operation, device, case.dtype, part)
        if any(isinstance(one, Exception) for one in theirs):
            tally.uncounted = 1
        else:
            enter(tally, case, ours, oracle, bool(loose and not loose.given))
        tallies.append(tally)
    return tallies


def consult(case: Case, order: int, loose: Unspecified | None, ours: Run) -> Oracle:
    """Ask PyTorch; from the order on where its own function is not the yardstick, ask the one that is."""
    oracle = asked(case, case.function, order)
    values = ours.part(VALUE)
    if loose and loose.given and loose.since <= order and isinstance(values, list):
        instead = asked(case, loose.given(values), order)
        for run, other in zip(oracle, instead, strict=True):
            run.parts |= {part: found for part, found in other.parts.items() if part >= loose.since}
    return oracle


def asked(case: Case, function: Callable[..., Any], order: int) -> Oracle:
    """A function of PyTorch's in the three precisions."""
    precise = run(Torch("float64"), function, case, order)
    if case.dtype == "float64":
        return Oracle(run(Torch(), function, case, order) if case.names_dtypes else precise, precise,
                      run(Torch("float32"), function, case, order))
    expected = run(Torch(), function, case, order)
    return Oracle(expected, precise, expected)


def enter(tally: Tally, case: Case, ours: Run, oracle: Oracle, shapes_alone: bool) -> None:
    """Enter in a tally whether a part of a case passed, was refused or failed, and by how much it missed."""
    tally.tried = 1
    got = ours.part(tally.order)
    if isinstance(got, Exception):
        if refusal(case, got):
            tally.refused = 1
        else:
            tally.worst_ulps = np.inf
            tally.failures.append(f"{case}: {type(got).__name__}: {' '.join(str(got).split())}")
        return
    for miss in comparisons(case, tally.order, got or [], ours.live, oracle, shapes_alone):
        tally.worst_ulps = max(tally.worst_ulps, miss.ulps)
        tally.oracle_ulps = max(tally.oracle_ulps, miss.oracle_ulps)
        if miss.problem and not tally.failures:
            tally.failures.append(f"{case}: {miss.problem}")
    tally.passed = 1 - len(tally.failures)


class Miss(NamedTuple):
    """How far an array lies from the truth: what is wrong, if anything, our largest error and PyTorch's own."""

    problem: str | None
    ulps: float = 0.0
    oracle_ulps: float = 0.0


def comparisons(case: Case, part: int, got: list[np.ndarray | None], live: tuple[int, ...], oracle: Oracle,
                shapes_alone: bool) -> Iterator[Miss]:
    """The arrays of one part of a case, one after the other."""
    expected, precise, coarse = (run.parts[part] for run in oracle)
    assert isinstance(expected, list) and isinstance(precise, list) and isinstance(coarse, list)
    wanted = oracle.expected.live
    if (part != VALUE and live != wanted) or set(live) - set(wanted):
        yield Miss(f"of the results {list(live)} require grad, of PyTorch's {list(wanted)}", np.inf)
    elif len(got) != len(expected):
        yield Miss(f"{len(got)} results, PyTorch {len(expected)}", np.inf)
    else:
        scale = contracted(oracle) if part == SECOND else np.zeros(len(expected))
        for place, row in enumerate(zip(got, expected, precise, coarse, strict=True)):
            miss = nearness(case, part, *row, float(scale[place]), shapes_alone)
            where = f"[{place}] " if len(expected) > 1 else ""
            yield miss._replace(problem=f"{where}{miss.problem}") if miss.problem else miss


def contracted(oracle: Oracle) -> np.ndarray:
    """The scale of what was summed up, for each second gradient.

    The gradient of a gradient with respect to a cotangent is the Jacobian times the random weights. Its terms are of
    the size of the gradient itself, however much of them cancels.
    """
    first, second = oracle.precise.parts[GRADIENT], oracle.precise.parts[SECOND]
    assert isinstance(first, list) and isinstance(second, list)
    sizes = [float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) for array in first if array is not None]
    return np.array([0.0] * len(first) + [max(sizes, default=0.0)] * (len(second) - len(first)))


def nearness(case: Case, part: int, got: np.ndarray | None, expected: np.ndarray | None, fine: np.ndarray | None,
             rough: np.ndarray | None, scale: float, shapes_alone: bool) -> Miss:
    """One array; a gradient that is not there is zero."""
    like: Any = next((array for array in (expected, got) if array is not None), None)
    if like is None:
        return Miss(None)
    got, expected, fine, rough = (np.zeros_like(like) if array is None else array
                                  for array in (got, expected, fine, rough))
    dtype = expected.dtype.name
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return Miss(f"{got.dtype} {got.shape}, PyTorch {dtype} {expected.shape}", np.inf)
    if shapes_alone:
        return Miss(None)
    if dtype not in EPSILON:
        wrong = exact_difference(got, expected, dtype)
        return Miss(str(wrong), np.inf) if wrong else Miss(None)
    truth = fine.astype(np.float64)
    kind = case.kind if part == VALUE else Tolerance.REDUCTION
    terms = max(1, case.size // max(1, truth.size))
    allowed = np.maximum(allowance(truth, expected, dtype, dtype, kind, terms),
                         allowance(truth, rough, dtype, rough.dtype.name, kind, terms))
    allowed = allowed + ULPS * EPSILON[dtype] * terms**0.5 * scale
    wrong = difference(got, expected, truth, allowed, dtype)
    return Miss(str(wrong) if wrong else None, largest(got, expected, truth, kind, scale),
                largest(rough, rough, truth, kind, scale))


def largest(got: np.ndarray, expected: np.ndarray, truth: np.ndarray, kind: Tolerance, scale: float) -> float:
    """The largest error in ulps: of each element, or for a reduction of the largest, or of the scale of its terms.

    Where the dtype overflows, the truth is what PyTorch says in that dtype.
    """
    dtype = got.dtype.name
    truth = np.where(np.isfinite(expected), truth, expected)
    units = ulps(got, truth, dtype)
    if kind is Tolerance.REDUCTION and np.isfinite(units).all() and units.size:
        size = np.abs(np.where(np.isfinite(truth), truth, 0.0))
        units = units * spacing(size, dtype) / spacing(np.maximum(size.max(), scale), dtype)
    return float(units.max(initial=0.0))
