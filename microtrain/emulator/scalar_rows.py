"""Rows of the table: what each thread computes by itself. (PTX ISA 9.7.1 to 9.7.8.)"""

from __future__ import annotations

from collections.abc import Callable

from .emitter import Emitter
from .table import BITS, FLOATS, INTEGERS, MODES, PAIRS, Op, numpy_type, plain, row

# Integers. Wrapping is NumPy's too.

plain("mul.lo", INTEGERS, "{a} * {b}")
plain("mul.hi", INTEGERS, "high_product({a}, {b})")
plain("mad.lo", INTEGERS, "{a} * {b} + {c}")
plain("mad.hi", INTEGERS, "high_product({a}, {b}) + {c}")
plain("rem", INTEGERS, "remainder({a}, {b})")
plain("sad", INTEGERS, "np.where({a} > {b}, {a} - {b}, {b} - {a}) + {c}")
plain("popc", "b32 b64", "population({a})", "u4")
plain("clz", "b32 b64", "leading_zeros({a})", "u4")
plain("bfind", "s32 u32 s64 u64", "highest_bit({a}, False)", "u4")
plain("bfind.shiftamt", "s32 u32 s64 u64", "highest_bit({a}, True)", "u4")
plain("brev", "b32 b64", "reversed_bits({a})")
plain("prmt", "b32", "permuted({a}, {b}, {c})")
plain("lop3", "b32", "logic({a}, {b}, {c}, {d})")
plain("bfe", "s32 u32 s64 u64", "extracted({a}, {b}, {c})", reads="t u4 u4")
plain("bfi", "b32 b64", "inserted({a}, {b}, {c}, {d})", reads="t t u4 u4")
plain("dp4a", "s32 u32", "dot4({a}, {b}, {c}, '{op.types[0][0]}{op.types[1][0]}')", "u4", "u4 u4 u4")
plain("shf.l", "b32", "funnel({a}, {b}, {c}, True, 'wrap' in {op.modifiers})", modifiers="wrap clamp")
plain("shf.r", "b32", "funnel({a}, {b}, {c}, False, 'wrap' in {op.modifiers})", modifiers="wrap clamp")
plain("not", f"{BITS} pred", "~{a}")
plain("cnot", BITS, "({a} == 0).astype('{t}')")
plain("and", f"{BITS} pred", "{a} & {b}")
plain("or", f"{BITS} pred", "{a} | {b}")
plain("xor", f"{BITS} pred", "{a} ^ {b}")


@row("mul.wide mad.wide", "s16 u16 s32 u32")
def _wide(e: Emitter, op: Op) -> None:
    t = numpy_type(op.type)
    double = f"{t[0]}{2 * int(t[1])}"
    a, b = (f"np.asarray({e.get(operand, t)}).astype('{double}')" for operand in op.operands[1:3])
    added = f" + {e.get(op.operands[3], double)}" if len(op.operands) > 3 else ""
    e.put(op.operands[0], f"{a} * {b}{added}", double)


@row("mul24.lo mad24.lo", "s32 u32")
def _multiply_24(e: Emitter, op: Op) -> None:
    t = numpy_type(op.type)
    a, b = (f"({e.get(x, t)} << {e.number(8, t)} >> {e.number(8, t)})" for x in op.operands[1:3])
    e.put(op.operands[0], f"{a} * {b}" + (f" + {e.get(op.operands[3], t)}" if len(op.operands) > 3 else ""), t)


@row("add.cc addc addc.cc sub.cc subc subc.cc mad.lo.cc mad.hi.cc madc.lo madc.hi madc.lo.cc madc.hi.cc",
     "s32 u32 b32 s64 u64")
def _carried(e: Emitter, op: Op) -> None:
    """Extended precision: the carry flag is one bit beside the registers."""
    name, t = op.row.name, f"u{numpy_type(op.type)[1]}"
    a, b, *c = (e.get(operand, t) for operand in op.operands[1:])
    if name.startswith("mad"):
        product = f"np.asarray({a} * {b})" if ".lo" in name else f"high_product({a}, {b})"
        a, b = product, c[0]
    carry = e.carry if name.split(".")[0].endswith("c") else e.number(0, t)
    e.line(f"x, y, z = {a}, {b}, np.asarray({carry}).astype('{t}')")
    if name.startswith("sub"):
        e.line("w = np.asarray(x - y); v = np.asarray(w - z)")
        flag = "(x < y) | (w < z)"
    else:
        e.line("w = np.asarray(x + y); v = np.asarray(w + z)")
        flag = "(w < x) | (v < w)"
    e.put(op.operands[0], "v", t)
    if name.endswith(".cc"):
        e.set_carry(flag)


@row("shl shr", "b16 b32 b64 s16 u16 s32 u32 s64 u64")
def _shift(e: Emitter, op: Op) -> None:
    t, left = numpy_type(op.type), op.row.name == "shl"
    bits, amount = 8 * int(t[1]), op.operands[2]
    a = e.get(op.operands[1], t)
    if amount.isdigit() and (int(amount) < bits or t[0] == "i"):
        e.put(op.operands[0], f"{a} {'<<' if left else '>>'} {e.number(min(int(amount), bits - 1), t)}", t)
    else:
        e.put(op.operands[0], f"shift_{'left' if left else 'right'}({a}, {e.get(amount, 'u4')})", t)


# Floating point, of all widths.

def floating(e: Emitter, op: Op, form: Callable[..., str], operands: list[str] | None = None) -> None:
    """Write `form(operands...)`, in float32 for the small types, around it what the modifiers ask for."""
    given = op.operands[1:] if operands is None else operands

    def formed(values: list[str]) -> str:
        if op.has("ftz"):
            values = [f"flushed({value})" for value in values]
        text = form(*values)
        if op.has("ftz"):
            text = f"flushed({text})"
        if op.has("sat"):
            text = f"saturated({text})"
        return f"relu({text})" if op.has("relu") else text

    if op.type in ("f16x2", "bf16x2"):
        kind = op.type.removesuffix("x2")
        halves = [f"to_{kind}({formed([e.half(operand, kind, i) for operand in given])})" for i in (0, 1)]
        e.put(op.operands[0], f"pack([{', '.join(halves)}], 'u4')", "u4")
    else:
        t = numpy_type(op.type)
        e.put(op.operands[0], formed([e.get(operand, t) for operand in given]), t)


def paired(e: Emitter, op: Op, form: Callable[[str, str], str]) -> None:
    """Write `form(a, b)` for both halves of packed integers."""
    t = f"{op.type[0].replace('s', 'i')}2"
    halves = []
    for i in (0, 1):
        a, b = (f"unpack({e.get(operand, 'u4')}, 'u2', {i}).view('{t}')" for operand in op.operands[1:])
        halves.append(f"{form(a, b)}.view('u2')")
    e.put(op.operands[0], f"pack([{', '.join(halves)}], 'u4')", "u4")


@row("add sub mul", f"{FLOATS} {INTEGERS} {PAIRS}", f"{MODES} ftz sat")
def _arithmetic(e: Emitter, op: Op) -> None:
    mode, name = op.one_of(MODES, "rn"), op.row.name
    sign = {"add": "+", "sub": "-", "mul": "*"}[name]
    if op.type in PAIRS.split():
        paired(e, op, lambda a, b: f"({a} {sign} {b})")
    elif op.type not in FLOATS.split():
        if op.has("sat"):
            limits = "np.iinfo('i4').min, np.iinfo('i4').max"
            a, b = (f"np.asarray({e.get(x, 'i4')}).astype('i8')" for x in op.operands[1:])
            e.put(op.operands[0], f"np.clip({a} {sign} {b}, {limits}).astype('i4')", "i4")
            return
        t = f"u{numpy_type(op.type)[1]}"
        e.put(op.operands[0], f"{e.get(op.operands[1], t)} {sign} {e.get(op.operands[2], t)}", t)
    elif mode == "rn":
        floating(e, op, lambda a, b: f"({a} {sign} {b})")
    elif name == "mul":
        floating(e, op, lambda a, b: f"multiply({a}, {b}, {mode!r})")
    else:
        floating(e, op, lambda a, b: f"add({a}, {'-' * (name == 'sub')}{b}, {mode!r})")


@row("fma", FLOATS, f"{MODES} ftz sat relu")
@row("mad", "f32 f64", f"{MODES} ftz sat")
def _fused(e: Emitter, op: Op) -> None:
    mode = op.one_of(MODES, "rn")
    function = {"f32": "fma32", "f64": "fma64"}.get(op.type, "fma_bf16" if "bf" in op.type else "fma16")
    extra = f", {mode!r}" if op.type in ("f32", "f64") and mode != "rn" else ""
    floating(e, op, lambda a, b, c: f"{function}({a}, {b}, {c}{extra})")


@row("div", f"f32 f64 {INTEGERS}", "rn full approx ftz")
def _divide(e: Emitter, op: Op) -> None:
    """Every quotient is correctly rounded, the approximate ones too."""
    if op.type in ("f32", "f64"):
        floating(e, op, lambda a, b: f"np.divide({a}, {b})")
    else:
        t = numpy_type(op.type)
        e.put(op.operands[0], f"quotient({e.get(op.operands[1], t)}, {e.get(op.operands[2], t)})", t)


@row("rcp rsqrt", "f32 f64", "rn approx ftz")
def _inverse(e: Emitter, op: Op) -> None:
    """Of float64 the flushing approximation has 20 bits of fraction: the low half of the register is zero."""
    function = "reciprocal" if op.row.name == "rcp" else "reciprocal_root"
    if op.type == "f32":
        floating(e, op, lambda a: f"in_float64({function}, {a})")
    else:
        value = f"{function}({e.get(op.operands[1], 'f8')})"
        e.put(op.operands[0], f"upper_half({value})" if op.has("ftz") else value, "f8")


def approximate(names: str, types: str, function: str) -> None:
    """A row of a function of one number, which a GPU approximates."""
    @row(names, types, "rn approx ftz")
    def emit(e: Emitter, op: Op) -> None:
        floating(e, op, lambda a: f"{function}{a})")


approximate("sqrt", "f32 f64", "np.sqrt(")
approximate("sin", "f32", "in_float64(np.sin, ")
approximate("cos", "f32", "in_float64(np.cos, ")
approximate("lg2", "f32", "in_float64(np.log2, ")
approximate("ex2", "f32 f16 bf16 f16x2 bf16x2", "in_float64(np.exp2, ")
approximate("tanh", "f32 f16 bf16 f16x2 bf16x2", "in_float64(np.tanh, ")


@row("min max", f"{FLOATS} {INTEGERS} {PAIRS}", "ftz NaN relu xorsign abs")
def _extremum(e: Emitter, op: Op) -> None:
    name = op.row.name
    if op.type in FLOATS.split():
        function = f"{name}_nan" if op.has("NaN") else f"f{name}"
        if op.has("xorsign"):
            floating(e, op, lambda a, b: f"with_signs({function}(np.abs({a}), np.abs({b})), {a}, {b})")
        else:
            floating(e, op, lambda *values: f"{function}({', '.join(values)})")
    elif op.type in PAIRS.split():
        paired(e, op, lambda a, b: f"np.{name}imum({a}, {b})")
    else:
        t = numpy_type(op.type)
        e.put(op.operands[0], f"np.{name}imum({e.get(op.operands[1], t)}, {e.get(op.operands[2], t)})", t)


@row("abs neg", f"{FLOATS} s16 s32 s64", "ftz")
def _signs(e: Emitter, op: Op) -> None:
    name = op.row.name
    if op.type in FLOATS.split():
        floating(e, op, lambda a: f"np.abs({a})" if name == "abs" else f"-{a}")
    else:
        t = numpy_type(op.type)
        e.put(op.operands[0], f"{'np.abs' if name == 'abs' else '-'}({e.get(op.operands[1], t)})", t)


plain("copysign", "f32 f64", "np.copysign({b}, {a})")       # the magnitude of b with the sign of a

TESTS = {"finite": "np.isfinite({a})", "infinite": "np.isinf({a})", "notanumber": "np.isnan({a})",
         "number": "~np.isnan({a})", "normal": "(np.isfinite({a}) & (np.abs({a}) >= np.finfo({t!r}).tiny))",
         "subnormal": "(({a} != 0) & (np.abs({a}) < np.finfo({t!r}).tiny))"}


@row("testp", "f32 f64", " ".join(TESTS))
def _test_property(e: Emitter, op: Op) -> None:
    t = numpy_type(op.type)
    e.put(op.operands[0], TESTS[op.modifiers[0]].format(a=e.get(op.operands[1], t), t=t), "pred")


# Comparison and selection.

COMPARE = {"eq": "{a} == {b}", "lt": "{a} < {b}", "le": "{a} <= {b}", "gt": "{a} > {b}", "ge": "{a} >= {b}",
           "lo": "{a} < {b}", "ls": "{a} <= {b}", "hi": "{a} > {b}", "hs": "{a} >= {b}", "neu": "{a} != {b}",
           "ltu": "~({a} >= {b})", "leu": "~({a} > {b})", "gtu": "~({a} <= {b})", "geu": "~({a} < {b})",
           "equ": "~(({a} < {b}) | ({a} > {b}))", "nan": "np.isnan({a}) | np.isnan({b})",
           "num": "~(np.isnan({a}) | np.isnan({b}))"}
"""Ordered comparisons are false where one is NaN, those with "u" true."""
JOIN = {"and": "&", "or": "|", "xor": "^"}


def compared(op: Op, a: str, b: str) -> str:
    """The comparison of two expressions."""
    comparison = op.one_of(" ".join((*COMPARE, "ne")), "")
    if comparison == "ne":
        return f"({a} < {b}) | ({a} > {b})" if op.last in FLOATS.split() else f"{a} != {b}"
    return COMPARE[comparison].format(a=a, b=b)


COMPARISONS = " ".join((*COMPARE, "ne", *JOIN))


@row("setp", f"{BITS} {INTEGERS} {FLOATS}", f"{COMPARISONS} ftz")
def _set_predicate(e: Emitter, op: Op) -> None:
    """`p|q`: q is the opposite of p, or for packed halves the result of the upper ones."""
    results = op.operands[0].split("|")
    joined = ""
    if len(op.operands) > 3:
        joined = f" {JOIN[op.one_of('and or xor', '')]} {e.get(op.operands[3], 'pred')}"
    if op.last in ("f16x2", "bf16x2"):
        kind = op.last.removesuffix("x2")
        for i, result in enumerate(results):
            a, b = (e.half(operand, kind, i) for operand in op.operands[1:3])
            e.put(result, f"({compared(op, a, b)}){joined}", "pred")
        return
    t = numpy_type(op.last)
    a, b = (e.get(operand, t) for operand in op.operands[1:3])
    if op.has("ftz"):
        a, b = f"flushed({a})", f"flushed({b})"
    test = f"({compared(op, a, b)})"
    e.line(f"test = {test}")
    e.put(results[0], f"test{joined}", "pred")
    if len(results) > 1:
        e.put(results[1], f"~test{joined}", "pred")


@row("set", "u32 s32 f32 b32 f16 bf16 f64 s16 u16 u64 s64 b16 b64", f"{COMPARISONS} ftz")
def _set_value(e: Emitter, op: Op) -> None:
    """All ones, or 1.0, where the comparison holds."""
    t = numpy_type(op.last)
    test = f"({compared(op, *(e.get(operand, t) for operand in op.operands[1:3]))})"
    if len(op.operands) > 3:
        test = f"({test} {JOIN[op.one_of('and or xor', '')]} {e.get(op.operands[3], 'pred')})"
    e.put(op.operands[0], f"np.asarray({test}).astype('f4')" if op.type == "f32" else f"mask({test}, 'u4')",
          "f4" if op.type == "f32" else "u4")


@row("selp", f"{BITS} {INTEGERS} f32 f64")
def _select_by_predicate(e: Emitter, op: Op) -> None:
    t = f"u{numpy_type(op.type)[1]}"
    a, b = (e.get(operand, t) for operand in op.operands[1:3])
    e.put(op.operands[0], f"select({e.mask(op.operands[3], t)}, {a}, {b})", t)


@row("slct", f"{BITS} {INTEGERS} f32 f64", "ftz")
def _select_by_sign(e: Emitter, op: Op) -> None:
    t = numpy_type(op.types[0])
    a, b, c = e.get(op.operands[1], t), e.get(op.operands[2], t), e.get(op.operands[3], numpy_type(op.types[1]))
    e.put(op.operands[0], f"np.where({c} >= 0, {a}, {b})", t)
