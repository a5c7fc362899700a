"""Programs of 0-d values alone as machine code of the cpu device: one step, and a whole loop.

Arrays are left to NumPy: the order of a product's sums is its BLAS's, and float32 functions are its own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ... import ops
from ...graph.node import SCALAR
from ...runtime.backend import Buffer
from ...runtime.machine_code import HEAD, address, available, c_function, maker, python_function
from ..loop import Roles
from ..program import Program
from .llvm_objects import begin, given
from .llvm_values import FLOATS, TYPES, Writer, known, pointer

MOST = 1000
"""Values of a program that becomes machine code: LLVM takes a third of a second for these, and four for three times as
many."""


def written(program: Program) -> bool:
    """Whether there is machine code of a program here."""
    return len(program.values) <= MOST and all(map(known, program.values)) and available()


# ---------------------------------------------------------------------------------------------------------- of a step

def step_text(program: Program) -> str:
    """The text of a function of Python's that takes NumPy scalars of the inputs' dtypes and gives a tuple of the
    outputs; None where one that it is given is not of its type."""
    w = Writer()
    for value, place in zip(program.inputs, begin(w, program.inputs), strict=True):
        w.names[value] = w.load(value.dtype, w.new(f"getelementptr i8, ptr {place}, i64 {HEAD}"))
    for value in program.values:
        if value.sources:
            w.compute(value)
    made = w.new(f"call ptr {pointer(address('PyTuple_New'))}(i64 {len(program.outputs)})")
    w.lines += [f"  br i1 {w.new(f'icmp eq ptr {made}, null')}, label %failed, label %o0", "o0:"]
    for k, value in enumerate(program.outputs):
        scalar: Any = value.dtype.numpy.type
        one = w.new(f"call ptr {pointer(maker(scalar))}(ptr {pointer(id(scalar))}, i64 0)")
        w.lines += [f"  br i1 {w.new(f'icmp eq ptr {one}, null')}, label %lost, label %o{k + 1}", f"o{k + 1}:"]
        w.store(value, w.new(f"getelementptr i8, ptr {one}, i64 {HEAD}"))
        w.new(f"call i32 {pointer(address('PyTuple_SetItem'))}(ptr {made}, i64 {k}, ptr {one})")
    return "\n".join(["define ptr @step(ptr %self, ptr %arguments, i64 %count) {", *w.lines, f"  ret ptr {made}",
                      "other:", *given(pointer(id(None))),
                      "lost:", f"  call void {pointer(address('Py_DecRef'))}(ptr {made})", "  br label %failed",
                      "failed:", "  ret ptr null", "}", ""])


@lru_cache(maxsize=256)
def compiled_step(program: Program) -> Callable[..., Any] | None:
    """A program as a function of its inputs, NumPy scalars, that gives a tuple of its outputs, or None for inputs of
    other types; None where there is no machine code of it."""
    floating = all(value.dtype in FLOATS for value in program.outputs)
    return python_function(step_text(program)) if floating and program.outputs and written(program) else None


# ---------------------------------------------------------------------------------------------------------- of a loop

def loop_text(program: Program, roles: Roles) -> str:
    """The text of a function of cells, 8 bytes for each input and each output, and of the steps, that gives how many
    were made. In a cell is a value, or the address of a table with one for each step."""
    w = Writer()
    cells = {value: w.new(f"getelementptr i64, ptr %cells, i64 {k}") for k, value in enumerate(program.inputs)}
    out = [w.new(f"getelementptr i64, ptr %cells, i64 {len(cells) + k}") for k in range(len(program.outputs))]
    moving = {value: w.new(f"load ptr, ptr {cells[value]}") for place, value in enumerate(program.inputs)
              if value.primitive is SCALAR or place in roles.rows}
    history = {place: w.new(f"load ptr, ptr {out[place]}") for place in sorted(roles.history)}
    first = {value: w.load(value.dtype, cell) for value, cell in cells.items() if value not in moving}
    carried = {program.inputs[place]: program.outputs[after] for place, after in roles.carried.items()}
    w.names |= {value: name for value, name in first.items() if value not in carried}
    later = []
    for value in program.values:                # what is the same in every step is computed before
        if value.sources:
            if all(source in w.names or source.primitive is ops.LITERAL for source in value.sources):
                w.compute(value)
            else:
                later.append(value)
    w.names |= {value: f"%c{k}" for k, value in enumerate(carried)}
    w.lines.append("  br label %body")
    before, w.lines = w.lines, []
    for value, table in moving.items():
        w.names[value] = w.load(value.dtype, w.element(value.dtype, table, "%k"))
    for value in later:
        w.compute(value)
    for place, table in history.items():
        w.store(program.outputs[place], w.element(program.outputs[place].dtype, table, "%k"))
    w.lines.append("  %next = add i64 %k, 1")
    more = w.new("icmp ult i64 %next, %steps")
    if roles.watched is not None and program.outputs[roles.watched].dtype in FLOATS:
        loss = program.outputs[roles.watched]
        kind, name = TYPES[loss.dtype], w.name(loss)
        finite = w.new(f"fcmp oeq {kind} {w.new(f'fsub {kind} {name}, {name}')}, 0.0")
        more = w.new(f"and i1 {more}, {finite}")
    w.lines += [f"  br i1 {more}, label %body, label %done", "done:"]
    for place, value in enumerate(program.outputs):
        if place not in history:
            w.store(value, out[place])
    turns = ["  %k = phi i64 [0, %entry], [%next, %body]"]
    turns += [f"  {w.names[value]} = phi {TYPES[value.dtype]} [{first[value]}, %entry], [{w.name(after)}, %body]"
              for value, after in carried.items()]
    return "\n".join(["define i64 @loop(ptr %cells, i64 %steps) {", "entry:", *before, "body:", *turns, *w.lines,
                      "  ret i64 %next", "}", ""])


def compiled_loop(program: Program, roles: Roles) -> Callable[..., tuple[tuple[Buffer, ...], int]] | None:
    """The loop as machine code (see `emit_loop.Function`); None where there is none of it."""
    if not written(program):
        return None
    loop = c_function(loop_text(program, roles), ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
    inputs, outputs = ([value.dtype.numpy for value in values] for values in (program.inputs, program.outputs))
    numbered = [place for place, value in enumerate(program.inputs) if value.primitive is SCALAR]

    def run(values: Sequence[Buffer], numbers: Sequence[np.ndarray], steps: int) -> tuple[tuple[Buffer, ...], int]:
        cells = np.zeros(len(inputs) + len(outputs), np.int64)
        tables = {place: np.require(values[place], inputs[place], "C") for place in roles.rows}
        tables |= {place: np.require(table, inputs[place], "C") for place, table in zip(numbered, numbers, strict=True)}
        tables |= {len(inputs) + place: np.empty(steps, outputs[place]) for place in roles.history}
        for place, dtype in enumerate(inputs):
            if place not in tables:
                cells[place:place + 1].view(dtype)[0] = values[place]
        for place, table in tables.items():
            cells[place] = table.ctypes.data
        made = loop(cells.ctypes.data, steps)
        return tuple([tables[place] if place in tables else cells[place:place + 1].view(dtype)[0]
                      for place, dtype in enumerate(outputs, len(inputs))]), made
    return run
