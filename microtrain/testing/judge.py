"""Judging one case of the operator database: value, gradient and second gradient against PyTorch in float64.

PyTorch runs a case in the dtype under test and in float64; how far the two lie apart says how ill-conditioned the case
is (for float64 a run in float32 says it). See `closeness` for what is then allowed.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from .closeness import EPSILON, Tolerance, allowance, difference, exact_difference, spacing, ulps
from .operators import Case, find
from .refusals import refusal
from .report import SECOND, VALUE, Tally
from .running import Package, Part, Run, Torch, run
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
    """Ask PyTorch."""
    function, values = case.function, ours.part(VALUE)
    if loose and loose.given and isinstance(values, list):
        function = loose.given(values)
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
    problem, tally.worst_ulps = compare(case, tally.order, got, ours.live, oracle, shapes_alone)
    if problem is None:
        tally.passed = 1
    else:
        tally.failures.append(f"{case}: {problem}")


def compare(case: Case, part: int, got: Part | None, live: tuple[int, ...], oracle: Oracle,
            shapes_alone: bool) -> tuple[str | None, float]:
    """What is wrong with a part, if anything, and its largest error in ulps (inf where it cannot be told)."""
    expected, precise, coarse = (run.part(part) for run in oracle)
    assert isinstance(expected, list) and isinstance(precise, list) and isinstance(coarse, list)
    if part and live != oracle.expected.live:
        return f"results {list(live)} require grad, PyTorch's {list(oracle.expected.live)}", np.inf
    if not isinstance(got, list) or len(got) != len(expected):
        return f"{len(got) if isinstance(got, list) else 'no'} results, PyTorch {len(expected)}", np.inf
    first, worst = None, 0.0
    for place, (mine, theirs, fine, rough) in enumerate(zip(got, expected, precise, coarse, strict=True)):
        problem, units = closeness(case, part, mine, theirs, fine, rough, shapes_alone)
        worst = max(worst, units)
        if problem and not first:
            first = f"{f'[{place}] ' if len(expected) > 1 else ''}{problem}"
    return first, worst


def closeness(case: Case, part: int, got: np.ndarray | None, expected: np.ndarray | None, fine: np.ndarray | None,
              rough: np.ndarray | None, shapes_alone: bool) -> tuple[str | None, float]:
    """The same of one array; a gradient that is not there is zero."""
    like: Any = next((array for array in (expected, got) if array is not None), None)
    if like is None:
        return None, 0.0
    got, expected, fine, rough = (np.zeros_like(like) if array is None else array
                                  for array in (got, expected, fine, rough))
    dtype = expected.dtype.name
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return f"{got.dtype} {got.shape}, PyTorch {dtype} {expected.shape}", np.inf
    if shapes_alone:
        return None, 0.0
    if dtype not in EPSILON:
        miss = exact_difference(got, expected, dtype)
        return (f"{miss}", np.inf) if miss else (None, 0.0)
    truth = fine.astype(np.float64)
    kind = case.kind if part == VALUE else Tolerance.REDUCTION
    terms = max(1, case.size // max(1, truth.size))
    allowed = np.maximum(allowance(truth, expected, dtype, dtype, kind, terms),
                         allowance(truth, rough, dtype, rough.dtype.name, kind, terms))
    miss = difference(got, expected, truth, allowed, dtype)
    return f"{miss}" if miss else None, worst_ulps(got, expected, truth, kind)


def worst_ulps(got: np.ndarray, expected: np.ndarray, truth: np.ndarray, kind: Tolerance) -> float:
    """The largest error in ulps: of each element, or for a reduction of the largest.

    Where the dtype overflows, the truth is what PyTorch says in that dtype.
    """
    dtype = got.dtype.name
    truth = np.where(np.isfinite(expected), truth, expected)
    units = ulps(got, truth, dtype)
    if kind is Tolerance.REDUCTION and np.isfinite(units).all() and units.size:
        finite = np.abs(np.where(np.isfinite(truth), truth, 0.0))
        units = units * spacing(finite, dtype) / spacing(finite.max(), dtype)
    return float(units.max(initial=0.0))
