"""Registers that hold what no instruction wrote, followed through the instructions that read them.

A load under a predicate leaves its register undefined where the predicate is false and nothing was there before. Such
values may be moved, shuffled and selected from; what must not be is that they are stored to global memory, used as an
address, or decide a branch. Only registers that may hold one are followed, which most kernels do not have.
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
    """The variable that says in which threads a register is undefined."""
    return f"undefined_{variable(register)}"


def joined(function: Function, operands: list[str], found: set[str]) -> str:
    """Where any register of the operands is undefined."""
    names = dict.fromkeys(name for operand in operands for name in registers(function, operand) if name in found)
    return " | ".join(map(flag, names)) or "np.False_"


def follow(e: Emitter, op: Op, found: set[str]) -> None:
    """Write the lines that say where the results of an instruction are undefined, and those that report a use."""
    function, operands, name = e.function, op.operands, op.row.name
    written, read = split(function, op)
    if found.isdisjoint((*written, *read)):
        return
    addresses = [operand for operand in operands if operand.startswith("[")]
    uses = [("an address", addresses)]
    if name in ("st", "red", "atom") and not any(modifier.startswith(("shared", "local")) for modifier in op.modifiers):
        uses.append(("a value for memory", [operand for operand in operands[op.row.writes:] if operand not in addresses]))
    if op.instruction.predicate and name in ("st", "red", "atom"):
        uses.append(("a predicate", [op.instruction.predicate]))
    for what, some in uses:
        if (source := joined(function, some, found)) != "np.False_":
            e.line(f"M.undefined({e.site}, {what!r}, {source}, {e.lanes()})")
    results = [register for register in written if register in found]
    if not results:
        return
    source = joined(function, operands[op.row.writes:], found) if carries(op) else "np.False_"
    if name == "selp":
        a, b, p = ([operand] for operand in operands[1:4])
        source = (f"np.where({e.get(operands[3], 'pred')}, {joined(function, a, found)}, {joined(function, b, found)})"
                  f" | {joined(function, p, found)}")
    elif name == "shfl.sync" and source != "np.False_":
        b, c = (e.get(operand, "u4") for operand in operands[2:4])
        source = f"(M.shuffle({e.site}, {op.modifiers[0]!r}, mask({source}, 'u4'), {b}, {c}, np.uint32(~0), on)[0] != 0)"
        source = source.replace("np.uint32(~0)", "np.uint32(0xFFFFFFFF)")
    guard = op.instruction.predicate
    e.line(f"undefined = {source}")
    for register in results:
        value = "undefined"
        if guard is not None:
            condition = f"{'~' if op.instruction.negated else ''}{e.get(guard, 'pred')}"
            value = f"np.where({condition}, undefined, {flag(register)})"
        e.line(f"{flag(register)} = {value}")
