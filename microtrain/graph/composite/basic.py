"""Operations recorded as one node, with a derivative of their own, and rewritten in primitives before scheduling.

One node keeps recording cheap and the tape small (a softmax keeps its output alone); fusion then makes one kernel of
the decomposition. Each decomposition is written in the graph's operations, under no tape.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .. import dtypes
from ..dtypes import DType
from ..node import Kind, Node
from ..primitives import row, same
from ..shape_rules import added_at, put_at, reduced, updated
from ..spec import Shape, Spec

if TYPE_CHECKING:
    from types import ModuleType


@lru_cache(maxsize=1)
def ops() -> ModuleType:
    """The graph's operations (which record these rows, so the two modules know each other)."""
    from .. import ops as module
    return module


def count(shape: Shape, axes: tuple[int, ...]) -> int:
    """How many elements a reduction over `axes` folds into one."""
    n = 1
    for axis in axes:
        n *= shape[axis]
    return n


def widened(x: Node) -> Node:
    """Half precisions in float32, for what PyTorch computes in one kernel and rounds once."""
    return ops().cast(x, dtypes.float32) if x.dtype in (dtypes.float16, dtypes.bfloat16) else x


def _mean(x: Node, axes: tuple[int, ...]) -> Node:
    o = ops()
    return o.cast(o.div(o.sum(widened(x), axes), float(count(x.shape, axes))), x.dtype)


def _wide_var(x: Node, axes: tuple[int, ...], correction: float) -> Node:
    o = ops()
    x, n = widened(x), count(x.shape, axes)
    deviation = o.sub(x, o.keep(o.div(o.sum(x, axes), float(n)), x.shape, axes))
    return o.div(o.sum(o.mul(deviation, deviation), axes), float(max(0, n - correction)))


def _var(x: Node, axes: tuple[int, ...], correction: float) -> Node:
    return ops().cast(_wide_var(x, axes, correction), x.dtype)


def _std(x: Node, axes: tuple[int, ...], correction: float) -> Node:
    return ops().cast(ops().sqrt(_wide_var(x, axes, correction)), x.dtype)


def shifted(x: Node, axes: tuple[int, ...]) -> tuple[Node, Node]:
    """x less its maximum over `axes`, so that exp cannot overflow, and that maximum (0 where it is infinite)."""
    o = ops()
    top = o.amax(x, axes, keepdim=True)
    top = o.where(o.eq(o.abs(top), float("inf")), 0.0, top)
    return o.sub(x, top), top


def _logsumexp(x: Node, axes: tuple[int, ...]) -> Node:
    o = ops()
    if count(x.shape, axes) == 0:
        return o.log(o.sum(o.exp(x), axes))
    shift, top = shifted(widened(x), axes)
    total = o.log(o.sum(o.exp(shift), axes))
    return o.cast(o.add(total, o.reshape(top, total.shape)), x.dtype)


def _norm(x: Node, axes: tuple[int, ...], p: float) -> Node:
    """(sum |x|^p)^(1/p); half precisions in float32 throughout, for a square soon overflows them."""
    o = ops()
    wide = widened(x)
    if p == 0:
        out = o.sum(o.cast(o.ne(wide, 0), wide.dtype), axes)
    elif p == 2:
        out = o.sqrt(o.sum(o.mul(wide, wide), axes))
    else:
        out = o.pow(o.sum(o.pow(o.abs(wide), p), axes), 1 / p)
    return o.cast(out, x.dtype)


def _softmax(x: Node, axis: int) -> Node:
    o = ops()
    wide = widened(x)
    e = o.exp(o.sub(wide, o.amax(wide, (axis,), keepdim=True)))
    return o.cast(o.div(e, o.sum(e, (axis,), keepdim=True)), x.dtype)


def _log_softmax(x: Node, axis: int) -> Node:
    o = ops()
    wide = widened(x)
    shift = o.sub(wide, o.amax(wide, (axis,), keepdim=True))
    return o.cast(o.sub(shift, o.log(o.sum(o.exp(shift), (axis,), keepdim=True))), x.dtype)


def _arg(fold: str) -> Any:
    def decompose(x: Node, axis: int) -> Node:
        o = ops()
        n = x.shape[axis]
        best = getattr(o, fold)(x, (axis,), keepdim=True)
        places = o.reshape(o.iota(n, x.device), tuple(n if i == axis else 1 for i in range(len(x.shape))))
        hit = o.bitwise_or(o.eq(x, best), o.ne(x, x))
        return o.amin(o.where(hit, o.expand(places, x.shape), n), (axis,))
    return decompose


def _arg_infer(x: Spec, axis: int) -> tuple[Shape, DType]:
    return reduced(x, (axis,))[0], dtypes.int64


def _linear(x: Node, weight: Node, bias: Node | None = None) -> Node:
    o = ops()
    flat = o.reshape(x, (-1 if not x.spec.numel else x.spec.numel // x.shape[-1], x.shape[-1])) if x.spec.numel else x
    out = o.matmul(flat if len(flat.shape) > 1 else o.reshape(flat, (1, flat.shape[0])), o.transpose(weight))
    out = o.reshape(out, (*x.shape[:-1], weight.shape[0]))
    return out if bias is None else o.add(out, bias)


def _linear_infer(x: Spec, weight: Spec, bias: Spec | None = None) -> tuple[Shape, DType]:
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        rows = x.numel // x.shape[-1] if x.ndim and x.shape[-1] else 0
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied "
                           f"({rows}x{x.shape[-1] if x.ndim else 0} and {'x'.join(map(str, weight.shape[::-1]))})")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(f"linear: bias of shape {list(bias.shape)} does not fit {weight.shape[0]} output features")
    for other in (weight, bias):
        if other is not None and other.dtype is not x.dtype:
            raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {x.dtype.name} and {other.dtype.name}")
    return (*x.shape[:-1], weight.shape[0]), x.dtype


def _index_add(source: Node, index: Node, rows: int) -> Node:
    """Row k is the sum of the sources whose index is k: a comparison and a sum, in a fixed order, without atomics."""
    o = ops()
    n, rest = index.spec.numel, source.shape[len(index.shape):]
    flat = o.reshape(source, (n, 1, *rest))
    hit = o.eq(o.reshape(index, (n, 1)), o.reshape(o.iota(rows, index.device), (1, rows)))
    hit = o.reshape(hit, (n, rows, *[1] * len(rest)))
    return o.sum(o.where(hit, flat, 0), (0,))


def _slice_update(x: Node, value: Node, starts: Shape, steps: Shape) -> Node:
    o = ops()
    inside = o.pad(o.full(True, value.shape, dtypes.bool_, x.device), starts, x.shape, steps)
    return o.where(inside, o.pad(value, starts, x.shape, steps), x)


def _index_put(x: Node, index: Node, value: Node) -> Node:
    """The last value written to a row wins: for each row, the largest place whose index is that row."""
    o = ops()
    rows, n = x.shape[0], index.spec.numel
    rest = x.shape[1:]
    if n == 0:
        return o.identity(x)
    hit = o.eq(o.reshape(index, (n, 1)), o.reshape(o.iota(rows, x.device), (1, rows)))
    last = o.amax(o.where(hit, o.reshape(o.iota(n, x.device), (n, 1)), -1), (0,))
    fresh = o.take(o.reshape(value, (n, *rest)), o.maximum(last, 0))
    written = o.reshape(o.ge(last, 0), (rows, *[1] * len(rest)))
    return o.where(written, fresh, x)


SIGMOID_BACKWARD = row("sigmoid_backward", Kind.COMPOSITE, same,
                       decompose=lambda ct, o: ops().mul(ct, ops().mul(o, ops().sub(1, o))))
TANH_BACKWARD = row("tanh_backward", Kind.COMPOSITE, same,
                    decompose=lambda ct, o: ops().mul(ct, ops().sub(1, ops().mul(o, o))))
RELU_BACKWARD = row("relu_backward", Kind.COMPOSITE, same,
                    decompose=lambda ct, o: ops().where(ops().le(o, 0), 0, ct))
CLAMP_BACKWARD = row("clamp_backward", Kind.COMPOSITE, same,
                     decompose=lambda ct, x, low, high: ops().where(ops().between(x, low, high), ct, 0),
                     differentiable=False)
"""What a backward pass records most often, in one node instead of three: steps on small models cost their nodes."""

FLAT = row("flat", Kind.COMPOSITE, same, decompose=lambda x: x)
"""x, as the operand of an operation of several nodes whose derivative is flat (see `Rule`) as a whole."""

OVERWRITE = row("overwrite", Kind.COMPOSITE, same, decompose=lambda value, old: value)
"""A value in place of an old one, on which it does not depend: what was on the tape stays there, with gradient 0."""

MEAN = row("mean", Kind.COMPOSITE, reduced, decompose=_mean)
VAR = row("var", Kind.COMPOSITE, lambda x, axes, correction: reduced(x, axes), decompose=_var)
STD = row("std", Kind.COMPOSITE, lambda x, axes, correction: reduced(x, axes), decompose=_std)
LOGSUMEXP = row("logsumexp", Kind.COMPOSITE, reduced, decompose=_logsumexp)
NORM = row("norm", Kind.COMPOSITE, lambda x, axes, p: reduced(x, axes), decompose=_norm,
           grad_name="LinalgVectorNormBackward0")
SOFTMAX = row("softmax", Kind.COMPOSITE, lambda x, axis: same(x), decompose=_softmax)
LOG_SOFTMAX = row("log_softmax", Kind.COMPOSITE, lambda x, axis: same(x), decompose=_log_softmax)
ARGMAX = row("argmax", Kind.COMPOSITE, _arg_infer, lambda out, x, axis: f"argmax({{0}}, {axis})",
             decompose=_arg("amax"), differentiable=False)
ARGMIN = row("argmin", Kind.COMPOSITE, _arg_infer, lambda out, x, axis: f"argmin({{0}}, {axis})",
             decompose=_arg("amin"), differentiable=False)
LINEAR = row("linear", Kind.COMPOSITE, _linear_infer, decompose=_linear, grad_name="AddmmBackward0")
INDEX_ADD = row("index_add", Kind.COMPOSITE,
                added_at, lambda out, source, index, rows: f"index_add({{0}}, {{1}}, {rows})", decompose=_index_add,
                grad_name="IndexPutBackward0")
SLICE_UPDATE = row("slice_update", Kind.COMPOSITE, updated,
                   lambda out, x, value, starts, steps: f"slice_update({{0}}, {{1}}, {starts!r}, {steps!r})",
                   decompose=_slice_update, grad_name="CopySlices")
INDEX_PUT = row("index_put", Kind.COMPOSITE, put_at,
                lambda out, x, index, value: "index_put({0}, {1}, {2})", decompose=_index_put)
