"""From a function of PTX to Python: one Python function for each basic block."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from . import floats, integers, machine_rows, scalar_rows
from .access import WINDOWS, Access
from .blocks import Block, basic_blocks, in_flight, liveness, origins
from .emitter import POISON, Emitter, Unknown, variable
from .integers import Array, mask, select
from .meeting import arranged
from .parse import Function, Module
from .report import UnknownInstruction
from .table import Op
from .threads import SHARED_BASE, Registers
from .undefined import UNDEFINED, flag, follow, suspects

assert scalar_rows      # it fills the table


@dataclass
class Code:
    """A translated function."""

    function: Function
    blocks: list[Block]
    origins: dict[int, frozenset[str] | None]
    """By number of the instruction: parameters that its address is made of; None if it may be any."""


@dataclass
class Program:
    """A translated module."""

    codes: dict[str, Code]
    ops: list[Op]
    global_shift: int       # Binary logarithms of the narrowest accesses, which all others are multiples of
    shared_shift: int
    strong: bool       # Whether any access orders others, or is ordered


def keep(registers: Registers, m: Array | None, values: dict[str | tuple[str, int], Array]) -> None:
    """What lives on after a block, merged under the mask; "?" and a name are the bits that are undefined."""
    if m is None:
        registers.update(values)
        return
    for name, value in values.items():
        kind, predicate = value.dtype.str[1:], value.dtype == bool
        unwritten = ~np.zeros((), kind) if str(name)[0] == "?" else POISON["p" if predicate else kind]
        old = np.asarray(registers.get(name, np.asarray(unwritten)))
        registers[name] = np.where(m, value, old) if predicate else select(mask(m, kind), value, old)


NAMESPACE = {name: value for name, value in {**vars(floats), **vars(integers)}.items() if name[0] != "_"} | {
    "np": np, "keep": keep, "Access": Access, "LOCAL": np.uint64(WINDOWS["local"]),
    "SHARED": np.uint64(WINDOWS["shared"]),
} | {f"POISON_{kind}": value for kind, value in POISON.items()}


def translate(module: Module) -> Program:
    """All functions of a module. Raises `UnknownInstruction`, naming each instruction that is not known."""
    ops: list[Op] = []
    unknown: list[str] = []
    codes = {}
    symbols = {name: SHARED_BASE + offset for name, offset in module.shared.items()}
    for function in module.functions.values():
        blocks = basic_blocks(function, ops, unknown)
        if not unknown:
            codes[function.name] = compiled(function, arranged(blocks), symbols, unknown)
    if unknown:
        raise UnknownInstruction("the emulator does not know:\n" + "\n".join(dict.fromkeys(unknown)))
    narrowest = [min([16, *(width & -width for op in ops if (width := machine_rows.widths(op))
                           and space in machine_rows.spaces(op))]) for space in ("global", "shared")]
    of_global, of_shared = (width.bit_length() - 1 for width in narrowest)
    return Program(codes, ops, of_global, of_shared, any(map(machine_rows.orders, ops)))


def compiled(function: Function, blocks: list[Block], symbols: dict[str, int], unknown: list[str]) -> Code:
    """The function's blocks with their Python functions."""
    liveness(function, blocks)
    emitter = Emitter(function, symbols)
    early, followed = in_flight(function, blocks), suspects(function, blocks)
    source = "".join(block_source(block, function, emitter, early, followed, unknown) for block in blocks)
    names = NAMESPACE | emitter.constants
    if not unknown:
        exec(compile(source, f"<ptx {function.name}>", "exec"), names)
        for block in blocks:
            block.run = names[f"block{block.index}"]
    return Code(function, blocks, origins(function, blocks))


def block_source(block: Block, function: Function, e: Emitter, early: dict[int, str], followed: set[str],
                 unknown: list[str]) -> str:
    """`block<n>(M, R, m)`: R holds the registers between blocks, m is the mask of threads, None for all."""
    e.begin()
    for site, op in block.ops:
        e.start(site, op.instruction)
        try:
            if site in early:
                e.line(f"M.early({site}, {early[site]!r}, {e.lanes()})")
            if followed:
                follow(e, op, followed)
            op.row.write(e, op)
        except (Unknown, KeyError, IndexError, ValueError) as error:
            unknown.append(f"line {op.instruction.line}: {op.instruction} ({error})")
    end = block.end
    result = "None"
    if end.predicate:
        result = f"{'~' if end.negated else ''}{e.get_predicate(end.predicate)}"
        if end.predicate in followed and end.site >= 0:
            e.line(f"M.undefined({end.site}, 'a condition', {flag(end.predicate)}, on)")
    elif end.selector:
        result = e.get(end.selector, "u4")
    prefix = "" if function.entry else f"{function.name}:"
    lines = [f"def block{block.index}(M, R, m):", "on = M.lanes(m)"]
    if any(re.search(r"\bcc\b", line) for line in e.lines):
        lines.append("cc = np.bool_(False)")
    for register in sorted(block.live_in & (block.uses | block.defines)):
        kind = function.register_class(register) or ""
        suffix = "" if kind == "p" else f"_{kind}"
        lines.append(f"{variable(register)}{suffix} = R.get({prefix + register!r}, POISON_{kind})")
        if register in followed:
            lines.append(f"{flag(register)} = R.get({'?' + prefix + register!r}, {UNDEFINED[kind]})")
    body, e.lines = e.lines, []
    kept = {}
    for register in sorted(block.live_out & block.defines):
        kind = function.register_class(register) or ""
        kept[prefix + register] = e.get(register, "pred" if kind == "p" else kind)
        if register in followed:
            kept["?" + prefix + register] = flag(register)
    lines += body + e.lines
    lines.append(f"keep(R, m, {{{', '.join(f'{name!r}: {value}' for name, value in kept.items())}}})")
    lines.append(f"return {result}")
    return "\n    ".join(lines) + "\n"
