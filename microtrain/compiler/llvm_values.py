"""What operations of 0-d values are in LLVM's text, for the cpu device's machine code.

The bits are NumPy's: no product is fused with a sum, and functions are the C library's in float64, rounded once.
"""

from __future__ import annotations

import string
import struct
from typing import Any

import numpy as np

from .. import ops
from ..graph.dtypes import DType, bool_, float32, float64, int64
from ..graph.node import BUFFER, SCALAR, Primitive
from ..runtime.machine_code import address
from ..runtime.numerics import LONE
from .program import Value

TYPES: dict[DType, str] = {float32: "float", float64: "double", bool_: "i1", int64: "i64"}
FLOATS = (float32, float64)

COMPARISONS = {ops.EQ: "eq", ops.NE: "ne", ops.LT: "lt", ops.LE: "le", ops.GT: "gt", ops.GE: "ge"}
LOGIC: dict[Primitive, str] = {
    ops.BITWISE_AND: "and i1 {0}, {1}", ops.BITWISE_OR: "or i1 {0}, {1}", ops.BITWISE_XOR: "xor i1 {0}, {1}",
    ops.BITWISE_NOT: "xor i1 {0}, true"}

CASTS = {**{(dtype, dtype): "select i1 true, {t} {0}, {t} {0}" for dtype in FLOATS},
         **{(bool_, dtype): "uitofp i1 {0} to {t}" for dtype in FLOATS},
         **{(int64, dtype): "sitofp i64 {0} to {t}" for dtype in FLOATS},
         **{(dtype, bool_): "fcmp une {t} {0}, 0.0" for dtype in FLOATS}, (int64, bool_): "icmp ne i64 {0}, 0",
         (float32, float64): "fpext float {0} to double", (float64, float32): "fptrunc double {0} to float"}

ARITHMETIC: dict[Primitive, str] = {
    ops.ADD: "fadd {t} {0}, {1}", ops.SUB: "fsub {t} {0}, {1}", ops.MUL: "fmul {t} {0}, {1}",
    ops.DIV: "fdiv {t} {0}, {1}", ops.NEG: "fneg {t} {0}", ops.RECIPROCAL: "fdiv {t} 1.0, {0}",
    ops.RSQRT: "a = call {t} @llvm.sqrt.{size}({t} {0}); fdiv {t} 1.0, {a}",
    ops.WHERE: "select i1 {0}, {t} {1}, {t} {2}",
    ops.RELU: "a = fcmp ole {t} {0}, 0.0; select i1 {a}, {t} 0.0, {t} {0}",
    ops.ABS: "a = fcmp ole {t} {0}, 0.0; b = fsub {t} 0.0, {0}; select i1 {a}, {t} {b}, {t} {0}",
    ops.SIGN: "a = fcmp ogt {t} {0}, 0.0; b = uitofp i1 {a} to {t}; c = fcmp olt {t} {0}, 0.0; "
              "d = uitofp i1 {c} to {t}; fsub {t} {b}, {d}",
    ops.MAXIMUM: "a = fcmp ogt {t} {0}, {1}; b = fcmp uno {t} {0}, {0}; c = or i1 {a}, {b}; "
                 "select i1 {c}, {t} {0}, {t} {1}",
    ops.MINIMUM: "a = fcmp olt {t} {0}, {1}; b = fcmp uno {t} {0}, {0}; c = or i1 {a}, {b}; "
                 "select i1 {c}, {t} {0}, {t} {1}",
    # A bound that is NaN comes before anything else, the upper bound before the lower.
    ops.CLAMP: "a = fcmp olt {t} {2}, {1}; b = fcmp olt {t} {2}, {0}; c = or i1 {a}, {b}; d = fcmp uno {t} {2}, {2}; "
               "e = or i1 {c}, {d}; f = select i1 {e}, {t} {2}, {t} {1}; g = fcmp uno {t} {1}, {1}; "
               "h = select i1 {g}, {t} {1}, {t} {f}; i = fcmp ole {t} {1}, {0}; j = fcmp ole {t} {0}, {2}; "
               "k = and i1 {i}, {j}; l = fcmp uno {t} {0}, {0}; m = or i1 {k}, {l}; select i1 {m}, {t} {0}, {t} {h}"}

WIDE: dict[Primitive, str] = {
    **{ops.PRIMITIVES[name]: f"call double {{{name}}}(double {{0}})" for name in LONE.split()},
    ops.POW: "call double {pow}(double {0}, double {1})",
    ops.SIGMOID: "a = fneg double {0}; b = call double {exp}(double {a}); c = fadd double 1.0, {b}; "
                 "fdiv double 1.0, {c}",
    ops.SOFTPLUS: "a = fcmp olt double {0}, 0.0; b = fneg double {0}; c = select i1 {a}, double {0}, double {b}; "
                  "d = call double {exp}(double {c}); e = call double {log1p}(double {d}); "
                  "f = select i1 {a}, double 0.0, double {0}; fadd double {e}, {f}"}
"""Of these the operands are float64, and the result is rounded."""


def rule(value: Value) -> str | None:
    """Instructions that give a value: the last gives it, the others have letters. `{0}` is an operand, `{t}` the type
    of those in floating point, `{exp}` a function of the C library. None where there are none with NumPy's bits."""
    primitive, dtype = value.primitive, value.dtype
    if value.shape or not value.sources or any(source.dtype not in TYPES or source.shape for source in value.sources):
        return None
    before = value.sources[0].dtype
    if primitive is ops.CAST:
        return CASTS.get((before, dtype))
    if primitive is ops.LOGICAL_NOT:
        return "fcmp oeq {t} {0}, 0.0" if before in FLOATS else f"icmp eq {TYPES[before]} {{0}}, 0"
    if primitive in COMPARISONS:
        how = COMPARISONS[primitive]
        if before in FLOATS:
            return f"fcmp {'u' if how == 'ne' else 'o'}{how} {{t}} {{0}}, {{1}}"
        # True is more than false, and would be -1 if it had a sign.
        how = how if how in ("eq", "ne") else f"{'u' if before is bool_ else 's'}{how}"
        return f"icmp {how} {TYPES[before]} {{0}}, {{1}}"
    if dtype is bool_:
        return LOGIC.get(primitive) if before is bool_ else None
    return ARITHMETIC.get(primitive) or WIDE.get(primitive) if dtype in FLOATS else None


def known(value: Value) -> bool:
    """Whether a value can be computed with NumPy's bits, or is given."""
    if value.primitive in (BUFFER, SCALAR, ops.LITERAL):
        return not value.shape and value.dtype in TYPES
    return rule(value) is not None


class Writer:
    """Lines of a function, and the names of the values that they compute."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[Value, str] = {}
        self.made = 0

    def new(self, text: str) -> str:
        """A name for what an instruction gives."""
        self.made += 1
        self.lines.append(f"  %t{self.made} = {text}")
        return f"%t{self.made}"

    def load(self, dtype: DType, place: str) -> str:
        """A value in memory; booleans are bytes there."""
        if dtype is bool_:
            return self.new(f"icmp ne i8 {self.new(f'load i8, ptr {place}')}, 0")
        return self.new(f"load {TYPES[dtype]}, ptr {place}")

    def store(self, value: Value, place: str) -> None:
        """Write a value into memory."""
        name, kind = self.name(value), TYPES[value.dtype]
        if value.dtype is bool_:
            name, kind = self.new(f"zext i1 {name} to i8"), "i8"
        self.lines.append(f"  store {kind} {name}, ptr {place}")

    def element(self, dtype: DType, table: str, index: str) -> str:
        """The place of an element of a table."""
        return self.new(f"getelementptr {'i8' if dtype is bool_ else TYPES[dtype]}, ptr {table}, i64 {index}")

    def name(self, value: Value) -> str:
        """The name of a value; of a literal the number itself."""
        return literal(value.dtype, value.attrs[0]) if value.primitive is ops.LITERAL else self.names[value]

    def compute(self, value: Value) -> None:
        """Name a value by the instructions that give it."""
        text = rule(value)
        assert text is not None
        operands = [self.name(source) for source in value.sources]
        rounded = value.primitive in WIDE and value.dtype is float32
        if rounded:
            operands = [self.new(f"fpext float {name} to double") for name in operands]
        floating = next((one.dtype for one in (value, *value.sources) if one.dtype in FLOATS), None)
        names = Names(t=TYPES[floating] if floating else "", size="f64" if floating is float64 else "f32")
        for instruction in text.split("; "):
            letter, _, instruction = instruction.rpartition(" = ")
            names[letter] = self.new(string.Formatter().vformat(instruction, operands, names))
        self.names[value] = self.new(f"fptrunc double {names['']} to float") if rounded else names[""]


class Names(dict[str, str]):
    """What is named in a rule; what is not is a function."""

    def __missing__(self, name: str) -> str:
        return pointer(address(name))


def pointer(place: int) -> str:
    """An address as LLVM's constant."""
    return f"inttoptr (i64 {place} to ptr)"


def literal(dtype: DType, number: Any) -> str:
    """A number of a dtype as LLVM's constant; floating-point numbers by the bits that they have in float64."""
    with np.errstate(over="ignore"):
        number = dtype.numpy.type(number)
    if dtype in FLOATS:
        return f"0x{struct.pack('>d', float(number)).hex().upper()}"
    return str(number.item()).lower()
