"""What one call cannot show: whether a second one gives the same, sees new values, and leaves its inputs alone.

Where Triton's kernels are interpreted, also whether the order of their programs or what masked lanes hold changes the
result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np

import microtrain

from .comparison import Finding, Subject, compare, consult
from .derivatives import Library, Run, Trial, arguments, on, run
from .interpreter import interpreting, poisoned_lanes, reversed_programs, shuffled_programs
from .tallies import ORDERS, VALUE

HALF = 0.5
"""By which inputs are multiplied in place: exact, and it leaves the domain of few functions."""


def probe(subject: Subject, trial: Trial) -> list[Finding]:
    """What is wrong with repeated calls on a trial that passes on its own."""
    library = on(subject.device)
    first = run(library, subject.fn, trial)
    found = [*repeated(subject, trial, first), *overwritten(subject, trial), *stale(subject, trial, first)]
    if (interpreting() and library.module is not microtrain) or subject.device == "interpret":
        found += in_other_surroundings(subject, trial, first)
    return found


def repeated(subject: Subject, trial: Trial, first: Run) -> Iterator[Finding]:
    """A second call on equal inputs gives the same bits."""
    second = run(on(subject.device), subject.fn, trial)
    part = differing(first, second)
    if part is not None:
        yield Finding(part, 0, f"the {ORDERS[part]}", "is not deterministic: a second call on equal inputs gives other "
                                                     "bits", None, np.inf)


def differing(one: Run, other: Run) -> int | None:
    """The first part whose bits differ."""
    for part in one.parts:
        if Run({part: one.parts[part]}).bits() != Run({part: other.parts.get(part, [])}).bits():
            return part
    return None


def overwritten(subject: Subject, trial: Trial) -> Iterator[Finding]:
    """The inputs hold what they held, but where the oracle changes them too."""
    import torch

    def after(library: Library, function: Callable[..., Any]) -> list[np.ndarray]:
        given = arguments(library, trial, trial.dtype)
        run(library, function, trial, given=given)
        return [library.array(tensor) for tensor in given.tensors]

    mine, theirs = after(on(subject.device), subject.fn), after(Library(torch), subject.oracle)
    for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        if a.tobytes() != b.tobytes():
            places = np.argwhere(~((a == b) | ((a != a) & (b != b))))
            at = tuple(int(n) for n in places[0]) if len(places) else ()
            yield Finding(VALUE, i, f"input {i}", f"is overwritten: after the call and its derivatives it holds "
                                                  f"{a[at]!r} at {list(at)}, where it held {b[at]!r}; what was saved "
                                                  "for the backward is lost", None, np.inf)


def stale(subject: Subject, trial: Trial, first: Run) -> Iterator[Finding]:
    """After the inputs were changed in place a call on the same tensors gives what the new values give."""
    library = on(subject.device)
    given = arguments(library, trial, trial.dtype)
    run(library, subject.fn, trial, given=given)
    floats = [i for i, array in enumerate(trial.sample.arrays) if array.dtype.kind == "f"]
    with library.module.no_grad():
        for i in floats:
            given.tensors[i].mul_(HALF)
    arrays = tuple(array * HALF if i in floats else array for i, array in enumerate(trial.sample.arrays))
    changed = trial.with_sample(replace(trial.sample, arrays=arrays))
    if subject.failures(changed):
        return                              # wrong for other reasons
    oracle = consult(subject.oracle, changed)
    second = run(library, subject.fn, changed, given=given)
    for finding in compare(second, oracle, changed, subject.tolerance, subject.slack):
        if finding.wrong:
            old = first.parts[finding.part][finding.number]
            got = second.parts[finding.part][finding.number]
            same = old is not None and got is not None and old.tobytes() == got.tobytes()
            which = "the first call's" if same else "neither the first call's nor the new values'"
            yield replace(finding, problem="is stale: after the inputs were changed in place a second call on the "
                                           f"same tensors gives {which} result: something is kept between calls")
            return


SURROUNDINGS: tuple[tuple[str, Callable[[], AbstractContextManager[None]]], ...] = (
    ("depends on masked lanes: a tl.load(..., mask=...) without other= holds zeros there in the interpreter and "
     "anything on a GPU", poisoned_lanes),
    ("depends on the order of the programs: run backwards they give other bits: a race between programs, or atomics",
     reversed_programs),
    ("depends on the order of the programs: run in a random order they give other bits: a race between programs, or "
     "atomics", shuffled_programs))


def in_other_surroundings(subject: Subject, trial: Trial, first: Run) -> Iterator[Finding]:
    """The bits stay the same whatever masked lanes hold and in whatever order programs run."""
    for problem, surroundings in SURROUNDINGS:
        with surroundings():
            part = differing(first, run(on(subject.device), subject.fn, trial))
        if part is not None:
            yield Finding(part, 0, f"the {ORDERS[part]}", problem, None, np.inf)
            return
