"""The elementwise primitives: of each its row, its derivative and the function of nodes that records it.

A Python number stands for a 0-d constant of the other operand's dtype. Shapes broadcast as PyTorch's do.
"""

from __future__ import annotations

import math

from ..graph import dtypes
from ..graph.constants import constant, like
from ..graph.dtypes import DType
from ..graph.node import LITERAL, SCALAR, Kind, Node, literal, record, record1, record_with
from ..graph.spec import Device, Shape, Spec
from ..graph.tape import grad_mode
from . import shapes
from .shapes import difference, predicate, same
from .table import Binary, Number, Operand, Unary, binary, compare, composite, lone, precise, row, unary

# --------------------------------------------------------------------------------------------- what derivatives share

def none(ct: Node, out: object, x: Node | Spec, *rest: object) -> Node:
    """A derivative that is zero wherever it exists, of the first source's shape."""
    return zeros_like(x)


def zero(ct: Node, *rest: object) -> Node:
    """A derivative that is zero wherever it exists, of the cotangent's shape."""
    return zeros_like(ct)


def masked(ct: Node, condition: Node) -> Node:
    """The cotangent where the condition holds, else zero (exactly, even where the cotangent is infinite)."""
    return where(condition, ct, 0)


def widened(x: Node) -> Node:
    """Half precisions in float32, for what PyTorch computes in one kernel and rounds once."""
    return cast(x, dtypes.float32) if x.dtype in dtypes.HALF else x


# ------------------------------------------------------------------------------------------------------- two operands

def _pow_base(ct: Node, o: Node, x: Node, y: Node) -> Node:
    """y x^(y-1), and 0 where the exponent is 0 (PyTorch's pow_backward_self).

    What is differentiated again is a power of x, even x^0: PyTorch's further derivatives are zeros, and no error.
    """
    if y.primitive in (LITERAL, SCALAR):
        n = y.attrs[0] if y.primitive is LITERAL else float(y.buffer)
        if n == 0:
            return zeros_like(x)
        if n in (1, 2) and not grad_mode.enabled:
            return ct if n == 1 else mul(ct, mul(x, 2))
        return mul(ct, mul(pow(x, n - 1), n))
    return masked(mul(ct, mul(y, pow(x, sub(y, 1)))), ne(y, 0))


def _pow_exponent(ct: Node, o: Node, x: Node, y: Node) -> Node:
    """x^y log x, and 0 where the base is 0 and the exponent is not negative (PyTorch's pow_backward_exponent)."""
    return mul(ct, where(bitwise_and(eq(x, 0), ge(y, 0)), 0, mul(o, log(x))))


def _turn(ct: Node, side: Node, y: Node, x: Node) -> Node:
    """ct side / (y^2 + x^2), and 0 at the origin (as PyTorch's)."""
    square = add(mul(y, y), mul(x, x))
    return mul(ct, where(eq(square, 0), 0, div(side, square)))


def _extreme(ct: Node, x: Node, y: Node, loses: Node) -> Node:
    """The winner takes the cotangent; a tie is shared evenly; beside a NaN both take it (as in PyTorch)."""
    return where(eq(x, y), mul(ct, 0.5), where(loses, 0, ct))


def _not_implemented(*rest: object) -> Node:
    raise RuntimeError("derivative for aten::floor_divide is not implemented; div(x, y, rounding_mode='floor') "
                       "has one, which is 0")


(EQ, eq), (NE, ne), (LT, lt) = compare("eq", "=="), compare("ne", "!="), compare("lt", "<")
(LE, le), (GT, gt), (GE, ge) = compare("le", "<="), compare("gt", ">"), compare("ge", ">=")
mul: Binary      # their derivatives name them before they are there
div: Binary
ADD, add = binary("add", "({0} + {1})", "({0} + {1})", lambda ct, o, x, y: ct, "", lambda ct, o, x, y: ct, "",
                  on_bool="({0} | {1})", numpy_out="add({0}, {1}, out={out})")
SUB, sub = binary("sub", "({0} - {1})", "({0} - {1})", lambda ct, o, x, y: ct, "", lambda ct, o, x, y: neg(ct), "",
                  infer=difference, numpy_out="subtract({0}, {1}, out={out})")
MUL, mul = binary("mul", "({0} * {1})", "({0} * {1})",
                  lambda ct, o, x, y: mul(ct, y), "y", lambda ct, o, x, y: mul(ct, x), "x", on_bool="({0} & {1})",
                  numpy_out="multiply({0}, {1}, out={out})")
DIV, div = binary("div", "({0} / {1})", "div({0}, {1})", lambda ct, o, x, y: div(ct, y), "y",
                  lambda ct, o, x, y: neg(mul(ct, div(div(x, y), y))), "xy", numpy_out="divide({0}, {1}, out={out})")
POW, pow = binary("pow", "power({0}, {1})", "pow({0}, {1})", _pow_base, "xy", _pow_exponent, "xyo",
                  numpy_scalar="lone_pow({0}, {1}, {one})", grad_name="PowBackward1", on_bool="({0} | ({1} == 0))")
ATAN2, atan2 = binary("atan2", precise("arctan2", "{0}, {1}"), "atan2({0}, {1})",
                      lambda ct, o, y, x: _turn(ct, x, y, x), "xy", lambda ct, o, y, x: _turn(ct, neg(y), y, x), "xy")
MAXIMUM, maximum = binary("maximum", "maximum({0}, {1})", "maximum({0}, {1})",
                          lambda ct, o, x, y: _extreme(ct, x, y, lt(x, y)), "xy",
                          lambda ct, o, x, y: _extreme(ct, y, x, lt(y, x)), "xy", on_bool="({0} | {1})",
                          numpy_scalar="({0} if {0} > {1} or {0} != {0} else {1})",
                          numpy_out="maximum({0}, {1}, out={out})")
MINIMUM, minimum = binary("minimum", "minimum({0}, {1})", "minimum({0}, {1})",
                          lambda ct, o, x, y: _extreme(ct, x, y, gt(x, y)), "xy",
                          lambda ct, o, x, y: _extreme(ct, y, x, gt(y, x)), "xy", on_bool="({0} & {1})",
                          numpy_scalar="({0} if {0} < {1} or {0} != {0} else {1})",
                          numpy_out="minimum({0}, {1}, out={out})")
FLOOR_DIVIDE, floor_divide = binary("floor_divide", "floor_divide({0}, {1})", "floor_divide({0}, {1})",
                                    _not_implemented, "", _not_implemented, "", grad_name="NotImplemented")
DIV_FLOOR, div_floor = binary("div_floor", "", "", zero, "", zero, "",
                              decompose=lambda x, y: floor_divide(x, y), grad_name="DivBackward2")
"""`div` with a rounding mode: unlike `floor_divide` it has a derivative, zero, as in PyTorch."""

REMAINDER, remainder = binary("remainder", "remainder({0}, {1})", "remainder({0}, {1})", lambda ct, o, x, y: ct, "",
                              lambda ct, o, x, y: neg(mul(ct, div_floor(x, y))), "xy")
BITWISE_AND, bitwise_and = binary("bitwise_and", "({0} & {1})", "({0} & {1})", differentiable=False)
BITWISE_OR, bitwise_or = binary("bitwise_or", "({0} | {1})", "({0} | {1})", differentiable=False)
BITWISE_XOR, bitwise_xor = binary("bitwise_xor", "({0} ^ {1})", "({0} ^ {1})", differentiable=False)

# -------------------------------------------------------------------------------------------------------- one operand
IDENTITY, identity = unary("identity", "{0}", "{0}", lambda ct, o, x: ct, "", grad_name="AliasBackward0")
NEG, _neg = unary("neg", "(-{0})", "neg({0})", lambda ct, o, x: neg(ct), "", numpy_out="negative({0}, out={out})")
SIGN, sign = unary("sign", "sign({0})", "sign({0})", none, "",
                   numpy_scalar="({one} if {0} > 0 else -{one} if {0} < 0 else {zero})")
ABS, abs = unary("abs", "absolute({0})", "tl.abs({0})", lambda ct, o, x: mul(ct, sign(x)), "x",
                 numpy_scalar="abs({0})")
EXP, exp = unary("exp", "exp({0})", "exp({0})", lambda ct, o, x: mul(ct, o), "o", numpy_scalar=lone("exp"),
                 numpy_out="exp({0}, out={out})")
LOG, log = unary("log", "log({0})", "log({0})", lambda ct, o, x: div(ct, x), "x", numpy_scalar=lone("log"),
                 numpy_out="log({0}, out={out})")
LOG1P, log1p = unary("log1p", "log1p({0})", "log1p({0})", lambda ct, o, x: div(ct, add(x, 1)), "x",
                     numpy_scalar=lone("log1p"))
EXPM1, expm1 = unary("expm1", "expm1({0})", "expm1({0})", lambda ct, o, x: mul(ct, add(o, 1)), "o",
                     numpy_scalar=lone("expm1"))
SQRT, sqrt = unary("sqrt", "sqrt({0})", "sqrt({0})", lambda ct, o, x: div(ct, mul(o, 2)), "o",
                   numpy_scalar=lone("sqrt"), numpy_out="sqrt({0}, out={out})")
RSQRT, rsqrt = unary("rsqrt", "(1.0 / sqrt({0}))", "rsqrt({0})",
                     lambda ct, o, x: mul(mul(ct, -0.5), mul(o, mul(o, o))), "o",
                     numpy_scalar="({one} / ({one} * lone_sqrt({0})))")
RECIPROCAL, reciprocal = unary("reciprocal", "(1.0 / {0})", "reciprocal({0})",
                               lambda ct, o, x: neg(mul(ct, mul(o, o))), "o", numpy_scalar="({one} / {0})")
cos: Unary
relu_backward: Binary
sigmoid_backward: Binary
tanh_backward: Binary
SIN, sin = unary("sin", precise("sin"), "sin({0})", lambda ct, o, x: mul(ct, cos(x)), "x", numpy_scalar=lone("sin"))
COS, cos = unary("cos", precise("cos"), "cos({0})", lambda ct, o, x: neg(mul(ct, sin(x))), "x",
                 numpy_scalar=lone("cos"))
TAN, tan = unary("tan", precise("tan"), "tan({0})", lambda ct, o, x: mul(ct, add(mul(o, o), 1)), "o",
                 numpy_scalar=lone("tan"))
LOG2, log2 = unary("log2", "log2({0})", "log2({0})", lambda ct, o, x: div(ct, mul(x, math.log(2))), "x",
                   numpy_scalar=lone("log2"))
LOG10, log10 = unary("log10", precise("log10"), "log10({0})", lambda ct, o, x: div(ct, mul(x, math.log(10))), "x",
                     numpy_scalar=lone("log10"))
ERF, erf = unary("erf", "erf({0})", "erf({0})",
                 lambda ct, o, x: mul(mul(ct, 2 / math.sqrt(math.pi)), _bell(x)), "x", numpy_scalar=lone("erf"))
ERFC, erfc = unary("erfc", "erfc({0})", "erfc({0})",
                   lambda ct, o, x: mul(mul(ct, -2 / math.sqrt(math.pi)), _bell(x)), "x", numpy_scalar=lone("erfc"))
TANH, tanh = unary("tanh", "tanh({0})", "tanh({0})", lambda ct, o, x: tanh_backward(ct, o), "o",
                   numpy_scalar=lone("tanh"), numpy_out="tanh({0}, out={out})")
SIGMOID, sigmoid = unary("sigmoid", "(1.0 / (1.0 + exp(-{0})))", "sigmoid({0})",
                         lambda ct, o, x: sigmoid_backward(ct, o), "o", numpy_scalar=lone("sigmoid"))
SOFTPLUS, softplus = unary("softplus", "softplus({0})", "softplus({0})", lambda ct, o, x: mul(ct, sigmoid(x)), "x",
                           numpy_scalar=lone("softplus"))
RELU, relu = unary("relu", "maximum({0}, 0)", "relu({0})", lambda ct, o, x: relu_backward(ct, o), "o",
                   numpy_scalar="({zero} if {0} <= {zero} else {0})", numpy_out="maximum({0}, 0, out={out})")
FLOOR, floor = unary("floor", "floor({0})", "floor({0})", none, "")
CEIL, ceil = unary("ceil", "ceil({0})", "ceil({0})", none, "")
TRUNC, trunc = unary("trunc", "trunc({0})", "trunc({0})", none, "")
ROUND, round = unary("round", "rint({0})", "round({0})", none, "")
SIGNBIT, signbit = unary("signbit", "signbit({0})", "signbit({0})", infer=predicate, differentiable=False)
LOGICAL_NOT, logical_not = unary("logical_not", "({0} == 0)", "({0} == 0)", infer=predicate, differentiable=False)
BITWISE_NOT, bitwise_not = unary("bitwise_not", "(~{0})", "bitwise_not({0})", differentiable=False)


def neg(x: Node) -> Node:
    """-x; of a literal (the cotangent of a loss) at once."""
    if x.signature.primitive is LITERAL:
        value = -x.signature.attrs[0]
        return x.spec.literals.get(value) or literal(value, x.spec.dtype, x.spec.device)
    return _neg(x)


def _bell(x: Node) -> Node:
    """exp(-x^2)."""
    return exp(neg(mul(x, x)))


# ----------------------------------------------------------------------------------------------------- three operands
WHERE = row("where", Kind.MAP, shapes.selection, "where({0}, {1}, {2})", "tl.where({0}, {1}, {2})", none, "",
            lambda ct, o, condition, x, y: where(condition, ct, 0), "x",
            lambda ct, o, condition, x, y: where(condition, 0, ct), "x", numpy_scalar="({1} if {0} else {2})")


def where(condition: Node, x: Operand, y: Operand) -> Node:
    """x where the bool `condition` holds, else y; at least one of x and y is a Node."""
    if not isinstance(x, Node):
        assert isinstance(y, Node)
        x = like(x, y)
    return record(WHERE, (condition, x, like(y, x)))


CLAMP = row("clamp", Kind.MAP, same, "minimum(maximum({0}, {1}), {2})", "clamp({0}, {1}, {2})",
            lambda ct, o, x, low, high: clamp_backward(ct, x, low, high), "xyz",
            lambda ct, o, x, low, high: masked(ct, bitwise_and(lt(x, low), lt(low, high))), "xyz",
            lambda ct, o, x, low, high: masked(ct, bitwise_or(gt(x, high), lt(high, low))), "xyz",
            numpy_scalar="({0} if {1} <= {0} <= {2} or {0} != {0} else {1} if {1} != {1} else "
                         "{2} if {2} < {1} or {2} < {0} or {2} != {2} else {1})", grad_name="ClampBackward1")


def clamp(x: Node, low: Operand, high: Operand) -> Node:
    """x limited to [low, high]; NaN passes through; where low > high the result is high."""
    if isinstance(low, Node) or isinstance(high, Node):
        return record(CLAMP, (x, like(low, x), like(high, x)))
    return record_with(CLAMP, x, like(low, x), like(high, x))


CAST = row("cast", Kind.MAP, lambda x, dtype: (x.shape, dtype), lambda out, x, dtype: f"{{0}}.astype({dtype.name})",
           "{0}", lambda ct, o, x, dtype: cast(ct, x.dtype), "", grad_name="ToCopyBackward0")


def cast(x: Node, dtype: DType) -> Node:
    """x converted to `dtype`; x itself where it has it."""
    return x if x.spec.dtype is dtype else record1(CAST, x, (dtype,))


# --------------------------------------------------------------------------------- what a backward pass records most
# Often, so in one node instead of three: steps on small models cost their nodes.
SIGMOID_BACKWARD, sigmoid_backward = binary(
    "sigmoid_backward", "", "", lambda ct, o, d, y: sigmoid_backward(ct, y), "y",
    lambda ct, o, d, y: mul(ct, mul(d, sub(1, mul(y, 2)))), "xy", decompose=lambda ct, o: mul(ct, mul(o, sub(1, o))))
"""ct o (1 - o): the derivative of o = sigmoid(x)."""
TANH_BACKWARD, tanh_backward = binary(
    "tanh_backward", "", "", lambda ct, o, d, y: tanh_backward(ct, y), "y",
    lambda ct, o, d, y: mul(ct, mul(d, mul(y, -2))), "xy", decompose=lambda ct, o: mul(ct, sub(1, mul(o, o))))
"""ct (1 - o^2): the derivative of o = tanh(x)."""
RELU_BACKWARD, relu_backward = binary(
    "relu_backward", "", "", lambda ct, o, d, y: relu_backward(ct, y), "y", none, "",
    decompose=lambda ct, o: where(le(o, 0), 0, ct))
"""ct where o is positive (or NaN), else 0: the derivative of o = relu(x)."""
CLAMP_BACKWARD, _ = composite("clamp_backward", same, lambda ct, x, low, high: where(between(x, low, high), ct, 0),
                              differentiable=False)


def between(x: Node, low: Operand, high: Operand) -> Node:
    """Whether low <= x <= high."""
    return bitwise_and(ge(x, low), le(x, high))


def clamp_backward(ct: Node, x: Node, low: Node, high: Node) -> Node:
    """ct where x is in [low, high], else 0; differentiable in ct alone, as comparisons are not."""
    return where(between(x, low, high), ct, 0) if grad_mode.enabled else record(CLAMP_BACKWARD, (ct, x, low, high))


FLAT, _ = composite("flat", same, lambda x: x, lambda ct, o, x: ct, "", flat=True)
OVERWRITE, overwrite = composite("overwrite", same, lambda value, old: value,
                                 lambda ct, o, value, old: ct, "", none, "")
"""`value`, on the tape as what replaces `old`, on which it does not depend: its gradient is 0."""


def flat(x: Node) -> Node:
    """x, as the operand of an operation of several nodes whose derivative is flat (see `Rule`) as a whole; x itself
    where nothing is on the tape."""
    return x if x.tape is None or not grad_mode.enabled else record1(FLAT, x)


# ------------------------------------------------------------------------------------------------ creation, expansion
EXPAND = row("expand", Kind.VIEW, shapes.expanded, lambda out, x, shape: f"broadcast_to({{0}}, {shape!r})", "",
             lambda ct, o, x, shape: ct, "")


def expand(x: Node, shape: Shape) -> Node:
    """x broadcast to `shape`."""
    return x if x.spec.shape == shape else record1(EXPAND, x, (shape,))


def full(value: Number, shape: Shape, dtype: DType, device: Device) -> Node:
    """`value` everywhere; a node of its own even where it is 0-d (constants are shared)."""
    value_node = constant(value, dtype, device)
    return expand(value_node, shape) if shape else identity(value_node)


def zeros_like(x: Node | Spec) -> Node:
    """Zeros of a node's (or a spec's) shape, dtype and device."""
    return expand(literal(0, x.dtype, x.device), x.shape)
