"""What is refused on purpose: arguments that PyTorch takes and microtrain does not, each with the reason.

A case counts as refused only if it is listed here and the call raised what the row says; whatever else raises has
failed. A row that nothing falls under any more fails the test of this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .operators import Case

CLEAR = (NotImplementedError, TypeError, ValueError, RuntimeError)
"""Exceptions that a refusal may be."""


@dataclass(frozen=True)
class Refusal:
    """Cases of an operator that raise on purpose; the message holds `says`: what is wrong, or what to use instead."""

    operation: str
    when: Callable[[Case], bool]
    says: str
    reason: str


REFUSALS = (
    Refusal("norm", lambda case: case.kwargs.get("p") == "nuc" or "nuc" in case.args, "nuc",
            "the nuclear norm needs singular values, which no kernel here computes"),
    Refusal("linalg.norm", lambda case: any(isinstance(order, int | float | str) and order in (2, -2, "nuc")
                                            for order in (case.kwargs.get("ord"), *case.args[1:2])),
            "singular values", "so do these norms of a matrix"),
)


def refusal(case: Case, error: Exception) -> Refusal | None:
    """The row of the table that makes an error a refusal on purpose; None where it is a failure."""
    if not isinstance(error, CLEAR):
        return None
    return next((row for row in REFUSALS
                 if row.operation == case.operation and row.says in str(error) and row.when(case)), None)
