"""From a basic block of PTX to the lines of one Python function over arrays.

A register is a local variable for each NumPy type in which it was looked at: `r5_u4`, and `r5_f4`, a view of it. Arrays
have one element a thread; what is equal in all threads may be a NumPy scalar. Instructions are not masked: in threads
that are not there a block computes what nobody will see, for only what lives on after it is merged under the mask.
Memory accesses take the threads that make them, as an array of indices (`on`; None for all).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from .parse import Function, Instruction

POISON = {"p": np.bool_(True), "u2": np.uint16(0x7FFE), "u4": np.uint32(0x7FFFDEAD),
          "u8": np.uint64(0x7FFFDEAD7FFFDEAD)}
"""What a register holds that no instruction wrote: a NaN, and no address."""
NAMES = """tid ntid ctaid nctaid laneid warpid nwarpid smid nsmid gridid clock clock_hi clock64
globaltimer globaltimer_lo globaltimer_hi lanemask_eq lanemask_lt lanemask_le lanemask_ge lanemask_gt
clusterid nclusterid cluster_ctaid cluster_nctaid cluster_ctarank cluster_nctarank is_explicit_cluster
dynamic_smem_size total_smem_size"""
SPECIAL = frozenset(NAMES.split())
"""Registers that the machine fills."""
NAME = re.compile(r"%?[A-Za-z_$][\w$]*")
ADDRESS = re.compile(r"\[\s*([^\s+\-\]]+)\s*(?:(?:\+|(?=-))\s*(-?\s*(?:0x)?[0-9a-fA-F]+))?\s*\]$")


class Unknown(Exception):
    """An operand that cannot be read."""


def variable(register: str) -> str:
    """The Python name of a register."""
    return re.sub(r"\W", "_", register.replace("%", ""))


class Emitter:
    """Writes the lines of a block; the rows of the table call it."""

    def __init__(self, function: Function, symbols: dict[str, int]) -> None:
        self.function, self.symbols = function, symbols
        self.constants: dict[str, np.generic] = {}
        self.site = 0
        """Number of the instruction that is written, for messages."""
        self.begin()

    def begin(self) -> None:
        self.lines: list[str] = []
        self.types: dict[str, set[str]] = {}
        """The types in which a register's present value is at hand."""
        self.predicate: str | None = None
        self.negated = False

    def start(self, site: int, instruction: Instruction) -> None:
        self.site, self.predicate, self.negated = site, instruction.predicate, instruction.negated

    def line(self, text: str) -> None:
        self.lines.append(text)

    def number(self, value: int, t: str) -> str:
        """An integer constant of a type."""
        return self.constant(np.dtype(f"u{t[1:]}").type(value & (1 << 8 * int(t[1:])) - 1).view(t))

    def constant(self, value: np.generic) -> str:
        """A NumPy scalar by a name of its own."""
        name = f"c_{value.dtype.str[1:]}_{int(value.view(f'u{value.dtype.itemsize}')):x}"
        self.constants[name] = value
        return name

    def register_class(self, operand: str) -> str | None:
        return self.function.register_class(operand)

    def held(self, register: str) -> set[str]:
        """Types at hand; at first that of its class, as it lives on between blocks."""
        return self.types.setdefault(register, {self.register_class(register) or ""})

    def current(self, operand: str, default: str) -> str:
        """A type of the default's width in which an operand is at hand."""
        if self.register_class(operand) in (None, "p"):
            return default
        return next((t for t in sorted(self.held(operand)) if t[1:] == default[1:] and t[0] in "iuf"), default)

    def derived(self, register: str, key: str, expression: str) -> str:
        """What is made of a register's present value, by a name of its own; written once."""
        name = f"{variable(register)}_{key}"
        if key not in self.held(register):
            self.line(f"{name} = {expression}")
            self.held(register).add(key)
        return name

    def get(self, operand: str, t: str) -> str:
        """An operand as an expression of a NumPy type, "pred", or "f16" and "bf16": float32 values of those."""
        operand = operand.strip()
        if t == "pred":
            return self.get_predicate(operand)
        known = self.register_class(operand)
        if known is None:
            return self.get_constant(operand, t)
        if known == "p":
            raise Unknown(f"predicate {operand} as a number")
        if t in ("f16", "bf16"):
            return self.derived(operand, t, f"from_{t}({self.get(operand, 'u2')})")
        if int(t[1:]) > int(known[1:]):
            raise Unknown(f"{operand} of {8 * int(known[1:])} bits read as {8 * int(t[1:])}")
        if int(t[1:]) < int(known[1:]):
            return f"{self.get(operand, known)}.astype('u{t[1:]}').view('{t}')"
        source = min(one for one in self.held(operand) if one[1:] == t[1:] and one[0] in "iuf")
        return self.derived(operand, t, f"{variable(operand)}_{source}.view('{t}')")

    def get_predicate(self, operand: str) -> str:
        if operand.startswith("!"):
            return f"~{self.get_predicate(operand[1:])}"
        if self.register_class(operand) == "p":
            self.held(operand)
            return variable(operand)
        if re.fullmatch(r"-?\d+", operand):
            return f"np.bool_({operand != '0'})"
        raise Unknown(f"operand {operand} as a predicate")

    def condition(self) -> str:
        """Where the present instruction is executed, if it has a predicate."""
        return f"{'~' if self.negated else ''}{self.get_predicate(self.predicate or '')}"

    def get_constant(self, operand: str, t: str) -> str:
        if t in ("f16", "bf16"):
            return f"from_{t}({self.get_constant(operand, 'u2')})"
        if operand.startswith("%"):
            if operand[1:].split(".")[0] not in SPECIAL:
                raise Unknown(f"no register {operand} was declared")
            whole = f"M.special('{operand}')"
            return whole if t == "u4" else f"{whole}.astype('u{t[1:]}').view('{t}')"
        bits = re.fullmatch(r"0([fFdD])([0-9a-fA-F]+)", operand)
        if bits:
            kind = "4" if bits[1] in "fF" else "8"
            value = np.dtype(f"u{kind}").type(int(bits[2], 16)).view(f"f{kind}")
            return self.constant(value.astype(t) if t[0] == "f" else value.view(f"u{kind}").astype(t))
        if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", operand):
            value = int(operand.rstrip("U"), 0)
            return self.constant(np.dtype(t).type(value)) if t[0] == "f" else self.number(value, t)
        for places in (self.function.locals, self.symbols):
            if operand in places:
                return self.number(places[operand], t)
        if re.fullmatch(r"[\w$.]+", operand):       # a variable of the module, placed when it is launched
            return f"M.symbol({operand!r}, '{t}')"
        raise Unknown(f"operand {operand}")

    def half(self, operand: str, kind: str, i: int) -> str:
        """float32 values of the lower (0) or upper half of a packed register."""
        expression = f"from_{kind}(unpack({self.get(operand, 'u4')}, 'u2', {i}))"
        return expression if self.register_class(operand) is None else self.derived(operand, kind + "lh"[i], expression)

    def mask(self, operand: str, t: str) -> str:
        """All ones where a predicate holds, in an unsigned type."""
        expression = f"mask({self.get_predicate(operand)}, '{t}')"
        return self.derived(operand, f"m{t[1:]}", expression) if self.register_class(operand) == "p" else expression

    def lanes(self) -> str:
        """The threads that execute the present instruction: indices, or None for all."""
        if self.predicate is None:
            return "on"
        return self.derived(self.predicate, "off" if self.negated else "on", f"M.active(m, {self.condition()})")

    def put(self, register: str, expression: str, t: str, merged: bool = False) -> None:
        """Write a register, where the instruction's predicate holds unless `expression` has seen to that."""
        if register == "_":
            return
        known = self.register_class(register)
        if known is None:
            raise Unknown(f"no register {register} was declared")
        name = variable(register)
        guarded = self.predicate is not None and not merged
        if t == "pred":
            if guarded:
                self.held(register)
                expression = f"np.where({self.condition()}, {expression}, {name})"
            self.line(f"{name} = {expression}")
            self.types[register] = {"p"}
            return
        if t in ("f16", "bf16"):
            expression, t = f"to_{t}({expression})", "u2"
        if int(t[1:]) < int(known[1:]):
            expression, t = f"np.asarray({expression}).astype('{t[0]}{known[1:]}')", t[0] + known[1:]
        if guarded:
            t = f"u{t[1:]}"
            both = [self.get(register, t), f"np.asarray({expression}).view('{t}')"]
            chosen, other = both if self.negated else both[::-1]
            expression = f"select({self.mask(self.predicate or '', t)}, {chosen}, {other})"
        self.line(f"{name}_{t} = {expression}")
        self.types[register] = {t}

    @staticmethod
    def vector(operand: str) -> list[str]:
        """The parts of `{a, b}`, or the one operand."""
        return [part.strip() for part in operand.strip("{} ").split(",")]

    def parts(self, operand: str, t: str) -> str:
        return f"[{', '.join(self.get(part, t) for part in self.vector(operand))}]"

    def spread(self, registers: list[str], types: Sequence[str], call: str, merged: bool = False) -> None:
        """Write registers, as far as they are given, with the parts of what a call returns."""
        self.line(f"t = {call}")
        for i, (register, t) in enumerate(zip(registers, types, strict=False)):
            self.put(register.strip(), f"t[{i}].view('{t}')" if t[0] == "i" else f"t[{i}]", t, merged)

    @staticmethod
    def place(operand: str, what: str = "parameter") -> tuple[str, int]:
        """`[name + offset]`."""
        match = ADDRESS.match(operand)
        if match is None:
            raise Unknown(f"{what} {operand}")
        return match[1], int((match[2] or "0").replace(" ", ""), 0)

    def address(self, operand: str) -> tuple[str, int]:
        """`[register + offset]`: an int64 expression and an integer."""
        name, offset = self.place(operand, "address")
        known = self.register_class(name)
        if known is None and re.fullmatch(r"-?\d+", name):
            return self.number(int(name), "i8"), offset
        return f"np.asarray({self.get(name, 'u4')}).astype('i8')" if known == "u4" else self.get(name, "i8"), offset
