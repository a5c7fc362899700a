"""The table of primitives: one row says what an operation is, on NumPy and in a Triton kernel.

A row's `numpy` column is a Python expression, its `triton` column the expression of the same value inside an emitted
kernel; `{0}`, `{1}`, ... stand for the sources (in Triton already loaded, half precisions already widened to float32).
Where the text depends on attributes it is a function `(out_spec, *source_specs, *attrs) -> text`. `numpy_scalar` is a
faster expression for 0-d values, which NumPy handles as scalars. Names in the expressions are those of NumPy and
`runtime.numerics`, and of `triton.language` (as `tl`) and `kernels.math`.

Elementwise rows take broadcastable sources of one dtype; promotion happens above, in the tensor layer.
"""

from __future__ import annotations

from typing import Any

from . import dtypes, shape_rules
from .dtypes import DType
from .node import BUFFER, LITERAL, SCALAR, Kind, Primitive
from .spec import Shape, Spec, broadcast_shapes

PRIMITIVES: dict[str, Primitive] = {p.name: p for p in (BUFFER, SCALAR, LITERAL)}


def row(name: str, kind: Kind, infer: Any, numpy: Any = None, triton: Any = None, **options: Any) -> Primitive:
    """Add a row to the table."""
    primitive = PRIMITIVES[name] = Primitive(name, kind, infer, numpy, triton, **options)
    return primitive


# ------------------------------------------------------------------------------------------------ shape and dtype rules

def same(*specs: Any) -> tuple[Shape, DType]:
    """Elementwise: the broadcast shape, the first source's dtype."""
    first: Spec = specs[0]
    if len(specs) == 1:
        return first.shape, first.dtype
    for other in specs[1:]:
        if other.dtype is not first.dtype:
            raise RuntimeError(f"expected one dtype, got {first.dtype!r} and {other.dtype!r}")
    return broadcast_shapes(*[s.shape for s in specs]), first.dtype


TWO_BOOLS = ("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
             "operator instead.")


def difference(x: Spec, y: Spec) -> tuple[Shape, DType]:
    """Two operands of one dtype, broadcast, but no bools: RuntimeError, in PyTorch's words."""
    if x.dtype is dtypes.bool_ is y.dtype:
        raise RuntimeError(TWO_BOOLS)
    return same(x, y)


def comparison(x: Spec, y: Spec) -> tuple[Shape, DType]:
    """Two operands of one dtype, broadcast: bool."""
    return same(x, y)[0], dtypes.bool_


def predicate(x: Spec) -> tuple[Shape, DType]:
    """One operand: bool, of its shape."""
    return x.shape, dtypes.bool_


def selection(condition: Spec, x: Spec, y: Spec) -> tuple[Shape, DType]:
    """A bool condition and two operands of one dtype, broadcast. Raises RuntimeError for another condition."""
    if condition.dtype is not dtypes.bool_:
        raise RuntimeError("where expected condition to be a boolean tensor, but got a tensor with dtype "
                           f"{condition.dtype!r}")
    return broadcast_shapes(condition.shape, *[same(x, y)[0]]), x.dtype


def matrix_product(x: Spec, y: Spec) -> tuple[Shape, DType]:
    """x (..., m, k) with y (..., k, n): (..., m, n). Raises RuntimeError where k or the dtypes differ."""
    (m, k), (k2, n) = x.shape[-2:], y.shape[-2:]
    if k != k2:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {k2}x{n})")
    if x.dtype is not y.dtype:
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {x.dtype.name} != {y.dtype.name}")
    return (*broadcast_shapes(x.shape[:-2], y.shape[:-2]), m, n), x.dtype


# ---------------------------------------------------------------------------------------------------------- elementwise

def unary(name: str, numpy: Any, triton: str, **options: Any) -> Primitive:
    """The row of an elementwise operation on one operand."""
    return row(name, Kind.MAP, same, numpy, triton, **options)


def binary(name: str, numpy: Any, triton: str, **options: Any) -> Primitive:
    """The row of an elementwise operation on two operands of one dtype, which broadcast."""
    return row(name, Kind.MAP, same, numpy, triton, **options)


def compare(name: str, operator: str) -> Primitive:
    """The row of a comparison, which NumPy and Triton write alike."""
    text = f"({{0}} {operator} {{1}})"
    return row(name, Kind.MAP, comparison, text, text, differentiable=False)


def precise(name: str, operands: str = "{0}") -> Any:
    """A function that NumPy gets wrong by an ulp or more in float32: computed in float64 and rounded."""
    rounded, plain = f"{name}({operands}, dtype=float64).astype(float32)", f"{name}({operands})"
    return lambda out, *sources: rounded if out.dtype is dtypes.float32 else plain


IDENTITY = unary("identity", "{0}", "{0}", grad_name="AliasBackward0")
NEG = unary("neg", "(-{0})", "neg({0})")
ABS = unary("abs", "absolute({0})", "tl.abs({0})")
EXP = unary("exp", "exp({0})", "exp({0})")
LOG = unary("log", "log({0})", "log({0})")
LOG1P = unary("log1p", "log1p({0})", "log1p({0})")
EXPM1 = unary("expm1", "expm1({0})", "expm1({0})")
SQRT = unary("sqrt", "sqrt({0})", "sqrt({0})")
RSQRT = unary("rsqrt", "(1.0 / sqrt({0}))", "rsqrt({0})")
RECIPROCAL = unary("reciprocal", "(1.0 / {0})", "reciprocal({0})")
SIN = unary("sin", precise("sin"), "sin({0})")
COS = unary("cos", precise("cos"), "cos({0})")
TAN = unary("tan", precise("tan"), "tan({0})")
LOG2 = unary("log2", "log2({0})", "log2({0})")
LOG10 = unary("log10", precise("log10"), "log10({0})")
ERF = unary("erf", "erf({0})", "erf({0})")
ERFC = unary("erfc", "erfc({0})", "erfc({0})")
TANH = unary("tanh", "tanh({0})", "tanh({0})")
SIGMOID = unary("sigmoid", "(1.0 / (1.0 + exp(-{0})))", "sigmoid({0})")
SOFTPLUS = unary("softplus", "softplus({0})", "softplus({0})")
RELU = unary("relu", "maximum({0}, 0)", "relu({0})", numpy_scalar="({0} if not {0} <= 0 else {0}.dtype.type(0))")
SIGN = unary("sign", "sign({0})", "sign({0})")
FLOOR = unary("floor", "floor({0})", "floor({0})")
CEIL = unary("ceil", "ceil({0})", "ceil({0})")
TRUNC = unary("trunc", "trunc({0})", "trunc({0})")
ROUND = unary("round", "rint({0})", "round({0})")
SIGNBIT = row("signbit", Kind.MAP, predicate, "signbit({0})", "signbit({0})", differentiable=False)
LOGICAL_NOT = row("logical_not", Kind.MAP, predicate, "({0} == 0)", "({0} == 0)", differentiable=False)
BITWISE_NOT = unary("bitwise_not", "(~{0})", "bitwise_not({0})", differentiable=False)

ADD = binary("add", "({0} + {1})", "({0} + {1})")
SUB = row("sub", Kind.MAP, difference, "({0} - {1})", "({0} - {1})")
MUL = binary("mul", "({0} * {1})", "({0} * {1})")
DIV = binary("div", "({0} / {1})", "div({0}, {1})")
POW = binary("pow", "power({0}, {1})", "pow({0}, {1})", grad_name="PowBackward1")
ATAN2 = binary("atan2", precise("arctan2", "{0}, {1}"), "atan2({0}, {1})")
MAXIMUM = binary("maximum", "maximum({0}, {1})", "maximum({0}, {1})")
MINIMUM = binary("minimum", "minimum({0}, {1})", "minimum({0}, {1})")
FLOOR_DIVIDE = binary("floor_divide", "floor_divide({0}, {1})", "floor_divide({0}, {1})", grad_name="NotImplemented")
REMAINDER = binary("remainder", "remainder({0}, {1})", "remainder({0}, {1})")
BITWISE_AND = binary("bitwise_and", "({0} & {1})", "({0} & {1})", differentiable=False)
BITWISE_OR = binary("bitwise_or", "({0} | {1})", "({0} | {1})", differentiable=False)
BITWISE_XOR = binary("bitwise_xor", "({0} ^ {1})", "({0} ^ {1})", differentiable=False)
EQ, NE, LT = compare("eq", "=="), compare("ne", "!="), compare("lt", "<")
LE, GT, GE = compare("le", "<="), compare("gt", ">"), compare("ge", ">=")

WHERE = row("where", Kind.MAP, selection, "where({0}, {1}, {2})", "tl.where({0}, {1}, {2})",
            numpy_scalar="({1} if {0} else {2})")
CLAMP = row("clamp", Kind.MAP, same, "minimum(maximum({0}, {1}), {2})", "clamp({0}, {1}, {2})",
            numpy_scalar="({0} if {1} <= {0} <= {2} else minimum(maximum({0}, {1}), {2}))", grad_name="ClampBackward1")
CAST = row("cast", Kind.MAP, lambda x, dtype: (x.shape, dtype),
           lambda out, x, dtype: f"{{0}}.astype({dtype.name})", "{0}", grad_name="ToCopyBackward0")

# --------------------------------------------------------------------------------------------------- reductions, matmul

def fold(name: str, function: str, numpy: str, **options: Any) -> Primitive:
    """A reduction; in a kernel `row_<function>` and the accumulator functions of that name in `kernels.math`."""
    return row(name, Kind.REDUCE, shape_rules.reduced, lambda out, x, axes: f"{numpy}({{0}}, {axes!r})", function,
               **options)


SUM = fold("sum", "sum", "add.reduce")
AMAX = fold("amax", "max", "maximum.reduce")
AMIN = fold("amin", "min", "minimum.reduce")
PROD = fold("prod", "prod", "multiply.reduce")
MATMUL = row("matmul", Kind.MATMUL, matrix_product, "matmul({0}, {1})", grad_name="MmBackward0")

# ---------------------------------------------------------------------------------------------------------------- views

RESHAPE = row("reshape", Kind.VIEW, shape_rules.reshaped,
              lambda out, x, shape: f"{{0}}.reshape({shape!r})", grad_name="ViewBackward0")
PERMUTE = row("permute", Kind.VIEW, shape_rules.permuted,
              lambda out, x, dims: f"{{0}}.transpose({dims!r})")
EXPAND = row("expand", Kind.VIEW, shape_rules.expanded, lambda out, x, shape: f"broadcast_to({{0}}, {shape!r})")


def _slice_numpy(out: Spec, x: Spec, starts: Shape, sizes: Shape, steps: Shape) -> str:
    pieces = [f"{a}:{a + (n - 1) * s + 1 if n else a}:{s}" for a, n, s in zip(starts, sizes, steps, strict=True)]
    return f"{{0}}[{', '.join(pieces)},]"


SLICE = row("slice", Kind.VIEW, shape_rules.sliced, _slice_numpy)
"""Elements starts[d] + i*steps[d] for i < sizes[d] along each axis; steps are positive."""

FLIP = row("flip", Kind.VIEW, shape_rules.flipped, lambda out, x, dims: f"flip({{0}}, {dims!r})")
PAD = row("pad", Kind.VIEW, shape_rules.padded,
          lambda out, x, starts, shape, steps: f"scatter_slice({{0}}, {starts!r}, {shape!r}, {steps!r})",
          grad_name="ConstantPadNdBackward0")
"""The adjoint of `slice`: zeros of `shape`, with the source at starts[d] + i*steps[d]."""


WINDOWS = row("windows", Kind.VIEW, shape_rules.windowed,
              lambda out, x, axis, size, step, dilation: f"windows({{0}}, {axis}, {out.shape!r}, {step}, {dilation})",
              grad_name="UnfoldBackward0")
"""Overlapping windows along an axis: (..., L, ...) to (..., n, ..., size); element j of window i is at i*step +
j*dilation. What convolution and pooling are made of."""


CAT = row("cat", Kind.VIEW, shape_rules.joined,
          lambda out, *arguments: f"concatenate(({', '.join(f'{{{i}}}' for i in range(len(arguments) - 1))},), "
                                  f"{arguments[-1]})")

# ----------------------------------------------------------------------------------------------- indices and randomness

IOTA = row("iota", Kind.INDEX, lambda like, n: ((n,), dtypes.int64), lambda out, like, n: f"arange({n})",
           differentiable=False)
"""0, 1, ..., n-1 as int64 (n,); the source only says on which device."""

TAKE = row("take", Kind.INDEX, shape_rules.taken, "take({0}, {1}, 0)",
           grad_name="IndexBackward0")
"""Rows of x (K, ...) at `index` (int64, any shape, each in [0, K)): index.shape + (...)."""

RANDOM_BITS = row("random_bits", Kind.INDEX, lambda seed, stream, shape, word: (shape, dtypes.int64),
                  lambda out, seed, stream, shape, word: f"random_words({{0}}, {{1}}, {shape!r}, {word})",
                  differentiable=False)
"""Word `word` of Philox4x32-10 at counter (element index, stream), key `seed`: integers in [0, 2**32) as int64."""
