"""The derivative of every differentiable primitive and composite, written in the graph's own operations.

For each source a function `(ct, out, *sources, *attrs) -> cotangent of that source`, with the values it reads named
after it: "x", "y", "z", "w" for the sources in order, "o" for the output. What is not named arrives as a bare spec.
Since the rules record ordinary nodes, derivatives of any order follow. Broadcasting is undone by the walk, not here.
"""

from __future__ import annotations

import math
from typing import Any

from . import dtypes
from . import ops as g
from . import primitives as p
from .composite import basic as c
from .composite import losses, normalisation, windowed
from .composite import ordering as s
from .node import RULES, Node
from .tape import OUT, Rule, grad_mode

VJPS = RULES
_LETTERS = {"o": OUT, "x": 0, "y": 1, "z": 2, "w": 3}


def vjp(primitive: Any, *pairs: Any, **kind: bool) -> None:
    """Enter a rule: function and letters alternate, one pair for each source; of which `kind`, see `Rule`."""
    functions, letters = pairs[::2], pairs[1::2]
    RULES[primitive.name] = Rule(functions, [[_LETTERS[k] for k in used] for used in letters], **kind)


def masked(ct: Node, condition: Node) -> Node:
    """The cotangent where the condition holds, else zero (exactly, even where the cotangent is infinite)."""
    return g.where(condition, ct, 0)


def none(ct: Node, out: Any, x: Any, *rest: Any) -> Node:
    """A derivative that is zero wherever it exists."""
    return g.zeros_like(x)


# ---------------------------------------------------------------------------------------------------------- elementwise
vjp(p.IDENTITY, lambda ct, o, x: ct, "")
vjp(c.FLAT, lambda ct, o, x: ct, "", flat=True)
vjp(p.NEG, lambda ct, o, x: g.neg(ct), "")
vjp(p.ABS, lambda ct, o, x: g.mul(ct, g.sign(x)), "x")
vjp(p.EXP, lambda ct, o, x: g.mul(ct, o), "o")
vjp(p.LOG, lambda ct, o, x: g.div(ct, x), "x")
vjp(p.LOG1P, lambda ct, o, x: g.div(ct, g.add(x, 1)), "x")
vjp(p.EXPM1, lambda ct, o, x: g.mul(ct, g.add(o, 1)), "o")
vjp(p.SQRT, lambda ct, o, x: g.div(ct, g.mul(o, 2)), "o")
vjp(p.RSQRT, lambda ct, o, x: g.mul(g.mul(ct, -0.5), g.mul(o, g.mul(o, o))), "o")
vjp(p.RECIPROCAL, lambda ct, o, x: g.neg(g.mul(ct, g.mul(o, o))), "o")
vjp(p.SIN, lambda ct, o, x: g.mul(ct, g.cos(x)), "x")
vjp(p.COS, lambda ct, o, x: g.neg(g.mul(ct, g.sin(x))), "x")
vjp(p.TAN, lambda ct, o, x: g.mul(ct, g.add(g.mul(o, o), 1)), "o")
vjp(p.TANH, lambda ct, o, x: g.tanh_backward(ct, o), "o")
vjp(p.SIGMOID, lambda ct, o, x: g.sigmoid_backward(ct, o), "o")
vjp(c.TANH_BACKWARD, lambda ct, o, d, y: g.tanh_backward(ct, y), "y",
    lambda ct, o, d, y: g.mul(ct, g.mul(d, g.mul(y, -2))), "xy")
vjp(c.SIGMOID_BACKWARD, lambda ct, o, d, y: g.sigmoid_backward(ct, y), "y",
    lambda ct, o, d, y: g.mul(ct, g.mul(d, g.sub(1, g.mul(y, 2)))), "xy")
vjp(p.SOFTPLUS, lambda ct, o, x: g.mul(ct, g.sigmoid(x)), "x")
vjp(p.RELU, lambda ct, o, x: g.relu_backward(ct, o), "o")
vjp(c.RELU_BACKWARD, lambda ct, o, d, y: g.relu_backward(ct, y), "y", none, "")
for flat in (p.SIGN, p.FLOOR, p.CEIL, p.TRUNC, p.ROUND):
    vjp(flat, none, "")

vjp(p.ADD, lambda ct, o, x, y: ct, "", lambda ct, o, x, y: ct, "")
vjp(p.SUB, lambda ct, o, x, y: ct, "", lambda ct, o, x, y: g.neg(ct), "")
vjp(p.MUL, lambda ct, o, x, y: g.mul(ct, y), "y", lambda ct, o, x, y: g.mul(ct, x), "x")
vjp(p.DIV, lambda ct, o, x, y: g.div(ct, y), "y", lambda ct, o, x, y: g.neg(g.mul(ct, g.div(g.div(x, y), y))), "xy")


def _pow_base(ct: Node, o: Node, x: Node, y: Node) -> Node:
    """y x^(y-1), and 0 where the exponent is 0 (PyTorch's pow_backward_self).

    What is differentiated again is a power of x, even x^0: PyTorch's further derivatives are zeros, and no error.
    """
    if y.primitive is p.LITERAL or y.primitive.name == "scalar":
        n = y.attrs[0] if y.primitive is p.LITERAL else float(y.buffer)
        if n == 0:
            return g.zeros_like(x)
        if n in (1, 2) and not grad_mode.enabled:
            return ct if n == 1 else g.mul(ct, g.mul(x, 2))
        return g.mul(ct, g.mul(g.pow(x, n - 1), n))
    return masked(g.mul(ct, g.mul(y, g.pow(x, g.sub(y, 1)))), g.ne(y, 0))


def _pow_exponent(ct: Node, o: Node, x: Node, y: Node) -> Node:
    """x^y log x, and 0 where the base is 0 and the exponent is not negative (PyTorch's pow_backward_exponent)."""
    flat = g.bitwise_and(g.eq(x, 0), g.ge(y, 0))
    return g.mul(ct, g.where(flat, 0, g.mul(o, g.log(x))))


vjp(p.POW, _pow_base, "xy", _pow_exponent, "xyo")


def _extreme(loses: Any) -> Any:
    """The winner takes the cotangent; a tie is shared evenly; beside a NaN both take it (as in PyTorch)."""
    def first(ct: Node, o: Any, x: Node, y: Node) -> Node:
        return g.where(g.eq(x, y), g.mul(ct, 0.5), g.where(loses(x, y), 0, ct))
    return first


vjp(p.MAXIMUM, _extreme(g.lt), "xy", lambda ct, o, x, y: _extreme(g.lt)(ct, o, y, x), "xy")
vjp(p.MINIMUM, _extreme(g.gt), "xy", lambda ct, o, x, y: _extreme(g.gt)(ct, o, y, x), "xy")
vjp(p.REMAINDER, lambda ct, o, x, y: ct, "", lambda ct, o, x, y: g.neg(g.mul(ct, g.div_floor(x, y))), "xy")


def _not_implemented(*rest: Any) -> Node:
    raise RuntimeError("derivative for aten::floor_divide is not implemented; div(x, y, rounding_mode='floor') "
                       "has one, which is 0")


vjp(p.FLOOR_DIVIDE, _not_implemented, "", _not_implemented, "")
vjp(p.WHERE, none, "", lambda ct, o, condition, x, y: g.where(condition, ct, 0), "x",
    lambda ct, o, condition, x, y: g.where(condition, 0, ct), "x")
vjp(p.CLAMP, lambda ct, o, x, low, high: g.clamp_backward(ct, x, low, high), "xyz",
    lambda ct, o, x, low, high: masked(ct, g.bitwise_and(g.lt(x, low), g.lt(low, high))), "xyz",
    lambda ct, o, x, low, high: masked(ct, g.bitwise_or(g.gt(x, high), g.lt(high, low))), "xyz")
vjp(p.CAST, lambda ct, o, x, dtype: g.cast(ct, x.dtype), "")

# ------------------------------------------------------------------------------------------------ reductions and matmul
vjp(p.SUM, lambda ct, o, x, axes: g.spread(ct, x.shape, axes), "")


def _extremum(ct: Node, o: Node, x: Node, axes: tuple[int, ...]) -> Node:
    """Every element equal to the extremum takes an equal share."""
    best = g.eq(x, g.keep(o, x.shape, axes))
    if x.dtype.is_floating_point:
        best = g.bitwise_or(best, g.bitwise_and(g.ne(x, x), g.keep(g.ne(o, o), x.shape, axes)))
    share = g.div(ct, g.sum(g.cast(best, ct.dtype), axes))
    return masked(g.spread(share, x.shape, axes), best)


vjp(p.AMAX, _extremum, "ox")
vjp(p.AMIN, _extremum, "ox")


def _prod(ct: Node, o: Any, x: Node, axes: tuple[int, ...]) -> Node:
    """ct times the product of all *other* elements, right where some are zero: the others' product by comparison."""
    kept = tuple(i for i in range(len(x.shape)) if i not in axes)
    n = c.count(x.shape, axes)
    shape = tuple(x.shape[i] for i in kept)
    rows = g.reshape(g.permute(x, (*kept, *axes)), (*shape, n))
    places = g.iota(n, x.device)
    same = g.eq(g.reshape(places, (n, 1)), g.reshape(places, (1, n)))
    others = g.prod(g.where(same, 1, g.reshape(rows, (*shape, 1, n))), (len(shape) + 1,))
    back = g.reshape(g.mul(g.reshape(ct, (*shape, 1)), others), (*shape, *[x.shape[i] for i in axes]))
    order = (*kept, *axes)
    return g.permute(back, tuple(order.index(i) for i in range(len(order))))


vjp(p.PROD, _prod, "x")
vjp(p.MATMUL, lambda ct, o, x, y: g.matmul(ct, g.transpose(y)), "y",
    lambda ct, o, x, y: g.matmul(g.transpose(x), ct), "x")

# ---------------------------------------------------------------------------------------------------------------- views
vjp(p.RESHAPE, lambda ct, o, x, shape: g.reshape(ct, x.shape), "")
vjp(p.PERMUTE, lambda ct, o, x, dims: g.permute(ct, tuple(dims.index(i) for i in range(len(dims)))), "")
vjp(p.EXPAND, lambda ct, o, x, shape: ct, "")
vjp(p.SLICE, lambda ct, o, x, starts, sizes, steps: g.pad(ct, starts, x.shape, steps), "")
vjp(p.PAD, lambda ct, o, x, starts, shape, steps: g.slice(ct, starts, x.shape, steps), "")
vjp(p.FLIP, lambda ct, o, x, dims: g.flip(ct, dims), "")


def _cat(i: int, ct: Node, o: Any, *arguments: Any) -> Node:
    *parts, dim = arguments
    start = sum(part.shape[dim] for part in parts[:i])
    shape = parts[i].shape
    return g.slice(ct, tuple(start if d == dim else 0 for d in range(len(shape))), shape, (1,) * len(shape))


vjp(p.CAT, _cat, "", variadic=True)
vjp(p.WINDOWS, lambda ct, o, x, axis, size, step, dilation:
    g.fold_windows(ct, axis, x.shape[axis], step, dilation), "")
vjp(windowed.FOLD_WINDOWS, lambda ct, o, x, axis, length, step, dilation:
    g.windows(ct, axis, x.shape[-1], step, dilation), "")
vjp(windowed.CONVOLUTION, windowed.input_gradient, "y", windowed.weight_gradient, "x")
vjp(p.TAKE, lambda ct, o, x, index: g.index_add(ct, index, x.shape[0]), "y", none, "")

# ----------------------------------------------------------------------------------------------------------- composites
vjp(c.MEAN, lambda ct, o, x, axes: g.spread(g.div(ct, float(c.count(x.shape, axes))), x.shape, axes), "")


def _var(ct: Node, o: Any, x: Node, axes: tuple[int, ...], correction: float) -> Node:
    """2 (x - mean) / (n - correction), wherever that is (as PyTorch's): infinite, or of the other sign."""
    scale = c.count(x.shape, axes) - correction
    deviation = g.sub(x, g.keep(g.mean(x, axes), x.shape, axes))
    return g.mul(g.keep(g.mul(ct, 2.0 / scale if scale else math.inf), x.shape, axes), deviation)


def _std(ct: Node, o: Node, x: Node, axes: tuple[int, ...], correction: float) -> Node:
    """The variance's derivative over 2 std, and 0 where the deviation is 0 (as PyTorch's)."""
    return _var(g.where(g.eq(o, 0), 0, g.div(ct, g.mul(o, 2))), None, x, axes, correction)


vjp(c.OVERWRITE, lambda ct, o, value, old: ct, "", none, "")
vjp(c.VAR, _var, "x")
vjp(c.STD, _std, "ox")
vjp(c.LOGSUMEXP, lambda ct, o, x, axes: g.mul(g.keep(ct, x.shape, axes), g.exp(g.sub(x, g.keep(o, x.shape, axes)))),
    "ox")


def _norm(ct: Node, o: Node, x: Node, axes: tuple[int, ...], p: float) -> Node:
    """ct sign(x) (|x| / norm)^(p-1), and 0 where that divides by 0 (PyTorch's norm_backward)."""
    if p == 0:
        return g.zeros_like(x)
    ct, norm = g.keep(ct, x.shape, axes), g.keep(o, x.shape, axes)
    zero = g.eq(norm, 0)
    if p == 2:
        return g.mul(ct, g.where(zero, 0, g.div(x, norm)))
    if p < 1:
        slope = g.where(g.eq(x, 0), 0, g.pow(g.abs(x), p - 1))
        return g.mul(g.mul(g.mul(g.sign(x), slope), ct), g.pow(norm, 1 - p))
    slope = g.mul(g.sign(x), g.pow(g.abs(x), p - 1)) if p < 2 else g.mul(x, g.pow(g.abs(x), p - 2))
    return g.mul(slope, g.where(zero, 0, g.div(ct, g.pow(norm, p - 1))))


vjp(c.NORM, _norm, "ox")


def _softmax(ct: Node, o: Node, x: Any, axis: int) -> Node:
    wide, out = c.widened(ct), c.widened(o)
    return g.cast(g.mul(out, g.sub(wide, g.sum(g.mul(wide, out), (axis,), keepdim=True))), o.dtype)


def _log_softmax(ct: Node, o: Node, x: Any, axis: int) -> Node:
    wide = c.widened(ct)
    return g.cast(g.sub(wide, g.mul(g.exp(c.widened(o)), g.sum(wide, (axis,), keepdim=True))), o.dtype)


vjp(c.SOFTMAX, _softmax, "o")
vjp(c.LOG_SOFTMAX, _log_softmax, "o")


def _rows(x: Any, node: Node) -> Node:
    """A (..., K) operand of `linear` as a matrix (rows, K)."""
    if len(x.shape) == 2:
        return node
    return g.reshape(node, (c.count(x.shape, tuple(range(len(x.shape) - 1))), x.shape[-1]))


vjp(c.LINEAR, lambda ct, o, x, w, *b: g.reshape(g.matmul(_rows(ct.spec, ct), w), x.shape), "y",
    lambda ct, o, x, w, *b: g.matmul(g.transpose(_rows(ct.spec, ct)), _rows(x.spec, x)), "x",
    lambda ct, o, x, w, b: g.sum(_rows(ct.spec, ct), (0,)), "")
vjp(c.INDEX_ADD, lambda ct, o, source, index, rows: g.take(ct, index), "y", none, "")


def _outside(ct: Node, o: Any, x: Any, value: Any, starts: Any, steps: Any) -> Node:
    return g.slice_update(ct, g.zeros_like(value), starts, steps)


vjp(c.SLICE_UPDATE, _outside, "", lambda ct, o, x, value, starts, steps: g.slice(ct, starts, value.shape, steps), "")
vjp(c.INDEX_PUT, lambda ct, o, x, index, value: g.index_put(ct, index, g.zeros_like(value)), "y", none, "",
    lambda ct, o, x, index, value: g.take(ct, index), "y")

# -------------------------------------------------------------------------------------------- scans, sorting, gathering
vjp(s.CUMSUM, lambda ct, o, x, axis: s.reverse(g.cumsum, ct, axis), "")
vjp(s.CUMPROD, lambda ct, o, x, axis: g.cumprod_backward(ct, x, axis), "x")


def _left_out(x: Node, axis: int) -> tuple[Node, Node, Node]:
    """x (..., n) once for each k with element k set to 1: (..., k, n), the axis moved to the end; whether j is that k;
    and whether the product of the first i has k as a factor."""
    x = g.transpose(x, axis, -1)
    *lead, n = x.shape
    places = g.iota(n, x.device)
    rows, columns = g.reshape(places, (n, 1)), g.reshape(places, (1, n))
    chosen = g.eq(rows, columns)
    return g.where(chosen, 1, g.reshape(x, (*lead, 1, n))), chosen, g.le(rows, columns)


def _cumprod_twice_ct(ct: Node, o: Any, d: Any, x: Node, axis: int) -> Node:
    """Output i of the linearized product: the sum over k <= i of ct_k times the product of the others up to i."""
    others, _, within = _left_out(x, axis)
    last = len(x.shape)
    column = g.transpose(ct, axis, -1)
    terms = g.mul(g.reshape(column, (*column.shape, 1)), g.cumprod(others, last))
    return g.transpose(g.sum(g.where(within, terms, 0), (last - 1,)), axis, -1)


def _cumprod_twice_x(ct: Node, o: Any, d: Node, x: Node, axis: int) -> Node:
    """For each k, the gradient of a product that leaves out k, which nothing of k's own can change."""
    others, chosen, within = _left_out(x, axis)
    last = len(x.shape)
    column, line = g.transpose(ct, axis, -1), g.transpose(d, axis, -1)
    *lead, n = column.shape
    weights = g.where(within, g.mul(g.reshape(column, (*lead, n, 1)), g.reshape(line, (*lead, 1, n))), 0)
    each = g.where(chosen, 0, g.cumprod_backward(weights, others, last))
    return g.transpose(g.sum(each, (last - 1,)), axis, -1)


vjp(s.CUMPROD_BACKWARD, _cumprod_twice_ct, "y", _cumprod_twice_x, "xy")


def _logcumsumexp(ct: Node, o: Node, x: Node, axis: int) -> Node:
    """The sum over i >= j of ct_i exp(x_j - o_i), in logarithms, its positive and negative terms apart."""
    nothing = dtypes.lowest(o.dtype)        # no difference of two such is NaN

    def of_sign(holds: Node, size: Node) -> Node:
        terms = g.where(holds, g.sub(g.log(g.where(holds, size, 1)), o), nothing)
        some = g.gt(s.reverse(g.cumsum, g.cast(holds, o.dtype), axis), 0)
        return g.where(some, g.exp(g.add(s.reverse(g.logcumsumexp, terms, axis), x)), 0)
    return g.sub(of_sign(g.gt(ct, 0), ct), of_sign(g.lt(ct, 0), g.neg(ct)))


vjp(s.LOGCUMSUMEXP, _logcumsumexp, "ox")
vjp(s.GATHER, lambda ct, o, x, index, axis: g.scatter_add(ct, index, axis, x.shape[axis]), "y", none, "")
vjp(s.SCATTER_ADD, lambda ct, o, source, index, axis, n: g.gather(ct, index, axis), "y", none, "")
vjp(s.SCATTER, lambda ct, o, x, index, source, axis: g.scatter(ct, index, g.zeros_like(source), axis), "y", none, "",
    lambda ct, o, x, index, source, axis: g.gather(ct, index, axis), "y")
vjp(s.MEDIAN, _extremum, "ox")
vjp(s.NANMEDIAN, _extremum, "ox")
vjp(normalisation.NORMALISED, normalisation.normalised_gradient, "ox")
vjp(normalisation.RMS_NORMALISED, normalisation.rms_normalised_gradient, "ox")

# --------------------------------------------------------------------------------------------------------------- losses
vjp(losses.BCE, lambda ct, o, p, y: g.mul(ct, g.div(g.sub(p, y), losses.slope(p))), "xy",
    lambda ct, o, p, y: g.mul(ct, g.sub(g.log1p(g.neg(p)), g.log(p))), "x")
vjp(losses.BCE_WITH_LOGITS, lambda ct, o, x, y: g.mul(ct, g.sub(g.sigmoid(x), y)), "xy",
    lambda ct, o, x, y: g.neg(g.mul(ct, x)), "x")


vjp(losses.LOGISTIC_LOSS, lambda ct, o, x: g.mul(ct, g.logistic(x)), "x")
vjp(losses.LOGISTIC, lambda ct, o, x: g.mul(ct, g.mul(g.logistic(x), g.logistic(g.neg(x)))), "x")


vjp(losses.SQUARED_ERROR, lambda ct, o, d: g.mul(ct, g.mul(d, 2)), "x")


def _huber(ct: Node, o: Any, d: Node, delta: Node) -> Node:
    return g.mul(ct, g.where(g.ge(g.abs(d), delta), g.mul(g.sign(d), delta), d))


def _smooth_l1(ct: Node, o: Any, d: Node, beta: Node) -> Node:
    return g.mul(ct, g.where(g.ge(g.abs(d), beta), g.sign(d), g.div(d, beta)))


vjp(losses.HUBER, _huber, "xy", none, "")
vjp(losses.SMOOTH_L1, _smooth_l1, "xy", none, "")


def _cross_entropy(ct: Node, o: Any, x: Node, target: Node, ignore_index: int, reduction: str) -> Node:
    return g.cross_entropy_backward(ct, x, target, ignore_index, reduction)


def _cross_entropy_twice_ct(ct: Node, o: Any, d: Any, x: Node, target: Node, ignore_index: int, reduction: str) -> Node:
    inner = losses.where_valid(g.mul(losses.excess(x, target), ct), target, ignore_index)
    if reduction == "none":
        return g.sum(inner, (1,))
    return losses.scaled(g.sum(inner, (0, 1)), target, x.dtype, ignore_index, reduction)


def _cross_entropy_twice_x(ct: Node, o: Any, d: Node, x: Node, target: Node, ignore_index: int, reduction: str) -> Node:
    """The derivative of a softmax, of the cotangent of the probabilities."""
    scale = losses.scaled(d, target, x.dtype, ignore_index, reduction)
    flow, s = losses.where_valid(g.mul(ct, scale), target, ignore_index), g.softmax(x, 1)
    return g.mul(s, g.sub(flow, g.sum(g.mul(flow, s), (1,), keepdim=True)))


vjp(losses.CROSS_ENTROPY_BACKWARD, _cross_entropy_twice_ct, "yz", _cross_entropy_twice_x, "xyz", none, "")
vjp(losses.CROSS_ENTROPY, _cross_entropy, "xy", none, "")
