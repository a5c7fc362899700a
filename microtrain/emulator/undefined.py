"""Registers that hold what no instruction wrote, followed through the instructions that read them.

A load under a predicate leaves its register undefined where the predicate is false and nothing was there before. Such
values may be moved, shuffled and selected from; what must not be is that they are stored to global memory, used as an
address, or decide a branch. Only registers that may hold one are followed, which most kernels do not have.

Undefined is each bit by itself, as in valgrind: compilers pair small values with nothing, and take them apart again.
"""

from __future__ import annotations

from collections.abc import Callable

from .blocks import Block
from .emitter import Emitter, variable
from .parse import Function
from .table import NUMPY, Op, registers, split

TYPE = {"u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64"}
UNDEFINED = {"p": "np.True_", "u2": "np.uint16(0xFFFF)", "u4": "np.uint32(0xFFFFFFFF)", "u8": "np.uint64(2**64 - 1)"}
"""All bits, by class of register."""


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
    """The variable that has the bits of a register that are undefined, in the type of its class."""
    return f"undefined_{variable(register)}"


def follow(e: Emitter, op: Op, found: set[str]) -> None:
    """Write the lines that say which bits of an instruction's results are undefined, and those that report a use."""
    operands, name = op.operands, op.row.name
    written, read = split(e.function, op)
    if found.isdisjoint((*written, *read)):
        return
    addresses = [operand for operand in operands if operand.startswith("[")]
    uses = [("an address", addresses)]
    if name in ("st", "red", "atom") and not any(modifier.startswith(("shared", "local")) for modifier in op.modifiers):
        uses.append(("a value for memory", [one for one in operands[op.row.writes:] if one not in addresses]))
    if op.instruction.predicate and name in ("st", "red", "atom"):
        uses.append(("a predicate", [op.instruction.predicate]))
    for what, some in uses:
        names = [register for one in some for register in registers(e.function, one) if register in found]
        if names:
            # A store may be narrower than its register.
            bits = min(int(op.last[1:]) if op.last[1:].isdigit() and name == "st" else 64, 64)
            masks = [f"({flag(one)} & np.uint64({(1 << bits) - 1}) != 0)" if e.register_class(one) != "p" and bits < 64
                     and what != "an address" else f"({flag(one)} != 0)" for one in names]
            e.line(f"M.undefined({e.site}, {what!r}, {' | '.join(masks)}, {e.lanes()})")
    results = [register for register in written if register in found]
    for i, register in enumerate(results):
        e.line(f"undefined{i} = {source(e, op, register, found)}")
    for i, register in enumerate(results):
        value = f"undefined{i}"
        if op.instruction.predicate is not None:
            condition = f"{'~' if op.instruction.negated else ''}{e.get(op.instruction.predicate, 'pred')}"
            value = f"np.where({condition}, {value}, {flag(register)})"
        e.line(f"{flag(register)} = {value}")


def source(e: Emitter, op: Op, register: str, found: set[str]) -> str:
    """The undefined bits of one result of an instruction."""
    operands, name = op.operands, op.row.name
    kind = e.register_class(register) or ""
    nothing = "np.False_" if kind == "p" else f"np.{TYPE[kind]}(0)"

    def bits(operand: str, t: str) -> str:
        """Those of an operand, in an unsigned type."""
        operand = operand.lstrip("!")
        if operand not in found:
            return f"np.{TYPE[t]}(0)"
        return flag(operand) if e.register_class(operand) == t else f"{flag(operand)}.astype('{t}')"

    sources = [one for operand in operands[op.row.writes:] for one in registers(e.function, operand) if one in found]
    if not carries(op) or not sources:
        return nothing
    some = " | ".join(f"({flag(one)} != 0)" for one in dict.fromkeys(sources))
    whole = f"({some})" if kind == "p" else f"mask({some}, '{kind}')"
    if kind == "p" or op.instruction.opcode.startswith("mov.pred"):
        return whole
    if name == "mov" and operands[0].startswith("{"):
        parts = e.vector(operands[0])
        t = f"u{int(kind[1]) * len(parts)}"
        return f"unpack({bits(operands[1], t)}, '{kind}', {parts.index(register)})"
    if name == "mov" and operands[1].startswith("{"):
        parts = e.vector(operands[1])
        return f"pack([{', '.join(bits(part, f'u{int(kind[1]) // len(parts)}') for part in parts)}], '{kind}')"
    if name == "shfl.sync":
        b, c = (e.get(operand, "u4") for operand in operands[2:4])
        given = f"{bits(operands[1], kind)}, {b}, {c}, np.uint32(0xFFFFFFFF), on"
        return f"M.shuffle({e.site}, {op.modifiers[0]!r}, {given})[0]"
    if op.type.endswith("x2") and op.last.endswith("x2"):
        return f"by_halves({' | '.join(bits(one, 'u4') for one in dict.fromkeys(sources))})"
    if name == "cvt" and op.type[0] in "us" and op.last[0] in "us":
        t = f"{NUMPY[op.last[0]]}{int(op.last[1:]) // 8}"
        return f"{bits(operands[1], f'u{t[1]}')}.view('{t}').astype('{kind}')"
    return integer_bits(e, op, kind, bits) or whole


def integer_bits(e: Emitter, op: Op, t: str, bits: Callable[[str, str], str]) -> str | None:
    """The undefined bits of a result that follow from those of the operands one by one."""
    operands, name = op.operands, op.row.name
    a, b, *_ = (*(bits(operand, t) if operand[0] != "{" else "" for operand in operands[1:3]), "", "")
    if name in ("mov", "not"):
        return a
    if name == "selp":
        return f"np.where({e.get(operands[3], 'pred')}, {a}, {b}) | mask({bits(operands[3], 'u1')} != 0, '{t}')"
    if name in ("and", "or", "xor"):
        if name == "xor":
            return f"{a} | {b}"
        # What the other operand fixes, whatever stands here, is defined.
        x, y = (e.get(operand, t) for operand in operands[1:3])
        sign = "" if name == "and" else "~"
        return f"({a} & {b}) | ({a} & {sign}{y}) | ({b} & {sign}{x})"
    if name in ("shl", "shr") and b.startswith("np."):
        signed = op.type[0] == "s" and name == "shr"
        view = f".view('i{t[1]}')" if signed else ""
        shifted = f"shift_{'left' if name == 'shl' else 'right'}({a}{view}, {e.get(operands[2], 'u4')})"
        return f"{shifted}.view('{t}')" if signed else shifted
    if name == "prmt" and bits(operands[3], t).startswith("np."):
        return f"permuted({a}, {b}, {e.get(operands[3], 'u4')})"
    if name in ("add", "sub") and op.type[0] in "us":
        return f"above({a} | {b})"
    return None
