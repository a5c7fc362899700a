"""Elementwise operations that read one another as one function of machine code, for what the cpu device runs often.

Of NumPy's each goes through memory, and costs half a microsecond before it does anything. Fused are those of which the
bits are the same however they are computed: arithmetic, comparisons, choices. Functions such as exp are left to NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ... import ops
from ...graph.node import Kind, Primitive, Signature, buffer_signature
from ...graph.spec import Shape
from ...runtime.machine_code import available
from ..native import GRADIENT
from ..program import Program, Value
from .llvm_values import rule
from .overwrite import COPIES

MAX_OPERATIONS, MAX_SOURCES = 64, 16


@dataclass(frozen=True)
class Group:
    """What a fused operation is: a program of its sources."""

    program: Program

    def __str__(self) -> str:
        return ", ".join([value.primitive.name for value in self.program.values if value.sources])


FUSED = Primitive("fused_map", Kind.MAP, lambda *given: (given[-1].program.outputs[0].shape,
                                                         given[-1].program.outputs[0].dtype),
                  numpy_out="the last argument", differentiable=False)
"""An operation of its sources; its attribute is the group that it is."""

EXACT = frozenset((ops.ADD, ops.SUB, ops.MUL, ops.DIV, ops.NEG, ops.WHERE, ops.RELU, ops.ABS, ops.SIGN, ops.SQRT,
                   ops.RSQRT, ops.RECIPROCAL, ops.EQ, ops.NE, ops.LT, ops.LE, ops.GT, ops.GE, ops.BITWISE_AND,
                   ops.BITWISE_OR, ops.BITWISE_XOR, ops.BITWISE_NOT, ops.LOGICAL_NOT, ops.CAST))
FRESH = frozenset((ops.TAKE, ops.RANDOM_BITS, GRADIENT))
"""Of these NumPy's result is laid out as in C whatever it is computed from."""

SLOW = frozenset((ops.WHERE, ops.RELU, ops.SIGN, ops.RSQRT))
"""Of these NumPy takes more than one pass."""


def fused(program: Program, carried: Collection[int] = ()) -> Program:
    """The same program, with what it computes element by element in as few operations as can be; itself where that is
    nothing, where there is no machine code, or where arrays are laid out otherwise than in C: NumPy keeps such a layout
    or does not, by what memory it writes into, and sums that follow are taken in the order of the memory.

    carried: places of outputs that are inputs of the next run.
    """
    regularly = laid_out_as_in_c(program)
    if regularly is None or any(program.outputs[place] not in regularly for place in carried):
        return program
    users: dict[Value, set[Value]] = {value: set() for value in program.values}
    for value in program.values:
        for source in value.sources:
            users[source].add(value)
    groups: dict[Value, list[Value]] = {}       # by the last operation of each
    for value in program.values:
        if not able(value):
            continue
        members = [value]
        for source in dict.fromkeys(reads(value)):
            joined = [*groups.get(source, ()), *members]
            if (source in groups and source.shape == value.shape and users[source] == {value}
                    and source not in program.outputs and len(joined) <= MAX_OPERATIONS and regular(joined)):
                del groups[source]
                members = joined
        groups[value] = members
    groups = {value: group for value, group in groups.items() if len(group) > 1 or alone_is_slow(value)}
    if not groups or not available():
        return program
    inside = {value for group in groups.values() for value in group}
    new: dict[Value, Value] = {}
    values: list[Value] = []
    for value in program.values:
        if value in groups:
            sources = outside(groups[value])
            group = Group(taken_out(groups[value], sources))
            signature = Signature(FUSED, (group,), tuple([one.spec for one in sources]), value.spec)
        elif value in inside:
            continue
        else:
            sources, signature = list(value.sources), value.signature
        new[value] = Value(signature, tuple([new[source] for source in sources]))
        values.append(new[value])
    return Program(values, [new[value] for value in program.outputs])


def laid_out_as_in_c(program: Program) -> set[Value] | None:
    """The values that are laid out as in C where inputs are; None where one is not of which elements are computed from
    its elements."""
    found: set[Value] = set()
    for value in program.values:
        kind, sources = value.primitive.kind, value.sources
        if kind is Kind.MAP:
            if not all(source in found or (source.primitive is ops.EXPAND and source.sources[0] in found)
                       for source in sources):
                return None
            found.add(value)
        elif kind is Kind.VIEW and value.primitive not in COPIES:
            if (value.primitive is ops.RESHAPE and sources[0] in found) or value.spec.numel == 1:
                found.add(value)
        elif (kind in (Kind.LEAF, Kind.CONSTANT, Kind.MATMUL) or value.primitive in FRESH
                or (kind is not Kind.INDEX and all(source in found for source in sources))
                or sum(n != 1 for n in value.shape) < 2):
            found.add(value)
    return found


def able(value: Value) -> bool:
    """Whether a value can be part of a function."""
    return (value.primitive in EXACT and bool(value.shape) and value.spec.numel > 0
            and rule(value) is not None and regular([value]))


def outside(group: Sequence[Value]) -> list[Value]:
    """What a group reads, but for numbers that are part of it."""
    return list(dict.fromkeys(source for value in group for source in reads(value)
                              if source not in group and source.primitive is not ops.LITERAL))


def reads(value: Value) -> tuple[Value, ...]:
    """What a value is computed from: what is expanded as it was before, and so a single number of any shape."""
    return tuple([bare(source) for source in value.sources])


def bare(value: Value) -> Value:
    """A value without its expansions, and a single number without its shapes."""
    while value.primitive is ops.EXPAND or (value.primitive is ops.RESHAPE and value.spec.numel == 1):
        value = value.sources[0]
    return value


def alone_is_slow(value: Value) -> bool:
    """Whether an operation is worth a function by itself: NumPy takes long to begin where it broadcasts arrays."""
    return value.primitive in SLOW or any(source.shape not in ((), value.shape) for source in value.sources)


def regular(group: Sequence[Value]) -> bool:
    """Whether there are so many rows and columns that each source is one number, a number for each row or column, or a
    number for each element."""
    sources = outside(group)
    found = {ways(source.shape, group[-1].shape) for source in sources} - {("one", 0), ("all", 0)}
    columns = {count for _, count in found}
    return "" not in {way for way, _ in found} and len(columns) < 2 and len(sources) <= MAX_SOURCES


def ways(shape: Shape, whole: Shape) -> tuple[str, int]:
    """How a source is read, and how many columns there must be: "row" by row, "column" by column, "all" elements,
    "one" number; or "" where it is none of these."""
    numel = math.prod(shape)
    if numel == 1:
        return "one", 0
    shape = (1,) * (len(whole) - len(shape)) + shape
    if shape == whole:
        return "all", 0
    axis = next(k for k, n in enumerate(shape) if n != 1)
    if shape[axis:] == whole[axis:]:
        return "column", numel
    last = max(k for k, n in enumerate(shape) if n != 1) + 1
    if shape[:last] == whole[:last]:
        return "row", math.prod(whole[last:])
    return "", 0


def taken_out(group: Sequence[Value], sources: Sequence[Value]) -> Program:
    """A group as a program of what it reads."""
    new = {source: Value(buffer_signature(source.spec), ()) for source in sources}
    values = list(new.values())
    for value in group:
        for source in reads(value):
            if source.primitive is ops.LITERAL and source not in new:
                new[source] = Value(source.signature, ())
                values.append(new[source])
        new[value] = Value(value.signature, tuple([new[source] for source in reads(value)]))
        values.append(new[value])
    return Program(values, [new[group[-1]]])
