"""Rows of the table: moves and conversions."""

from __future__ import annotations

import re

from .emitter import Emitter
from .floats import FP8
from .table import BITS, INTEGERS, MODES, Op, numpy_type, row


@row("mov", f"{BITS} {INTEGERS} f32 f64 pred")
def _move(e: Emitter, op: Op) -> None:
    target, source = op.operands
    if op.type == "pred":
        e.put(target, e.get(source, "pred"), "pred")
        return
    t = f"u{numpy_type(op.type)[1]}"
    if target.startswith("{"):
        parts = e.vector(target)
        narrow = f"u{int(t[1]) // len(parts)}"
        for i, part in enumerate(parts):
            e.put(part, f"unpack({e.get(source, t)}, '{narrow}', {i})", narrow)
    elif source.startswith("{"):
        parts = e.vector(source)
        narrow = f"u{int(t[1]) // len(parts)}"
        e.put(target, f"pack([{', '.join(e.get(part, narrow) for part in parts)}], '{t}')", t)
    else:
        e.put(target, e.get(source, t := e.current(source, t)), t)


@row("cvta", "u32 u64", "to global shared shared::cta local const")
def _convert_address(e: Emitter, op: Op) -> None:
    """Generic addresses of shared and local memory lie in windows above the host's addresses."""
    window = "LOCAL" if op.has("local") else "SHARED" if op.has("shared") or op.has("shared::cta") else ""
    value = e.get(op.operands[1], "u8")
    e.put(op.operands[0], f"{value} {'-' if op.has('to') else '+'} {window}" if window else value, "u8")


def is_float(name: str) -> bool:
    """Whether a PTX type is of floating point."""
    return name[0] == "f" or name.startswith("bf")


@row("cvt", f"{INTEGERS} s8 u8 f16 bf16 f32 f64 f16x2 bf16x2 tf32 e4m3x2 e5m2x2",
     f"{MODES} rna rni rzi rmi rpi ftz sat satfinite relu")
def _convert(e: Emitter, op: Op) -> None:
    target, source = op.types
    mode = op.one_of(f"{MODES} rna rni rzi rmi rpi", "rn")
    operands = op.operands[1:]
    if target in ("f16x2", "bf16x2") and source == "f32":       # the first operand is the upper half
        kind = target.removesuffix("x2")
        values = [e.get(operand, "f4") for operand in reversed(operands)]
        halves = [rounded(f"relu({value})" if op.has("relu") else value, kind, mode) for value in values]
        e.put(op.operands[0], f"pack([{', '.join(halves)}], 'u4')", "u4")
    elif target.removesuffix("x2") in FP8:
        kind = target.removesuffix("x2")
        values = ([e.half(operands[0], "f16", i) for i in (0, 1)] if source == "f16x2"
                  else [e.get(operand, "f4") for operand in reversed(operands)])
        halves = [f"to_fp8({f'relu({value})' if op.has('relu') else value}, {kind!r})" for value in values]
        e.put(op.operands[0], f"{halves[0]} | {halves[1]} << np.uint16(8)", "u2")
    elif source.removesuffix("x2") in FP8:
        kind = source.removesuffix("x2")
        halves = [f"to_f16(from_fp8(unpack({e.get(operands[0], 'u2')}, 'u1', {i}), {kind!r}))" for i in (0, 1)]
        e.put(op.operands[0], f"pack([{', '.join(halves)}], 'u4')", "u4")
    elif target == "tf32":
        bits = f"({e.get(operands[0], 'u4')})"
        even = f"(np.uint32(0xFFF) + ({bits} >> np.uint32(13) & np.uint32(1)))"
        half = "np.uint32(0x1000)" if mode == "rna" else even
        e.put(op.operands[0], bits if mode == "rz" else f"({bits} + {half}) & np.uint32(0xFFFFE000)", "u4")
    else:
        convert_number(e, op, target, source, mode)


def rounded(value: str, kind: str, mode: str) -> str:
    """Bits of float32 rounded to a 16-bit float."""
    if mode == "rz":
        return f"truncated_bf16({value})" if kind == "bf16" else f"narrowed({value}, 'f2', 'rz').view('u2')"
    return f"to_{kind}({value})"


def convert_number(e: Emitter, op: Op, target: str, source: str, mode: str) -> None:
    """Between single numbers."""
    s, d = (numpy_type(t) for t in (source, target))
    value = f"np.asarray({e.get(op.operands[1], s)})"
    if is_float(source) and op.has("ftz") and source == "f32":
        value = f"flushed({value})"
    if not is_float(target):
        if is_float(source):
            e.put(op.operands[0], f"to_integer({value}, '{d}', {mode!r})", d)
        elif op.has("sat"):
            low, high = f"np.iinfo('{d}').min", f"np.iinfo('{d}').max"
            clipped = f"np.minimum({value}, {high} if {high} <= np.iinfo('{s}').max else np.iinfo('{s}').max)"
            clipped = f"np.maximum({clipped}, {low} if {low} >= np.iinfo('{s}').min else np.iinfo('{s}').min)"
            e.put(op.operands[0], f"{clipped}.astype('{d}')", d)
        else:
            e.put(op.operands[0], f"{value}.astype('{d}')", d)
        return
    if mode in ("rni", "rzi", "rmi", "rpi"):
        value = f"ROUND[{mode!r}]({value})"
    elif d in ("f16", "bf16"):
        if mode == "rz" and s == "f4":
            e.put(op.operands[0], rounded(value, d, mode), "u2")
            return
        value = value if s in ("f16", "bf16", "f4") else f"{value}.astype('f4')" if d == "bf16" else f"to_half({value})"
    elif d != s:
        widens = re.match(r"f16|bf16|f4", s) is not None
        value = f"{value}.astype('{d}')" if mode == "rn" or widens else f"narrowed({value}, '{d}', {mode!r})"
    if op.has("ftz") and d == "f4":
        value = f"flushed({value})"
    if op.has("sat"):
        value = f"saturated({value})"
    e.put(op.operands[0], f"relu({value})" if op.has("relu") else value, d)
