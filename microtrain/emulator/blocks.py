"""The basic blocks of a function of PTX: who follows whom, and what is known of registers before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .integers import Array
from .parse import Function, Instruction
from .table import Op, look_up, registers, split

BARRIERS = ("bar.sync", "barrier.sync", "bar.cta.sync", "barrier.cta.sync", "barrier.cluster.wait")


@dataclass
class End:
    """How a block ends: `kind` is "fall", "jump", "branch", "table", "return", "barrier" or "call"."""

    kind: str
    predicate: str | None = None
    negated: bool = False
    targets: list[int] = field(default_factory=list)
    selector: str = ""
    instruction: Instruction | None = None
    site: int = -1       # The instruction's number in the module


@dataclass
class Block:
    """Instructions that are executed one after another."""

    index: int = 0
    ops: list[tuple[int, Op]] = field(default_factory=list)       # With their numbers in the module
    end: End = field(default_factory=lambda: End("fall"))
    uses: set[str] = field(default_factory=set)
    defines: set[str] = field(default_factory=set)
    live_in: set[str] = field(default_factory=set)
    live_out: set[str] = field(default_factory=set)
    following: int = -1       # The next one of the text
    successors: list[int] = field(default_factory=list)
    run: Callable[..., Array | None] = lambda *_: None


def basic_blocks(function: Function, ops: list[Op], unknown: list[str]) -> list[Block]:
    """The blocks of a function; its instructions are added to `ops`, what is not known of them to `unknown`."""
    blocks: list[Block] = []
    labels: dict[str, int] = {}
    block = Block()

    def close(end: End) -> None:
        nonlocal block
        block.index, block.following, block.end = len(blocks), len(blocks) + 1, end
        if end.instruction is not None:
            end.site = len(ops) - 1
        blocks.append(block)
        block = Block()

    for statement in function.body:
        if isinstance(statement, str):
            if statement.startswith(("$L__tmp", "$L__func")):       # of debug information: nobody jumps there
                continue
            if block.ops:
                close(End("fall"))
            labels[statement] = len(blocks)
            continue
        op = look_up(statement)
        if isinstance(op, str):
            unknown.append(f"line {statement.line}: {statement} ({op})")
            continue
        ops.append(op)
        name, operands = op.row.name, statement.operands
        guard = (statement.predicate, statement.negated)
        if guard[0] and (name.startswith(("bar", "call", "brx")) and not name.startswith("bar.warp")):
            unknown.append(f"line {statement.line}: {statement} (under a predicate)")
        if name in ("bra", "bra.uni"):
            close(End("branch" if guard[0] else "jump", *guard, instruction=statement))
        elif name == "brx.idx":
            close(End("table", selector=operands[0], instruction=statement))
        elif name in ("ret", "ret.uni", "exit"):
            close(End("return", *guard))
        elif name in BARRIERS:
            close(End("barrier", instruction=statement))
        elif ".red." in name and name.startswith("bar"):
            close(End("barrier", instruction=statement))
            block.ops.append((len(ops) - 1, op))
        elif name in ("call", "call.uni"):
            close(End("call", instruction=statement))
        else:
            block.ops.append((len(ops) - 1, op))
    close(End("return"))
    for block in blocks:
        resolve(block, labels, function, unknown)
    return blocks


def resolve(block: Block, labels: dict[str, int], function: Function, unknown: list[str]) -> None:
    """Labels as numbers of blocks."""
    end = block.end
    if end.instruction is not None and end.kind in ("branch", "jump", "table"):
        names = end.instruction.operands
        if end.kind == "table":
            names = function.tables.get(names[-1], [])
        if not names or any(name not in labels for name in names):
            unknown.append(f"line {end.instruction.line}: {end.instruction} (no such label)")
            return
        end.targets = [labels[name] for name in names]
    block.successors = list(end.targets)
    if end.kind in ("fall", "branch", "barrier", "call") or (end.kind == "return" and end.predicate):
        block.successors.append(block.following)


def liveness(function: Function, blocks: list[Block]) -> None:
    """The registers whose values blocks take over from others, and leave for others."""
    for block in blocks:
        for _, op in block.ops:
            written, read = split(function, op)
            block.uses |= set(read) - block.defines
            block.defines |= set(written)
        ends = {block.end.predicate, block.end.selector} - {None, ""}
        block.uses |= {str(name) for name in ends} - block.defines
    changed = True
    while changed:
        changed = False
        for block in reversed(blocks):
            block.live_out = set().union(*(blocks[i].live_in for i in block.successors))
            live_in = block.uses | (block.live_out - block.defines)
            changed |= live_in != block.live_in
            block.live_in = live_in


KEEPS = ("mov", "add", "sub", "selp", "cvta", "and", "or", "min", "max", "cvt")
"""Instructions whose result is an address if an operand is one."""
NUMBERS = ("mul", "shl", "shr", "neg", "div", "rem", "not", "bfe", "bfi", "popc", "clz", "abs", "xor", "mad.hi", "cnot")
"""Instructions whose result is no address, whatever they are given."""


def origins(function: Function, blocks: list[Block]) -> dict[int, frozenset[str] | None]:
    """By number of a memory access: the parameters that its address is made of, None where it may be any address."""
    known: dict[str, frozenset[str]] = {}
    ops = [(site, op) for block in blocks for site, op in block.ops]
    nothing, anything = frozenset[str](), frozenset([""])

    def of(operands: Sequence[str]) -> frozenset[str]:
        return nothing.union(*(known.get(one, nothing) for operand in operands for one in registers(function, operand)))

    def result(op: Op) -> frozenset[str]:
        name = op.row.name
        if name.startswith("ld.param"):
            source = op.operands[1].strip("[] ")
            return frozenset([source]) if function.entry and not source.startswith("%") else anything
        if name.startswith("mad"):
            return of(op.operands[3:4])
        if name.split(".")[0] in NUMBERS:
            return nothing
        keeps = name.split(".")[0] in KEEPS and not op.operands[1].startswith("{")
        return of(op.operands[1:]) if keeps else anything

    changed = True
    while changed:
        changed = False
        for _, op in ops:
            for register in split(function, op)[0]:
                if function.register_class(register) == "u8":
                    joined = known.get(register, nothing) | result(op)
                    changed |= joined != known.get(register)
                    known[register] = joined
    found: dict[int, frozenset[str] | None] = {}
    for site, op in ops:
        addresses = [operand for operand in op.operands if operand.startswith("[")]
        if addresses:
            made = of(addresses[-1:])
            found[site] = None if made >= anything else made or None
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
