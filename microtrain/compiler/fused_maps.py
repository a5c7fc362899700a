"""Elementwise operations that read one another as one function of machine code, for what the cpu device runs often.

Of NumPy's each goes through memory, and costs half a microsecond before it does anything. Fused are those of which the
bits are the same however they are computed: arithmetic, comparisons, choices. Functions such as exp are left to NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .. import ops
from ..graph.dtypes import float64
from ..graph.node import Kind, Primitive, Signature, buffer_signature
from ..graph.spec import Shape
from ..runtime.backend import Buffer
from ..runtime.machine_code import (
    AXES,
    DATA,
    DTYPE,
    FLAGS,
    HEAD,
    READABLE,
    SIZES,
    WRITABLE,
    address,
    available,
    python_function,
)
from .llvm_values import Writer, pointer, rule
from .program import Program, Value

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
SLOW = frozenset((ops.WHERE, ops.RELU, ops.SIGN, ops.RSQRT))
"""Of these NumPy takes more than one pass."""


def fused(program: Program) -> Program:
    """The same program, with what it computes element by element in as few operations as can be; itself where that is
    nothing, or where there is no machine code."""
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


def able(value: Value) -> bool:
    """Whether a value can be part of a function."""
    return (value.primitive in EXACT and bool(value.shape) and value.spec.numel > 0
            and rule(value) is not None and regular([value]))


def outside(group: Sequence[Value]) -> list[Value]:
    """What a group reads, but for numbers that are part of it."""
    return list(dict.fromkeys(source for value in group for source in reads(value)
                              if source not in group and source.primitive is not ops.LITERAL))


def reads(value: Value) -> tuple[Value, ...]:
    """What a value is computed from: of a single number, whatever its shape, what it was before it got that."""
    return tuple([bare(source) for source in value.sources])


def bare(value: Value) -> Value:
    """A single number without the views that are of it alone."""
    while value.primitive in (ops.EXPAND, ops.RESHAPE) and value.sources[0].spec.numel == 1:
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


# ------------------------------------------------------------------------------------------------------- machine code

@lru_cache(maxsize=512)
def function(group: Program, executable: Callable[[Program], Any]) -> Callable[..., Buffer]:
    """A group as a function of its sources and of an array for its result, which it gives. For sources that are not
    laid out as in C it gives the result of `executable`, NumPy's: the order of sums that follow is that of the elements
    in memory."""
    plan, shape = executable(group), group.outputs[0].shape

    def otherwise(*arguments: Any) -> Buffer:
        values = list(arguments[:-1])
        with np.errstate(all="ignore"):
            [result] = plan.function(*values) if plan.takes_each else plan.function(values, (), None)
        return np.asarray(result).reshape(shape)
    return python_function(text(group, otherwise), otherwise)


def text(group: Program, otherwise: Callable[..., Any]) -> str:
    """The text of a group's function."""
    w = Writer()
    [result] = group.outputs
    inputs = [*group.inputs, result]
    read = {value: ways(value.shape, result.shape) for value in group.inputs}
    columns = next((count for _, count in read.values() if count), result.spec.numel)
    lanes = 4 if any(value.dtype is float64 for value in group.values) else 8
    memory: dict[Value, str] = {}
    fits = [w.new(f"icmp eq i64 %count, {len(inputs)}")]
    w.lines += [f"  br i1 {fits[0]}, label %all, label %other", "all:"]
    fits = []
    objects = [w.new(f"load ptr, ptr {w.new(f'getelementptr ptr, ptr %arguments, i64 {k}')}")
               for k in range(len(inputs))]
    for value, one in zip(inputs, objects, strict=True):
        kind = np.ndarray if value.shape else value.dtype.numpy.type
        fits.append(w.new(f"icmp eq ptr {at(w, one, HEAD // 2, 'ptr')}, {pointer(id(kind))}"))
    check(w, fits, "kinds")
    for value, one in zip(inputs, objects, strict=True):
        if value.shape:
            wanted = WRITABLE if value is result else READABLE
            flags = w.new(f"and i32 {at(w, one, FLAGS, 'i32')}, {wanted}")
            fits += [w.new(f"icmp eq i32 {flags}, {wanted}"),
                     w.new(f"icmp eq ptr {at(w, one, DTYPE, 'ptr')}, {pointer(id(value.dtype.numpy))}"),
                     w.new(f"icmp eq i32 {at(w, one, AXES, 'i32')}, {len(value.shape)}")]
    check(w, fits, "layouts")
    for value, one in zip(inputs, objects, strict=True):
        if value.shape:
            sizes = at(w, one, SIZES, "ptr")
            fits += [w.new(f"icmp eq i64 {at(w, sizes, 8 * k, 'i64')}, {n}") for k, n in enumerate(value.shape)]
            memory[value] = at(w, one, DATA, "ptr")
        else:
            memory[value] = w.new(f"getelementptr i8, ptr {one}, i64 {HEAD}")
    check(w, fits, "sizes")
    ones = {value: w.load(value.dtype, memory[value]) for value, (way, _) in read.items() if way == "one"}
    w.lines += ["  br label %rows", "rows:", "  %row = phi i64 [0, %sizes], [%below, %end]",
                f"  %first = mul i64 %row, {columns}"]
    ones |= {value: w.load(value.dtype, w.element(value.dtype, memory[value], "%row"))
             for value, (way, _) in read.items() if way == "row"}
    whole = columns - columns % lanes
    body = Body(w, group, read, memory, ones)
    body.loop("wide", lanes, "0", whole, "rows")
    body.loop("narrow", 1, str(whole), columns, "wide.end")
    w.lines += ["  br label %end", "end:", "  %below = add i64 %row, 1",
                f"  %again = icmp ult i64 %below, {result.spec.numel // columns}",
                "  br i1 %again, label %rows, label %done", "done:",
                f"  call void {pointer(address('Py_IncRef'))}(ptr {objects[-1]})", f"  ret ptr {objects[-1]}", "other:",
                f"  %else = call ptr {pointer(address('PyObject_Vectorcall'))}(ptr {pointer(id(otherwise))}, "
                "ptr %arguments, i64 %count, ptr null)", "  ret ptr %else", "}", ""]
    return "\n".join(["define ptr @map(ptr %self, ptr %arguments, i64 %count) {", *w.lines])


class Body:
    """The loops of a group over the columns of a row."""

    def __init__(self, w: Writer, group: Program, read: dict[Value, tuple[str, int]], memory: dict[Value, str],
                 ones: dict[Value, str]) -> None:
        self.w, self.group, self.read, self.memory, self.ones = w, group, read, memory, ones

    def loop(self, label: str, lanes: int, begin: str, end: int, before: str) -> None:
        """Compute the columns from one to another, so many at once."""
        w, group = self.w, self.group
        w.lanes = 1
        spread: dict[Value, str] = {}
        if int(begin) < end:
            for value, name in self.ones.items():
                spread[value] = name if lanes == 1 else self.splat(value, name, lanes)
            w.lines += [f"  br label %{label}", f"{label}:",
                        f"  %{label}.c = phi i64 [{begin}, %{before}], [%{label}.n, %{label}]"]
            place = w.new(f"add i64 %first, %{label}.c")
            w.lanes = lanes
            w.names = dict(spread)
            for value, (way, _) in self.read.items():
                if way in ("all", "column"):
                    index = place if way == "all" else f"%{label}.c"
                    w.names[value] = w.load(value.dtype, w.element(value.dtype, self.memory[value], index))
            for value in group.values:
                if value.sources:
                    w.compute(value)
            [result] = group.outputs
            w.store(result, w.element(result.dtype, self.memory[result], place))
            w.lanes = 1
            w.lines.append(f"  %{label}.n = add i64 %{label}.c, {lanes}")
            w.lines += [f"  br i1 {w.new(f'icmp ult i64 %{label}.n, {end}')}, label %{label}, label %{label}.end"]
        else:
            w.lines.append(f"  br label %{label}.end")
        w.lines.append(f"{label}.end:")

    def splat(self, value: Value, name: str, lanes: int) -> str:
        """One number for each of the elements side by side."""
        w = self.w
        element = w.type(value.dtype)
        w.lanes = lanes
        kind, mask = w.type(value.dtype), w.type("i32")
        w.lanes = 1
        first = w.new(f"insertelement {kind} poison, {element} {name}, i64 0")
        return w.new(f"shufflevector {kind} {first}, {kind} poison, {mask} zeroinitializer")


def at(w: Writer, place: str, offset: int, kind: str) -> str:
    """What is so many bytes from a place."""
    return w.new(f"load {kind}, ptr {w.new(f'getelementptr i8, ptr {place}, i64 {offset}')}")


def check(w: Writer, fits: list[str], label: str) -> None:
    """Go on where all that is asked for holds."""
    all_fit = "true"
    for one in fits:
        all_fit = w.new(f"and i1 {all_fit}, {one}")
    w.lines += [f"  br i1 {all_fit}, label %{label}, label %other", f"{label}:"]
    fits.clear()
