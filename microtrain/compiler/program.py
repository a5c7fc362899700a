"""A program: what is to be computed on one device, as a table of signatures and of who reads whom.

Everything the compiler does maps a `Program` to another, or to kernels. A program says nothing of who recorded it: it
can be printed, pickled and compared, and two that say the same are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from ..graph.node import LITERAL, SCALAR, Described, Kind, Signature
from ..runtime.backend import Buffer

# A program as one tuple: the numbers of its outputs (a tuple), each value's signature, and the numbers of all their
# sources one after the other. A signature says how many sources it has, so this says who reads whom.
Flat = tuple[tuple[int, ...], *tuple[Signature | int, ...]]


class Value(Described):
    """One value of a program: an operation on earlier ones, an input or a constant. Compares by identity.

    `number` is its place among the program's values.
    """

    __slots__ = ("number", "signature", "sources", "spec")

    def __init__(self, signature: Signature, sources: tuple[Value, ...], number: int = -1) -> None:
        self.signature, self.sources, self.number = signature, sources, number
        self.spec = signature.spec

    def __repr__(self) -> str:
        return f"<value %{self.number} = {written(self)}: {self.spec}>"


class Program:
    """Values in topological order, of which `outputs` are wanted (some perhaps twice, or inputs themselves).

    `inputs` are the leaves (buffers and run-time scalars), in the order in which their values are handed to a run.
    Equal and hashed by content. It is pickled as what it says; interned parts are found again, a user's kernel is not.
    """

    __slots__ = ("device", "inputs", "outputs", "values")

    def __init__(self, values: Sequence[Value], outputs: Sequence[Value]) -> None:
        """Takes the values, sources first and used by no other program, and numbers them."""
        self.values, self.outputs = tuple(values), tuple(outputs)
        for number, value in enumerate(self.values):
            value.number = number
        self.inputs = tuple([value for value in self.values if value.primitive.kind is Kind.LEAF])
        self.device = self.outputs[0].device

    @classmethod
    def read(cls, flat: Flat) -> Program:
        """The program that is written so; the inverse of `flat`."""
        values: list[Value] = []
        signatures = [part for part in flat[1:] if isinstance(part, Signature)]
        numbers = iter([part for part in flat[1:] if isinstance(part, int)])
        for signature in signatures:
            values.append(Value(signature, tuple([values[next(numbers)] for _ in signature.inputs])))
        return cls(values, [values[number] for number in flat[0]])

    @property
    def flat(self) -> Flat:
        """What the program says, as one tuple that can be a key."""
        rest: list[Signature | int] = [value.signature for value in self.values]
        rest += [source.number for value in self.values for source in value.sources]
        return (tuple([value.number for value in self.outputs]), *rest)

    def __eq__(self, other: object) -> bool:
        return self.flat == other.flat if isinstance(other, Program) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.flat)

    def __reduce__(self) -> tuple[Callable[[Flat], Program], tuple[Flat]]:
        return Program.read, (self.flat,)

    def __str__(self) -> str:
        marks = dict.fromkeys(self.inputs, "input")
        marks |= {value: "input, output" if value in marks else "output" for value in self.outputs}
        return "\n".join(listing(self, marks))

    def __repr__(self) -> str:
        return (f"<Program: {len(self.values)} values, {len(self.inputs)} inputs, {len(self.outputs)} outputs on "
                f"{self.device}>")


class Executable(Protocol):
    """A program compiled for its device.

    `donatable` are the places of inputs over which an output may be written, `passed` those of inputs that are outputs,
    `shared` those of outputs whose buffer is an input's or another output's too.
    """

    kernels: int
    donatable: tuple[int, ...]
    passed: tuple[int, ...]
    shared: tuple[int, ...]

    def run(self, values: list[Buffer], free: Collection[int] = ()) -> list[Buffer]:
        """Buffers of the program's outputs, given buffers and numbers for its inputs.

        `free` are places of inputs whose memory the caller gives away. If the run fails, those of them that may have
        been written over are None in `values`.
        """

    def describe(self) -> str:
        """What is run, for a person to read."""


def listing(program: Program, marks: Mapping[Value, str], numbers: Mapping[Value, str] | None = None) -> list[str]:
    """A program, one assignment a line, and behind a value what `marks` says of it.

    `numbers` has the text of run-time scalars, where they are known.
    """
    lines = [(f"  %{value.number} = {(numbers or {}).get(value) or written(value)}", sized(value), marks.get(value, ""))
             for value in program.values]
    wide, middle = (max(len(line[column]) for line in lines) for column in (0, 1))
    return [f"{left:{wide}}  {spec:{middle}}  {mark}".rstrip() for left, spec, mark in lines]


def written(value: Value) -> str:
    """An operation on the numbers of its sources and its attributes; of a constant the number."""
    if value.primitive is LITERAL:
        return str(value.attrs[0])
    arguments = [*[f"%{source.number}" for source in value.sources], *[str(attribute) for attribute in value.attrs]]
    return f"{value.primitive.name}({', '.join(arguments)})" if arguments else value.primitive.name


def sized(value: Value) -> str:
    """Dtype and shape of a value."""
    return f"{value.dtype.name}{list(value.shape)}"


def passed(value: Value) -> str:
    """What a kernel is given for an input or for another kernel's value: memory, or a number."""
    return f"{value.dtype.name} number" if value.primitive is SCALAR else sized(value)
