"""What PyTorch itself leaves open, so that there is no one right value to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .operators import Case

Given = Callable[[list[np.ndarray]], Callable[..., Any]]


@dataclass(frozen=True)
class Unspecified:
    """Cases of an operator whose value is not fixed by its arguments.

    `given`, told our results, makes the PyTorch function that made the same choices; everything is compared with that.
    Without it shapes and dtypes are compared alone, and no derivatives.
    """

    operation: str
    when: Callable[[Case], bool]
    reason: str
    given: Given | None = None


def dropped(results: list[np.ndarray]) -> Callable[..., Any]:
    """A dropout that drops what we dropped."""
    import torch
    kept = torch.from_numpy(results[0] != 0)

    def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        return torch.where(kept, input / (1 - p), 0)
    return dropout


def may_drop(case: Case) -> bool:
    """Whether a dropout draws anything."""
    return case.kwargs.get("training", True) and 0 < case.kwargs.get("p", 0.5) < 1


UNSPECIFIED = (
    Unspecified("nn.functional.dropout", may_drop, "which elements are dropped is random; what becomes of the others, "
                "and of their gradients, is compared", dropped),
    Unspecified("nn.functional.scaled_dot_product_attention", lambda case: case.kwargs.get("dropout_p", 0) > 0,
                "which attention weights are dropped is random; without dropout all is compared"),
)


def unspecified(case: Case) -> Unspecified | None:
    """The row of the table that a case falls under."""
    return next((row for row in UNSPECIFIED if row.operation == case.operation and row.when(case)), None)
