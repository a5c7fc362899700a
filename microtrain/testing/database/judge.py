"""Judging one case of the operator database: value, gradient and second gradient against PyTorch in float64."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache

import numpy as np

import microtrain

from ..comparison import Near, Oracle, compare_part, consult, other_live
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
        tallies = []
        for part in range(case.order + 1):
            theirs = [run.part(part) for run in oracle]
            if theirs[0] is None:
                break
            unable = any(isinstance(one, Exception) for one in theirs)
            tallies.append(Tally(case.operation, device, case.dtype, part, uncounted=1) if unable else
                           tally(part, case, device, got, oracle, loose, near))
    return tallies


def yardstick(case: Case, loose: Unspecified | None, got: Run) -> Oracle:
    """Ask PyTorch; from the order on where its own function is not the yardstick, ask the one that is."""
    oracle = consult(case.function, case)
    values = got.part(VALUE)
    if loose and loose.given and loose.since <= case.order and isinstance(values, list):
        instead = consult(loose.given(values), case)
        for run, other in zip(oracle, instead, strict=True):
            run.parts |= {part: found for part, found in other.parts.items() if part >= loose.since}
            run.error = other.error or run.error
    return oracle


def tally(part: int, case: Case, device: str, got: Run, oracle: Oracle, loose: Unspecified | None,
          near: Near) -> Tally:
    """Whether a part of a case passed, was refused or failed, and by how much it missed."""
    entered, mine = Tally(case.operation, device, case.dtype, part, tried=1), got.part(part)
    if isinstance(mine, Exception):
        if refusal(case, mine):
            entered.refused = 1
        else:
            entered.worst_ulps = np.inf
            entered.failures.append(f"{case}: {type(mine).__name__}: {' '.join(str(mine).split())}")
        return entered
    live, wanted = got.live, oracle.expected.live
    if (part != VALUE and live != wanted) or set(live) - set(wanted):       # grad where PyTorch has none is wrong
        found = [other_live(part, got, oracle)]
    else:
        found = compare_part(part, got, oracle, case, case.kind, near=near)
    if loose and loose.given is None:
        found = [replace(finding, difference=None, ulps=0.0) for finding in found]
    entered.failures = [f"{case}: {finding}" for finding in found if finding.wrong][:1]
    entered.passed = int(not entered.failures)
    entered.worst_ulps = max((finding.ulps for finding in found), default=0.0)
    return entered
