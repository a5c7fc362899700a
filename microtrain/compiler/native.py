"""Operations of the cpu device's programs alone: what a loss and its gradient share, computed once for both.

Values of the first two are tuples of arrays, which the others alone read. Taken apart they are what they were made of.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import ops
from ..graph.node import Kind, Primitive, interned
from .build import Traced
from .program import Value

PARTS = Primitive("softmax_parts", Kind.COMPOSITE, lambda x: (x.shape, x.dtype), "softmax_parts({0})",
                  differentiable=False, decompose=lambda x: x)
ROWS = Primitive("class_rows", Kind.COMPOSITE, lambda target, *rest: (target.shape, target.dtype),
                 lambda out, target, classes, ignore_index: f"class_rows({{0}}, {classes}, {ignore_index})",
                 differentiable=False, decompose=lambda target, *rest: target)
LOSS = Primitive("cross_entropy_of_parts", Kind.COMPOSITE, ops.CROSS_ENTROPY.infer,
                 lambda out, x, rows, ignore_index, reduction:
                 f"cross_entropy({{0}}, {{1}}, {reduction!r}, {out.dtype.name})",
                 differentiable=False, decompose=ops.CROSS_ENTROPY.decompose)
GRADIENT = Primitive("cross_entropy_backward_of_parts", Kind.COMPOSITE, ops.CROSS_ENTROPY_BACKWARD.infer,
                     lambda out, ct, x, rows, ignore_index, reduction:
                     f"cross_entropy_backward({{0}}, {{1}}, {{2}}, {reduction!r}, {out.dtype.name})",
                     differentiable=False, decompose=ops.CROSS_ENTROPY_BACKWARD.decompose)


def _made(g: Traced, primitive: Primitive, sources: tuple[Value, ...], *attrs: object) -> Value:
    return g.make(interned(primitive, attrs, tuple([source.spec for source in sources])), sources)


def _shared(g: Traced, x: Value, target: Value, ignore_index: int) -> tuple[Value, Value]:
    return _made(g, PARTS, (x,)), _made(g, ROWS, (target,), x.shape[1], ignore_index)


def _cross_entropy(g: Traced, value: Value, x: Value, target: Value) -> Value:
    return _made(g, LOSS, _shared(g, x, target, value.attrs[0]), *value.attrs)


def _cross_entropy_backward(g: Traced, value: Value, ct: Value, x: Value, target: Value) -> Value:
    return _made(g, GRADIENT, (ct, *_shared(g, x, target, value.attrs[0])), *value.attrs)


SHARING: dict[Primitive, Callable[..., Value]] = {
    ops.CROSS_ENTROPY: _cross_entropy, ops.CROSS_ENTROPY_BACKWARD: _cross_entropy_backward}
"""Composites that are kept, and what they become."""
