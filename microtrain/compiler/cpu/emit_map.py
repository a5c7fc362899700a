"""A group of elementwise operations as one function of machine code: a loop over rows, and one over columns, which
computes several elements at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ...graph.dtypes import float64
from ...graph.node import buffer_signature
from ...graph.spec import Spec
from ...runtime.machine_code import AXES, DATA, HEAD, SIZES, address, python_function
from ..program import Program, Value
from .fused_maps import Group, ways
from .llvm_objects import at, begin, check, given
from .llvm_values import Writer, pointer


class OtherLayout(RuntimeError):
    """An array is not of the shape or the dtype that a function was made for, or not laid out as in C."""


@lru_cache(maxsize=512)
def function(group: Program) -> Callable[..., np.ndarray]:
    """A group as a function of its sources and of an array for its result, which it gives. Raises OtherLayout."""
    def otherwise(*arguments: Any) -> np.ndarray:
        numbers = [one[()] if isinstance(one, np.ndarray) and not one.shape else one for one in arguments]
        if any(one is not other for one, other in zip(numbers, arguments, strict=True)):
            return made(*numbers)
        found = ", ".join([f"{one.dtype}{list(one.shape)} {one.strides}" if isinstance(one, np.ndarray)
                           else type(one).__name__ for one in arguments])
        raise OtherLayout(f"({Group(group)}) was handed {found}")
    made = python_function(text(group, otherwise), otherwise)
    return made


@lru_cache(maxsize=512)
def laid_out(specs: tuple[Spec, ...]) -> Callable[..., bool]:
    """A function that says whether arrays are of the dtypes of these and laid out as in C."""
    w = Writer()
    values = [Value(buffer_signature(spec), ()) for spec in specs]
    begin(w, values)
    head = "define ptr @laid_out(ptr %self, ptr %arguments, i64 %count) {"
    return python_function("\n".join([head, *w.lines, *given(pointer(id(True))), "other:", *given(pointer(id(False))),
                                      "}", ""]))


def text(group: Program, otherwise: Callable[..., Any]) -> str:
    """The text of a group's function."""
    w = Writer()
    [result] = group.outputs
    inputs = [*group.inputs, result]
    read = {value: ways(value.shape, result.shape) for value in group.inputs}
    columns = next((count for _, count in read.values() if count), result.spec.numel)
    lanes = 4 if any(value.dtype is float64 for value in group.values) else 8
    memory: dict[Value, str] = {}
    objects = begin(w, inputs, result)
    check(w, [w.new(f"icmp eq i32 {at(w, one, AXES, 'i32')}, {len(value.shape)}")
              for value, one in zip(inputs, objects, strict=True) if value.shape], "axes")
    fits = []
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
                *given(objects[-1]), "other:",
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
