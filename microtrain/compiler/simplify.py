"""Composites rewritten in primitives, equal values merged, identities removed.

Runs once for each structure met; a later graph of the same structure finds the finished plan.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import numpy as np

from .. import ops
from ..graph.dtypes import DType, bfloat16, bool_, float16
from ..graph.node import Kind, Signature, interned
from ..graph.spec import broadcast_shapes
from .build import Builder, Traced
from .native import SHARING
from .program import Program, Value


def simplify(program: Program, native: bool | None = None) -> Program:
    """The same outputs of the same inputs, in primitives.

    With `native`, as on the cpu device, composites that NumPy has a function for are kept.
    """
    simplifier = Simplifier(program.device.kind.native if native is None else native)
    new: dict[Value, Value] = {}
    for value in program.values:
        new[value] = simplifier.make(value.signature, tuple([new[source] for source in value.sources]))
    return simplifier.program([new[value] for value in program.outputs])


class Simplifier(Builder):
    """Makes values of primitives alone, each of them once."""

    def __init__(self, native: bool) -> None:
        super().__init__()
        self.native = native
        self.known: dict[tuple[Signature, tuple[Value, ...]], Value] = {}

    def make(self, signature: Signature, sources: tuple[Value, ...]) -> Value:
        primitive = signature.primitive
        if primitive.kind is Kind.COMPOSITE and not (self.native and primitive.numpy):
            return super().make(signature, sources)
        if not sources:
            return self.value(signature, ())
        if primitive.kind is Kind.MAP and primitive is not ops.CAST:
            bare = unexpanded(sources, signature.spec.shape)
            if bare is not sources:
                signature = interned(primitive, signature.attrs, tuple([source.spec for source in bare]))
                sources = bare
        rewrites = NATIVE if self.native and primitive in NATIVE else REWRITES
        rewrite = _reduce if primitive.kind is Kind.REDUCE else rewrites.get(primitive)
        rewritten = rewrite and rewrite(self.g, Value(signature, sources), *sources)
        if rewritten is not None:
            return rewritten
        found = self.known.get((signature, sources))
        if found is None:
            found = self.known[signature, sources] = self.value(signature, sources)
        return found


def unexpanded(sources: tuple[Value, ...], shape: tuple[int, ...]) -> tuple[Value, ...]:
    """Sources without explicit expansions, as far as broadcasting still gives `shape`."""
    for i, source in enumerate(sources):
        if source.primitive is ops.EXPAND:
            bare = (*sources[:i], source.sources[0], *sources[i + 1:])
            if broadcast_shapes(*[s.shape for s in bare]) == shape:
                sources = bare
    return sources


# The types in which half precisions are computed before they are rounded
Rounding = Callable[[float | np.floating], np.floating]
WIDE: dict[DType, Rounding] = {float16: np.float32, bfloat16: np.float32}


def number(value: Value) -> bool | int | float | None:
    """The value of a literal (also of one that is expanded), else None."""
    if value.primitive is ops.EXPAND:
        value = value.sources[0]
    return value.attrs[0] if value.primitive is ops.LITERAL else None


POWERS_OF_TWO = frozenset(2.0 ** n for n in range(-10, 11))  # Divisors whose reciprocals are exact in every dtype


def _folded(g: Traced, value: Value, operation: Callable[..., np.floating], *sources: Value) -> Value | None:
    """An operation on literals done at once, in NumPy and so with the rounding of its dtype."""
    numbers = [known for source in sources if (known := number(source)) is not None]
    if len(numbers) < len(sources) or not value.dtype.is_floating_point:
        return None                 # integers wrap around
    kind: Rounding = value.dtype.numpy.type
    wide = WIDE.get(value.dtype, kind)
    with np.errstate(all="ignore"):
        result = float(kind(operation(*[wide(kind(one)) for one in numbers])))
    return g.filled(result, value.spec) if math.isfinite(result) else None


def _opposite(g: Traced, value: Value) -> Value | None:
    """-value where it takes less than the value itself: the sign of one factor, or of all, is left out."""
    if value.primitive is ops.NEG:
        return value.sources[0]
    if value.primitive in (ops.MUL, ops.DIV):
        again = g.mul if value.primitive is ops.MUL else g.div
        x, y = value.sources
        if x.primitive is ops.NEG:
            return again(x.sources[0], y)
        if y.primitive is ops.NEG:
            return again(x, y.sources[0])
    return None


def _add(g: Traced, value: Value, x: Value, y: Value) -> Value | None:
    """A sum with what has a sign is a difference: with equal bits, signs of zeros included."""
    if (less := _opposite(g, y)) is not None:
        return g.sub(x, less)
    if (less := _opposite(g, x)) is not None:
        return g.sub(y, less)
    return _folded(g, value, operator.add, x, y)


def _subtract(g: Traced, value: Value, x: Value, y: Value) -> Value | None:
    return _sub(g, value, x, y) if (more := _opposite(g, y)) is None else g.add(x, more)


def _neg(g: Traced, value: Value, x: Value) -> Value | None:
    return _folded(g, value, operator.neg, x) or (x.sources[0] if x.primitive is ops.NEG else None)


def _sub(g: Traced, value: Value, x: Value, y: Value) -> Value | None:
    less = number(y)
    if less is not None and less == 0 and math.copysign(1, less) > 0 and x.shape == value.shape:
        return x                    # -0.0 less -0.0 is 0.0
    return _folded(g, value, operator.sub, x, y)


def _mul(g: Traced, value: Value, x: Value, y: Value) -> Value | None:
    for a, b in ((x, y), (y, x)):
        if a.shape == value.shape and number(b) == 1:
            return a
        if a.shape == value.shape and number(b) == -1 and value.dtype is not bool_:
            return g.neg(a)
    return _folded(g, value, operator.mul, x, y)


def _div(g: Traced, value: Value, x: Value, y: Value) -> Value | None:
    divisor = number(y)
    if divisor == 1 and x.shape == value.shape:
        return x
    folded = _folded(g, value, operator.truediv, x, y)
    if folded is None and value.dtype.is_floating_point and divisor is not None and abs(divisor) in POWERS_OF_TWO:
        return g.mul(x, g.filled(1 / divisor, y.spec))
    return folded


def _pow(g: Traced, value: Value, x: Value, y: Value) -> Value | None:
    """The exponents that PyTorch computes without a power."""
    n = number(y)
    if x.shape != value.shape or n is None or isinstance(n, bool):
        return None
    if n == 0:
        return g.filled(1, value.spec)
    if n == 1:
        return x
    if n == 2:
        return g.mul(x, x)
    if n == 3:
        return g.mul(g.mul(x, x), x)
    if not value.dtype.is_floating_point:
        return None
    if n == -2:
        return g.reciprocal(g.mul(x, x))
    root = {0.5: g.sqrt, -0.5: g.rsqrt, -1: g.reciprocal}.get(n)
    return None if root is None else root(x)


def _reshape(g: Traced, value: Value, x: Value) -> Value | None:
    if x.shape == value.shape:
        return x
    if (everywhere := number(x)) is not None and value.spec.numel:
        return g.filled(everywhere, value.spec)
    return g.reshape(x.sources[0], value.shape) if x.primitive is ops.RESHAPE else None


def _permute(g: Traced, value: Value, x: Value) -> Value | None:
    dims = value.attrs[0]
    if dims == tuple(range(len(dims))):
        return x
    return g.permute(x.sources[0], tuple(x.attrs[0][d] for d in dims)) if x.primitive is ops.PERMUTE else None


def _expand(g: Traced, value: Value, x: Value) -> Value | None:
    if x.shape == value.shape:
        return x
    return g.expand(x.sources[0], value.shape) if x.primitive is ops.EXPAND else None


def _reduce(g: Traced, value: Value, x: Value) -> Value | None:
    """A reduction over axes of size 1 only is a reshape."""
    return g.reshape(x, value.shape) if all(x.shape[a] == 1 for a in value.attrs[0]) else None


REWRITES: dict[ops.Primitive, Callable[..., Value | None]] = {
    ops.IDENTITY: lambda g, value, x: x,
    ops.CAST: lambda g, value, x: x if x.dtype is value.dtype else None,
    ops.ADD: lambda g, value, x, y: _folded(g, value, operator.add, x, y),
    ops.NEG: _neg, ops.SUB: _sub, ops.MUL: _mul, ops.DIV: _div, ops.POW: _pow,
    ops.RESHAPE: _reshape, ops.PERMUTE: _permute, ops.EXPAND: _expand}

NATIVE: dict[ops.Primitive, Callable[..., Value | None]] = {
    **SHARING, ops.ADD: _add, ops.SUB: _subtract,
    ops.NEG: lambda g, value, x: _neg(g, value, x) or _opposite(g, x)}
"""What is rewritten otherwise for NumPy, which takes a statement for each sign; in a kernel it costs nothing."""
