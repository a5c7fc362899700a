"""What a kernel computes, in NumPy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from .. import ops as p
from ..graph.node import Kind, buffer_signature, new_node
from ..ops import zeros_like
from .emit_numpy import NumpyExecutable
from .program import Program, Value, topological


def evaluated(values: Iterable[Value], reads: Collection[Value]) -> list[Value]:
    """`values` of a kernel and everything inline behind them, up to what it reads; sources first."""
    found = set(values)
    stack = list(found)
    while stack:
        for source in stack.pop().sources:
            if source not in found and source not in reads:
                found.add(source)
                stack.append(source)
    return sorted(found, key=lambda value: value.seq)


def reference(reads: Collection[Value], stores: Sequence[Value]) -> NumpyExecutable:
    """The NumPy function of what a kernel reads, in this order, that gives what it stores."""
    new: dict[Value, Value] = {}
    for value in reads:
        signature = value.signature if value.primitive is p.SCALAR else buffer_signature(value.spec)
        new[value] = new_node(signature, ())
    inputs = list(new.values())
    for value in evaluated(stores, reads):
        if value.primitive.kind is Kind.LEAF:       # an operand of which no element is read: any value will do
            new[value] = zeros_like(value)
            continue
        new[value] = new_node(value.signature, tuple([new[source] for source in value.sources]))
    outputs = [new[value] for value in stores]
    return NumpyExecutable(Program(inputs, outputs, topological([*outputs, *inputs]), stores[0].device))
