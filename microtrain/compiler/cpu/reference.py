"""What a kernel means, in NumPy: the function that its results are compared with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ... import ops
from ...graph.node import Kind, buffer_signature
from ..build import Builder
from ..program import Value
from .emit_numpy import NumpyExecutable


def evaluated(values: Iterable[Value], reads: Collection[Value]) -> list[Value]:
    """`values` of a kernel and everything inline behind them, up to what it reads; sources first."""
    found = set(values)
    stack = list(found)
    while stack:
        for source in stack.pop().sources:
            if source not in found and source not in reads:
                found.add(source)
                stack.append(source)
    return sorted(found, key=lambda value: value.number)


def reference(reads: Collection[Value], stores: Sequence[Value]) -> NumpyExecutable:
    """The NumPy function of what a kernel reads, in this order, that gives what it stores."""
    builder = Builder()
    new: dict[Value, Value] = {}
    for value in reads:
        signature = value.signature if value.primitive is ops.SCALAR else buffer_signature(value.spec)
        new[value] = builder.value(signature, ())
    for value in evaluated(stores, reads):
        if value.primitive.kind is Kind.LEAF:       # an operand of which no element is read: any value will do
            new[value] = builder.g.filled(0, value.spec)
        else:
            new[value] = builder.value(value.signature, tuple([new[source] for source in value.sources]))
    return NumpyExecutable(builder.program([new[value] for value in stores]))
