"""Judging one case of the operator database: value, gradient and second gradient against PyTorch in float64.

PyTorch runs a case in float32 and in float64; how far the two lie apart says how ill-conditioned the case is. See
`closeness` for what is then allowed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..closeness import EPSILON, Tolerance, allowance, difference, exact_difference, gap, spacing, ulps, yardstick
from ..tallies import SECOND, VALUE, Tally
from .operators import Case, find
from .refusals import refusal
from .running import Package, Run, Torch, mapped, run
from .unspecified import Unspecified, unspecified

NEIGHBOURS = 8
"""Where else PyTorch's error is measured before a case counts as failed; see `neighbour`."""


class Oracle(NamedTuple):
    """PyTorch in the dtypes of the case, in float64, and in float32, in which its own error is measured."""

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
            enter(tally, case, ours, oracle, loose)
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
    single, double = (run(Torch(dtype), function, case, order) for dtype in ("float32", "float64"))
    if case.names_dtypes:
        return Oracle(run(Torch(), function, case, order), double, single)
    return Oracle(single if case.dtype == "float32" else double, double, single)


def enter(tally: Tally, case: Case, ours: Run, oracle: Oracle, loose: Unspecified | None) -> None:
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
    wrong = unlike(tally.order, got or [], ours.live, oracle)
    if wrong:
        tally.worst_ulps = np.inf
    elif not (loose and loose.given is None):
        misses = distances(case, tally.order, got or [], oracle, [])
        if any(miss.problem for miss in misses):
            near = [consult(neighbour(case, number), tally.order, loose, ours) for number in range(NEIGHBOURS)]
            misses = distances(case, tally.order, got or [], oracle, near)
        wrong = next((miss.problem for miss in misses if miss.problem), None)
        tally.worst_ulps = max((miss.ulps for miss in misses), default=0.0)
    if wrong:
        tally.failures.append(f"{case}: {wrong}")
    else:
        tally.passed = 1


def unlike(part: int, got: Sequence[np.ndarray | None], live: tuple[int, ...], oracle: Oracle) -> str | None:
    """How results differ from PyTorch's in anything but their elements: number, dtypes, shapes, requires_grad."""
    expected, wanted = arrays(oracle.expected, part), oracle.expected.live
    if (part != VALUE and live != wanted) or set(live) - set(wanted):
        return f"of the results {list(live)} require grad, of PyTorch's {list(wanted)}"
    if len(got) != len(expected):
        return f"{len(got)} results, PyTorch {len(expected)}"
    for mine, theirs in zip(got, expected, strict=True):
        if mine is not None and theirs is not None and (mine.dtype, mine.shape) != (theirs.dtype, theirs.shape):
            return f"{mine.dtype} {mine.shape}, PyTorch {theirs.dtype} {theirs.shape}"
    return None


class Miss(NamedTuple):
    """How far an array lies from the truth: what is wrong, if anything, and the largest error in ulps."""

    problem: str | None
    ulps: float = 0.0


def distances(case: Case, part: int, got: Sequence[np.ndarray | None], oracle: Oracle,
              near: list[Oracle]) -> list[Miss]:
    """How far each array of a part of a case lies from the truth; PyTorch's error is measured there and `near` it."""
    found = []
    for place, mine in enumerate(got):
        expected, fine, rough = (arrays(run, part)[place] for run in oracle)
        like: Any = mine if expected is None else expected
        if like is None:
            found.append(Miss(None))
            continue
        # A gradient that is not there is zero.
        mine, expected, fine, rough = (np.zeros_like(like) if array is None else array
                                       for array in (mine, expected, fine, rough))
        error = np.zeros(like.shape)
        for other in near:
            a, b = (arrays(run, part)[place] for run in (other.coarse, other.precise))
            if a is not None and b is not None and a.shape == b.shape == error.shape:
                error = np.fmax(error, gap(a, b))
        miss = distance(case, part, mine, expected, fine, rough, error)
        where = f"[{place}] " if len(got) > 1 else ""
        found.append(miss._replace(problem=f"{where}{miss.problem}") if miss.problem else miss)
    return found


def distance(case: Case, part: int, got: np.ndarray, expected: np.ndarray, fine: np.ndarray, rough: np.ndarray,
             error: np.ndarray) -> Miss:
    """How far one array lies from the truth; `error` is PyTorch's own at the neighbours, in the dtype of `rough`.

    The largest error is told in ulps of each element, or for a reduction of its largest term: that is the largest
    element, unless PyTorch's own error says that larger terms cancelled.
    """
    dtype, coarse = expected.dtype.name, rough.dtype.name
    if dtype not in EPSILON:
        wrong = exact_difference(got, expected, dtype)
        return Miss(str(wrong), np.inf) if wrong else Miss(None)
    truth = fine.astype(np.float64)
    kind = case.kind if part == VALUE else Tolerance.REDUCTION
    terms = max(1, case.size // max(1, truth.size))
    error = np.fmax(gap(rough, fine), error)
    allowed = np.maximum(allowance(truth, expected, dtype, dtype, kind, terms),
                         allowance(truth, truth + error, dtype, coarse, kind, terms))
    wrong = difference(got, expected, truth, allowed, dtype)
    truth = yardstick(got, expected, truth)
    units = ulps(got, truth, dtype)
    if kind is Tolerance.REDUCTION and units.size:
        term = max(np.abs(np.where(np.isfinite(truth), truth, 0.0)).max(), error.max() / EPSILON[coarse])
        units = np.where(np.isfinite(got) & np.isfinite(truth), gap(got, truth) / spacing(term, dtype), units)
    return Miss(str(wrong) if wrong else None, float(units.max(initial=0.0)))


def arrays(run: Run, part: int) -> list[np.ndarray | None]:
    """A part of a run that has it; none where it has not."""
    found = run.part(part)
    return found if isinstance(found, list) else []


def neighbour(case: Case, number: int) -> Case:
    """The same case with inputs up to a percent smaller.

    On a case of few elements PyTorch may be right by luck: a difference of equal terms that rounds to zero. Before a
    case counts as failed its error is measured at some neighbours too.
    """
    args, kwargs = mapped(nearby(number), case.args, case.kwargs)
    return replace(case, args=args, kwargs=kwargs)


def nearby(number: int) -> Callable[[Any], Any]:
    """A function that makes PyTorch's leaves up to a percent smaller, by factors of a seed, and leaves all else."""
    import torch
    generator = torch.Generator().manual_seed(number)

    def moved(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.requires_grad:
            return value
        factor = 1 - 0.01 * torch.rand(value.shape, generator=generator, dtype=value.dtype)
        return (value.detach() * factor).requires_grad_()
    return moved
