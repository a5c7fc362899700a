"""What is known of registers before anything runs: the parameters in an address, and products not yet waited for."""

from __future__ import annotations

import re

from .blocks import Block
from .parse import Function
from .table import Op, registers, split

KEEPS = ("mov", "add", "sub", "selp", "cvta", "and", "or", "min", "max", "cvt")
"""Instructions whose result is an address if an operand is one."""
NUMBERS = ("mul", "shl", "shr", "neg", "div", "rem", "not", "bfe", "bfi", "popc", "clz", "abs", "xor", "mad.hi", "cnot")
"""Instructions whose result is no address, whatever they are given."""


def origins(function: Function, blocks: list[Block]) -> dict[int, frozenset[str] | None]:
    """By number of a memory access: the parameters that its address is made of, None where it may be any address."""
    known: dict[str, frozenset[str] | None] = {}
    ops = [(site, op) for block in blocks for site, op in block.ops]

    def of(operand: str) -> frozenset[str] | None:
        found: frozenset[str] = frozenset()
        for register in registers(function, operand):
            one = known.get(register, frozenset())
            if one is None:
                return None
            found |= one
        return found

    def result(op: Op) -> frozenset[str] | None:
        name = op.row.name
        if name.startswith("ld.param"):
            source = op.operands[1].strip("[] ")
            return frozenset([source]) if function.entry and not source.startswith("%") else None
        if name.startswith("mad"):
            return of(op.operands[3])
        if name.split(".")[0] in NUMBERS:
            return frozenset()
        if name.split(".")[0] in KEEPS and not op.operands[1].startswith("{"):
            sources = [of(operand) for operand in op.operands[1:]]
            return None if None in sources else frozenset().union(*(one for one in sources if one is not None))
        return None

    changed = True
    while changed:
        changed = False
        for _, op in ops:
            written = [name for name in split(function, op)[0] if function.register_class(name) == "u8"]
            for register in written:
                before = known.get(register, frozenset())
                new = result(op)
                joined = None if before is None or new is None else before | new
                if register not in known or joined != before:
                    known[register] = joined
                    changed = True
    found: dict[int, frozenset[str] | None] = {}
    for site, op in ops:
        addresses = [operand for operand in op.operands if operand.startswith("[")]
        if addresses:
            found[site] = of(addresses[-1]) or None
    return found


State = dict[str, int]
MOST = 8


def in_flight(function: Function, blocks: list[Block]) -> dict[int, str]:
    """By number of an instruction: a register that it touches while a wgmma that writes it may be under way."""
    if not any(op.row.name.startswith("wgmma.mma") for block in blocks for _, op in block.ops):
        return {}
    entering: list[State | None] = [None] * len(blocks)
    entering[0] = {}
    early: dict[int, str] = {}
    work = [0]
    while work:
        i = work.pop()
        state = dict(entering[i] or {})
        for site, op in blocks[i].ops:
            state = step(function, site, op, state, early)
        for j in blocks[i].successors:
            before = entering[j]
            # Of two ways here, the one on which a product began later counts.
            joined = dict(before or {})
            for name, age in state.items():
                joined[name] = min(age, joined.get(name, age))
            if joined != before:
                entering[j] = joined
                work.append(j)
    return early


def step(function: Function, site: int, op: Op, state: State, early: dict[int, str]) -> State:
    """Groups under way after an instruction: by register, -1 before the commit, then commits since."""
    name = op.row.name
    written, read = split(function, op)
    if name.startswith("wgmma.mma"):
        return state | dict.fromkeys(written, -1)
    if name.startswith("wgmma.commit"):
        return {register: min(age + 1, MOST) for register, age in state.items()}
    if name.startswith("wgmma.wait"):
        left = int(re.sub(r"\D", "", op.operands[0]))
        return {register: age for register, age in state.items() if age < left}
    if name == "mov" and read and read[0] in state:         # unpacked before the wait, used after it: compilers do so
        return {**state, **dict.fromkeys(written, state[read[0]])}
    touched = next((register for register in (*read, *written) if register in state), None)
    if touched is not None:
        early[site] = touched
    return {register: age for register, age in state.items() if register not in written}
