"""PTX text, as functions of instructions. What an instruction means is not known here."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from .report import EmulatorError

REGISTER_CLASSES = {"pred": "p", "16": "u2", "32": "u4", "64": "u8"}
"""Registers are arrays of unsigned integers of their width, predicates of booleans."""


def size_of(type_name: str) -> int:
    """Bytes of a PTX type such as `.b32`; packed types count both halves."""
    bits, pair, _ = re.sub(r"^\D+", "", type_name).partition("x2")
    return int(bits) // 8 * (2 if pair else 1)


@dataclass
class Instruction:
    """One instruction: `@!%p1 ld.global.b32 %r1, [%rd1+4]`."""

    opcode: str
    operands: list[str]
    predicate: str | None
    negated: bool
    line: int
    source: str       # The `.loc` in force: file, line, column, and where that was inlined

    def __str__(self) -> str:
        guard = f"@{'!' * self.negated}{self.predicate} " if self.predicate else ""
        return f"{guard}{self.opcode} {', '.join(self.operands)}"


@dataclass
class Function:
    """An entry or a device function: its instructions, and labels as strings among them."""

    name: str
    entry: bool
    parameters: dict[str, int]       # Bytes by name
    returns: dict[str, int]
    body: list[Instruction | str] = field(default_factory=list)
    registers: dict[str, str] = field(default_factory=dict)
    """Class ("p", "u2", "u4", "u8") by name, or by the prefix of a family `%r<9>`."""
    tables: dict[str, list[str]] = field(default_factory=dict)       # Branch targets by label
    locals: dict[str, int] = field(default_factory=dict)       # Offsets of local variables
    local_bytes: int = 0
    needed_threads: tuple[int, ...] = ()       # Of `.reqntid`

    def register_class(self, name: str) -> str | None:
        """The class of a register, None if it is none."""
        found = self.registers.get(name)
        return found if found is not None else self.registers.get(name.rstrip("0123456789"))


@dataclass
class Module:
    """A PTX file: its functions, its global variables' bytes, and its shared variables."""

    functions: dict[str, Function] = field(default_factory=dict)
    variables: dict[str, bytes] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)       # Offsets of shared variables; the dynamic one comes last
    shared_bytes: int = 0
    translated: dict[str, object] = field(default_factory=dict, repr=False)
    """What `launch` made of the functions, by name."""

    @property
    def entries(self) -> list[str]:
        """Names of the kernels."""
        return [function.name for function in self.functions.values() if function.entry]


OPERAND = re.compile(r"(?:[^,{\[(]|\{[^}]*\}|\[[^\]]*\]|\([^)]*\))+")
"""What is between commas that no bracket holds."""
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|^[ \t]*\.loc\s[^\n]*", re.S | re.M)
LINE = r"\s*(?:(?P<line>\.(?:loc|file|version|target|address_size)\b[^\n]*)|"
OUTSIDE = re.compile(LINE + r"(?P<head>[^;{]*\.(?:entry|func)\b[^;{]*)\{|(?P<declaration>[^;]*);)")
INSIDE = re.compile(LINE + r"(?P<label>[\w$%]+)\s*:(?!:)|(?P<brace>[{}])|(?P<statement>[^;]*);)")
HEAD = re.compile(r"\.(entry|func)\s*(?:\(([^)]*)\))?\s*([\w$]+)\s*(?:\(([^)]*)\))?(.*)$", re.S)
GUARD = re.compile(r"@(!?)([\w$%]+) ")
DECLARED = re.compile(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\b[^,]*?([\w$]+)\s*(?:\[(\d+)\])?\s*$")
VARIABLE = re.compile(r"(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)\s*(?:\[(\d*)\])?\s*(?:=\s*(.*))?$", re.S)


def parameters(text: str) -> dict[str, int]:
    """Of a parameter list, without its parentheses."""
    found = {}
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        match = DECLARED.match(part)
        if match is None:
            raise EmulatorError(f"cannot read the parameter {part!r}")
        found[match[2]] = size_of(match[1]) * int(match[3] or 1)
    return found


def variable(text: str, what: str, where: str = "") -> re.Match[str]:
    """The alignment, type, name, count and initial values that a declaration gives."""
    found = VARIABLE.match(text)
    if found is None:
        raise EmulatorError(f"{where}cannot read {what}")
    return found


def placed(one: re.Match[str], align: int, places: dict[str, int], end: int) -> int:
    """Give a variable its place behind others, which end there; where it ends."""
    places[one[3]] = at = -(-end // align) * align
    return at + size_of(one[2]) * int(one[4] or 1)


class Parser:
    """One pass over a PTX file."""

    def __init__(self, text: str) -> None:
        self.module = Module()
        self.files: dict[str, str] = {}
        self.function: Function | None = None
        self.scopes: list[dict[str, str]] = []
        self.source, self.scoped = "", 0
        self.dynamic: list[tuple[str, int]] = []
        text = COMMENT.sub(lambda one: one[0] if one[0].lstrip()[0] == "." else "\n" * one[0].count("\n"), text)
        text = re.split(r"^\s*\.section\b", text, maxsplit=1, flags=re.M)[0]
        at, line, counted = 0, 1, 0
        while found := (INSIDE if self.function else OUTSIDE).match(text, at):
            kind, at = found.lastgroup or "", found.end()
            line += text.count("\n", counted, begin := found.start(kind))
            counted = begin
            self.take(kind, found[kind].strip(), line)
        for name, align in self.dynamic:        # all at one place, behind the others
            self.module.shared_bytes = -(-self.module.shared_bytes // align) * align
            self.module.shared[name] = self.module.shared_bytes

    def take(self, kind: str, text: str, line: int) -> None:
        if kind == "line":
            self.locate(text)
        elif self.function is None:
            self.begin(text) if kind == "head" else self.declare(text)
        elif kind == "label":
            self.function.body.append(text)
        elif text == "{":
            self.scopes.append({})
        elif text == "}" and self.scopes:
            self.scopes.pop()
        elif text == "}":
            self.function = None
        elif text:
            self.statement(self.function, " ".join(text.split()), line)

    def locate(self, line: str) -> None:
        """A `.file` or `.loc`: Triton writes names and the chain of calls in a comment behind it."""
        position, _, comment = line.partition("//")
        directive, file, *rest = position.replace(",", " ").split()
        if directive == ".file":
            self.files[file] = line.split(None, 2)[2].split(",")[0].strip('"')
        elif directive == ".loc":
            self.source = comment.strip() or f"{self.files.get(file, 'file ' + file)}:{rest[0]}:{rest[1]}"

    def begin(self, head: str) -> None:
        match = HEAD.search(head)
        assert match is not None
        self.function = Function(match[3], match[1] == "entry", parameters(match[4]), parameters(match[2]))
        needed = re.search(r"\.reqntid\s+([\d,\s]+)", match[5])
        if needed:
            self.function.needed_threads = tuple(int(part) for part in needed[1].split(","))
        self.module.functions[match[3]] = self.function

    def declare(self, statement: str) -> None:
        match = re.search(r"\.(global|const|shared)\b(.*)$", statement, re.S)
        if match is None:
            return
        if match[1] == "shared":
            self.shared(match[2].strip())
            return
        one = variable(match[2].strip(), f"the variable {statement!r}")
        width = size_of(one[2])
        values = [int(part, 0) for part in re.findall(r"-?(?:0x)?[0-9a-fA-F]+", one[5] or "")]
        values += [0] * ((int(one[4]) if one[4] else max(len(values), 1)) - len(values))
        self.module.variables[one[3]] = b"".join(struct.pack("<Q", value & (1 << 64) - 1)[:width] for value in values)

    def shared(self, text: str) -> None:
        one = variable(text, f"the shared variable {text!r}")
        align = int(one[1] or 1)
        if one[4] == "":
            self.dynamic.append((one[3], align))
        else:
            self.module.shared_bytes = placed(one, align, self.module.shared, self.module.shared_bytes)

    def statement(self, function: Function, text: str, line: int) -> None:
        """A declaration or an instruction in a function."""
        guard = GUARD.match(text)
        opcode, _, rest = text[guard.end() if guard else 0:].partition(" ")
        if opcode == ".reg":
            self.registers(function, rest)
        elif opcode == ".local":
            one = variable(rest, repr(text), f"line {line}: ")
            function.local_bytes = placed(one, max(int(one[1] or 1), 16), function.locals, function.local_bytes)
        elif opcode == ".shared":
            self.shared(rest)
        elif opcode.startswith(".branchtargets"):
            function.tables[str(function.body.pop())] = [part.strip() for part in rest.split(",")]
        elif opcode[0] != ".":
            predicate = guard[2] if guard else None
            if any(self.scopes):
                rest, predicate = self.renamed(rest), predicate and self.renamed(predicate)
            function.body.append(Instruction(opcode, [one.strip() for one in OPERAND.findall(rest)], predicate,
                                             bool(guard and guard[1]), line, self.source))
        elif opcode not in (".pragma", ".param"):
            raise EmulatorError(f"line {line}: cannot read {text!r}")

    def registers(self, function: Function, text: str) -> None:
        """`.b32 %r<9>` or `.b32 tmp, other`; names that a scope of its own declares are told from all others."""
        kind, _, names = text.partition(" ")
        kinds = re.sub(r"^\.[a-z]?(?=\d)|^\.", "", kind)
        if kinds not in REGISTER_CLASSES:
            raise EmulatorError(f"registers of type {kind} are not known")
        for name in names.split(","):
            name, _, count = name.strip().partition("<")
            if not self.scopes:
                function.registers[name] = REGISTER_CLASSES[kinds]
                continue
            self.scoped += 1
            for one in [f"{name}{i}" for i in range(int(count.rstrip(">")))] if count else [name]:
                self.scopes[-1][one] = unique = f"{one}_in{self.scoped}_"
                function.registers[unique] = REGISTER_CLASSES[kinds]

    def renamed(self, text: str) -> str:
        """With names of the innermost scopes instead of those in the text."""
        names = {name: unique for scope in self.scopes for name, unique in scope.items()}
        return re.sub(r"%?[A-Za-z_$][\w$]*", lambda found: names.get(found[0], found[0]), text)


def parse(text: str) -> Module:
    """The functions and variables of a PTX file. Raises `EmulatorError` for declarations it cannot read."""
    return Parser(text).module
