"""Arguments that must raise, from PyTorch's operator database: the exception's type, and a message that helps.

A message helps if it names the operation (or is PyTorch's own) and holds the value, size, dtype or type at fault.
"""

from __future__ import annotations

import re

import pytest
import torch

from microtrain.testing.database import raising
from microtrain.testing.database.operators import FURTHER, NAMES, ErrorCase, error_cases, find
from microtrain.testing.database.raising import Raised, judge_error, names_it, raised, tells
from tests.conftest import DEVICE

pytest.importorskip("expecttest", reason="PyTorch's operator database needs expecttest: pip install expecttest")

EXCEPTIONS = {
    "arange(0, 64, 0.5, out=": "arange has no `out` argument: a TypeError says so, whatever is wrong with the tensor",
}
"""How calls begin that do not raise as PyTorch's do, and why."""


def looked_at(case: ErrorCase) -> bool:
    """Whether the fault can be seen here: on a GPU indices are not looked at, and a wrong one is anybody's memory."""
    return DEVICE != "cuda" or re.match(r"index \d+ is out of bounds", case.pattern) is None


@pytest.fixture(scope="module")
def outcomes() -> list[tuple[ErrorCase, Raised]]:
    """All wrong arguments of all operators that are there, and what was made of them."""
    found = []
    for name in (*NAMES, *FURTHER):
        if find(name) is not None:
            found += [(case, outcome) for case in error_cases(name)
                      if looked_at(case) and (outcome := raised(case, DEVICE)) is not None]
    return found


def test_wrong_arguments_raise_what_they_raise_in_pytorch(outcomes: list[tuple[ErrorCase, Raised]],
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    right = sum(outcome.problem is None for _, outcome in outcomes)
    with capsys.disabled():
        print(f"\n{len(outcomes)} wrong calls, {right} raise PyTorch's type with a message that helps")
    assert len(outcomes) > 100
    assert right >= 0.95 * len(outcomes)
    others = [f"{case.operation}{case}: {outcome.problem}" for case, outcome in outcomes
              if outcome.problem and not f"{case.operation}{case}".startswith(tuple(EXCEPTIONS))]
    assert not others, "\n".join(others)


def test_every_exception_listed_occurs(outcomes: list[tuple[ErrorCase, Raised]]) -> None:
    for listed in EXCEPTIONS:
        found = [outcome.problem for case, outcome in outcomes if f"{case.operation}{case}".startswith(listed)]
        # PyTorch's database has no such call before 2.13.
        assert all(found) and (found or torch.__version__ < "2.13"), listed


# ------------------------------------------------------------------------------------------------ the judge is judged

def negative_size() -> ErrorCase:
    return next(case for case in error_cases("eye") if case.args == (-7, 42))


@pytest.mark.parametrize(("error", "complaint"), [
    (None, "did not raise"), (ValueError("eye(): n must not be negative, got -7"), "is not PyTorch's type"),
    (RuntimeError("n must not be negative, got -7"), "does not name the operation"),
    (RuntimeError("eye(): n must not be negative"), "does not tell the offending value"),
    (RuntimeError("eye(): n must not be negative, got -7"), None),
    (RuntimeError("n must be greater or equal to 0, got -7"), None)
])
def test_what_is_missing_is_told(error: Exception | None, complaint: str | None,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*args: object, **kwargs: object) -> None:
        if error is not None:
            raise error
    monkeypatch.setattr(raising, "find", lambda _: wrong)
    outcome = raised(negative_size(), DEVICE)
    assert outcome is not None
    assert outcome.problem is None if complaint is None else outcome.problem.startswith(complaint)
    tally = judge_error(negative_size(), DEVICE)
    assert (tally.tried, tally.passed) == (1, complaint is None)


def test_words_are_matched_whole() -> None:
    case = negative_size()
    assert names_it(case, "eye: no") and not names_it(case, "keyed")
    assert tells(case, "[-7, 42]") and not tells(case, "-70 or 142") and not re.search("-7", "70")
