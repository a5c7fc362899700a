"""What operations are in LLVM's text, of one element or of several side by side, for the cpu device's machine code.

The bits are NumPy's: no product is fused with a sum, and functions are the C library's in float64, rounded once.
"""

from __future__ import annotations

import string
import struct
from typing import Any

import numpy as np

from ... import ops
from ...graph.dtypes import DType, bool_, float32, float64, int64
from ...graph.node import BUFFER, SCALAR, Primitive
from ...runtime.machine_code import address
from ...runtime.numerics import LONE
from ..program import Value

TYPES: dict[DType, str] = {float32: "float", float64: "double", bool_: "i1", int64: "i64"}
FLOATS = (float32, float64)

COMPARISONS = {ops.EQ: "eq", ops.NE: "ne", ops.LT: "lt", ops.LE: "le", ops.GT: "gt", ops.GE: "ge"}
LOGIC: dict[Primitive, str] = {
    ops.BITWISE_AND: "and {B} {0}, {1}", ops.BITWISE_OR: "or {B} {0}, {1}", ops.BITWISE_XOR: "xor {B} {0}, {1}",
    ops.BITWISE_NOT: "xor {B} {0}, {true}"}

CASTS = {**{(dtype, dtype): "select {B} {true}, {T} {0}, {T} {0}" for dtype in FLOATS},
         **{(bool_, dtype): "uitofp {B} {0} to {T}" for dtype in FLOATS},
         **{(int64, dtype): "sitofp {I64} {0} to {T}" for dtype in FLOATS},
         **{(dtype, bool_): "fcmp une {T} {0}, {zero}" for dtype in FLOATS},
         (int64, bool_): "icmp ne {I64} {0}, {none}",
         (float32, float64): "fpext {F32} {0} to {F64}", (float64, float32): "fptrunc {F64} {0} to {F32}"}

ARITHMETIC: dict[Primitive, str] = {
    ops.ADD: "fadd {T} {0}, {1}", ops.SUB: "fsub {T} {0}, {1}", ops.MUL: "fmul {T} {0}, {1}",
    ops.DIV: "fdiv {T} {0}, {1}", ops.NEG: "fneg {T} {0}", ops.RECIPROCAL: "fdiv {T} {one}, {0}",
    ops.SQRT: "call {T} @llvm.sqrt.{size}({T} {0})",
    ops.RSQRT: "a = call {T} @llvm.sqrt.{size}({T} {0}); fdiv {T} {one}, {a}",
    ops.WHERE: "select {B} {0}, {T} {1}, {T} {2}",
    ops.RELU: "a = fcmp ole {T} {0}, {zero}; select {B} {a}, {T} {zero}, {T} {0}",
    ops.ABS: "a = fcmp ole {T} {0}, {zero}; b = fsub {T} {zero}, {0}; select {B} {a}, {T} {b}, {T} {0}",
    ops.SIGN: "a = fcmp ogt {T} {0}, {zero}; b = uitofp {B} {a} to {T}; c = fcmp olt {T} {0}, {zero}; "
              "d = uitofp {B} {c} to {T}; fsub {T} {b}, {d}",
    ops.MAXIMUM: "a = fcmp ogt {T} {0}, {1}; b = fcmp uno {T} {0}, {0}; c = or {B} {a}, {b}; "
                 "select {B} {c}, {T} {0}, {T} {1}",
    ops.MINIMUM: "a = fcmp olt {T} {0}, {1}; b = fcmp uno {T} {0}, {0}; c = or {B} {a}, {b}; "
                 "select {B} {c}, {T} {0}, {T} {1}",
    # A bound that is NaN comes before anything else, the upper bound before the lower.
    ops.CLAMP: "a = fcmp olt {T} {2}, {1}; b = fcmp olt {T} {2}, {0}; c = or {B} {a}, {b}; d = fcmp uno {T} {2}, {2}; "
               "e = or {B} {c}, {d}; f = select {B} {e}, {T} {2}, {T} {1}; g = fcmp uno {T} {1}, {1}; "
               "h = select {B} {g}, {T} {1}, {T} {f}; i = fcmp ole {T} {1}, {0}; j = fcmp ole {T} {0}, {2}; "
               "k = and {B} {i}, {j}; l = fcmp uno {T} {0}, {0}; m = or {B} {k}, {l}; select {B} {m}, {T} {0}, {T} {h}"}

WIDE: dict[Primitive, str] = {
    **{ops.PRIMITIVES[name]: f"call double {{{name}}}(double {{0}})" for name in LONE.split() if name != "sqrt"},
    ops.POW: "call double {pow}(double {0}, double {1})",
    ops.SIGMOID: "a = fneg double {0}; b = call double {exp}(double {a}); c = fadd double 1.0, {b}; "
                 "fdiv double 1.0, {c}",
    ops.SOFTPLUS: "a = fcmp olt double {0}, 0.0; b = fneg double {0}; c = select i1 {a}, double {0}, double {b}; "
                  "d = call double {exp}(double {c}); e = call double {log1p}(double {d}); "
                  "f = select i1 {a}, double 0.0, double {0}; fadd double {e}, {f}"}
"""Of these the operands are float64, and the result is rounded."""


def rule(value: Value) -> str | None:
    """Instructions that give a value: the last gives it, the others have letters. `{0}` is an operand, `{T}` the type
    of those in floating point, `{B}` that of booleans, `{exp}` a function of the C library. None where there are none
    with NumPy's bits."""
    primitive, dtype = value.primitive, value.dtype
    if not value.sources or dtype not in TYPES or any(source.dtype not in TYPES for source in value.sources):
        return None
    before = value.sources[0].dtype
    if primitive is ops.CAST:
        return CASTS.get((before, dtype))
    if primitive is ops.LOGICAL_NOT:
        if before in FLOATS:
            return "fcmp oeq {T} {0}, {zero}"
        return LOGIC[ops.BITWISE_NOT] if before is bool_ else "icmp eq {I64} {0}, {none}"
    if primitive in COMPARISONS:
        how = COMPARISONS[primitive]
        if before in FLOATS:
            return f"fcmp {'u' if how == 'ne' else 'o'}{how} {{T}} {{0}}, {{1}}"
        # True is more than false, and would be -1 if it had a sign.
        how = how if how in ("eq", "ne") else f"{'u' if before is bool_ else 's'}{how}"
        return f"icmp {how} {'{B}' if before is bool_ else '{I64}'} {{0}}, {{1}}"
    if dtype is bool_:
        return LOGIC.get(primitive) if before is bool_ else None
    if dtype not in FLOATS or (primitive in WIDE and value.shape):
        return None                             # of arrays NumPy has float32 functions of its own
    return ARITHMETIC.get(primitive) or WIDE.get(primitive)


def known(value: Value) -> bool:
    """Whether a 0-d value can be computed with NumPy's bits, or is given."""
    if value.shape:
        return False
    if value.primitive in (BUFFER, SCALAR, ops.LITERAL):
        return value.dtype in TYPES
    return rule(value) is not None and not any(source.shape for source in value.sources)


class Writer:
    """Lines of a function, and the names of the values that they compute, of so many elements at once (`lanes`)."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[Value, str] = {}
        self.made, self.lanes = 0, 1

    def new(self, text: str) -> str:
        """A name for what an instruction gives."""
        self.made += 1
        self.lines.append(f"  %t{self.made} = {text}")
        return f"%t{self.made}"

    def type(self, of: DType | str) -> str:
        """The type of elements side by side: of a dtype, or LLVM's."""
        element = of if isinstance(of, str) else TYPES[of]
        return element if self.lanes == 1 else f"<{self.lanes} x {element}>"

    def each(self, element: str, number: str) -> str:
        """A number, of LLVM's type `element`, for each of the elements side by side."""
        return number if self.lanes == 1 else f"splat ({element} {number})"

    def load(self, dtype: DType, place: str) -> str:
        """Elements in memory; booleans are bytes there."""
        if dtype is bool_:
            byte = self.type("i8")
            return self.new(f"icmp ne {byte} {self.new(f'load {byte}, ptr {place}, align 1')}, {self.each('i8', '0')}")
        return self.new(f"load {self.type(dtype)}, ptr {place}, align {dtype.itemsize}")

    def store(self, value: Value, place: str) -> None:
        """Write elements of a value into memory."""
        name, kind = self.name(value), self.type(value.dtype)
        if value.dtype is bool_:
            name, kind = self.new(f"zext {kind} {name} to {self.type('i8')}"), self.type("i8")
        self.lines.append(f"  store {kind} {name}, ptr {place}, align {value.dtype.itemsize}")

    def element(self, dtype: DType, table: str, index: str) -> str:
        """The place of an element of a table."""
        return self.new(f"getelementptr {'i8' if dtype is bool_ else TYPES[dtype]}, ptr {table}, i64 {index}")

    def name(self, value: Value) -> str:
        """The name of a value; of a literal the number itself."""
        if value.primitive is ops.LITERAL:
            return self.each(TYPES[value.dtype], literal(value.dtype, value.attrs[0]))
        return self.names[value]

    def compute(self, value: Value) -> None:
        """Name a value by the instructions that give it."""
        text = rule(value)
        assert text is not None
        operands = [self.name(source) for source in value.sources]
        rounded = value.primitive in WIDE and value.dtype is float32
        if rounded:
            operands = [self.new(f"fpext float {name} to double") for name in operands]
        floating = next((one.dtype for one in (value, *value.sources) if one.dtype in FLOATS), float32)
        names = Names(T=self.type(floating), B=self.type(bool_), F32=self.type(float32), F64=self.type(float64),
                      I64=self.type(int64), zero=self.each(TYPES[floating], "0.0"), none=self.each("i64", "0"),
                      one=self.each(TYPES[floating], "1.0"), true=self.each("i1", "true"),
                      size=f"{'' if self.lanes == 1 else f'v{self.lanes}'}f{8 * floating.itemsize}")
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
