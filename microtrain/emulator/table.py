"""The table of instructions: one row a family, saying which types and modifiers it has and the Python that it becomes.

The rows are in `scalar_rows` (what a thread computes by itself) and `machine_rows`. A row has a template of its result,
or a function that gives one, or that writes lines through an `Emitter`: operands as expressions of a NumPy type,
results under the instruction's predicate. What a row does not list is unknown, and is named rather than passed over.
Meanings are those of NVIDIA's "Parallel Thread Execution ISA", chapter 9.7, in its order.

In a template `{a}` to `{d}` are the operands that are read, of the instruction's type `t`, or of another:

    {a:f4}   of a NumPy type, "pred", "f16" or "bf16"
    {a:u}    unsigned of the type's width; {a:wide} twice as wide; {a:last} the last of several types
    {a:[u4]} a vector's parts as a list
    {a:n}    a number; {a:mask} all ones where a predicate holds

and `{site}`, `{on}` (the threads that take part), `{how}` (the first modifier) and `{op}` are what their names say.
Results are of the type too, or of such a one; "u4 pred" are two, and "u4*" any number of them. Templates of floats and
of packed pairs are written for one number: what `ftz`, `sat` and `relu` ask for, and the halves, are put around them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .emitter import NAME, Emitter
from .parse import Function, Instruction

INTEGERS = "s16 u16 s32 u32 s64 u64"
PAIRS = "s16x2 u16x2"
FLOATS = "f32 f64 f16 bf16 f16x2 bf16x2"
FLOATING = frozenset(FLOATS.split())
BITS = "b16 b32 b64"
NUMPY = {"s": "i", "u": "u", "b": "u", "f": "f"}
OTHERS = "s8 u8 b8 pred tf32 e4m3 e5m2 e4m3x2 e5m2x2 b128 s4 u4 b1"
TYPES = frozenset(f"{INTEGERS} {PAIRS} {FLOATS} {BITS} {OTHERS}".split())
MODES = "rn rz rm rp"
ORDER = "weak relaxed acquire release acq_rel volatile sc cta cluster gpu sys"
CACHING = ("ca cg cs lu cv wb wt nc L1::evict_normal L1::evict_unchanged L1::evict_first L1::evict_last "
           "L1::no_allocate L2::evict_last L2::evict_first L2::evict_normal L2::cache_hint L2::64B L2::128B L2::256B")
SPACES = "global shared shared::cta local const"


def numpy_type(name: str) -> str:
    """The NumPy type in which a PTX type is computed; "f16" and "bf16" stand for float32 values of those."""
    if name in ("f16", "bf16", "pred"):
        return name
    return "u4" if name == "tf32" or name.endswith("x2") else f"{NUMPY[name[0]]}{int(name[1:]) // 8}"


class Op(NamedTuple):
    """An instruction with its row: its modifiers and types apart."""

    row: Row
    instruction: Instruction
    operands: list[str]       # As in the text
    types: tuple[str, ...]
    modifiers: tuple[str, ...]
    type: str       # The first of the types; "" if there is none
    last: str       # The last: that of the operands where the first is the result's

    @property
    def floats(self) -> bool:
        """Whether its first type is of floating point."""
        return self.type in FLOATING

    def has(self, modifier: str) -> bool:
        return modifier in self.modifiers

    def one_of(self, names: str, default: str) -> str:
        """The modifier among several that exclude each other."""
        return next((name for name in self.modifiers if name in names.split()), default)


Emit = Callable[[Emitter, Op], str | tuple[str, str] | None]
"""Gives a template, perhaps with its result; None if it has written the lines itself."""


class Row(NamedTuple):
    """An instruction family."""

    name: str
    types: frozenset[str]
    modifiers: frozenset[str]
    emit: Emit
    result: str
    writes: int       # Leading operands that are written
    accumulates: bool       # Whether what is written is read too
    typed: bool       # Whether it must have a type

    def write(self, e: Emitter, op: Op) -> None:
        """Write an instruction of this family."""
        found = self.emit(e, op)
        if found is None:
            return
        template, result = found if isinstance(found, tuple) else (found, self.result)
        if not self.writes:
            if template:
                e.line(filled(e, op, template))
        elif op.type.endswith("x2") and not result:
            kind = op.type.removesuffix("x2")
            halves = [shaped(op, filled(e, op, template, i)) for i in (0, 1)]
            halves = [f"to_{kind}({half})" if op.floats else f"{half}.view('u2')" for half in halves]
            e.put(op.operands[0], f"pack([{', '.join(halves)}], 'u4')", "u4")
        elif result.endswith("*"):
            registers = e.vector(op.operands[0])
            e.spread(registers, [result[:-1]] * len(registers), filled(e, op, template))
        elif " " in result:
            e.spread(op.operands[0].split("|"), result.split(), filled(e, op, template))
        else:
            text = filled(e, op, template)
            e.put(op.operands[0], text if result else shaped(op, text), named(op, result))


def named(op: Op, kind: str) -> str:
    """The NumPy type that a template means."""
    if kind == "last":
        return numpy_type(op.last)
    t = numpy_type(op.type) if op.type else ""
    return {"": t, "u": f"u{t[1:]}", "wide": f"{t[:1]}{2 * int(t[1:] if t[1:].isdigit() else 0)}"}.get(kind, kind)


class Operand(NamedTuple):
    """An operand in a template; `half`: of two packed numbers the lower or the upper."""

    e: Emitter
    op: Op
    text: str
    half: int | None

    def __format__(self, kind: str) -> str:
        e, op, text, half = self
        if kind == "n":
            return str(int(text, 0))
        if kind == "mask":
            return e.mask(text, named(op, "u"))
        if kind.startswith("["):
            return e.parts(text, named(op, kind[1:-1]))
        if kind or half is None:
            value = e.get(text, named(op, kind))
        elif op.floats:
            value = e.half(text, op.type.removesuffix("x2"), half)
        else:
            value = f"unpack({e.get(text, 'u4')}, 'u2', {half}).view('{NUMPY[op.type[0]]}2')"
        return f"flushed({value})" if not kind and op.floats and op.type != "f64" and op.has("ftz") else value


def filled(e: Emitter, op: Op, template: str, half: int | None = None) -> str:
    """A template with the operands in their places."""
    given = {name: Operand(e, op, text, half)
             for name, text in zip("abcd", op.operands[op.row.writes:], strict=False)}
    return template.format(**given, op=op, t=named(op, ""), wide=named(op, "wide"), site=e.site,
                           how=op.modifiers[0] if op.modifiers else "", on=e.lanes() if "{on}" in template else "")


def shaped(op: Op, text: str) -> str:
    """A number of floating point, as the modifiers ask for it."""
    for modifier, function in (("ftz", "flushed"), ("sat", "saturated"), ("relu", "relu")):
        if op.floats and op.has(modifier) and (op.type, modifier) != ("f64", "ftz"):
            text = f"{function}({text})"
    return text


TABLE: dict[str, Row] = {}


def row(names: str, types: str = "", modifiers: str = "", result: str = "", writes: int = 1, accumulates: bool = False,
        typed: bool = True) -> Callable[[Emit], Emit]:
    """Enter a function in the table, under each of the names."""
    def enter(emit: Emit) -> Emit:
        for name in names.split():
            TABLE[name] = Row(name, frozenset(types.split()), frozenset(modifiers.split()), emit, result, writes,
                              accumulates, typed and bool(types))
        return emit
    return enter


def plain(names: str, types: str, template: str, result: str = "", modifiers: str = "", writes: int = 1,
          typed: bool = True) -> None:
    """A row with one template."""
    row(names, types, modifiers, result, writes, typed=typed)(lambda e, op: template)


def silent(names: str, template: str = "", types: str = "", modifiers: str = "") -> None:
    """A row that writes no register but a line; without one nothing happens."""
    plain(names, types, template, modifiers=modifiers, writes=0, typed=False)


def look_up(instruction: Instruction) -> Op | str:
    """The instruction with its row, or what is unknown of it."""
    parts = instruction.opcode.split(".")
    found, n = next(((TABLE[name], n) for n in range(len(parts), 0, -1) if (name := ".".join(parts[:n])) in TABLE),
                    (None, 0))
    if found is None:
        return "no such instruction is known"
    types = tuple(part for part in parts[n:] if part in TYPES)
    modifiers = tuple(part for part in parts[n:] if part not in TYPES)
    unknown = [*(one for one in types if one not in found.types),
               *(one for one in modifiers if one not in found.modifiers)]
    if unknown:
        return f"'{found.name}' is known, but not with .{', .'.join(unknown)}"
    if found.typed and not types:
        return f"'{found.name}' needs a type"
    ends = types or ("",)
    return Op(found, instruction, instruction.operands, types, modifiers, ends[0], ends[-1])


def registers(function: Function, operand: str) -> list[str]:
    """The registers in an operand."""
    return [name for name in NAME.findall(operand) if function.register_class(name) is not None]


def split(function: Function, op: Op) -> tuple[list[str], list[str]]:
    """The registers that an instruction writes, and those that it reads: under a predicate the old ones too."""
    n = op.row.writes if op.operands and not op.operands[0].startswith("[") else 0
    written = [name for operand in op.operands[:n] for name in registers(function, operand)]
    read = [name for operand in op.operands[n:] for name in registers(function, operand)]
    if op.instruction.predicate:
        read += [op.instruction.predicate, *written]
    if op.row.accumulates:
        read += written
    return written, read
