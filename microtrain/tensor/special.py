"""Further elementwise functions: angles, hyperbolics, logarithms, the error function, signs and blends.

Half precisions are computed in float32 and rounded once, gradients too.
"""

from __future__ import annotations

import math

import numpy as np

from .. import ops as g
from ..arguments import Number
from ..autograd.function import refused
from ..graph import dtypes
from ..graph.constants import constant
from ..graph.dtypes import TITLES
from ..graph.node import Node, record2
from ..graph.tape import grad_mode
from ..ops import MUL
from .elementwise import CHECKED, Unary, with_number
from .inplace import inplace
from .operands import (
    called,
    check_range,
    divisor,
    floating,
    floats_only,
    in_float32,
    labelled,
    must_be_floats,
    must_be_operands,
    no_bool,
    node_of,
)
from .storage import wrap
from .types import Operand, Tensor


def scaled(name: str, factor: float, label: str, doc: str) -> Unary:
    """A method of one tensor that multiplies it, as a float, by a constant."""
    def method(self: Tensor) -> Tensor:
        x = floating(node_of(self, name))
        return wrap(record2(MUL, x, constant(factor, x.spec.dtype, x.spec.device)), label)
    return called(method, name, doc)


def copysign(self: Tensor, other: Operand) -> Tensor:
    """The magnitude of self with the sign of `other`, a tensor or a number."""
    return wrap(in_float32(g.copysign)(*must_be_floats(self, other, "copysign")))


def logit(self: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), x first limited to [eps, 1 - eps] where eps is given; NaN outside [0, 1]."""
    return wrap(in_float32(g.logit)(floating(node_of(self, "logit")), None if eps is None else float(eps)))


def fmod(self: Tensor, other: Operand) -> Tensor:
    """What a division rounded toward 0 leaves; it has the dividend's sign."""
    x, y = must_be_operands(self, other, "fmod")
    out = wrap(in_float32(g.fmod)(no_bool(x, "fmod"), divisor(y)))
    return out if isinstance(other, Tensor) else labelled(out, "FmodBackward0")


def frac(self: Tensor) -> Tensor:
    """x less its integer part, with the sign of x."""
    x = floats_only(node_of(self, "frac"), "frac")
    return wrap(g.sub(x, g.trunc(x)), "FracBackward0")


def float_power(self: Tensor, exponent: Operand) -> Tensor:
    """self to the power of a number or a tensor, in float64; either may be a number."""
    base, power = (x.double() if isinstance(x, Tensor) else x for x in (self, exponent))
    if isinstance(base, Tensor):
        return base.pow(power)
    return wrap(g.pow(*must_be_operands(base, power, "float_power")))


CHECKED.append(float_power)
_float_power_ = inplace("float_power")


def float_power_(self: Tensor, exponent: Operand) -> Tensor:
    """In-place `float_power`. Raises RuntimeError unless self is float64, as the result is."""
    if self.dtype is not dtypes.float64:
        raise RuntimeError(f"the base given to float_power_ has dtype {TITLES[self.dtype.name]} but the "
                           "operation's result requires dtype Double")
    return _float_power_(self, exponent)


def positive(self: Tensor) -> Tensor:
    """The tensor itself. Raises RuntimeError for a bool tensor, in PyTorch's words."""
    if node_of(self, "positive").spec.dtype.category == 0:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return self


def sgn(self: Tensor) -> Tensor:
    """-1, 0 or 1: the sign, there being no complex numbers."""
    return labelled(self.sign(), "SgnBackward0")


def signbit(self: Tensor) -> Tensor:
    """Whether the sign bit is set: for negative numbers, and for -0 and a NaN with a minus."""
    x = node_of(self, "signbit")
    return wrap(g.signbit(x) if x.spec.dtype.category == 2 else g.lt(x, 0))


def heaviside(self: Tensor, values: Tensor) -> Tensor:
    """0 below 0, 1 above, `values` (of the same dtype) at 0. Raises RuntimeError where the dtypes differ."""
    x, y = must_be_operands(self, values, "heaviside")
    if self.dtype is not values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes: "
                           f"{self.dtype!r} and {values.dtype!r}")
    out = g.where(g.eq(x, 0), y, g.cast(g.gt(x, 0), x.spec.dtype))
    if grad_mode.enabled and not x.tape is y.tape is None:
        out = refused(out, "derivative for aten::heaviside is not implemented", (x.tape, y.tape))
    return wrap(out)


def lerp(self: Tensor, end: Tensor, weight: Tensor | Number) -> Tensor:
    """self + weight (end - self), for a number or a tensor as weight; all have one floating dtype. Raises RuntimeError
    where they do not, NotImplementedError for integers."""
    x = floats_only(node_of(self, "lerp"), "lerp")
    parts = {"end": end} | ({"weight": weight} if isinstance(weight, Tensor) else {})
    for name, part in parts.items():
        if node_of(part, "lerp").spec.dtype is not x.spec.dtype:
            raise RuntimeError(f"expected dtype {x.spec.dtype!r} for `{name}` but got dtype {part.dtype!r}")
    out = wrap(in_float32(g.lerp)(x, end.node, weight.node if isinstance(weight, Tensor) else float(weight)))
    return out if isinstance(weight, Tensor) else labelled(out, "LerpBackward0")


def addcmul(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """self + value * tensor1 * tensor2."""
    x, y, z = _three(self, tensor1, tensor2, "addcmul")
    return wrap(in_float32(_addcmul)(no_bool(x, "addcmul"), y, z, _plain(value)), "AddcmulBackward0")


def addcdiv(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """self + value * tensor1 / tensor2. Raises RuntimeError where both divide as integers."""
    x, y, z = _three(self, tensor1, tensor2, "addcdiv")
    if tensor1.dtype.category != 2 and tensor2.dtype.category != 2:
        raise RuntimeError("Integer division with addcdiv is no longer supported: tensor1 is "
                           f"{tensor1.dtype!r} and tensor2 {tensor2.dtype!r}; write "
                           "input + value * tensor1 / tensor2 for a true division")
    return wrap(in_float32(_addcdiv)(x, y, z, _plain(value)), "AddcdivBackward0")


def nan_to_num(self: Tensor, nan: float | None = None, posinf: float | None = None,
               neginf: float | None = None) -> Tensor:
    """NaN replaced by `nan` (0), infinities by `posinf` and `neginf` (the dtype's largest and smallest number)."""
    x = node_of(self, "nan_to_num")
    if x.spec.dtype.category != 2:
        return wrap(g.identity(x))
    largest = dtypes.largest_finite(x.spec.dtype)
    out = g.where(g.ne(x, x), _number(0.0 if nan is None else nan, x), x)
    out = g.where(g.eq(x, math.inf), _number(largest if posinf is None else posinf, x), out)
    out = g.where(g.eq(x, -math.inf), _number(-largest if neginf is None else neginf, x), out)
    return wrap(out, "NanToNumBackward0")


def isclose(self: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8,
            equal_nan: bool = False) -> Tensor:
    """Whether |self - other| <= atol + rtol * |other|; equal infinities are close, NaNs where `equal_nan` says so.
    Raises RuntimeError where the dtypes differ or a tolerance is negative."""
    x, y = must_be_operands(self, other, "isclose")
    if self.dtype is not other.dtype:
        raise RuntimeError(f"{self.dtype!r} did not match {other.dtype!r}: isclose compares tensors of one dtype")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not value >= 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {value}")
    close = g.eq(x, y)
    if equal_nan:
        close = g.bitwise_or(close, g.bitwise_and(g.ne(x, x), g.ne(y, y)))
    x, y = floating(x), floating(y)
    allowed = g.add(g.abs(g.mul(y, float(rtol))), float(atol))
    apart = g.abs(g.sub(x, y))
    finite = g.lt(apart, math.inf)
    return wrap(g.bitwise_or(close, g.bitwise_and(finite, g.le(apart, allowed))))


def allclose(self: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8,
             equal_nan: bool = False) -> bool:
    """Whether all elements are close, as `isclose` says."""
    return bool(self.isclose(other, rtol, atol, equal_nan).all())


def _three(self: Tensor, tensor1: Tensor, tensor2: Tensor, name: str) -> tuple[Node, Node, Node]:
    """Three tensors as nodes of one dtype."""
    y, z = must_be_operands(tensor1, tensor2, name)
    x, y = must_be_operands(self, wrap(y), name)
    return x, y, g.cast(z, y.spec.dtype)


def _plain(value: Operand) -> bool | int | float:
    """A number as it is, that of a 0-d tensor read."""
    return value.item() if isinstance(value, Tensor) else value


def _addcmul(x: Node, y: Node, z: Node, value: float) -> Node:
    if x.spec.dtype.category == 1:
        check_range(value, x.spec.dtype)
        value = int(value)
    return g.add(x, g.mul(y if value == 1 else g.mul(y, value), z))


def _addcdiv(x: Node, y: Node, z: Node, value: float) -> Node:
    return g.add(x, g.div(y if value == 1 else g.mul(y, value), z))


def _number(value: float, like: Node) -> Node:
    """A number in a tensor's dtype, where it may be infinite."""
    with np.errstate(over="ignore"):
        return constant(float(value), like.spec.dtype, like.spec.device)


def fill(input: Tensor, value: Operand) -> Tensor:
    """A tensor like `input` with `value`, a number or a 0-d tensor, in every element. Raises RuntimeError for another
    shape of value."""
    node_of(input, "fill")
    return input.clone().fill_(value)


xlog1py = with_number("xlog1py", "self log(1 + other), for tensors or a tensor and a number; 0 where self is 0, unless "
                      "`other` is NaN.")
