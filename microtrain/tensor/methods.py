"""Makers of methods: operators, functions and comparisons, each from a primitive or an operation on nodes."""

from __future__ import annotations

import operator as python_operator
from typing import TYPE_CHECKING, Any

from ..graph import dtypes
from ..graph import ops as g
from ..graph.node import apply2, record2
from ..graph.primitives import MUL
from .core import Handle
from .operands import (
    beyond,
    by_number,
    comparable_dtype,
    floating,
    must_be_operands,
    no_bool,
    node_of,
    operands,
)
from .storage import wrap

if TYPE_CHECKING:
    from .tensor_class import Tensor


def operator(primitive: Any, name: str, check: Any = None) -> Any:
    """A dunder method for a binary primitive: first the two common cases (specs met before; a float tensor with a
    number met before), then everything else, after `check(self, other)`."""
    memo = primitive.memo

    def method(self: Tensor, other: Any) -> Tensor:
        x = self.node
        if isinstance(other, Handle):
            y = other.node
            known = memo.get((x.spec, y.spec))
            if known is not None:               # all that is checked below was checked for these specs
                return wrap(apply2(known, x, y))
        elif (other.__class__ is float or other.__class__ is int) and other and x.spec.dtype.wide:
            number = x.spec.constants.get(other)
            if number is not None:
                return wrap(record2(primitive, x, number))
        elif primitive is MUL and (node := by_number(x, other, g.mul)) is not None:
            return wrap(node)
        if check is not None:
            check(self, other)
        pair = operands(self, other, name)
        if pair is None:
            return NotImplemented
        return wrap(record2(primitive, *pair))
    method.__name__ = name
    return method


def function(operation: Any, name: str, doc: str, *, widen: bool = True) -> Any:
    """A method of one tensor; with `widen`, integers are taken as floats first."""
    def method(input: Tensor) -> Tensor:
        try:
            x = input.node
        except AttributeError:
            raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not "
                            f"{type(input).__name__}") from None
        if widen and x.spec.dtype.category != 2:
            x = floating(x)
        return wrap(operation(x))
    method.__name__, method.__doc__ = name, doc
    method.checks_input = True              # type: ignore[attr-defined]
    return method


def unchanged_if_integral(operation: Any, name: str, doc: str) -> Any:
    """A method of one tensor that rounds: integers come back as they are, booleans are refused."""
    def method(input: Tensor) -> Tensor:
        x = no_bool(node_of(input, name), name)
        return wrap(operation(x) if x.spec.dtype.category == 2 else g.identity(x))
    method.__name__, method.__doc__ = name, doc
    return method


def strict(method: Any, name: str) -> Any:
    """An operator as a method: what an operator leaves to the other operand's type, it refuses. TypeError."""
    def refusing(input: Tensor, other: Any) -> Tensor:
        out = method(input, other) if isinstance(input, Handle) else NotImplemented
        return must_be_operands(input, other, name) if out is NotImplemented else out       # type: ignore[return-value]
    refusing.__name__ = name
    return refusing


def compared(primitive: Any, name: str) -> Any:
    """A comparison with a tensor or a number, as an operator.

    With an integer beyond the tensor's dtype, as a number or in a tensor without axes, it is right; PyTorch's wraps.
    """
    for_numbers = getattr(python_operator, name)

    def method(input: Tensor, other: Any) -> Tensor:
        if isinstance(input, Handle) and (x := input.node).spec.dtype.category == 1 and beyond(other, x):
            return wrap(g.full(for_numbers(0, other), x.spec.shape, dtypes.bool_, x.spec.device))
        pair = operands(input, other, name, comparable_dtype)
        if pair is None:
            return NotImplemented
        return wrap(record2(primitive, *pair))
    method.__name__ = name
    return method


def bitwise(primitive: Any, name: str) -> Any:
    """A bitwise operator, for integers and booleans; raises RuntimeError for floating dtypes."""
    def method(input: Tensor, other: Any) -> Tensor:
        pair = operands(input, other, name)
        if pair is None:
            return NotImplemented
        if pair[0].spec.dtype.category == 2:
            raise RuntimeError(f'"{name}" not implemented for {pair[0].spec.dtype!r}: use integer or bool tensors')
        return wrap(record2(primitive, *pair))
    method.__name__ = name
    return method
