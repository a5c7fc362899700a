"""Elementwise operations: operators, functions, comparisons, with PyTorch's dtype promotion."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable

from .. import ops as g
from .. import ops as p
from ..graph import dtypes
from ..graph.constants import constant
from ..graph.node import Node, Primitive, record2
from . import operators
from .operands import (
    by_number,
    converted,
    divisor,
    filling,
    floating,
    in_float32,
    must_be_floats,
    must_be_operands,
    no_bool,
    no_bools,
    node_of,
    stranger,
    truth,
    two_tensors,
)
from .operators import floor_quotient, floor_rest, power
from .storage import wrap
from .types import Operand, Tensor

Unary = Callable[[Tensor], Tensor]
CHECKED: list[Callable[..., Tensor]] = []
"""Methods that look at their first argument themselves, which need no more to be functions: it may be a number."""


def function(operation: Callable[[Node], Node], name: str, doc: str, *, widen: bool = True) -> Unary:
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
    CHECKED.append(method)
    return method


def unchanged_if_integral(operation: Callable[[Node], Node], name: str, doc: str) -> Unary:
    """A method of one tensor that rounds: integers come back as they are, booleans are refused."""
    def method(input: Tensor) -> Tensor:
        x = no_bool(node_of(input, name), name)
        return wrap(operation(x) if x.spec.dtype.category == 2 else g.identity(x))
    method.__name__, method.__doc__ = name, doc
    return method


def strict(method: operators.Operator, name: str) -> operators.Operator:
    """An operator as a method: what an operator leaves to the other operand's type, it refuses. TypeError."""
    def refusing(input: Tensor, other: Operand) -> Tensor:
        out = method(input, other) if isinstance(input, Tensor) else NotImplemented
        return must_be_operands(input, other, name) if out is NotImplemented else out       # type: ignore[return-value]
    refusing.__name__ = name
    return refusing


_C_NAMES = {"float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
            "int64": "long int", "int32": "int", "int16": "short int", "int8": "signed char", "uint8": "unsigned char"}
"""What PyTorch calls the dtypes where its words are C++'s."""


def _relu(x: Node) -> Node:
    if x.spec.dtype is dtypes.bool_:
        raise RuntimeError("Boolean inputs not supported for relu")
    return g.relu(x)


def abs(self: Tensor) -> Tensor:
    """The magnitude. Raises NotImplementedError for booleans."""
    return wrap(g.abs(no_bool(node_of(self, "abs"), "abs")))


eq, ne, lt = strict(operators.eq, "eq"), strict(operators.ne, "ne"), strict(operators.lt, "lt")
le, gt, ge = strict(operators.le, "le"), strict(operators.gt, "gt"), strict(operators.ge, "ge")
bitwise_and = strict(operators.bitwise_and, "bitwise_and")
bitwise_or = strict(operators.bitwise_or, "bitwise_or")
bitwise_xor = strict(operators.bitwise_xor, "bitwise_xor")
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
trunc = unchanged_if_integral(g.trunc, "trunc", "The integer part.")


def softplus(self: Tensor) -> Tensor:
    """log(1 + exp(x)), without overflow."""
    return wrap(g.softplus(floating(node_of(self, "softplus"))))


def sign(self: Tensor) -> Tensor:
    """-1, 0 or 1."""
    x = node_of(self, "sign")
    return wrap(g.sign(x) if x.spec.dtype.category else g.identity(x))


def round(self: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, ties to even; or so many decimals."""
    x = node_of(self, "round")
    if x.spec.dtype.category != 2:
        return wrap(g.identity(x))
    if decimals == 0:
        return wrap(g.round(x))
    scale = 10.0 ** builtins.abs(decimals)
    if decimals > 0:
        return wrap(g.div(g.round(g.mul(x, scale)), scale))
    return wrap(g.mul(g.round(g.div(x, scale)), scale))


def square(self: Tensor) -> Tensor:
    """x * x."""
    return power(must_be_operands(self, 2, "square"), 2)


def add(self: Tensor, other: Operand, *, alpha: Operand = 1) -> Tensor:
    """self + alpha * other."""
    return wrap(_with_multiple(p.ADD, self, other, alpha, "add"))


def sub(self: Tensor, other: Operand, *, alpha: Operand = 1) -> Tensor:
    """self - alpha * other."""
    no_bools(self, other)
    return wrap(_with_multiple(p.SUB, self, other, alpha, "sub"))


def mul(self: Tensor, other: Operand) -> Tensor:
    """self * other."""
    if not isinstance(other, Tensor) and not node_of(self, "mul").spec.dtype.wide:
        node = by_number(self.node, other, g.mul)
        if node is not None:
            return wrap(node)
    return wrap(record2(p.MUL, *must_be_operands(self, other, "mul")))


def rsub(self: Tensor, other: Operand, *, alpha: Operand = 1) -> Tensor:
    """other - alpha * self."""
    no_bools(other, self)
    return wrap(_with_multiple(p.SUB, other, self, alpha, "rsub"), "RsubBackward1")


def div(self: Tensor, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """self / other; with `rounding_mode` "floor" or "trunc", rounded so."""
    if rounding_mode is None:
        node = None if isinstance(other, Tensor) else by_number(node_of(self, "div"), other, g.div)
        return wrap(record2(p.DIV, *must_be_floats(self, other, "div")) if node is None else node)
    pair = must_be_operands(self, other, "div")
    if isinstance(rounding_mode, str) and rounding_mode in ("floor", "trunc"):
        rounded = g.div_floor if rounding_mode == "floor" else g.div_trunc
        return wrap(by_number(pair[0], other, rounded) or rounded(no_bool(pair[0], "div"), divisor(pair[1])))
    raise RuntimeError("div expected rounding_mode to be one of None, 'trunc', or 'floor' "
                       f"but found '{rounding_mode}'")


def floor_divide(self: Tensor, other: Operand) -> Tensor:
    """The quotient rounded down."""
    pair = must_be_operands(self, other, "floor_divide")
    return wrap(by_number(pair[0], other, g.floor_divide) or floor_quotient(*pair))


def remainder(self: Tensor, other: Operand) -> Tensor:
    """What a floor division leaves; it has the divisor's sign."""
    return wrap(floor_rest(*must_be_operands(self, other, "remainder")))


def pow(self: Tensor, exponent: Operand) -> Tensor:
    """self to the power of a number or a tensor."""
    return power(must_be_operands(self, exponent, "pow"), exponent)


def maximum(self: Tensor, other: Tensor) -> Tensor:
    """The larger of two elements; NaN wins. Ties share the gradient."""
    return wrap(g.maximum(*two_tensors(self, other, "maximum")))


def minimum(self: Tensor, other: Tensor) -> Tensor:
    """The smaller of two elements; NaN wins. Ties share the gradient."""
    return wrap(g.minimum(*two_tensors(self, other, "minimum")))


def logical_not(self: Tensor) -> Tensor:
    """Whether each element is zero."""
    return wrap(g.logical_not(node_of(self, "logical_not")))


def logical_and(self: Tensor, other: Tensor) -> Tensor:
    """Whether both elements are non-zero."""
    return wrap(g.bitwise_and(truth(node_of(self, "logical_and")), truth(node_of(other, "logical_and"))))


def logical_or(self: Tensor, other: Tensor) -> Tensor:
    """Whether either element is non-zero."""
    return wrap(g.bitwise_or(truth(node_of(self, "logical_or")), truth(node_of(other, "logical_or"))))


def logical_xor(self: Tensor, other: Tensor) -> Tensor:
    """Whether exactly one element is non-zero."""
    return wrap(g.bitwise_xor(truth(node_of(self, "logical_xor")), truth(node_of(other, "logical_xor"))))


def isnan(self: Tensor) -> Tensor:
    """Whether each element is NaN."""
    x = node_of(self, "isnan")
    return wrap(g.ne(x, x))


def isinf(self: Tensor) -> Tensor:
    """Whether each element is infinite."""
    x = node_of(self, "isinf")
    if x.spec.dtype.category != 2:
        return wrap(g.ne(x, x))
    return wrap(g.eq(g.abs(x), float("inf")))


def isfinite(self: Tensor) -> Tensor:
    """Whether each element is neither infinite nor NaN."""
    x = node_of(self, "isfinite")
    if x.spec.dtype.category != 2:
        return wrap(g.eq(x, x))
    return wrap(g.lt(g.abs(x), float("inf")))


def clamp(self: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """Elements limited to [min, max]; either bound may be missing, a number or a tensor."""
    x = node_of(self, "clamp")
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if x.spec.dtype.category == 2 and not isinstance(min, Tensor) and not isinstance(max, Tensor):
        return wrap(g.clamp(x, min if min.__class__ is float else _bound(min, -math.inf, "min"),
                            max if max.__class__ is float else _bound(max, math.inf, "max")))
    for bound in (min, max):
        if bound is not None:
            x = must_be_operands(wrap(x), bound, "clamp")[0]
    dtype = x.spec.dtype
    low, high = (limit if bound is None else g.cast(bound.node, dtype) if isinstance(bound, Tensor) else
                 converted(bound, dtype, "clamp")
                 for bound, limit in ((min, dtypes.lowest(dtype)), (max, dtypes.highest(dtype))))
    return wrap(g.clamp(x, low, high))


CHECKED.append(clamp)


def clamp_min(self: Tensor, min: Operand) -> Tensor:
    """Elements not below `min`."""
    return self.clamp(min=min)


def clamp_max(self: Tensor, max: Operand) -> Tensor:
    """Elements not above `max`."""
    return self.clamp(max=max)


def masked_fill(self: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """`value`, a number or a 0-d tensor, where `mask` holds, else self; the dtype is self's.

    Raises RuntimeError for a mask that is not bool, and for a value that the dtype does not hold.
    """
    chosen, x = node_of(mask, "masked_fill"), self.node
    if chosen.spec.dtype is not dtypes.bool_:
        raise RuntimeError("masked_fill_ only supports boolean masks, but got mask with dtype "
                           f"{_C_NAMES[chosen.spec.dtype.name]}")
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError("masked_fill only supports a 0-dimensional value tensor, but got tensor with "
                           f"{value.ndim} dimension(s).")
    return wrap(g.where(chosen, filling(value, x, "masked_fill"), x))


def _with_multiple(primitive: Primitive, a: Operand, b: Operand, alpha: Operand, name: str) -> Node:
    """The sum or difference of `a` and `alpha * b`, in the dtype that a and b have together, which alpha does not
    change; of half precisions rounded once."""
    x, y = must_be_operands(a, b, name)
    if alpha.__class__ is int and alpha == 1:
        return record2(primitive, x, y)
    if isinstance(alpha, Tensor) and alpha.ndim:
        raise TypeError(f"{name}(): argument 'alpha' must be Number, not Tensor of shape {list(alpha.shape)}")
    number = alpha.item() if hasattr(alpha, "item") else alpha
    dtype = x.spec.dtype
    if isinstance(number, bool) and dtype.category:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(number, float) and dtype.category < 2:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    factor = constant(converted(number, dtype), dtype, y.spec.device)
    return in_float32(lambda u, v, k: record2(primitive, u, g.mul(v, k)))(x, y, factor)


def _bound(value: float | None, without: float, argument: str) -> float:
    if value is None:
        return without
    number = stranger(value)
    if number is None:
        raise TypeError(f"clamp(): argument '{argument}' must be Number or Tensor, not {type(value).__name__}")
    return float(number)


