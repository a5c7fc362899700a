"""Each row of the emulator's table against NumPy, Python's integers, or fractions."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.values import (
    BF16,
    PACKED,
    RNG,
    N,
    as_type,
    bits,
    by_element,
    directed,
    each,
    exact,
    flushed,
    fp8,
    halves,
    inserted,
    integer_of,
    integers,
    largest,
    nearest,
    packed,
    permuted,
    reals,
    shifted,
    smallest,
    split,
    tf32,
    trunc_div,
    wrapped,
)
from tests.support.ptx_kernels import compute

CONTROL = {"bra", "bra.uni", "brx.idx", "ret", "ret.uni", "exit", "call", "call.uni", "ld.param", "ld.param::entry",
           "st.param", "trap", "brkpt"}
"""Rows of `test_emulator.py`."""


class Case(NamedTuple):
    """An instruction of rows of the table: its text, its inputs, the types of its results, and what they should be."""

    rows: str
    text: str
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[str, ...]
    expected: Callable[..., Any]
    """Of the inputs; an array, or several."""


def one(rows: str, opcode: str, kinds: str, output: str, expected: Callable[..., Any]) -> Case:
    """`opcode y, x0, x1, ...`, with inputs of these types."""
    names = kinds.split()
    operands = ", ".join(f"%x{i}" for i in range(len(names)))
    inputs = tuple(reals(kind) if kind[0] == "f" else RNG.random(N) < 0.5 if kind == "?" else integers(kind)
                   for kind in names)
    return Case(rows, f"{opcode} %y0, {operands};", inputs, (output,), expected)


COMPARE: dict[str, Callable[[float, float], bool]] = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a < b or a > b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b, "equ": lambda a, b: not (a < b or a > b),
    "neu": lambda a, b: a != b, "ltu": lambda a, b: not a >= b, "leu": lambda a, b: not a > b,
    "gtu": lambda a, b: not a <= b, "geu": lambda a, b: not a < b, "num": lambda a, b: a == a and b == b,
    "nan": lambda a, b: a != a or b != b}
SHIFTS = integers("u4")
S = {"i2": "s16", "u2": "u16", "i4": "s32", "u4": "u32", "i8": "s64", "u8": "u64"}

CASES: list[Case] = []
for t, ptx in S.items():
    w = np.dtype(t).itemsize * 8
    CASES += [
        one("add", f"add.{ptx}", f"{t} {t}", t, each(lambda a, b: a + b, t)),
        one("sub", f"sub.{ptx}", f"{t} {t}", t, each(lambda a, b: a - b, t)),
        one("mul.lo", f"mul.lo.{ptx}", f"{t} {t}", t, each(lambda a, b: a * b, t)),
        one("mul.hi", f"mul.hi.{ptx}", f"{t} {t}", t, each(lambda a, b, w=w: a * b >> w, t)),
        one("mad.lo", f"mad.lo.{ptx}", f"{t} {t} {t}", t, each(lambda a, b, c: a * b + c, t)),
        one("mad.hi", f"mad.hi.{ptx}", f"{t} {t} {t}", t, each(lambda a, b, c, w=w: (a * b >> w) + c, t)),
        one("div", f"div.{ptx}", f"{t} {t}", t, each(trunc_div, t)),
        one("rem", f"rem.{ptx}", f"{t} {t}", t, each(lambda a, b: a if b == 0 else a - b * trunc_div(a, b), t)),
        one("min", f"min.{ptx}", f"{t} {t}", t, each(min, t)), one("max", f"max.{ptx}", f"{t} {t}", t, each(max, t)),
        one("sad", f"sad.{ptx}", f"{t} {t} {t}", t, each(lambda a, b, c: abs(a - b) + c, t)),
        Case("shr", f"shr.{ptx} %y0, %x0, %x1;", (integers(t), SHIFTS), (t,), each(lambda a, n: a >> min(n, 64), t)),
        Case("shl", f"shl.b{w} %y0, %x0, %x1;", (integers(t), SHIFTS), (t,), each(lambda a, n: a << min(n, 64), t)),
        one("setp", f"setp.lt.{ptx}", f"{t} {t}", "?", lambda a, b: a < b),
        one("cvt", f"cvt.rn.f32.{ptx}", t, "f4", lambda a: np.array([nearest(Fraction(int(v)), "f4") for v in a])),
        one("cvt", f"cvt.rzi.{ptx}.f32", "f4", t, integer_of(math.trunc, t)),
        one("cvt", f"cvt.rni.{ptx}.f64", "f8", t, integer_of(round, t)),
        one("cvt", f"cvt.s64.{ptx}", t, "i8", each(lambda a: a, "i8")),
        one("cvt", f"cvt.u16.{ptx}", t, "u2", each(lambda a: a, "u2")),
        one("selp", f"selp.b{w}", f"{t} {t} ?", t, lambda a, b, p: np.where(p, a, b)),
        one("slct", f"slct.{ptx}.s32", f"{t} {t} i4", t, lambda a, b, c: np.where(c >= 0, a, b)),
    ]
    if w < 64:
        wide = f"{t[0]}{w // 4}"
        CASES += [one("mul.wide", f"mul.wide.{ptx}", f"{t} {t}", wide, each(lambda a, b: a * b, wide)),
                  one("mad.wide", f"mad.wide.{ptx}", f"{t} {t} {wide}", wide, each(lambda a, b, c: a * b + c, wide))]
    if w > 16:
        CASES += [one("popc", f"popc.b{w}", f"u{w // 8}", "u4", each(lambda a: a.bit_count(), "u4")),
                  one("clz", f"clz.b{w}", f"u{w // 8}", "u4", each(lambda a, w=w: w - a.bit_length(), "u4")),
                  one("brev", f"brev.b{w}", f"u{w // 8}", f"u{w // 8}",
                      each(lambda a, w=w: int(f"{a:0{w}b}"[::-1], 2), f"u{w // 8}")),
                  one("bfind", f"bfind.{ptx}", t, "u4", each(lambda a: (~a if a < 0 else a).bit_length() - 1, "u4")),
                  one("bfind.shiftamt", f"bfind.shiftamt.{ptx}", t, "u4", each(
                      lambda a, w=w: w - n if (n := (~a if a < 0 else a).bit_length()) else -1, "u4")),
                  Case("bfe", f"bfe.{ptx} %y0, %x0, %x1, %x2;", (integers(t), SHIFTS, integers("u4")), (t,),
                       each(lambda a, p, n, w=w, t=t: bits(a, w, p, n, t[0] == "i"), t)),
                  Case("bfe", f"bfe.{ptx} %y0, %x0, %x1, %x2;",
                       (integers(t), SHIFTS % 80, RNG.integers(0, 70, N, "u4")), (t,),
                       each(lambda a, p, n, w=w, t=t: bits(a, w, p, n, t[0] == "i"), t))]
    if t[0] == "i":
        CASES += [one("abs", f"abs.{ptx}", t, t, each(abs, t)), one("neg", f"neg.{ptx}", t, t, each(lambda a: -a, t))]

CASES += [
    one("add", "add.sat.s32", "i4 i4", "i4", lambda a, b: np.clip(a.astype("i8") + b, -2**31, 2**31 - 1).astype("i4")),
    one("add", "add.s16x2", "u4 u4", "u4", lambda a, b: (a.view("i2") + b.view("i2")).view("u4")),
    one("min", "min.s16x2", "u4 u4", "u4", lambda a, b: np.minimum(a.view("i2"), b.view("i2")).view("u4")),
    one("max", "max.u16x2", "u4 u4", "u4", lambda a, b: np.maximum(a.view("u2"), b.view("u2")).view("u4")),
    one("mul24.lo", "mul24.lo.s32", "i4 i4", "i4",
        each(lambda a, b: wrapped(a << 8, "i4") // 256 * (wrapped(b << 8, "i4") // 256), "i4")),
    one("mad24.lo", "mad24.lo.u32", "u4 u4 u4", "u4", each(lambda a, b, c: a % 2**24 * (b % 2**24) + c, "u4")),
    one("dp4a", "dp4a.s32.u32", "u4 u4 i4", "i4", lambda a, b, c: (
        c + (a.view("i1").reshape(-1, 4).astype("i4") * b.view("u1").reshape(-1, 4)).sum(1)).astype("i4")),
    one("lop3", "lop3.b32", "u4 u4 u4", "u4", each(lambda a, b, c: sum(
        (0xCA >> ((a >> i & 1) << 2 | (b >> i & 1) << 1 | c >> i & 1) & 1) << i for i in range(32)), "u4"),
        )._replace(text="lop3.b32 %y0, %x0, %x1, %x2, 0xCA;"),
    one("prmt", "prmt.b32", "u4 u4 u4", "u4", each(permuted, "u4")),
    one("and", "and.b32", "u4 u4", "u4", np.bitwise_and), one("or", "or.b64", "u8 u8", "u8", np.bitwise_or),
    one("xor", "xor.b16", "u2 u2", "u2", np.bitwise_xor), one("not", "not.b32", "u4", "u4", np.invert),
    one("and", "and.pred", "? ?", "?", np.logical_and), one("not", "not.pred", "?", "?", np.logical_not),
    one("xor", "xor.pred", "? ?", "?", np.logical_xor), one("or", "or.pred", "? ?", "?", np.logical_or),
    one("cnot", "cnot.b32", "u4", "u4", lambda a: (a == 0).astype("u4")),
    Case("bfi", "bfi.b32 %y0, %x0, %x1, %x2, %x3;", (integers("u4"), integers("u4"), SHIFTS % 40, integers("u4") % 40),
         ("u4",), each(inserted, "u4")),
    *[one(f"shf.{side}", f"shf.{side}.{mode}.b32", "u4 u4 u4", "u4", each(
        lambda a, b, n, side=side, mode=mode: shifted(b << 32 | a, n % 32 if mode == "wrap" else min(n, 32), side),
        "u4"))
      for side in "lr" for mode in ("wrap", "clamp")],
    Case("add.cc addc.cc addc", "add.cc.u32 %y0, %x0, %x2; addc.cc.u32 %y1, %x1, %x3; addc.u32 %y2, 0, 0;",
         tuple(integers("u4") for _ in range(4)), ("u4",) * 3, lambda *x: [
             each(lambda a, b, c, d, i=i: (b << 32 | a) + (d << 32 | c) >> 32 * i, "u4")(*x) for i in range(3)]),
    Case("sub.cc subc.cc subc", "sub.cc.u32 %y0, %x0, %x2; subc.cc.u32 %y1, %x1, %x3; subc.u32 %y2, 0, 0;",
         tuple(integers("u4") for _ in range(4)), ("u4",) * 3, lambda *x: [
             each(lambda a, b, c, d, i=i: (b << 32 | a) - (d << 32 | c) >> 32 * i, "u4")(*x) for i in range(3)]),
    Case("mad.lo.cc madc.hi.cc madc.hi", "mad.lo.cc.u32 %y0, %x0, %x1, %x2; madc.hi.cc.u32 %y1, %x0, %x1, %x3;"
         "madc.hi.u32 %y2, 0, 0, 0;", tuple(integers("u4") for _ in range(4)), ("u4", "u4", "u4"), lambda a, b, c, d: [
             each(lambda a, b, c, d, i=i: a * b + (d << 32 | c) >> 32 * i, "u4")(a, b, c, d) for i in range(3)]),
    Case("mad.hi.cc madc.lo.cc madc.lo", "mad.hi.cc.u32 %y0, %x0, %x1, %x2; madc.lo.cc.u32 %y1, %x3, 1, %x3;"
         "madc.lo.u32 %y2, 0, 0, 0;", tuple(integers("u4") for _ in range(4)), ("u4", "u4", "u4"), lambda a, b, c, d: [
             each(lambda a, b, c, d, i=i: (a * b >> 32) + c + (2 * d << 32) >> 32 * i, "u4")(a, b, c, d)
             for i in range(3)]),
]

for t, ptx in {"f4": "f32", "f8": "f64"}.items():
    CASES += [
        one("add", f"add.rn.{ptx}", f"{t} {t}", t, exact(lambda a, b: a + b, t)),
        one("sub", f"sub.{ptx}", f"{t} {t}", t, exact(lambda a, b: a - b, t)),
        one("mul", f"mul.rn.{ptx}", f"{t} {t}", t, exact(lambda a, b: a * b, t)),
        one("fma", f"fma.rn.{ptx}", f"{t} {t} {t}", t, exact(lambda a, b, c: a * b + c, t)),
        one("mad", f"mad.rn.{ptx}", f"{t} {t} {t}", t, exact(lambda a, b, c: a * b + c, t)),
        one("div", f"div.rn.{ptx}", f"{t} {t}", t, as_type(t, np.divide)),
        one("sqrt", f"sqrt.rn.{ptx}", t, t, as_type(t, np.sqrt)),
        one("rcp", f"rcp.rn.{ptx}", t, t, as_type(t, lambda a: np.asarray(1, a.dtype) / a)),
        one("min", f"min.{ptx}", f"{t} {t}", t, by_element(smallest, t)),
        one("max", f"max.{ptx}", f"{t} {t}", t, by_element(largest, t)),
        one("abs", f"abs.{ptx}", t, t, np.abs), one("neg", f"neg.{ptx}", t, t, np.negative),
        one("copysign", f"copysign.{ptx}", f"{t} {t}", t, lambda a, b: np.copysign(b, a)),
        one("testp", f"testp.finite.{ptx}", t, "?", np.isfinite),
        one("testp", f"testp.subnormal.{ptx}", t, "?", lambda a: (a != 0) & (np.abs(a) < np.finfo(a.dtype).tiny)),
        one("cvt", f"cvt.rpi.{ptx}.{ptx}", t, t, np.ceil), one("cvt", f"cvt.rni.{ptx}.{ptx}", t, t, np.rint),
        *[one("setp", f"setp.{name}.{ptx}", f"{t} {t}", "?", by_element(test, "?")) for name, test in COMPARE.items()],
    ]

CASES += [
    one("min", "min.NaN.f32", "f4 f4", "f4", lambda a, b: np.where(np.isnan(a) | np.isnan(b), np.float32(np.nan),
                                                                   by_element(smallest, "f4")(a, b))),
    one("min", "min.xorsign.abs.f32", "f4 f4", "f4", by_element(lambda a, b: math.copysign(
        1, a) * math.copysign(1, b) * smallest(abs(a), abs(b)), "f4")),
    one("max", "max.NaN.f32", "f4 f4", "f4", lambda a, b: np.where(np.isnan(a) | np.isnan(b), np.float32(np.nan),
                                                                   by_element(largest, "f4")(a, b))),
    one("fma", "fma.rz.f32", "f4 f4 f4", "f4", lambda a, b, c: directed(a, b, c)),
    one("mul", "mul.ftz.f32", "f4 f4", "f4", as_type("f4", lambda a, b: flushed(flushed(a) * flushed(b)))),
    one("add", "add.sat.f32", "f4 f4", "f4", as_type("f4", lambda a, b: np.where(a + b > 0, np.minimum(a + b, 1), 0))),
    one("ex2", "ex2.approx.f32", "f4", "f4", as_type("f4", lambda a: np.exp2(a.astype("f8")))),
    one("ex2", "ex2.approx.ftz.f32", "f4", "f4", as_type("f4", lambda a: flushed(np.exp2(flushed(a).astype("f8"))))),
    one("lg2", "lg2.approx.f32", "f4", "f4", as_type("f4", lambda a: np.log2(a.astype("f8")))),
    one("sin", "sin.approx.f32", "f4", "f4", as_type("f4", lambda a: np.sin(a.astype("f8")))),
    one("cos", "cos.approx.f32", "f4", "f4", as_type("f4", lambda a: np.cos(a.astype("f8")))),
    one("tanh", "tanh.approx.f32", "f4", "f4", as_type("f4", lambda a: np.tanh(a.astype("f8")))),
    one("rsqrt", "rsqrt.approx.f32", "f4", "f4", as_type("f4", lambda a: 1 / np.sqrt(a.astype("f8")))),
    one("rcp", "rcp.approx.ftz.f64", "f8", "f8", as_type("f8", lambda a: (
        (1 / a).view("u8") & np.uint64(0xFFFFFFFF00000000)).view("f8"))),
    one("set", "set.gt.u32.f32", "f4 f4", "u4", lambda a, b: np.where(a > b, 2**32 - 1, 0).astype("u4")),
    Case("setp", "setp.lt.and.f32 %y0|%y1, %x0, %x1, %x2;", (reals(), reals(), RNG.random(N) < 0.5), ("?", "?"),
         lambda a, b, p: [(a < b) & p, ~(a < b) & p]),
    Case("setp mov", "mov.pred %y0, %x2; setp.lt.and.f32 %y0|%y1, %x0, %x1, %y0;",
         (reals(), reals(), RNG.random(N) < 0.5), ("?", "?"), lambda a, b, p: [(a < b) & p, ~(a < b) & p]),
    one("cvt", "cvt.f64.f32", "f4", "f8", lambda a: a.astype("f8")),
    one("cvt", "cvt.rn.f32.f64", "f8", "f4", exact(lambda a: a, "f4")),
    one("cvt", "cvt.rn.f16.f32", "f4", "u2", as_type("f2", lambda a: a)),
    one("cvt", "cvt.f32.f16", "u2", "f4", lambda a: a.view("f2").astype("f4")),
    one("cvt", "cvt.rn.bf16.f32", "f4", "u2", as_type(BF16, lambda a: a)),
    one("cvt", "cvt.f32.bf16", "u2", "f4", lambda a: a.view(BF16).astype("f4")),
    one("cvt", "cvt.rna.tf32.f32", "f4", "u4", lambda a: tf32(a, True)),
    one("cvt", "cvt.rn.tf32.f32", "f4", "u4", lambda a: tf32(a, False)),
    one("cvt", "cvt.sat.u8.s32", "i4", "u2", lambda a: np.clip(a, 0, 255).astype("u2")),
    one("cvt", "cvt.s32.s8", "u4", "i4", lambda a: a.astype("u1").view("i1").astype("i4")),
    one("cvt", "cvt.rn.f16x2.f32", "f4 f4", "u4", as_type("u4", lambda a, b: packed([b, a], "f2"))),
    one("cvt", "cvt.rn.bf16x2.f32", "f4 f4", "u4", as_type("u4", lambda a, b: packed([b, a], BF16))),
    *[one("cvt", f"cvt.rn.satfinite.{name}x2.f32", "f4 f4", "u2",
          lambda a, b, kind=kind: fp8(a, kind) << 8 | fp8(b, kind))
      for name, kind in (("e4m3", ml_dtypes.float8_e4m3fn), ("e5m2", ml_dtypes.float8_e5m2))],
    *[one("cvt", f"cvt.rn.f16x2.{name}x2", "u2", "u4",
          lambda a, kind=kind: a.view("u1").view(kind).astype("f2").view("u4"))
      for name, kind in (("e4m3", ml_dtypes.float8_e4m3fn), ("e5m2", ml_dtypes.float8_e5m2))],
    one("mov", "mov.b32", "u4", "u4", lambda a: a),
    Case("mov", "{ .reg .b16 lo, hi; mov.b32 {lo, hi}, %x0; mov.b32 %y0, {hi, lo}; }", (integers("u4"),), ("u4",),
         lambda a: a >> 16 | a << 16),
    Case("mov", "mov.b64 %y0, {%x0, %x1}; mov.b64 {_, %y1}, %x2;", (integers("u4"), integers("u4"), integers("u8")),
         ("u8", "u4"), lambda a, b, c: [a.astype("u8") | b.astype("u8") << 32, (c >> 32).astype("u4")]),
    Case("mov", "mov.f32 %y0, 0f3FC00000; mov.b64 %y1, 0d4004000000000000; mov.u32 %y2, -3;", (SHIFTS,),
         ("f4", "f8", "i4"), lambda a: [np.full(N, 1.5, "f4"), np.full(N, 2.5), np.full(N, -3, "i4")]),
    Case("mov", "mov.u32 %y0, %laneid; mov.u32 %y1, %warpid; mov.u32 %y2, %lanemask_lt; mov.u32 %y3, %ntid.x;",
         (SHIFTS,), ("u4",) * 4,
         lambda a: [np.arange(N) % 32, np.arange(N) // 32, (1 << np.arange(N) % 32) - 1, np.full(N, N)]),
    Case("cvta", ".reg .b64 %q0; cvta.to.global.u64 %q0, %x0; cvta.global.u64 %y0, %q0;", (integers("u8"),), ("u8",),
         lambda a: a),
]

for name, kind in (("f16", "f2"), ("bf16", BF16)):
    def small(operation: Callable[..., Fraction], kind: Any = kind, name: str = name) -> Callable[..., np.ndarray]:
        rounded = exact(operation, "f2" if name == "f16" else "bf16")
        return lambda *arrays: packed([as_type(kind, lambda v: v)(rounded(*parts)) for parts in
                                       zip(*(split(array, kind) for array in arrays), strict=True)], kind)

    def pair(text: str, n: int, expected: Callable[..., np.ndarray], kind: Any = kind) -> Case:
        given = tuple(halves(kind) for _ in range(n))
        operands = ", ".join(f"%x{i}" for i in range(n))
        return Case(text.split(".")[0], f"{text} %y0, {operands};", given, ("u4",), expected)

    CASES += [
        pair(f"add.rn.{name}x2", 2, small(lambda a, b: a + b)), pair(f"sub.rn.{name}x2", 2, small(lambda a, b: a - b)),
        pair(f"mul.rn.{name}x2", 2, small(lambda a, b: a * b)),
        pair(f"neg.{name}x2", 1, lambda a: a ^ np.uint32(0x80008000)),
        pair(f"fma.rn.{name}x2", 3, small(lambda a, b, c: a * b + c)),
        pair(f"abs.{name}x2", 1, lambda a: a & np.uint32(0x7FFF7FFF)),
        pair(f"max.{name}x2", 2, lambda a, b, kind=kind: packed([
            by_element(largest, "f4")(*parts) for parts in zip(split(a, kind), split(b, kind), strict=True)], kind)),
        pair(f"tanh.approx.{name}x2", 1, lambda a, kind=kind: packed([np.tanh(x.astype("f8")) for x in split(a, kind)],
                                                                     kind)),
        Case("setp", f"setp.lt.{name}x2 %y0|%y1, %x0, %x1;", (halves(kind), halves(kind)), ("?", "?"),
             lambda a, b, kind=kind: [x < y for x, y in zip(split(a, kind), split(b, kind), strict=True)]),
    ]
    single = [halves(kind).astype("u2") for _ in range(3)]
    CASES.append(Case("fma", f"fma.rn.{name} %y0, %x0, %x1, %x2;", tuple(single), ("u2",),
                      lambda *arrays, kind=kind, name=name: as_type(kind, lambda v: v)(exact(
                          lambda a, b, c: a * b + c, "f2" if name == "f16" else "bf16")(*[a.view(kind).astype("f4")
                                                                                       for a in arrays]))))


def same(have: np.ndarray, want: np.ndarray) -> None:
    """Equal bits, or NaN both."""
    want = np.asarray(want)
    if have.dtype.kind in "fV" and want.dtype != have.dtype:
        with np.errstate(over="ignore"):
            want = want.astype(have.dtype)
    if have.dtype.kind == "u" and want.dtype.kind in "fV":
        nan = np.isnan(want.astype("f4"))
        want_bits = want.view(have.dtype)
        assert np.isnan(have.view(want.dtype).astype("f4"))[nan].all()
        np.testing.assert_array_equal(have[~nan], want_bits[~nan])
        return
    if have.dtype.kind == "f":
        nan = np.isnan(want)
        np.testing.assert_array_equal(np.isnan(have), nan)
        unsigned = f"u{have.dtype.itemsize}"
        np.testing.assert_array_equal(have.view(unsigned)[~nan], want.view(unsigned)[~nan])
        return
    np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.text.split(" %y")[0].strip("{ ."))
def test_a_row_computes_what_it_says(case: Case) -> None:
    have = compute(case.text, case.inputs, case.outputs)
    with np.errstate(all="ignore"):
        want = case.expected(*case.inputs)
    wanted = want if isinstance(want, list) else [want]
    assert len(wanted) == len(have)
    for one, other in zip(have, wanted, strict=True):
        kind = next((kind for name, kind in PACKED.items() if name in case.text), None)
        if kind is not None and one.dtype.kind == "u":
            parts = f"u{np.dtype(kind).itemsize}"
            same(one.view(parts), np.asarray(other).astype(one.dtype).view(kind))
        else:
            same(one, other)
