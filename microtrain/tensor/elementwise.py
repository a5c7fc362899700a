"""Elementwise operations: functions, comparisons, with PyTorch's dtype promotion; and what makes methods of rows."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .. import ops as g
from ..graph import dtypes
from ..graph.constants import constant
from ..graph.node import Node, Primitive, record2
from . import operators
from .operands import (
    by_number,
    called,
    converted,
    divisor,
    filling,
    floating,
    in_c,
    in_float32,
    must_be_floats,
    must_be_operands,
    no_bool,
    no_bools,
    node_of,
    not_a_tensor,
    stranger,
    truth,
)
from .operators import power
from .storage import wrap
from .types import Operand, Tensor

Unary = Callable[[Tensor], Tensor]
Binary = Callable[[Tensor, Tensor], Tensor]
Pair = Callable[[Tensor, Tensor, str], Iterable[Node]]
M = TypeVar("M", bound=Callable[..., Tensor])
CHECKED: list[Callable[..., Tensor]] = []
"""Methods that look at their first argument themselves, which need no more to be functions: it may be a number."""


def checked(method: M) -> M:
    """A method that is one of `CHECKED`."""
    CHECKED.append(method)
    return method


def function(operation: Callable[[Node], Node], name: str, doc: str,
             whole: Callable[[Node], Node] | None = None) -> Unary:
    """A method of one tensor; integers and booleans are taken as floats, or `whole` is for them."""
    def method(input: Tensor) -> Tensor:
        try:
            x = input.node
        except AttributeError:
            raise not_a_tensor(name, input) from None
        if x.spec.dtype.category != 2:
            return wrap(whole(x) if whole is not None else operation(floating(x)))
        return wrap(operation(x))
    return called(method, name, doc)


def primitive(name: str, doc: str) -> Unary:
    """The method of one tensor that a primitive gives; integers are taken as floats."""
    return checked(function(getattr(g, name), name, doc))


def unary(name: str, doc: str) -> Unary:
    """The method of one tensor that a composite gives: half precisions in float32, integers as floats."""
    return checked(function(in_float32(getattr(g, name)), name, doc))


def rounding(name: str, doc: str) -> Unary:
    """A method of one tensor that rounds: integers come back as they are, booleans are refused."""
    return function(getattr(g, name), name, doc, lambda x: g.identity(no_bool(x, name)))


def two(operation: Callable[..., Node], name: str, doc: str, pair: Pair = must_be_operands) -> Binary:
    """A method of two tensors, of which `pair` makes nodes: by default of one dtype."""
    def method(self: Tensor, other: Tensor) -> Tensor:
        return wrap(operation(*pair(self, other, name)))
    return called(method, name, doc)


def binary(name: str, doc: str, accept: Callable[[Node, str], Node] = lambda x, name: floating(x)) -> Binary:
    """As `unary`, of two tensors."""
    return two(in_float32(getattr(g, name)), name, doc,
               lambda x, y, name: [accept(node, name) for node in must_be_operands(x, y, name)])


def with_number(name: str, doc: str) -> Callable[[Operand, Operand], Tensor]:
    """As `binary`, of a tensor and a tensor or number; as a function it takes them in either order."""
    method: Any = two(in_float32(getattr(g, name)), name, doc, must_be_floats)
    method.__annotations__.update(self="Operand", other="Operand")
    return checked(method)


def logical(name: str, operation: Callable[[Node, Node], Node], doc: str) -> Binary:
    """A method of what is not zero in two tensors."""
    return two(operation, name, doc, lambda x, y, name: (truth(x.node), truth(y.node)))


def strict(method: operators.Operator, name: str, doc: str | None = None) -> operators.Operator:
    """An operator as a method: what an operator leaves to the other operand's type, it refuses. TypeError."""
    def refusing(input: Tensor, other: Operand) -> Tensor:
        node_of(input, name)
        out = method(input, other)
        return must_be_operands(input, other, name) if out is NotImplemented else out       # type: ignore[return-value]
    return called(refusing, name, doc or method.__doc__)


def _relu_of_whole(x: Node) -> Node:
    if x.spec.dtype is dtypes.bool_:
        raise RuntimeError("Boolean inputs not supported for relu")
    return g.relu(x)


relu = checked(function(g.relu, "relu", "x where it is positive, else 0.", _relu_of_whole))
abs = function(g.abs, "abs", "The magnitude. Raises NotImplementedError for booleans.",
               lambda x: g.abs(no_bool(x, "abs")))
softplus = function(g.softplus, "softplus", "log(1 + exp(x)), without overflow.")
sign = function(g.sign, "sign", "-1, 0 or 1.", lambda x: g.sign(x) if x.spec.dtype.category else g.identity(x))
logical_not = function(g.logical_not, "logical_not", "Whether each element is zero.", g.logical_not)
isnan = function(lambda x: g.ne(x, x), "isnan", "Whether each element is NaN.", lambda x: g.ne(x, x))
isinf = function(lambda x: g.eq(g.abs(x), math.inf), "isinf", "Whether each element is infinite.", lambda x: g.ne(x, x))
isfinite = function(lambda x: g.lt(g.abs(x), math.inf), "isfinite", "Whether each element is neither infinite nor NaN.",
                    lambda x: g.eq(x, x))
mul = strict(operators.mul, "mul", "self * other.")
floor_divide = strict(operators.floordiv, "floor_divide")
remainder = strict(operators.mod, "remainder", "What a floor division leaves; it has the divisor's sign.")
_over = strict(operators.truediv, "div")


def round(self: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, ties to even; or so many decimals."""
    x = node_of(self, "round")
    if x.spec.dtype.category != 2:
        return wrap(g.identity(x))
    if decimals == 0:
        return wrap(g.round(x))
    scale = 10.0 ** builtins.abs(decimals)
    there, back = (g.mul, g.div) if decimals > 0 else (g.div, g.mul)
    return wrap(back(g.round(there(x, scale)), scale))


def square(self: Tensor) -> Tensor:
    """x * x."""
    return power(must_be_operands(self, 2, "square"), 2)


def add(self: Tensor, other: Operand, *, alpha: Operand = 1) -> Tensor:
    """self + alpha * other."""
    return wrap(_with_multiple(g.ADD, self, other, alpha, "add"))


def sub(self: Tensor, other: Operand, *, alpha: Operand = 1) -> Tensor:
    """self - alpha * other."""
    no_bools(self, other)
    return wrap(_with_multiple(g.SUB, self, other, alpha, "sub"))


def rsub(self: Tensor, other: Operand, *, alpha: Operand = 1) -> Tensor:
    """other - alpha * self."""
    no_bools(other, self)
    return wrap(_with_multiple(g.SUB, other, self, alpha, "rsub"), "RsubBackward1")


def div(self: Tensor, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """self / other; with `rounding_mode` "floor" or "trunc", rounded so."""
    if rounding_mode is None:
        return _over(self, other)
    pair = must_be_operands(self, other, "div")
    if isinstance(rounding_mode, str) and rounding_mode in ("floor", "trunc"):
        rounded = g.div_floor if rounding_mode == "floor" else g.div_trunc
        return wrap(by_number(pair[0], other, rounded) or rounded(no_bool(pair[0], "div"), divisor(pair[1])))
    raise RuntimeError("div expected rounding_mode to be one of None, 'trunc', or 'floor' "
                       f"but found '{rounding_mode}'")


def pow(self: Tensor, exponent: Operand) -> Tensor:
    """self to the power of a number or a tensor."""
    return power(must_be_operands(self, exponent, "pow"), exponent)


@checked
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
                 for bound, limit in ((min, dtype.low), (max, dtype.high)))
    return wrap(g.clamp(x, low, high))


def clamp_min(self: Tensor, min: Operand) -> Tensor:
    """Elements not below `min`."""
    return self.clamp(min=min)


def clamp_max(self: Tensor, max: Operand) -> Tensor:
    """Elements not above `max`."""
    return self.clamp(max=max)


def masked_fill(self: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """`value`, a number or a 0-d tensor, where `mask` holds, else self; the dtype is self's. Raises RuntimeError for a
    mask that is not bool, and for a value that the dtype does not hold."""
    chosen, x, mine = mask.node, self.node, mask.node.spec.dtype
    if mine is not dtypes.bool_:
        raise RuntimeError("masked_fill_ only supports boolean masks, but got mask with dtype "
                           f"{in_c(mine)}{' int' * (mine in (dtypes.int64, dtypes.int16))}")
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


