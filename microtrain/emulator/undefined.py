"""Registers that hold what no instruction wrote, followed through the instructions that read them.

A load under a predicate leaves its register undefined where the predicate is false and nothing was there before. Such
values may be moved, shuffled and selected from; what must not be is that they are stored to global memory, used as an
address, or decide a branch. Only registers that may hold one are followed, which most kernels do not have.

Of each register two bits are kept by thread, for its lower and its upper half: compilers pair 16-bit values with nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .emitter import Emitter, registers, split, variable
from .parse import Function
from .table import Op

if TYPE_CHECKING:
    from .translate import Block


def suspects(function: Function, blocks: list[Block]) -> set[str]:
    """The registers that may be read before they are written, and those computed from them."""
    found = set(blocks[0].live_in)
    changed = bool(found)
    while changed:
        changed = False
        for block in blocks:
            for _, op in block.ops:
                written, read = split(function, op)
                fresh = set(written) - found
                if fresh and not found.isdisjoint(read) and carries(op):
                    found |= fresh
                    changed = True
    return found


def carries(op: Op) -> bool:
    """Whether an instruction's result is undefined if an operand is: what comes from memory is not."""
    return op.row.name.split(".")[0] not in ("ld", "ldmatrix", "atom")


def flag(register: str) -> str:
    """The variable that has the bits of a register."""
    return f"undefined_{variable(register)}"


def joined(function: Function, operands: list[str], found: set[str]) -> str:
    """The bits of all registers in the operands together."""
    names = dict.fromkeys(name for operand in operands for name in registers(function, operand) if name in found)
    return " | ".join(map(flag, names)) or NOTHING


NOTHING = "np.uint8(0)"
BY_HALVES = ("and", "or", "xor", "not", "mov")
"""Instructions that leave halves of registers where they are, besides those of packed types."""


def spread(bits: str) -> str:
    """Both halves, where any is undefined."""
    return NOTHING if bits == NOTHING else f"(({bits}) != 0) * np.uint8(3)"


def follow(e: Emitter, op: Op, found: set[str]) -> None:
    """Write the lines that say where the results of an instruction are undefined, and those that report a use."""
    function, operands, name = e.function, op.operands, op.row.name
    written, read = split(function, op)
    if found.isdisjoint((*written, *read)):
        return
    addresses = [operand for operand in operands if operand.startswith("[")]
    uses = [("an address", addresses)]
    if name in ("st", "red", "atom") and not any(modifier.startswith(("shared", "local")) for modifier in op.modifiers):
        values = [operand for operand in operands[op.row.writes:] if operand not in addresses]
        uses.append(("a value for memory", values))
    if op.instruction.predicate and name in ("st", "red", "atom"):
        uses.append(("a predicate", [op.instruction.predicate]))
    for what, some in uses:
        if (bits := joined(function, some, found)) != NOTHING:
            e.line(f"M.undefined({e.site}, {what!r}, {bits}, {e.lanes()})")
    results = [register for register in written if register in found]
    if results:
        e.line(f"undefined = {source(e, op, found)}")
    parts = e.vector(operands[0]) if name == "mov" and operands[0].startswith("{") else []
    for register in results:
        value = "undefined"
        if parts:
            half = parts.index(register) * 2 // len(parts)
            value = f"(undefined >> np.uint8({half}) & np.uint8(1)) * np.uint8(3)"
        if op.instruction.predicate is not None:
            condition = f"{'~' if op.instruction.negated else ''}{e.get(op.instruction.predicate, 'pred')}"
            value = f"np.where({condition}, {value}, {flag(register)})"
        e.line(f"{flag(register)} = {value}")


def source(e: Emitter, op: Op, found: set[str]) -> str:
    """The bits of an instruction's result."""
    function, operands, name = e.function, op.operands, op.row.name
    if not carries(op):
        return NOTHING
    bits = joined(function, operands[op.row.writes:], found)
    if name == "selp":
        a, b, p = (joined(function, [operand], found) for operand in operands[1:4])
        return f"np.where({e.get(operands[3], 'pred')}, {a}, {b}) | {spread(p)}"
    if name == "shfl.sync" and bits != NOTHING:
        a, b, c = joined(function, operands[1:2], found), *(e.get(operand, "u4") for operand in operands[2:4])
        moved = f"M.shuffle({e.site}, {op.modifiers[0]!r}, ({a}).astype('u4'), {b}, {c}, np.uint32(0xFFFFFFFF), on)[0]"
        return f"{moved}.astype('u1')"
    if name == "mov" and operands[1].startswith("{"):
        parts = e.vector(operands[1])
        halves = [joined(function, parts[:len(parts) // 2], found), joined(function, parts[len(parts) // 2:], found)]
        return f"(({halves[0]}) != 0) * np.uint8(1) | (({halves[1]}) != 0) * np.uint8(2)"
    if name == "cvt" and op.types[-1] in ("u32", "s32", "b32") and op.type in ("u16", "s16", "u8", "s8"):
        return f"(({bits}) & np.uint8(1)) * np.uint8(3)"
    return bits if name in BY_HALVES or op.last.endswith("x2") and op.type.endswith("x2") else spread(bits)
