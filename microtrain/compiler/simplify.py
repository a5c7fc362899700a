"""Composites rewritten in primitives, equal values merged, identities removed.

Runs once for each structure met; a later graph of the same structure finds the finished plan.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops as p
from ..graph.dtypes import bfloat16, bool_, float16
from ..graph.node import Kind, Signature, interned
from ..graph.spec import broadcast_shapes
from .build import Builder, Traced
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
            assert primitive.decompose is not None
            return self.g(primitive.decompose, *sources, *signature.attrs)
        if not sources:
            return self.value(signature, ())
        if primitive.kind is Kind.MAP and primitive is not p.CAST:
            bare = unexpanded(sources, signature.spec.shape)
            if bare is not sources:
                signature = interned(primitive, signature.attrs, tuple([source.spec for source in bare]))
                sources = bare
        rewrite = _reduce if primitive.kind is Kind.REDUCE else REWRITES.get(primitive)
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
        if source.primitive is p.EXPAND:
            bare = (*sources[:i], source.sources[0], *sources[i + 1:])
            if broadcast_shapes(*[s.shape for s in bare]) == shape:
                sources = bare
    return sources


WIDE = {float16: np.float32, bfloat16: np.float32}
"""The types in which half precisions are computed before they are rounded."""


def number(node: Value) -> Any:
    """The value of a literal (also of one that is expanded), else None."""
    if node.primitive is p.EXPAND:
        node = node.sources[0]
    return node.attrs[0] if node.primitive is p.LITERAL else None


FOLDABLE: dict[Any, Callable[..., Any]] = {
    p.NEG: operator.neg, p.ADD: operator.add, p.SUB: operator.sub, p.MUL: operator.mul, p.DIV: operator.truediv}
"""Operations on literals that are done at once, in NumPy and so with the rounding of their dtype."""

POWERS_OF_TWO = frozenset(2.0 ** n for n in range(-10, 11))
"""Divisors whose reciprocals are exact in every dtype."""


def _fold(g: Traced, node: Value, sources: tuple[Value, ...]) -> Value | None:
    values = [number(s) for s in sources]
    if None in values or not node.dtype.is_floating_point:
        return None                 # integers wrap around
    kind: Any = node.dtype.numpy.type
    wide: Any = WIDE.get(node.dtype, kind)
    with np.errstate(all="ignore"):
        value = float(kind(FOLDABLE[node.primitive](*[wide(kind(v)) for v in values])))
    return g.filled(value, node.spec) if math.isfinite(value) else None


def _neg(g: Traced, node: Value, x: Value) -> Value | None:
    return _fold(g, node, (x,)) or (x.sources[0] if x.primitive is p.NEG else None)


def _add(g: Traced, node: Value, x: Value, y: Value) -> Value | None:
    return _fold(g, node, (x, y))


def _sub(g: Traced, node: Value, x: Value, y: Value) -> Value | None:
    if number(y) == 0 and math.copysign(1, number(y)) > 0 and x.shape == node.shape:       # -0.0 less -0.0 is 0.0
        return x
    return _fold(g, node, (x, y))


def _mul(g: Traced, node: Value, x: Value, y: Value) -> Value | None:
    for a, b in ((x, y), (y, x)):
        if a.shape == node.shape and number(b) == 1:
            return a
        if a.shape == node.shape and number(b) == -1 and node.dtype is not bool_:
            return g.neg(a)
    return _fold(g, node, (x, y))


def _div(g: Traced, node: Value, x: Value, y: Value) -> Value | None:
    divisor = number(y)
    if divisor == 1 and x.shape == node.shape:
        return x
    folded = _fold(g, node, (x, y))
    if folded is None and node.dtype.is_floating_point and divisor is not None and abs(divisor) in POWERS_OF_TWO:
        return g.mul(x, g.filled(1 / divisor, y.spec))
    return folded


def _pow(g: Traced, node: Value, x: Value, y: Value) -> Value | None:
    """The exponents that PyTorch computes without a power."""
    n = number(y)
    if x.shape != node.shape or n is None or isinstance(n, bool):
        return None
    if n == 0:
        return g.filled(1, node.spec)
    if n == 1:
        return x
    if n == 2:
        return g.mul(x, x)
    if n == 3:
        return g.mul(g.mul(x, x), x)
    if not node.dtype.is_floating_point:
        return None
    if n == -2:
        return g.reciprocal(g.mul(x, x))
    root = {0.5: g.sqrt, -0.5: g.rsqrt, -1: g.reciprocal}.get(n)
    return None if root is None else root(x)


def _identity(g: Traced, node: Value, x: Value) -> Value:
    return x


def _cast(g: Traced, node: Value, x: Value) -> Value | None:
    return x if x.dtype is node.dtype else None


def _reshape(g: Traced, node: Value, x: Value) -> Value | None:
    if x.shape == node.shape:
        return x
    if number(x) is not None and node.spec.numel:
        return g.filled(number(x), node.spec)
    return g.reshape(x.sources[0], node.shape) if x.primitive is p.RESHAPE else None


def _permute(g: Traced, node: Value, x: Value) -> Value | None:
    dims = node.attrs[0]
    if dims == tuple(range(len(dims))):
        return x
    return g.permute(x.sources[0], tuple(x.attrs[0][d] for d in dims)) if x.primitive is p.PERMUTE else None


def _expand(g: Traced, node: Value, x: Value) -> Value | None:
    if x.shape == node.shape:
        return x
    return g.expand(x.sources[0], node.shape) if x.primitive is p.EXPAND else None


def _reduce(g: Traced, node: Value, x: Value) -> Value | None:
    """A reduction over axes of size 1 only is a reshape."""
    return g.reshape(x, node.shape) if all(x.shape[a] == 1 for a in node.attrs[0]) else None


REWRITES: dict[Any, Callable[..., Value | None]] = {
    p.IDENTITY: _identity, p.NEG: _neg, p.ADD: _add, p.SUB: _sub, p.MUL: _mul, p.DIV: _div, p.POW: _pow, p.CAST: _cast,
    p.RESHAPE: _reshape, p.PERMUTE: _permute, p.EXPAND: _expand}
