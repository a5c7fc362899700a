"""Rows of the table: what each thread computes by itself. (PTX ISA 9.7.1 to 9.7.9.)"""

from __future__ import annotations

from .emitter import Emitter
from .floats import FP8, ROUND
from .table import BITS, FLOATING, FLOATS, INTEGERS, MODES, PAIRS, Op, numpy_type, plain, row

NARROW = "s16 u16 s32 u32"
APPROXIMATE = "rn approx ftz"

# Integers. Wrapping is NumPy's too.

plain("mul.lo", INTEGERS, "{a} * {b}")
plain("mul.hi", INTEGERS, "high_product({a}, {b})")
plain("mad.lo", INTEGERS, "{a} * {b} + {c}")
plain("mad.hi", INTEGERS, "high_product({a}, {b}) + {c}")
plain("rem", INTEGERS, "remainder({a}, {b})")
plain("sad", INTEGERS, "np.where({a} > {b}, {a} - {b}, {b} - {a}) + {c}")
plain("popc", "b32 b64", "np.bitwise_count({a}).astype('u4')", "u4")
plain("clz", "b32 b64", "leading_zeros({a})", "u4")
plain("bfind", "s32 u32 s64 u64", "highest_bit({a}, False)", "u4")
plain("bfind.shiftamt", "s32 u32 s64 u64", "highest_bit({a}, True)", "u4")
plain("brev", "b32 b64", "reversed_bits({a})")
plain("prmt", "b32", "permuted({a}, {b}, {c})")
plain("lop3", "b32", "logic({a}, {b}, {c}, {d})")
plain("bfe", "s32 u32 s64 u64", "extracted({a}, {b:u4}, {c:u4})")
plain("bfi", "b32 b64", "inserted({a}, {b}, {c:u4}, {d:u4})")
plain("dp4a", "s32 u32", "dot4({a:u4}, {b:u4}, {c:u4}, '{op.types[0][0]}{op.types[1][0]}')", "u4")
plain("shf.l", "b32", "funnel({a}, {b}, {c}, True, 'wrap' in {op.modifiers})", modifiers="wrap clamp")
plain("shf.r", "b32", "funnel({a}, {b}, {c}, False, 'wrap' in {op.modifiers})", modifiers="wrap clamp")
plain("not", f"{BITS} pred", "~{a}")
plain("cnot", BITS, "({a} == 0).astype('{t}')")
plain("and", f"{BITS} pred", "{a} & {b}")
plain("or", f"{BITS} pred", "{a} | {b}")
plain("xor", f"{BITS} pred", "{a} ^ {b}")


plain("mul.wide", NARROW, "np.asarray({a}).astype('{wide}') * np.asarray({b}).astype('{wide}')", "wide")
plain("mad.wide", NARROW, "np.asarray({a}).astype('{wide}') * np.asarray({b}).astype('{wide}') + {c:wide}", "wide")
plain("mul24.lo", "s32 u32", "({a} << 8 >> 8) * ({b} << 8 >> 8)")
plain("mad24.lo", "s32 u32", "({a} << 8 >> 8) * ({b} << 8 >> 8) + {c}")


@row("add.cc addc addc.cc sub.cc subc subc.cc mad.lo.cc mad.hi.cc madc.lo madc.hi madc.lo.cc madc.hi.cc",
     "s32 u32 b32 s64 u64")
def _carried(e: Emitter, op: Op) -> None:
    """Extended precision: the carry flag is one bit beside the registers."""
    name, t = op.row.name, f"u{numpy_type(op.type)[1]}"
    a, b, *c = (e.get(operand, t) for operand in op.operands[1:])
    if name.startswith("mad"):
        a, b = f"{a} * {b}" if ".lo" in name else f"high_product({a}, {b})", c[0]
    carry = "cc" if name.split(".")[0].endswith("c") else "np.False_"
    e.line(f"t, {'cc' if name.endswith('.cc') else '_'} = carried({a}, {b}, {carry}, {name.startswith('sub')})")
    e.put(op.operands[0], "t", t)


@row("shl shr", "b16 b32 b64 s16 u16 s32 u32 s64 u64")
def _shift(e: Emitter, op: Op) -> str:
    t, left, amount = numpy_type(op.type), op.row.name == "shl", op.operands[2]
    bits = 8 * int(t[1])
    if amount.isdigit() and (int(amount) < bits or t[0] == "i"):
        return f"{{a}} {'<<' if left else '>>'} {e.number(min(int(amount), bits - 1), t)}"
    return f"shift_{'left' if left else 'right'}({{a}}, {{b:u4}})"


# Numbers of all kinds.

@row("add sub mul", f"{FLOATS} {INTEGERS} {PAIRS}", f"{MODES} ftz sat")
def _arithmetic(e: Emitter, op: Op) -> str | tuple[str, str]:
    mode, name = op.one_of(MODES, "rn"), op.row.name
    sign = {"add": "+", "sub": "-", "mul": "*"}[name]
    if op.floats and mode != "rn":
        return f"multiply({{a}}, {{b}}, {mode!r})" if name == "mul" else \
            f"add({{a}}, {'-' * (name == 'sub')}{{b}}, {mode!r})"
    if op.floats or op.type in PAIRS.split():
        return f"({{a}} {sign} {{b}})"
    if op.has("sat"):
        return f"clipped(np.asarray({{a:i4}}).astype('i8') {sign} np.asarray({{b:i4}}).astype('i8'), 'i4')", "i4"
    return f"{{a:u}} {sign} {{b:u}}", "u"


@row("fma", FLOATS, f"{MODES} ftz sat relu")
@row("mad", "f32 f64", f"{MODES} ftz sat")
def _fused(e: Emitter, op: Op) -> str:
    mode = op.one_of(MODES, "rn")
    if op.type in ("f16", "f16x2"):
        return "wide_fma({a}, {b}, {c}).astype('f2').astype('f4')"
    function = {"f32": "fma32", "f64": "fma64"}.get(op.type, "fma_bf16")
    return f"{function}({{a}}, {{b}}, {{c}}{f', {mode!r}' if mode != 'rn' else ''})"


@row("div", f"f32 f64 {INTEGERS}", APPROXIMATE + " full")
def _divide(e: Emitter, op: Op) -> str:
    """Every quotient is correctly rounded, the approximate ones too."""
    return "np.divide({a}, {b})" if op.floats else "quotient({a}, {b})"


@row("rcp rsqrt", "f32 f64", APPROXIMATE)
def _inverse(e: Emitter, op: Op) -> str:
    """Of float64 the flushing approximation has 20 bits of fraction: the low half of the register is zero."""
    wide = "np.asarray({a}).astype('f8')"
    inverse = f"1 / {wide}" if op.row.name == "rcp" else f"1 / np.sqrt({wide})"
    if op.type == "f32":
        return f"({inverse}).astype('f4')"
    return f"(({inverse}).view('u8') & np.uint64(0xFFFFFFFF00000000)).view('f8')" if op.has("ftz") else f"({inverse})"


# Functions that a GPU approximates.
plain("sqrt", "f32 f64", "np.sqrt({a})", modifiers=APPROXIMATE)
plain("sin", "f32", "in_float64(np.sin, {a})", modifiers=APPROXIMATE)
plain("cos", "f32", "in_float64(np.cos, {a})", modifiers=APPROXIMATE)
plain("lg2", "f32", "in_float64(np.log2, {a})", modifiers=APPROXIMATE)
plain("ex2", "f32 f16 bf16 f16x2 bf16x2", "in_float64(np.exp2, {a})", modifiers=APPROXIMATE)
plain("tanh", "f32 f16 bf16 f16x2 bf16x2", "in_float64(np.tanh, {a})", modifiers=APPROXIMATE)


@row("min max", f"{FLOATS} {INTEGERS} {PAIRS}", "ftz NaN relu xorsign abs")
def _extremum(e: Emitter, op: Op) -> str:
    name = op.row.name
    function = f"np.{name}imum" if not op.floats else f"{name}_nan" if op.has("NaN") else f"f{name}"
    if op.has("xorsign"):
        return f"with_signs({function}(np.abs({{a}}), np.abs({{b}})), {{a}}, {{b}})"
    return f"{function}({{a}}, {{b}})"


plain("abs", f"{FLOATS} s16 s32 s64", "np.abs({a})", modifiers="ftz")
plain("neg", f"{FLOATS} s16 s32 s64", "-{a}", modifiers="ftz")
plain("copysign", "f32 f64", "np.copysign({b}, {a})")       # the magnitude of b with the sign of a

TESTS = {"finite": "np.isfinite({a})", "infinite": "np.isinf({a})", "notanumber": "np.isnan({a})",
         "number": "~np.isnan({a})", "normal": "(np.isfinite({a}) & (np.abs({a}) >= np.finfo('{t}').tiny))",
         "subnormal": "(({a} != 0) & (np.abs({a}) < np.finfo('{t}').tiny))"}
row("testp", "f32 f64", " ".join(TESTS), "pred")(lambda e, op: TESTS[op.modifiers[0]])

# Comparison and selection.

COMPARE = {"eq": "{a} == {b}", "lt": "{a} < {b}", "le": "{a} <= {b}", "gt": "{a} > {b}", "ge": "{a} >= {b}",
           "lo": "{a} < {b}", "ls": "{a} <= {b}", "hi": "{a} > {b}", "hs": "{a} >= {b}", "neu": "{a} != {b}",
           "ltu": "~({a} >= {b})", "leu": "~({a} > {b})", "gtu": "~({a} <= {b})", "geu": "~({a} < {b})",
           "equ": "~(({a} < {b}) | ({a} > {b}))", "nan": "np.isnan({a}) | np.isnan({b})",
           "num": "~(np.isnan({a}) | np.isnan({b}))", "ne": "({a} < {b}) | ({a} > {b})"}
"""Ordered comparisons, of floats, are false where one is NaN, those with "u" true."""
JOIN = {"and": "&", "or": "|", "xor": "^"}
COMPARISONS = " ".join((*COMPARE, *JOIN))


def compared(e: Emitter, op: Op, a: str, b: str) -> tuple[str, str]:
    """The comparison of two expressions, and what joins a third operand to it."""
    comparison = op.one_of(" ".join(COMPARE), "")
    form = COMPARE["neu" if comparison == "ne" and op.last not in FLOATING else comparison]
    joined = f" {JOIN[op.one_of('and or xor', '')]} {e.get(op.operands[3], 'pred')}" if len(op.operands) > 3 else ""
    return f"({form.format(a=a, b=b)})", joined


@row("setp", f"{BITS} {INTEGERS} {FLOATS}", f"{COMPARISONS} ftz")
def _set_predicate(e: Emitter, op: Op) -> None:
    """`p|q`: q is the opposite of p, or for packed halves the result of the upper ones."""
    if op.last.endswith("x2"):
        kind = op.last.removesuffix("x2")
        values = ["".join(compared(e, op, *[e.half(operand, kind, i) for operand in op.operands[1:3]])) for i in (0, 1)]
    else:
        a, b = (e.get(operand, numpy_type(op.last)) for operand in op.operands[1:3])
        test, joined = compared(e, op, f"flushed({a})", f"flushed({b})") if op.has("ftz") else compared(e, op, a, b)
        e.line(f"test = {test}")
        values = [f"test{joined}", f"~test{joined}"]
    results = op.operands[0].split("|")
    if len(results) == 2:               # either may be the predicate that the comparison is joined with
        e.line(f"values = {', '.join(values)}")
        values = ["values[0]", "values[1]"]
    for result, value in zip(results, values, strict=False):
        e.put(result, value, "pred")


@row("set", "u32 s32 f32 b32 f16 bf16 f64 s16 u16 u64 s64 b16 b64", f"{COMPARISONS} ftz")
def _set_value(e: Emitter, op: Op) -> tuple[str, str]:
    """All ones, or 1.0, where the comparison holds."""
    test = "".join(compared(e, op, "{a:last}", "{b:last}"))
    return (f"np.asarray({test}).astype('f4')", "f4") if op.type == "f32" else (f"mask({test}, 'u4')", "u4")


plain("selp", f"{BITS} {INTEGERS} f32 f64", "select({c:mask}, {a:u}, {b:u})", "u")
plain("slct", f"{BITS} {INTEGERS} f32 f64", "np.where({c:last} >= 0, {a:u}, {b:u})", "u", "ftz")


# Moves and conversions.

@row("mov", f"{BITS} {INTEGERS} f32 f64 pred")
def _move(e: Emitter, op: Op) -> str | tuple[str, str] | None:
    target, source = op.operands
    if op.type == "pred":
        return "{a}"
    t = f"u{numpy_type(op.type)[1]}"
    parts = e.vector(target if target.startswith("{") else source)
    narrow = f"u{int(t[1]) // len(parts)}"
    if source.startswith("{"):
        return f"pack({{a:[{narrow}]}}, '{t}')", t
    if not target.startswith("{"):
        return f"{{a:{(t := e.current(source, t))}}}", t
    for i, part in enumerate(parts):
        e.put(part, f"unpack({e.get(source, t)}, '{narrow}', {i})", narrow)
    return None


@row("cvta", "u32 u64", "to global shared shared::cta local const", "u8")
def _convert_address(e: Emitter, op: Op) -> str:
    """Generic addresses of shared and local memory lie in windows above the host's addresses."""
    window = "LOCAL" if op.has("local") else "SHARED" if op.has("shared") or op.has("shared::cta") else ""
    return f"{{a:u8}} {'-' if op.has('to') else '+'} {window}" if window else "{a:u8}"


@row("cvt", f"{INTEGERS} s8 u8 f16 bf16 f32 f64 f16x2 bf16x2 tf32 e4m3x2 e5m2x2",
     f"{MODES} rna rni rzi rmi rpi ftz sat satfinite relu")
def _convert(e: Emitter, op: Op) -> tuple[str, str]:
    """Of two numbers that are packed the first operand is the upper."""
    target, source = (kind.removesuffix("x2") for kind in op.types)
    mode = op.one_of(f"{MODES} rna rni rzi rmi rpi", "rn")
    pair = ("{b:f4}", "{a:f4}") if op.last == "f32" else [e.half(op.operands[1], "f16", i) for i in (0, 1)
                                                          if op.last == "f16x2"]
    pair = [f"relu({value})" if op.has("relu") else value for value in pair]
    if target in FP8:
        low, high = (f"to_fp8({value}, {target!r})" for value in pair)
        return f"{low} | {high} << np.uint16(8)", "u2"
    if source in FP8:
        low, high = (f"to_f16(from_fp8(unpack({{a:u2}}, 'u1', {i}), {source!r}))" for i in (0, 1))
        return f"pack([{low}, {high}], 'u4')", "u4"
    if op.type.endswith("x2"):
        low, high = (rounded(value, target, mode) for value in pair)
        return f"pack([{low}, {high}], 'u4')", "u4"
    if target == "tf32":
        return "({a:u4})" if mode == "rz" else f"rounded_tf32({{a:u4}}, {mode == 'rna'})", "u4"
    return converted(op, target, source, mode)


def rounded(value: str, kind: str, mode: str) -> str:
    """Bits of float32 rounded to a 16-bit float."""
    if mode != "rz":
        return f"to_{kind}({value})"
    if kind == "bf16":
        return f"(np.asarray({value}).view('u4') >> 16).astype('u2')"
    return f"narrowed({value}, 'f2', 'rz').view('u2')"


def converted(op: Op, target: str, source: str, mode: str) -> tuple[str, str]:
    """A single number of another type."""
    s, d = numpy_type(source), numpy_type(target)
    value = "np.asarray({a:last})"
    if source == "f32" and op.has("ftz"):
        value = f"flushed({value})"
    if target not in FLOATING:
        if source in FLOATING:
            return f"to_integer({value}, '{d}', {mode!r})", d
        return f"clipped({value}, '{d}')" if op.has("sat") else f"{value}.astype('{d}')", d
    if mode in ROUND:
        value = f"ROUND[{mode!r}]({value})"
    elif d in ("f16", "bf16"):
        if mode == "rz" and s == "f4":
            return rounded(value, d, mode), "u2"
        if s not in ("f16", "bf16", "f4"):
            value = f"{value}.astype('f4')" if d == "bf16" else f"{value}.astype('f8').astype('f2').astype('f4')"
    elif d != s:
        widens = mode == "rn" or s in ("f16", "bf16", "f4")
        value = f"{value}.astype('{d}')" if widens else f"narrowed({value}, '{d}', {mode!r})"
    if op.has("ftz") and d == "f4":
        value = f"flushed({value})"
    if op.has("sat"):
        value = f"saturated({value})"
    return f"relu({value})" if op.has("relu") else value, d
