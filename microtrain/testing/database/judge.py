"""Judging one case of the operator database: value, gradient and second gradient against PyTorch in float64."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache, partial

import numpy as np

import microtrain

from ..comparison import Comparison, Oracle, consult
from ..report import SECOND, VALUE, Tally
from ..running import Library, Run, attempt
from .exceptions import Unspecified, refusal, unspecified
from .operators import Case, find

NEIGHBOURS = 8
"""Where else PyTorch's error is measured before a case counts as failed; see `Tried.neighbour`."""


def judge(case: Case, device: str, order: int = SECOND) -> list[Tally]:
    """A tally of one case for each order, up to `order`, that PyTorch has for it.

    Raises LookupError where microtrain has nothing of that name.
    """
    function = find(case.operation)
    if function is None:
        raise LookupError(f"microtrain has no {case.operation}")
    loose = unspecified(case)
    case = replace(case, order=VALUE if loose and not loose.given else min(order, case.order))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = attempt(Library(microtrain, device), function, case)
        oracle = yardstick(case, loose, got)
        near = cache(lambda: [yardstick(case.neighbour(number), loose, got) for number in range(NEIGHBOURS)])
        comparison, tallies = Comparison(got, oracle, case, case.kind, near=near), list[Tally]()
        for part in range(case.order + 1):
            theirs = [run.part(part) for run in oracle]
            if theirs[0] is None:
                break
            tally = Tally(case.operation, device, case.dtype, part)
            tallies.append(tally)
            if any(isinstance(one, Exception) for one in theirs):
                tally.uncounted = 1
            else:
                enter(tally, case, comparison, loose)
    return tallies


def yardstick(case: Case, loose: Unspecified | None, got: Run) -> Oracle:
    """Ask PyTorch; from the order on where its own function is not the yardstick, ask the one that is."""
    oracle = consult(case.function, case)
    values = got.part(VALUE)
    if loose and loose.given and loose.since <= case.order and isinstance(values, list):
        instead = consult(partial(loose.given, values), case)
        for run, other in zip(oracle, instead, strict=True):
            run.parts |= {part: found for part, found in other.parts.items() if part >= loose.since}
            run.error = other.error or run.error
    return oracle


def enter(tally: Tally, case: Case, comparison: Comparison, loose: Unspecified | None) -> None:
    """Enter in a tally whether a part of a case passed, was refused or failed, and by how much it missed."""
    tally.tried = 1
    part, mine = tally.order, comparison.got.part(tally.order)
    if isinstance(mine, Exception):
        if refusal(case, mine):
            tally.refused = 1
        else:
            tally.worst_ulps = np.inf
            tally.failures.append(f"{case}: {type(mine).__name__}: {' '.join(str(mine).split())}")
        return
    live, wanted = comparison.got.live, comparison.oracle.expected.live
    other = (part != VALUE and live != wanted) or set(live) - set(wanted)       # grad where PyTorch has none is wrong
    found = [comparison.other_live(part)] if other else comparison.part(part)
    if loose and loose.given is None:
        found = [replace(finding, difference=None, ulps=0.0) for finding in found]
    tally.failures = [f"{case}: {finding}" for finding in found if finding.wrong][:1]
    tally.passed = int(not tally.failures)
    tally.worst_ulps = max((finding.ulps for finding in found), default=0.0)
