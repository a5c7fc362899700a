"""The graph's operations as functions of nodes: what the tensor layer calls, and what derivatives are written in.

A Python number stands for a 0-d constant of the other operand's dtype. Shapes broadcast as PyTorch's do.
"""

from __future__ import annotations

import math
from typing import Any

from . import primitives as p
from .attributes import number
from .composite import basic as c
from .composite import losses, normalisation, ordering, windowed
from .composite import special as s
from .dtypes import DType
from .node import Node, apply1, apply2, constant, infer, literal, record, record1, record2, record_with
from .spec import Device, Shape
from .tape import grad_mode

Number = bool | int | float
Operand = Node | bool | int | float


def like(value: Operand, node: Node) -> Node:
    """`value` as a node: a number becomes a constant of `node`'s dtype and device."""
    if isinstance(value, Node):
        return value
    known = node.spec.constants.get(value) if value else None
    if known is None:
        known = constant(value, node.spec.dtype, node.spec.device)
        value = number(value)
        if value and value == value:
            known = node.spec.constants.setdefault(value, known)
    return known


def _binary(primitive: Any) -> Any:
    memo = primitive.memo

    def operation(x: Operand, y: Operand) -> Node:
        if type(y) is not Node:
            y = like(y, x)          # type: ignore[arg-type]
        elif type(x) is not Node:
            x = like(x, y)
        key = (x.spec, y.spec)      # type: ignore[union-attr]
        return apply2(memo.get(key) or infer(primitive, key, (x, y), ()), x, y)     # type: ignore[arg-type]
    operation.__name__ = primitive.name
    return operation


def _unary(primitive: Any) -> Any:
    memo = primitive.memo

    def operation(x: Node) -> Node:
        key = x.spec
        return apply1(memo.get(key) or infer(primitive, key, (x,), ()), x)
    operation.__name__ = primitive.name
    return operation


identity, abs, exp, log = map(_unary, (p.IDENTITY, p.ABS, p.EXP, p.LOG))
log1p, expm1, sqrt, rsqrt, reciprocal = map(_unary, (p.LOG1P, p.EXPM1, p.SQRT, p.RSQRT, p.RECIPROCAL))
sin, cos, tan, tanh, sigmoid = map(_unary, (p.SIN, p.COS, p.TAN, p.TANH, p.SIGMOID))
softplus, relu, sign, floor, ceil = map(_unary, (p.SOFTPLUS, p.RELU, p.SIGN, p.FLOOR, p.CEIL))
log2, log10, erf, erfc, signbit = map(_unary, (p.LOG2, p.LOG10, p.ERF, p.ERFC, p.SIGNBIT))
trunc, round, logical_not, bitwise_not = map(_unary, (p.TRUNC, p.ROUND, p.LOGICAL_NOT, p.BITWISE_NOT))
add, sub, mul, div, pow = map(_binary, (p.ADD, p.SUB, p.MUL, p.DIV, p.POW))
maximum, minimum, floor_divide, remainder = map(_binary, (p.MAXIMUM, p.MINIMUM, p.FLOOR_DIVIDE, p.REMAINDER))
asin, acos, atan, sinh, cosh = map(_unary, (s.ASIN, s.ACOS, s.ATAN, s.SINH, s.COSH))
asinh, acosh, atanh, exp2 = map(_unary, (s.ASINH, s.ACOSH, s.ATANH, s.EXP2))
atan2, copysign, fmod, hypot = map(_binary, (p.ATAN2, s.COPYSIGN, s.FMOD, s.HYPOT))
logaddexp, logaddexp2, xlogy, xlog1py = map(_binary, (s.LOGADDEXP, s.LOGADDEXP2, s.XLOGY, s.XLOG1PY))
div_floor, div_trunc = map(_binary, (s.DIV_FLOOR, s.DIV_TRUNC))
bitwise_and, bitwise_or, bitwise_xor = map(_binary, (p.BITWISE_AND, p.BITWISE_OR, p.BITWISE_XOR))
eq, ne, lt, le, gt, ge = map(_binary, (p.EQ, p.NE, p.LT, p.LE, p.GT, p.GE))


def neg(x: Node) -> Node:
    """-x; of a literal (the cotangent of a loss) at once."""
    if x.signature.primitive is p.LITERAL:
        value = -x.signature.attrs[0]
        return x.spec.literals.get(value) or literal(value, x.spec.dtype, x.spec.device)
    return record1(p.NEG, x)


def where(condition: Node, x: Operand, y: Operand) -> Node:
    """x where the bool `condition` holds, else y; at least one of x and y is a Node."""
    if not isinstance(x, Node):
        x = like(x, y)              # type: ignore[arg-type]
    return record(p.WHERE, (condition, x, like(y, x)))


def clamp(x: Node, low: Operand, high: Operand) -> Node:
    """x limited to [low, high]; NaN passes through; where low > high the result is high."""
    if isinstance(low, Node) or isinstance(high, Node):
        return record(p.CLAMP, (x, like(low, x), like(high, x)))
    known = x.spec.constants.get
    return record_with(p.CLAMP, x, known(low) or like(low, x), known(high) or like(high, x))


def logit(x: Node, eps: float | None) -> Node:
    """log(x / (1 - x)), x first limited to [eps, 1 - eps] where eps is given."""
    return record1(s.LOGIT, x, (eps,))


def lerp(start: Node, end: Node, weight: Operand) -> Node:
    """start + weight (end - start), from the nearer end."""
    return record(s.LERP, (start, end, like(weight, start)))


def sigmoid_backward(ct: Node, o: Node) -> Node:
    """ct o (1 - o): the derivative of o = sigmoid(x)."""
    return record2(c.SIGMOID_BACKWARD, ct, o)


def tanh_backward(ct: Node, o: Node) -> Node:
    """ct (1 - o^2): the derivative of o = tanh(x)."""
    return record2(c.TANH_BACKWARD, ct, o)


def relu_backward(ct: Node, o: Node) -> Node:
    """ct where o is positive (or NaN), else 0: the derivative of o = relu(x)."""
    return record2(c.RELU_BACKWARD, ct, o)


def between(x: Node, low: Operand, high: Operand) -> Node:
    """Whether low <= x <= high."""
    return bitwise_and(ge(x, low), le(x, high))     # type: ignore[no-any-return]


def clamp_backward(ct: Node, x: Node, low: Node, high: Node) -> Node:
    """ct where x is in [low, high], else 0; differentiable in ct alone, as comparisons are not."""
    return where(between(x, low, high), ct, 0) if grad_mode.enabled else record(c.CLAMP_BACKWARD, (ct, x, low, high))


def flat(x: Node) -> Node:
    """x, for an operation of several nodes that is piecewise linear in it; x itself where nothing is on the tape."""
    return x if x.tape is None or not grad_mode.enabled else record1(c.FLAT, x)


def overwrite(value: Node, old: Node) -> Node:
    """`value`, on the tape as what replaces `old`, whose gradient is 0."""
    return record2(c.OVERWRITE, value, old)


def cast(x: Node, dtype: DType) -> Node:
    """x converted to `dtype`; x itself where it has it."""
    return x if x.spec.dtype is dtype else record1(p.CAST, x, (dtype,))


# ------------------------------------------------------------------------------------------------ reductions and matmul

def _fold(primitive: Any) -> Any:
    def operation(x: Node, axes: tuple[int, ...], keepdim: bool = False) -> Node:
        out = record1(primitive, x, (axes,))
        return keep(out, x.spec.shape, axes) if keepdim else out
    operation.__name__ = primitive.name
    return operation


sum, amax, amin, prod = map(_fold, (p.SUM, p.AMAX, p.AMIN, p.PROD))
mean, logsumexp = map(_fold, (c.MEAN, c.LOGSUMEXP))


def kept_shape(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """`shape` with size 1 along `axes`."""
    return tuple(1 if i in axes else size for i, size in enumerate(shape))


def keep(reduced: Node, shape: Shape, axes: tuple[int, ...]) -> Node:
    """A reduction's result with the reduced axes of `shape` put back, of size 1."""
    return reshape(reduced, kept_shape(shape, axes))


def spread(reduced: Node, shape: Shape, axes: tuple[int, ...]) -> Node:
    """A reduction's result spread over the axes it folded: the adjoint of a sum."""
    return expand(keep(reduced, shape, axes), shape)


def var(x: Node, axes: tuple[int, ...], correction: Number) -> Node:
    """Variance over `axes` with divisor max(0, n - correction)."""
    return record1(c.VAR, x, (axes, correction))


def std(x: Node, axes: tuple[int, ...], correction: Number) -> Node:
    """Standard deviation over `axes`."""
    return record1(c.STD, x, (axes, correction))


def norm(x: Node, axes: tuple[int, ...], p: float, keepdim: bool = False) -> Node:
    """(sum |x|^p)^(1/p) over `axes`; the number of elements other than 0 where p is 0. p is finite."""
    out = record1(c.NORM, x, (axes, p))
    return keep(out, x.spec.shape, axes) if keepdim else out


def softmax(x: Node, axis: int) -> Node:
    """exp(x) / sum(exp(x)) along an axis."""
    return record1(c.SOFTMAX, x, (axis,))


def log_softmax(x: Node, axis: int) -> Node:
    """x - logsumexp(x) along an axis."""
    return record1(c.LOG_SOFTMAX, x, (axis,))


def argmax(x: Node, axis: int) -> Node:
    """Index (int64) of the first largest element along an axis; a NaN counts as largest."""
    return record1(c.ARGMAX, x, (axis,))


def argmin(x: Node, axis: int) -> Node:
    """Index (int64) of the first smallest element along an axis; a NaN counts as smallest."""
    return record1(c.ARGMIN, x, (axis,))


def matmul(x: Node, y: Node) -> Node:
    """(..., M, K) @ (..., K, N), batch axes broadcast; both have at least two axes."""
    return record2(p.MATMUL, x, y)


def linear(x: Node, weight: Node, bias: Node | None) -> Node:
    """x (..., K) @ weight (N, K)^T + bias (N,)."""
    return record(c.LINEAR, (x, weight) if bias is None else (x, weight, bias))


def binary_cross_entropy(p: Node, y: Node) -> Node:
    """-(y log p + (1 - y) log(1 - p)) of each element, logarithms floored at -100."""
    return record2(losses.BCE, p, y)


def binary_cross_entropy_with_logits(x: Node, y: Node) -> Node:
    """Binary cross entropy of sigmoid(x) of each element."""
    return record2(losses.BCE_WITH_LOGITS, x, y)


def logistic_loss(x: Node) -> Node:
    """log(1 + exp(x))."""
    return record1(losses.LOGISTIC_LOSS, x)


def logistic(x: Node) -> Node:
    """1 / (1 + exp(-x)), with an accurate derivative."""
    return record1(losses.LOGISTIC, x)


def squared_error(d: Node) -> Node:
    """d^2; unlike the power it has no third derivative (PyTorch's is an error, not zeros)."""
    return record1(losses.SQUARED_ERROR, d)


def huber(d: Node, delta: float) -> Node:
    """Huber's loss of each difference: d^2 / 2, from |d| = delta on its tangent."""
    return record_with(losses.HUBER, d, like(delta, d))


def smooth_l1(d: Node, beta: float) -> Node:
    """Huber's loss over beta of each difference."""
    return record_with(losses.SMOOTH_L1, d, like(beta, d))


def normalised(x: Node, axes: tuple[int, ...], eps: float) -> Node:
    """(x - mean) / sqrt(variance + eps) over `axes`."""
    return record1(normalisation.NORMALISED, x, (axes, eps))


def rms_normalised(x: Node, axes: tuple[int, ...], eps: float) -> Node:
    """x / sqrt(mean of squares + eps) over `axes`."""
    return record1(normalisation.RMS_NORMALISED, x, (axes, eps))


def cross_entropy(x: Node, target: Node, ignore_index: int, reduction: str) -> Node:
    """Cross entropy of softmax(x) (N, C) with classes `target` (N,) int64.

    It is (N,), or 0-d for the reduction "mean" or "sum".
    """
    return record(losses.CROSS_ENTROPY, (x, target), (ignore_index, reduction))


def cross_entropy_backward(ct: Node, x: Node, target: Node, ignore_index: int, reduction: str) -> Node:
    """The derivative of `cross_entropy` with respect to x, times ct (0-d, or (N,) for reduction "none")."""
    return record(losses.CROSS_ENTROPY_BACKWARD, (ct, x, target), (ignore_index, reduction))


def _scan(primitive: Any) -> Any:
    def operation(x: Node, axis: int) -> Node:
        return record1(primitive, x, (axis,))
    operation.__name__ = primitive.name
    return operation


cumsum, cumprod, logcumsumexp = map(_scan, (ordering.CUMSUM, ordering.CUMPROD, ordering.LOGCUMSUMEXP))


def cumprod_backward(ct: Node, x: Node, axis: int) -> Node:
    """The derivative of `cumprod` times ct, right where x has zeros."""
    return record(ordering.CUMPROD_BACKWARD, (ct, x), (axis,))


def argsort(x: Node, axis: int, descending: bool) -> Node:
    """The order (int64) that sorts an axis, equals in the order in which they come; a NaN is larger than any number."""
    return record1(ordering.ARGSORT, x, (axis, descending))


def median(x: Node) -> Node:
    """The lower median of all elements, 0-d; NaN where there is one. x has elements."""
    return record1(ordering.MEDIAN, x, (tuple(range(len(x.shape))),))


def nanmedian(x: Node) -> Node:
    """The lower median of all elements that are not NaN, 0-d. x has elements."""
    return record1(ordering.NANMEDIAN, x, (tuple(range(len(x.shape))),))


# ---------------------------------------------------------------------------------------------------------------- views

def reshape(x: Node, shape: Shape) -> Node:
    """The same elements in row-major order in another shape."""
    return x if x.spec.shape == shape else record1(p.RESHAPE, x, (shape,))


def permute(x: Node, dims: tuple[int, ...]) -> Node:
    """Axes reordered: output axis i is input axis dims[i]."""
    return record1(p.PERMUTE, x, (dims,))


def transpose(x: Node, a: int = -2, b: int = -1) -> Node:
    """Two axes exchanged, by default the last two."""
    dims = list(range(x.spec.ndim))
    dims[a], dims[b] = dims[b], dims[a]
    return record1(p.PERMUTE, x, (tuple(dims),))


def expand(x: Node, shape: Shape) -> Node:
    """x broadcast to `shape`."""
    return x if x.spec.shape == shape else record1(p.EXPAND, x, (shape,))


def slice(x: Node, starts: Shape, sizes: Shape, steps: Shape) -> Node:
    """Elements starts[d] + i*steps[d], i < sizes[d]; steps positive."""
    return record1(p.SLICE, x, (starts, sizes, steps))


def pad(x: Node, starts: Shape, shape: Shape, steps: Shape) -> Node:
    """Zeros of `shape` with x at starts[d] + i*steps[d]: the adjoint of `slice`."""
    return record1(p.PAD, x, (starts, shape, steps))


def windows(x: Node, axis: int, size: int, step: int, dilation: int) -> Node:
    """Windows of `size` elements, `dilation` apart, every `step` on an axis: (..., L, ...) to (..., n, ..., size)."""
    return record1(p.WINDOWS, x, (axis, size, step, dilation))


def fold_windows(x: Node, axis: int, length: int, step: int, dilation: int) -> Node:
    """Windows (..., n, ..., size) added up where they overlap, to (..., length, ...): the adjoint of `windows`."""
    return record1(windowed.FOLD_WINDOWS, x, (axis, length, step, dilation))


def convolution(x: Node, weight: Node, stride: Shape, padding: tuple[tuple[int, int], ...], dilation: Shape,
                groups: int) -> Node:
    """x (N, C, *sizes) with weight (O, C/groups, *kernel): (N, O, *sizes out); `padding` of zeros before and after."""
    return record(windowed.CONVOLUTION, (x, weight), (stride, padding, dilation, groups))


def slice_update(x: Node, value: Node, starts: Shape, steps: Shape) -> Node:
    """x with the slice at (starts, steps) of value's shape replaced by `value`."""
    return record(c.SLICE_UPDATE, (x, value), (starts, steps))


def flip(x: Node, dims: tuple[int, ...]) -> Node:
    """x reversed along `dims`."""
    return record1(p.FLIP, x, (dims,))


def cat(nodes: tuple[Node, ...], dim: int) -> Node:
    """Nodes joined along an axis; the other sizes agree."""
    return record(p.CAT, nodes, (dim,))


def sum_to(x: Node, shape: Shape) -> Node:
    """x summed down to `shape`, which broadcasts to x's: the adjoint of broadcasting."""
    have = x.spec.shape
    if have == shape:
        return x
    lead = len(have) - len(shape)
    axes = []
    for i, size in enumerate(have):
        if i < lead:
            axes.append(i)
        elif lead < 0 or size != shape[i - lead]:
            if lead < 0 or shape[i - lead] != 1:
                raise RuntimeError(f"sum_to: shape {list(shape)} does not broadcast to {list(have)}")
            axes.append(i)
    return reshape(sum(x, tuple(axes)), shape)


# ------------------------------------------------------------------------------------- creation, indices and randomness

def full(value: Number, shape: Shape, dtype: DType, device: Device) -> Node:
    """`value` everywhere; a node of its own even where it is 0-d (constants are shared)."""
    value_node = constant(value, dtype, device)
    return expand(value_node, shape) if shape else identity(value_node)


def zeros_like(x: Any) -> Node:
    """Zeros of a node's (or a spec's) shape, dtype and device."""
    return expand(literal(0, x.dtype, x.device), x.shape)


def iota(n: int, device: Device) -> Node:
    """0, 1, ..., n-1 (int64)."""
    return record1(p.IOTA, literal(0, p.dtypes.int64, device), (n,))


def take(x: Node, index: Node) -> Node:
    """Rows of x (K, ...) at `index` (int64, each in [0, K))."""
    return record2(p.TAKE, x, index)


def index_add(source: Node, index: Node, rows: int) -> Node:
    """Zeros (rows, ...) with source[i...] added to row index[i...]: the adjoint of `take`, in a fixed order."""
    return record(c.INDEX_ADD, (source, index), (rows,))


def index_put(x: Node, index: Node, value: Node) -> Node:
    """x (K, ...) with rows `index` (int64, each in [0, K)) replaced by value (index.shape + (...)).

    Where an index comes twice, the last one wins.
    """
    return record(c.INDEX_PUT, (x, index, value))


def gather(x: Node, index: Node, axis: int) -> Node:
    """Elements of x at `index` (int64, in range) along an axis; the other sizes agree."""
    return record(ordering.GATHER, (x, index), (axis,))


def scatter_add(source: Node, index: Node, axis: int, n: int) -> Node:
    """Zeros, n along the axis, with source added at `index` (of its shape): the adjoint of `gather`."""
    return record(ordering.SCATTER_ADD, (source, index), (axis, n))


def scatter(x: Node, index: Node, source: Node, axis: int) -> Node:
    """x with its elements at `index` along an axis replaced by `source` (of the index's shape); the last one wins."""
    return record(ordering.SCATTER, (x, index, source), (axis,))


def random_bits(seed: int, stream: int, shape: Shape, word: int, device: Device) -> Node:
    """Random integers in [0, 2**32) as int64: word `word` of Philox4x32-10."""
    kind = p.dtypes.int64
    return record(p.RANDOM_BITS, (constant(seed, kind, device), constant(stream, kind, device)), (shape, word))


def uniform(seed: int, stream: int, shape: Shape, dtype: DType, device: Device) -> Node:
    """Uniform in [0, 1): as many random bits as the dtype has digits, so that nothing is rounded up to 1."""
    high = random_bits(seed, stream, shape, 0, device)
    if dtype is p.dtypes.float64:
        low = random_bits(seed, stream, shape, 1, device)
        bits = add(mul(floor_divide(high, 32), 2 ** 26), floor_divide(low, 64))
        return mul(cast(bits, dtype), 2.0 ** -53)
    digits = {"float32": 24, "float16": 11, "bfloat16": 8}[dtype.name]
    return cast(mul(cast(floor_divide(high, 2 ** (32 - digits)), p.dtypes.float32), 2.0 ** -digits), dtype)


def normal(seed: int, stream: int, shape: Shape, dtype: DType, device: Device) -> Node:
    """Standard normal by Box and Muller (1958): sqrt(-2 log u) cos(2 pi v), u in (0, 1], v in [0, 1)."""
    wide = dtype if dtype is p.dtypes.float64 else p.dtypes.float32
    words = [floor_divide(random_bits(seed, stream, shape, word, device), 256) for word in (0, 1)]
    u = mul(cast(add(words[0], 1), wide), 2.0 ** -24)
    v = mul(cast(words[1], wide), 2.0 ** -24 * 2 * math.pi)
    return cast(mul(sqrt(mul(log(u), -2.0)), cos(v)), dtype)
