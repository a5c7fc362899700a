"""Cases that are not held against PyTorch's result, each with the reason: those that are refused on purpose, and those
where PyTorch leaves the result open or has an approximate derivative of its own.

A case counts as refused only if it is listed here and the call raised what the row says; whatever else raises has
failed. A row that nothing falls under any more fails the test of these tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..report import GRADIENT, SECOND, VALUE
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
    return next((row for row in REFUSALS if isinstance(error, CLEAR) and row.operation == case.operation
                 and row.says in str(error) and row.when(case)), None)


@dataclass(frozen=True)
class Unspecified:
    """Cases of an operator that are compared with something else, from an order of derivative on.

    `given` is called as PyTorch's function with our results before the arguments. Without it shapes and dtypes are
    compared alone, and no derivatives.
    """

    operation: str
    when: Callable[[Case], bool]
    reason: str
    given: Callable[..., Any] | None = None
    since: int = VALUE


def dropped(results: Sequence[Any], input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """A dropout that drops what we dropped."""
    import torch
    return torch.where(torch.as_tensor(results[0]) != 0, input / (1 - p), 0)


def cross_entropy_of_logarithms(results: Sequence[Any], input: Any, target: Any, weight: Any = None,
                                reduction: str = "mean") -> Any:
    """Binary cross entropy as its definition says."""
    loss = -(target * input.log().clamp_min(-100) + (1 - target) * (1 - input).log().clamp_min(-100))
    loss = loss if weight is None else loss * weight
    return {"none": loss.clone, "mean": loss.mean, "sum": loss.sum}[reduction]()


def composed_attention(results: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
    """PyTorch's attention without its fused kernels."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention
    with sdpa_kernel(SDPBackend.MATH):
        return scaled_dot_product_attention(*args, **kwargs)


def hardsigmoid(results: Sequence[Any], input: Any, inplace: bool = False) -> Any:
    """The hard sigmoid as its definition says."""
    return (input + 3).clamp(0, 6) / 6


def may_drop(case: Case) -> bool:
    """Whether a dropout draws anything."""
    return case.kwargs.get("training", True) and 0 < case.kwargs.get("p", 0.5) < 1


UNSPECIFIED = (
    Unspecified("nn.functional.dropout", may_drop, "which elements are dropped is random; what becomes of the others, "
                "and of their gradients, is compared", dropped),
    Unspecified("nn.functional.scaled_dot_product_attention", lambda case: case.kwargs.get("dropout_p", 0) > 0,
                "which attention weights are dropped is random; without dropout all is compared"),
    Unspecified("nn.functional.scaled_dot_product_attention", lambda case: not case.kwargs.get("dropout_p", 0),
                "PyTorch's fused attention cannot be differentiated twice; its composition of operations can",
                composed_attention, since=SECOND),
    Unspecified("nn.functional.binary_cross_entropy", lambda case: case.dtype == "float64",
                "PyTorch's second derivative adds 1e-12 to the probabilities; compared with that of the definition",
                cross_entropy_of_logarithms, since=SECOND),
    Unspecified("nn.functional.hardsigmoid", lambda case: case.dtype == "float64",
                "PyTorch's derivative is 1/6 rounded to float32 in float64 too; compared with that of the definition",
                hardsigmoid, since=GRADIENT),
)


def unspecified(case: Case) -> Unspecified | None:
    """The row of the table that a case falls under."""
    return next((row for row in UNSPECIFIED if row.operation == case.operation and row.when(case)), None)
