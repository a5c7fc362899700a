"""What one call cannot show: whether a second one gives the same, sees new values, and leaves its inputs alone.

Where Triton's kernels are interpreted, also whether the order of their programs or what masked lanes hold changes the
result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import microtrain

from .comparison import Finding, Subject, unlike
from .interpreter import ORDERS, interpreting, poisoned_lanes
from .report import VALUE
from .running import Library, Run, Trial, on, run

HALF = 0.5
"""By which inputs are multiplied in place: exact, and it leaves the domain of few functions."""

SURROUNDINGS = (
    ("masked lanes: a tl.load(..., mask=...) without other= holds zeros there in the interpreter and anything on a GPU",
     poisoned_lanes),
    *((f"the order of the programs: run {how} they give other bits: a race between programs, or atomics", order)
      for how, order in ORDERS))
"""Where interpreted kernels are run once more, and on what they depend where the bits are others."""


def probe(subject: Subject, trial: Trial) -> list[Finding]:
    """What is wrong with repeated calls on a trial that passes on its own."""
    library = on(subject.device)
    first = run(library, subject.fn, trial)
    again = run(library, subject.fn, trial)
    found = [*differing(first, again, "is not deterministic: a second call on equal inputs gives other bits"),
             *overwritten(subject, trial), *stale(subject, trial, first)]
    if (interpreting() and library.module is not microtrain) or subject.device == "interpret":
        for cause, surroundings in SURROUNDINGS:
            with surroundings():
                other = differing(first, run(library, subject.fn, trial), f"depends on {cause}")
            if other:
                return [*found, *other]
    return found


def differing(one: Run, other: Run, problem: str) -> list[Finding]:
    """The first part whose bits differ."""
    return [unlike(part, problem) for part in one.parts if one.bits(part) != other.bits(part)][:1]


def overwritten(subject: Subject, trial: Trial) -> Iterator[Finding]:
    """The inputs hold what they held, but where the oracle changes them too."""
    def after(library: Library, function: Callable[..., Any]) -> list[np.ndarray]:
        given = trial.arguments(library)
        run(library, function, trial, given)
        return [library.array(tensor) for tensor in given.args]

    mine, theirs = after(on(subject.device), subject.fn), after(on("torch"), subject.oracle)
    for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        if a.tobytes() != b.tobytes():
            at = next((tuple(map(int, place)) for place in np.argwhere(~((a == b) | ((a != a) & (b != b))))), ())
            yield Finding(VALUE, i, f"input {i}", f"is overwritten: after the call and its derivatives it holds "
                                                  f"{a[at]!r} at {list(at)}, where it held {b[at]!r}; what was saved "
                                                  "for the backward is lost", None, np.inf)


def stale(subject: Subject, trial: Trial, first: Run) -> Iterator[Finding]:
    """After the inputs were changed in place a call on the same tensors gives what the new values give."""
    library = on(subject.device)
    given = trial.arguments(library)
    run(library, subject.fn, trial, given)
    floats = [i for i, array in enumerate(trial.sample.arrays) if array.dtype.kind == "f"]
    with library.module.no_grad():
        for i in floats:
            given.args[i].mul_(HALF)
    changed = trial.with_arrays(array * HALF if i in floats else array for i, array in enumerate(trial.sample.arrays))
    if subject.failures(changed):
        return                              # wrong for other reasons
    second = run(library, subject.fn, changed, given)
    for finding in [one for one in subject.against(second, changed) if one.wrong][:1]:
        old, got = (one.array(finding.part, finding.number) for one in (first, second))
        same = old is not None and got is not None and old.tobytes() == got.tobytes()
        which = "the first call's" if same else "neither the first call's nor the new values'"
        yield replace(finding, problem="is stale: after the inputs were changed in place a second call on the same "
                                       f"tensors gives {which} result: something is kept between calls")
