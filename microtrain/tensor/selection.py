"""`where`: one value or another, by a condition."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops as g
from ..engine.handle import type_of
from ..graph import dtypes
from ..graph.constants import constant
from .index import nonzero
from .operands import beyond, converted, must_be_operands, truth
from .storage import wrap
from .types import Operand, Tensor


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """`input` where `condition` holds, else `other`; with the condition alone, the indices where it holds.

    Raises TypeError for a condition that is no Tensor, and for values that are neither Tensors nor numbers;
    RuntimeError for a condition that is not bool.
    """
    alone = input is None and other is None
    must_be("condition", 1, condition, "Tensor")
    if alone:
        return nonzero(condition, as_tuple=True)
    must_be("input", 2, input, "Tensor or Number")
    must_be("other", 3, other, "Tensor or Number")
    mask = condition.node
    if mask.spec.dtype is dtypes.uint8:
        mask = truth(mask)
    if mask.spec.dtype is not dtypes.bool_:
        raise RuntimeError("where expected condition to be a boolean tensor, but got a tensor with dtype "
                           f"{mask.spec.dtype!r}")
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        dtype = max(dtypes.of_scalar(input), dtypes.of_scalar(other), key=lambda d: d.category)
        return wrap(g.where(mask, *(constant(converted(v, dtype, "where"), dtype, mask.spec.device)
                                    for v in (input, other))))
    if isinstance(input, Tensor) and beyond(other, input.node):
        other = converted(other, input.dtype, "where")
    elif isinstance(other, Tensor) and beyond(input, other.node):
        input = converted(input, other.dtype, "where")
    return wrap(g.where(mask, *must_be_operands(input, other, "where")))


def must_be(name: str, position: int, value: object, kinds: str) -> None:
    """Raise TypeError, in PyTorch's words, for an argument that is no Tensor, nor a number where one will do."""
    if not isinstance(value, Tensor) and not (position > 1 and isinstance(value, complex | float | int | np.generic)):
        hint = f": microtrain.tensor({name}) makes one" if hasattr(value, "__array__") else ""
        raise TypeError(f"where(): argument '{name}' (position {position}) must be {kinds}, not {type_of(value)}{hint}")


def chosen(self: Tensor, condition: Tensor, other: Operand) -> Tensor:
    """self where `condition` holds, else `other`."""
    return where(condition, self, other)


chosen.__name__ = "where"
