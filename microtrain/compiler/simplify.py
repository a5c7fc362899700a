"""From recorded nodes to a `Program`: composites rewritten in primitives, equal nodes merged, identities removed.

Runs once for each structure met; a later graph of the same structure finds the finished plan.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops as g
from .. import ops as p
from ..graph.dtypes import bfloat16, bool_, float16
from ..graph.node import Kind, literal, new_node, record
from ..graph.spec import Device, broadcast_shapes
from ..graph.tape import grad_mode
from .program import Program, Value, topological


def simplify(order: list[Value], outputs: list[Value], device: Device,
             native: bool | None = None) -> tuple[Program, list[int]]:
    """A program that computes `outputs`, and for each of them its place among the program's (distinct) outputs.

    `order` is topological. With `native`, as on the cpu device, composites that NumPy has a
    function for are kept. Nodes with a buffer become inputs, in that order.
    """
    builder = Builder(native=device.kind.native if native is None else native)
    inputs = []
    before, grad_mode.enabled = grad_mode.enabled, False
    try:
        for node in order:
            if node.buffer is not None:
                place = new_node(node.signature, ())
                inputs.append(place)
                builder.new[node] = place
            else:
                builder.add(node)
    finally:
        grad_mode.enabled = before
    distinct: dict[Value, int] = {}
    places = [distinct.setdefault(builder.new[node], len(distinct)) for node in outputs]
    return Program(inputs, list(distinct), topological([*distinct, *inputs]), device), places


class Builder:
    """Builds the simplified graph node by node: `new` maps each recorded node to its replacement."""

    def __init__(self, native: bool) -> None:
        self.native = native
        self.new: dict[Value, Value] = {}
        self.known: dict[Any, Value] = {}

    def add(self, node: Value) -> Value:
        """The replacement of a node whose sources have theirs."""
        found = self.new.get(node)
        if found is None:
            sources = tuple([self.new[s] for s in node.sources])
            found = self.new[node] = self.make(node, sources)
            self.new.setdefault(found, found)
        return found

    def make(self, node: Value, sources: tuple[Value, ...]) -> Value:
        primitive = node.primitive
        if primitive.kind is Kind.COMPOSITE and not (self.native and primitive.numpy):
            assert primitive.decompose is not None
            return self.splice(primitive.decompose(*sources, *node.attrs))
        if not sources:
            # A number met in a decomposition is part of the structure, whatever it is.
            return node if node.buffer is None else literal(node.buffer.item(), node.dtype, node.device)
        if primitive.kind is Kind.MAP and primitive is not p.CAST:
            sources = unexpanded(sources, node.shape)
        rewritten = REWRITES[primitive](node, *sources) if primitive in REWRITES else None
        if rewritten is not None:
            return self.splice(rewritten)
        key = (primitive, node.attrs, sources)
        found = self.known.get(key)
        if found is None:
            # Never the recorded node itself: the program outlives it, and would keep its value alive.
            same = sources == node.sources
            found = new_node(node.signature, sources) if same else record(primitive, sources, node.attrs)
            self.known[key] = found
        return found

    def splice(self, root: Value) -> Value:
        """Add a freshly recorded subgraph, whose leaves are replacements already."""
        stack = [root]
        while stack:
            node = stack[-1]
            missing = [s for s in node.sources if s not in self.new] if node not in self.new else []
            stack.extend(missing)
            if not missing:
                self.add(stack.pop())
        return self.new[root]


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


def _fold(node: Value, sources: tuple[Value, ...]) -> Value | None:
    values = [number(s) for s in sources]
    if None in values or not node.dtype.is_floating_point:
        return None                 # integers wrap around
    kind: Any = node.dtype.numpy.type
    wide: Any = WIDE.get(node.dtype, kind)
    with np.errstate(all="ignore"):
        value = float(kind(FOLDABLE[node.primitive](*[wide(kind(v)) for v in values])))
    return g.expand(literal(value, node.dtype, node.device), node.shape) if math.isfinite(value) else None


def _neg(node: Value, x: Value) -> Value | None:
    return _fold(node, (x,)) or (x.sources[0] if x.primitive is p.NEG else None)


def _add(node: Value, x: Value, y: Value) -> Value | None:
    return _fold(node, (x, y))


def _sub(node: Value, x: Value, y: Value) -> Value | None:
    if number(y) == 0 and math.copysign(1, number(y)) > 0 and x.shape == node.shape:       # -0.0 less -0.0 is 0.0
        return x
    return _fold(node, (x, y))


def _mul(node: Value, x: Value, y: Value) -> Value | None:
    for a, b in ((x, y), (y, x)):
        if a.shape == node.shape and number(b) == 1:
            return a
        if a.shape == node.shape and number(b) == -1 and node.dtype is not bool_:
            return g.neg(a)
    return _fold(node, (x, y))


def _div(node: Value, x: Value, y: Value) -> Value | None:
    divisor = number(y)
    if divisor == 1 and x.shape == node.shape:
        return x
    folded = _fold(node, (x, y))
    if folded is None and node.dtype.is_floating_point and divisor is not None and abs(divisor) in POWERS_OF_TWO:
        return g.mul(x, g.expand(literal(1 / divisor, y.dtype, y.device), y.shape))
    return folded


def _pow(node: Value, x: Value, y: Value) -> Value | None:
    """The exponents that PyTorch computes without a power."""
    n = number(y)
    if x.shape != node.shape or n is None or isinstance(n, bool):
        return None
    if n == 0:
        return g.expand(literal(1, node.dtype, node.device), node.shape)
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


def _identity(node: Value, x: Value) -> Value:
    return x


def _cast(node: Value, x: Value) -> Value | None:
    return x if x.dtype is node.dtype else None


def _reshape(node: Value, x: Value) -> Value | None:
    if x.shape == node.shape:
        return x
    if number(x) is not None and node.spec.numel:
        return g.expand(literal(number(x), node.dtype, node.device), node.shape)
    return g.reshape(x.sources[0], node.shape) if x.primitive is p.RESHAPE else None


def _permute(node: Value, x: Value) -> Value | None:
    dims = node.attrs[0]
    if dims == tuple(range(len(dims))):
        return x
    return g.permute(x.sources[0], tuple(x.attrs[0][d] for d in dims)) if x.primitive is p.PERMUTE else None


def _expand(node: Value, x: Value) -> Value | None:
    if x.shape == node.shape:
        return x
    return g.expand(x.sources[0], node.shape) if x.primitive is p.EXPAND else None


def _reduce(node: Value, x: Value) -> Value | None:
    """A reduction over axes of size 1 only is a reshape."""
    return g.reshape(x, node.shape) if all(x.shape[a] == 1 for a in node.attrs[0]) else None


REWRITES: dict[Any, Callable[..., Value | None]] = {
    p.IDENTITY: _identity, p.NEG: _neg, p.ADD: _add, p.SUB: _sub, p.MUL: _mul, p.DIV: _div, p.POW: _pow, p.CAST: _cast,
    p.RESHAPE: _reshape, p.PERMUTE: _permute, p.EXPAND: _expand,
    p.SUM: _reduce, p.AMAX: _reduce, p.AMIN: _reduce, p.PROD: _reduce}
