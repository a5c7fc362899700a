"""Python's operators of a tensor and a tensor or number; NotImplemented for what the other operand's type may know."""

from __future__ import annotations

import operator as python_operator
from collections.abc import Callable

from .. import ops as g
from ..graph import dtypes
from ..graph.node import Node, Primitive, apply2, record2
from ..graph.tape import entry_class
from ..ops import MUL
from . import operands as o
from .operands import as_floats, by_number, called, operands
from .storage import wrap
from .types import Operand, Tensor

Operator = Callable[[Tensor, Operand], Tensor]
RSUB = entry_class("RsubBackward1")


def operator(primitive: Primitive, name: str, check: Callable[[Operand, Operand], None] | None = None) -> Operator:
    """A dunder method for a binary primitive: first the two common cases (specs met before; a float tensor with a
    number met before), then everything else, after `check(self, other)`."""
    memo = primitive.memo

    def method(self: Tensor, other: Operand) -> Tensor:
        x = self.node
        if isinstance(other, Tensor):
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
    return called(method, name)


def paired(record: Callable[..., Node], name: str, doc: str | None = None, reflected: bool = False) -> Operator:
    """An operator that records something of a pair of operands, or of the same pair the other way round."""
    def method(self: Tensor, other: Operand) -> Tensor:
        pair = operands(other, self, name) if reflected else operands(self, other, name)
        return NotImplemented if pair is None else wrap(record(*pair))
    return called(method, name, doc)


def compared(primitive: Primitive, name: str) -> Operator:
    """A comparison with a tensor or a number, as an operator. With an integer beyond the tensor's dtype, as a number or
    in a tensor without axes, it is right; PyTorch's wraps."""
    for_numbers = getattr(python_operator, name)

    def method(self: Tensor, other: Operand) -> Tensor:
        if (x := self.node).spec.dtype.category == 1 and o.beyond(other, x):
            return wrap(g.full(for_numbers(0, other), x.spec.shape, dtypes.bool_, x.spec.device))
        pair = operands(self, other, name, o.comparable_dtype)
        return NotImplemented if pair is None else wrap(record2(primitive, *pair))
    return called(method, name)


def bitwise(primitive: Primitive, name: str) -> Operator:
    """A bitwise operator, for integers and booleans; raises RuntimeError for floating dtypes."""
    def record(x: Node, y: Node) -> Node:
        if x.spec.dtype.category == 2:
            raise RuntimeError(f'"{name}" not implemented for {x.spec.dtype!r}: use integer or bool tensors')
        return record2(primitive, x, y)
    return paired(record, name)


mul = operator(g.MUL, "mul")
add = operator(g.ADD, "add")
sub = operator(g.SUB, "sub", o.no_bools)


def rsub(self: Tensor, other: Operand) -> Tensor:
    """other - self."""
    x = self.node
    known = x.spec.constants.get(other) if other.__class__ in (float, int) and other else None
    if known is None or x.spec.dtype.category != 2:
        o.no_bools(other, self)
        pair = operands(other, self, "rsub")
        if pair is None:
            return NotImplemented
        known, x = pair
    node = record2(g.SUB, known, x)
    if node.tape is not None:
        node.tape.__class__ = RSUB
    return wrap(node)


def truediv(self: Tensor, other: Operand) -> Tensor:
    """self / other, of integers as floats."""
    node = None if isinstance(other, Tensor) or self.node.spec.dtype.wide else by_number(self.node, other, g.div)
    if node is not None:
        return wrap(node)
    pair = as_floats(self, other, "div")
    return NotImplemented if pair is None else wrap(record2(g.DIV, *pair))


def rtruediv(self: Tensor, other: Operand) -> Tensor:
    """other / self."""
    pair = as_floats(other, self, "div")
    if pair is None:
        return NotImplemented
    number, x = pair
    inverse = g.reciprocal(x)                           # as PyTorch computes it
    return wrap(by_number(inverse, other, g.mul) or g.mul(inverse, number))


def floordiv(self: Tensor, other: Operand) -> Tensor:
    """The quotient rounded down."""
    pair = operands(self, other, "floor_divide")
    return NotImplemented if pair is None else wrap(by_number(pair[0], other, g.floor_divide) or _quotient(*pair))


def _quotient(x: Node, y: Node) -> Node:
    return g.floor_divide(o.no_bool(x, "floor_divide"), o.divisor(y))


def _rest(x: Node, y: Node) -> Node:
    return g.remainder(o.no_bool(x, "remainder"), o.divisor(y))


rfloordiv = paired(_quotient, "floor_divide", "other // self.", reflected=True)
mod = paired(_rest, "remainder", "What a floor division leaves.")
rmod = paired(_rest, "remainder", "other % self.", reflected=True)
rpow = paired(g.pow, "pow", "`other` to the power of self.", reflected=True)


def pow(self: Tensor, other: Operand) -> Tensor:
    """self to the power of `other`."""
    pair = operands(self, other, "pow")
    return NotImplemented if pair is None else power(pair, other)


def neg(self: Tensor) -> Tensor:
    """-self. Raises RuntimeError for booleans."""
    x = self.node
    if x.spec.dtype.category == 0:
        raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
                           "invert a mask, use the `~` or `logical_not()` operator instead.")
    return wrap(g.neg(x))


def pos(self: Tensor) -> Tensor:
    """The tensor itself."""
    return self


def invert(self: Tensor) -> Tensor:
    """Each bit flipped, of booleans `not`. Raises TypeError for floats."""
    x = o.node_of(self, "bitwise_not")
    if x.spec.dtype.category == 2:
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return wrap(g.bitwise_not(x) if x.spec.dtype.category else g.logical_not(x))


eq, ne, lt = compared(g.EQ, "eq"), compared(g.NE, "ne"), compared(g.LT, "lt")
le, gt, ge = compared(g.LE, "le"), compared(g.GT, "gt"), compared(g.GE, "ge")
bitwise_and, bitwise_or = bitwise(g.BITWISE_AND, "bitwise_and"), bitwise(g.BITWISE_OR, "bitwise_or")
bitwise_xor = bitwise(g.BITWISE_XOR, "bitwise_xor")


def power(pair: tuple[Node, Node], exponent: Operand) -> Tensor:
    """The power of a pair, whose second came from `exponent`."""
    x, y = pair
    if x.spec.dtype.category == 0 and not isinstance(exponent, bool):
        o.no_bool(x, "pow")
    if isinstance(exponent, Tensor):
        return wrap(g.pow(x, y))
    if x.spec.dtype.category == 1:
        if exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        o.check_range(exponent, x.spec.dtype)
    return wrap(g.pow(x, y), "PowBackward0")
