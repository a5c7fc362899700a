"""Elementwise operations: operators, functions, comparisons, with PyTorch's dtype promotion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..graph import dtypes
from ..graph import ops as g
from ..graph import primitives as p
from ..graph.node import Node, constant, record2
from ..graph.tape import entry_class
from .core import Handle
from .methods import bitwise, compared, function, operator, strict, unchanged_if_integral
from .operands import (
    as_floats,
    by_number,
    check_range,
    converted,
    divisor,
    filling,
    floating,
    in_float32,
    labelled,
    must_be_floats,
    must_be_operands,
    no_bool,
    no_bools,
    node_of,
    operands,
    stranger,
    truth,
    two_tensors,
)
from .storage import wrap

if TYPE_CHECKING:
    from .tensor_class import Tensor


_C_NAMES = {"float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
            "int64": "long int", "int32": "int", "int16": "short int", "int8": "signed char", "uint8": "unsigned char"}
"""What PyTorch calls the dtypes where its words are C++'s."""


def _relu(x: Node) -> Node:
    if x.spec.dtype is dtypes.bool_:
        raise RuntimeError("Boolean inputs not supported for relu")
    return g.relu(x)


class Elementwise:
    """Operators and elementwise functions."""

    __slots__ = ()

    __mul__ = __rmul__ = operator(p.MUL, "mul")
    __add__ = __radd__ = operator(p.ADD, "add")
    __sub__ = operator(p.SUB, "sub", no_bools)

    def __rsub__(self: Tensor, other: Any) -> Tensor:       # type: ignore[misc]
        x = self.node
        known = x.spec.constants.get(other) if other.__class__ in (float, int) and other else None
        if known is None or x.spec.dtype.category != 2:
            no_bools(other, self)
            pair = operands(other, self, "rsub")
            if pair is None:
                return NotImplemented
            known, x = pair
        node = record2(p.SUB, known, x)
        if node.tape is not None:
            node.tape.__class__ = RSUB
        return wrap(node)

    def __truediv__(self: Tensor, other: Any) -> Tensor:    # type: ignore[misc]
        node = None if isinstance(other, Handle) or self.node.spec.dtype.wide else by_number(self.node, other, g.div)
        if node is not None:
            return wrap(node)
        pair = as_floats(self, other, "div")
        return NotImplemented if pair is None else wrap(record2(p.DIV, *pair))

    def __rtruediv__(self: Tensor, other: Any) -> Tensor:   # type: ignore[misc]
        pair = as_floats(other, self, "div")
        if pair is None:
            return NotImplemented
        number, x = pair
        inverse = g.reciprocal(x)                           # as PyTorch computes it
        return wrap(by_number(inverse, other, g.mul) or g.mul(inverse, number))

    def __rdiv__(self: Tensor, other: Any) -> Tensor:       # type: ignore[misc]
        node_of(self, "__rdiv__")
        must_be_operands(other, self, "__rdiv__")
        return self.__rtruediv__(other)

    def __floordiv__(self: Tensor, other: Any) -> Tensor:   # type: ignore[misc]
        pair = operands(self, other, "floor_divide")
        if pair is None:
            return NotImplemented
        return wrap(by_number(pair[0], other, g.floor_divide) or _floor_divide(*pair))

    def __rfloordiv__(self: Tensor, other: Any) -> Tensor:  # type: ignore[misc]
        pair = operands(other, self, "floor_divide")
        return NotImplemented if pair is None else wrap(_floor_divide(*pair))

    def __mod__(self: Tensor, other: Any) -> Tensor:        # type: ignore[misc]
        pair = operands(self, other, "remainder")
        return NotImplemented if pair is None else wrap(_remainder(*pair))

    def __rmod__(self: Tensor, other: Any) -> Tensor:       # type: ignore[misc]
        pair = operands(other, self, "remainder")
        return NotImplemented if pair is None else wrap(_remainder(*pair))

    def __pow__(self: Tensor, other: Any) -> Tensor:        # type: ignore[misc]
        pair = operands(self, other, "pow")
        return NotImplemented if pair is None else _pow(pair, other)

    def __rpow__(self: Tensor, other: Any) -> Tensor:       # type: ignore[misc]
        pair = operands(other, self, "pow")
        return NotImplemented if pair is None else wrap(g.pow(*pair))

    def __neg__(self: Tensor) -> Tensor:                    # type: ignore[misc]
        x = self.node
        if x.spec.dtype.category == 0:
            raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
                               "invert a mask, use the `~` or `logical_not()` operator instead.")
        return wrap(g.neg(x))

    def __pos__(self: Tensor) -> Tensor:                    # type: ignore[misc]
        return self

    def __invert__(self: Tensor) -> Tensor:                 # type: ignore[misc]
        x = node_of(self, "bitwise_not")
        if x.spec.dtype.category == 2:
            raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
        return wrap(g.bitwise_not(x) if x.spec.dtype.category else g.logical_not(x))

    __eq__, __ne__, __lt__ = compared(p.EQ, "eq"), compared(p.NE, "ne"), compared(p.LT, "lt")
    __le__, __gt__, __ge__ = compared(p.LE, "le"), compared(p.GT, "gt"), compared(p.GE, "ge")
    eq, ne, lt = strict(__eq__, "eq"), strict(__ne__, "ne"), strict(__lt__, "lt")
    le, gt, ge = strict(__le__, "le"), strict(__gt__, "gt"), strict(__ge__, "ge")
    __hash__ = object.__hash__

    __and__ = __rand__ = bitwise(p.BITWISE_AND, "bitwise_and")
    __or__ = __ror__ = bitwise(p.BITWISE_OR, "bitwise_or")
    __xor__ = __rxor__ = bitwise(p.BITWISE_XOR, "bitwise_xor")
    bitwise_and, bitwise_or = strict(__and__, "bitwise_and"), strict(__or__, "bitwise_or")
    bitwise_xor = strict(__xor__, "bitwise_xor")
    bitwise_not = __invert__

    def __abs__(self: Tensor) -> Tensor:                    # type: ignore[misc]
        return wrap(g.abs(no_bool(node_of(self, "abs"), "abs")))

    abs = absolute = __abs__
    neg = negative = __neg__
    exp = function(g.exp, "exp", "e to the power of each element.")
    log = function(g.log, "log", "Natural logarithm.")
    log1p = function(g.log1p, "log1p", "log(1 + x), accurate near 0.")
    expm1 = function(g.expm1, "expm1", "exp(x) - 1, accurate near 0.")
    sqrt = function(g.sqrt, "sqrt", "Square root.")
    rsqrt = function(g.rsqrt, "rsqrt", "1 / sqrt(x).")
    reciprocal = function(g.reciprocal, "reciprocal", "1 / x.")
    sin = function(g.sin, "sin", "Sine of an angle in radians.")
    cos = function(g.cos, "cos", "Cosine of an angle in radians.")
    tan = function(g.tan, "tan", "Tangent of an angle in radians.")
    tanh = function(g.tanh, "tanh", "Hyperbolic tangent.")
    sigmoid = function(g.sigmoid, "sigmoid", "1 / (1 + exp(-x)).")
    relu = function(_relu, "relu", "x where it is positive, else 0.", widen=False)
    floor = unchanged_if_integral(g.floor, "floor", "The largest integer not above.")
    ceil = unchanged_if_integral(g.ceil, "ceil", "The smallest integer not below.")
    trunc = fix = unchanged_if_integral(g.trunc, "trunc", "The integer part.")

    def softplus(self: Tensor) -> Tensor:                   # type: ignore[misc]
        """log(1 + exp(x)), without overflow."""
        return wrap(g.softplus(floating(node_of(self, "softplus"))))

    def sign(self: Tensor) -> Tensor:                       # type: ignore[misc]
        """-1, 0 or 1."""
        x = node_of(self, "sign")
        return wrap(g.sign(x) if x.spec.dtype.category else g.identity(x))

    def round(self: Tensor, *, decimals: int = 0) -> Tensor:    # type: ignore[misc]
        """The nearest integer, ties to even; or so many decimals."""
        x = node_of(self, "round")
        if x.spec.dtype.category != 2:
            return wrap(g.identity(x))
        if decimals == 0:
            return wrap(g.round(x))
        scale = 10.0 ** abs(decimals)
        if decimals > 0:
            return wrap(g.div(g.round(g.mul(x, scale)), scale))
        return wrap(g.mul(g.round(g.div(x, scale)), scale))

    def square(self: Tensor) -> Tensor:                     # type: ignore[misc]
        """x * x."""
        return _pow(must_be_operands(self, 2, "square"), 2)

    def add(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:     # type: ignore[misc]
        """self + alpha * other."""
        return wrap(_with_multiple(p.ADD, self, other, alpha, "add"))

    def sub(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:     # type: ignore[misc]
        """self - alpha * other."""
        no_bools(self, other)
        return wrap(_with_multiple(p.SUB, self, other, alpha, "sub"))

    subtract = sub

    def mul(self: Tensor, other: Any) -> Tensor:            # type: ignore[misc]
        """self * other."""
        if not isinstance(other, Handle) and not node_of(self, "mul").spec.dtype.wide:
            node = by_number(self.node, other, g.mul)
            if node is not None:
                return wrap(node)
        return wrap(record2(p.MUL, *must_be_operands(self, other, "mul")))

    multiply = mul

    def rsub(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:    # type: ignore[misc]
        """other - alpha * self."""
        no_bools(other, self)
        return labelled(wrap(_with_multiple(p.SUB, other, self, alpha, "rsub")), "RsubBackward1")

    def div(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:   # type: ignore[misc]
        """self / other; with `rounding_mode` "floor" or "trunc", rounded so."""
        if rounding_mode is None:
            node = None if isinstance(other, Handle) else by_number(node_of(self, "div"), other, g.div)
            return wrap(record2(p.DIV, *must_be_floats(self, other, "div")) if node is None else node)
        pair = must_be_operands(self, other, "div")
        if isinstance(rounding_mode, str) and rounding_mode in ("floor", "trunc"):
            rounded = g.div_floor if rounding_mode == "floor" else g.div_trunc
            return wrap(by_number(pair[0], other, rounded) or rounded(no_bool(pair[0], "div"), divisor(pair[1])))
        raise RuntimeError("div expected rounding_mode to be one of None, 'trunc', or 'floor' "
                           f"but found '{rounding_mode}'")

    divide = true_divide = div

    def floor_divide(self: Tensor, other: Any) -> Tensor:   # type: ignore[misc]
        """The quotient rounded down."""
        pair = must_be_operands(self, other, "floor_divide")
        return wrap(by_number(pair[0], other, g.floor_divide) or _floor_divide(*pair))

    def remainder(self: Tensor, other: Any) -> Tensor:      # type: ignore[misc]
        """What a floor division leaves; it has the divisor's sign."""
        return wrap(_remainder(*must_be_operands(self, other, "remainder")))

    def pow(self: Tensor, exponent: Any) -> Tensor:         # type: ignore[misc]
        """self to the power of a number or a tensor."""
        return _pow(must_be_operands(self, exponent, "pow"), exponent)

    def maximum(self: Tensor, other: Tensor) -> Tensor:     # type: ignore[misc]
        """The larger of two elements; NaN wins. Ties share the gradient."""
        return wrap(g.maximum(*two_tensors(self, other, "maximum")))

    def minimum(self: Tensor, other: Tensor) -> Tensor:     # type: ignore[misc]
        """The smaller of two elements; NaN wins. Ties share the gradient."""
        return wrap(g.minimum(*two_tensors(self, other, "minimum")))

    def logical_not(self: Tensor) -> Tensor:                # type: ignore[misc]
        """Whether each element is zero."""
        return wrap(g.logical_not(node_of(self, "logical_not")))

    def logical_and(self: Tensor, other: Tensor) -> Tensor:     # type: ignore[misc]
        """Whether both elements are non-zero."""
        return wrap(g.bitwise_and(truth(node_of(self, "logical_and")), truth(node_of(other, "logical_and"))))

    def logical_or(self: Tensor, other: Tensor) -> Tensor:      # type: ignore[misc]
        """Whether either element is non-zero."""
        return wrap(g.bitwise_or(truth(node_of(self, "logical_or")), truth(node_of(other, "logical_or"))))

    def logical_xor(self: Tensor, other: Tensor) -> Tensor:     # type: ignore[misc]
        """Whether exactly one element is non-zero."""
        return wrap(g.bitwise_xor(truth(node_of(self, "logical_xor")), truth(node_of(other, "logical_xor"))))

    def isnan(self: Tensor) -> Tensor:                      # type: ignore[misc]
        """Whether each element is NaN."""
        x = node_of(self, "isnan")
        return wrap(g.ne(x, x))

    def isinf(self: Tensor) -> Tensor:                      # type: ignore[misc]
        """Whether each element is infinite."""
        x = node_of(self, "isinf")
        if x.spec.dtype.category != 2:
            return wrap(g.ne(x, x))
        return wrap(g.eq(g.abs(x), float("inf")))

    def isfinite(self: Tensor) -> Tensor:                   # type: ignore[misc]
        """Whether each element is neither infinite nor NaN."""
        x = node_of(self, "isfinite")
        if x.spec.dtype.category != 2:
            return wrap(g.eq(x, x))
        return wrap(g.lt(g.abs(x), float("inf")))

    def clamp(self: Tensor, min: Any = None, max: Any = None) -> Tensor:    # type: ignore[misc]
        """Elements limited to [min, max]; either bound may be missing, a number or a tensor."""
        x = node_of(self, "clamp")
        if min is None and max is None:
            raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
        if x.spec.dtype.category == 2 and not isinstance(min, Handle) and not isinstance(max, Handle):
            return wrap(g.clamp(x, min if min.__class__ is float else _bound(min, -math.inf, "min"),
                                max if max.__class__ is float else _bound(max, math.inf, "max")))
        for bound in (min, max):
            if bound is not None:
                x = must_be_operands(wrap(x), bound, "clamp")[0]
        dtype = x.spec.dtype
        low, high = (limit if bound is None else g.cast(bound.node, dtype) if isinstance(bound, Handle) else
                     converted(bound, dtype, "clamp")
                     for bound, limit in ((min, dtypes.lowest(dtype)), (max, dtypes.highest(dtype))))
        return wrap(g.clamp(x, low, high))

    clip = clamp

    def clamp_min(self: Tensor, min: Any) -> Tensor:        # type: ignore[misc]
        """Elements not below `min`."""
        return self.clamp(min=min)

    def clamp_max(self: Tensor, max: Any) -> Tensor:        # type: ignore[misc]
        """Elements not above `max`."""
        return self.clamp(max=max)

    def where(self: Tensor, condition: Tensor, other: Any) -> Tensor:   # type: ignore[misc]
        """self where `condition` holds, else `other`."""
        from .selection import where
        return where(condition, self, other)

    def masked_fill(self: Tensor, mask: Tensor, value: Any) -> Tensor:  # type: ignore[misc]
        """`value`, a number or a 0-d tensor, where `mask` holds, else self; the dtype is self's.

        Raises RuntimeError for a mask that is not bool, and for a value that the dtype does not hold.
        """
        chosen, x = node_of(mask, "masked_fill"), self.node
        if chosen.spec.dtype is not dtypes.bool_:
            raise RuntimeError("masked_fill_ only supports boolean masks, but got mask with dtype "
                               f"{_C_NAMES[chosen.spec.dtype.name]}")
        if isinstance(value, Handle) and value.ndim:
            raise RuntimeError("masked_fill only supports a 0-dimensional value tensor, but got tensor with "
                               f"{value.ndim} dimension(s).")
        return wrap(g.where(chosen, filling(value, x, "masked_fill"), x))


def _with_multiple(primitive: Any, a: Any, b: Any, alpha: Any, name: str) -> Node:
    """The sum or difference of `a` and `alpha * b`, in the dtype that a and b have together, which alpha does not
    change; of half precisions rounded once."""
    x, y = must_be_operands(a, b, name)
    if alpha.__class__ is int and alpha == 1:
        return record2(primitive, x, y)
    if isinstance(alpha, Handle) and alpha.ndim:
        raise TypeError(f"{name}(): argument 'alpha' must be Number, not Tensor of shape {list(alpha.shape)}")
    number = alpha.item() if hasattr(alpha, "item") else alpha
    dtype = x.spec.dtype
    if isinstance(number, bool) and dtype.category:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(number, float) and dtype.category < 2:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    factor = constant(converted(number, dtype), dtype, y.spec.device)
    return in_float32(lambda u, v, k: record2(primitive, u, g.mul(v, k)))(x, y, factor)        # type: ignore[no-any-return]


def _bound(value: Any, without: float, argument: str) -> float:
    if value is None:
        return without
    number = stranger(value)
    if number is None:
        raise TypeError(f"clamp(): argument '{argument}' must be Number or Tensor, not {type(value).__name__}")
    return float(number)


Elementwise.clamp.checks_input = True           # type: ignore[attr-defined]
RSUB = entry_class("RsubBackward1")


def _floor_divide(x: Node, y: Node) -> Node:
    return g.floor_divide(no_bool(x, "floor_divide"), divisor(y))


def _remainder(x: Node, y: Node) -> Node:
    return g.remainder(no_bool(x, "remainder"), divisor(y))


def _pow(pair: tuple[Node, Node], exponent: Any) -> Tensor:
    x, y = pair
    if x.spec.dtype.category == 0 and not isinstance(exponent, bool):
        no_bool(x, "pow")
    if isinstance(exponent, Handle):
        return wrap(g.pow(x, y))
    if x.spec.dtype.category == 1:
        if exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        check_range(exponent, x.spec.dtype)
    return labelled(wrap(g.pow(x, y)), "PowBackward0")
