"""The table of instructions: one row a family, saying which types and modifiers it has and the Python that it becomes.

The rows are in `scalar_rows` (arithmetic), `access_rows` (memory) and `collective_rows` (threads together).

A row's function writes lines through an `Emitter`: operands as expressions of a NumPy type, results under the
instruction's predicate. Whatever a row does not list is unknown, and is named rather than passed over.
Meanings are those of NVIDIA's "Parallel Thread Execution ISA", chapter 9.7, in its order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .emitter import NAME, Emitter
from .parse import Function, Instruction

INTEGERS = "s16 u16 s32 u32 s64 u64"
PAIRS = "s16x2 u16x2"
FLOATS = "f32 f64 f16 bf16 f16x2 bf16x2"
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
    if name in ("f16x2", "bf16x2", "tf32", "s16x2", "u16x2"):
        return "u4"
    return f"{NUMPY[name[0]]}{int(name[1:]) // 8}"


@dataclass(frozen=True)
class Row:
    """An instruction family."""

    name: str
    types: frozenset[str]
    modifiers: frozenset[str]
    emit: Callable[[Emitter, Op], None]
    writes: int
    """Leading operands that are written."""
    accumulates: bool
    """Whether what is written is read too."""
    typed: bool
    """Whether it must have a type."""


@dataclass(frozen=True)
class Op:
    """An instruction with its row: its modifiers and types apart."""

    row: Row
    instruction: Instruction
    types: tuple[str, ...]
    modifiers: tuple[str, ...]

    @property
    def type(self) -> str:
        """Its first type; "" if it has none."""
        return self.types[0] if self.types else ""

    @property
    def last(self) -> str:
        """Its last type: that of the operands where the first is the result's."""
        return self.types[-1] if self.types else ""

    @property
    def operands(self) -> list[str]:
        """As in the text."""
        return self.instruction.operands

    def has(self, modifier: str) -> bool:
        """Whether the opcode has a modifier."""
        return modifier in self.modifiers

    def one_of(self, names: str, default: str) -> str:
        """The modifier among several that exclude each other."""
        return next((name for name in self.modifiers if name in names.split()), default)


TABLE: dict[str, Row] = {}
Emit = Callable[[Emitter, Op], None]


def row(names: str, types: str = "", modifiers: str = "", writes: int = 1,
        accumulates: bool = False, typed: bool = True) -> Callable[[Emit], Emit]:
    """Enter a function in the table, under each of the names."""
    def enter(emit: Emit) -> Emit:
        for name in names.split():
            TABLE[name] = Row(name, frozenset(types.split()), frozenset(modifiers.split()), emit, writes, accumulates,
                              typed and bool(types))
        return emit
    return enter


def look_up(instruction: Instruction) -> Op | str:
    """The instruction with its row, or what is unknown of it."""
    parts = instruction.opcode.split(".")
    for n in range(len(parts), 0, -1):
        found = TABLE.get(".".join(parts[:n]))
        if found is not None:
            break
    else:
        return "no such instruction is known"
    types = tuple([part for part in parts[n:] if part in TYPES])
    modifiers = tuple([part for part in parts[n:] if part not in TYPES])
    unknown = [part for part in types if part not in found.types] + [m for m in modifiers if m not in found.modifiers]
    if unknown:
        return f"'{found.name}' is known, but not with .{', .'.join(unknown)}"
    if found.typed and not types:
        return f"'{found.name}' needs a type"
    return Op(found, instruction, types, modifiers)


def plain(names: str, types: str, expression: str, result: str = "", reads: str = "", modifiers: str = "") -> None:
    """A row whose result is an expression of its operands a, b, c and d, of its type or of those that `reads` names
    (t: its own), and of the `op`."""
    @row(names, types, modifiers)
    def emit(e: Emitter, op: Op) -> None:
        t = numpy_type(op.type)
        kinds = [t if kind == "t" else kind for kind in reads.split()] or [t] * 4
        given = dict(zip("abcd", map(e.get, op.operands[1:], kinds), strict=False))
        e.put(op.operands[0], expression.format(t=t, op=op, **given), result or t)


def silent(names: str, line: str = "", types: str = "", modifiers: str = "") -> None:
    """A row that writes no register but a line: `{n}` is its operand, a number. No line: nothing happens."""
    @row(names, types, modifiers, writes=0, typed=False)
    def emit(e: Emitter, op: Op) -> None:
        if line:
            e.line(line.format(n=int(op.operands[0], 0)) if "{n}" in line else line)


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
