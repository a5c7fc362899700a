"""A step: a program with named ports, compiled, which can be run again with other buffers and numbers.

What is pending becomes a step each time a value is read; the same structure is the same step (see `plans`). A step says
nothing of who recorded it. Whose values its ports were in one recording is asked with `of`, and held in another step
that shares the program and what was compiled.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple, Self

from .. import ops as g
from ..compiler.program import Executable, Flat, Program
from ..compiler.simplify import simplify
from ..graph.constants import scalar
from ..graph.node import SCALAR, Node
from ..graph.spec import Spec
from ..graph.tape import Leaf

NUMBERS = ("number", "seed")
"""The kinds of ports that take a Python number."""


class Port(NamedTuple):
    """Where a value enters or leaves a step.

    Attributes:
        kind: an argument's, until `Step.of` tells that it is a parameter (a leaf that requires grad) or a state (memory
            that the step changes, or that was named with what it becomes); a number's, a seed's (it is a key or a
            counter of random words), an output's.
        place: the value's number in the recorded program.
        spec: its shape, dtype and device.
        name: where one was given.
        becomes: of a parameter or a state, which of the outputs is its value after the step.
        value: of a number or a seed, what it was in the recording that `Step.of` was told of.
    """

    kind: Literal["argument", "parameter", "state", "number", "seed", "output"]
    place: int
    spec: Spec
    name: str = ""
    becomes: int | None = None
    value: bool | int | float | None = None

    def __str__(self) -> str:
        after = "" if self.becomes is None else f" -> output {self.becomes}"
        value = "" if self.value is None else f" = {self.value}"
        return f"%{self.place} {self.kind} {self.name + ': ' if self.name else ''}{self.spec}{value}{after}"


class Step:
    """A recorded program, compiled, with its ports.

    Attributes:
        key: the program as it was recorded, flat; `program` is the simplified one, `executable` what that became.
        inputs: places of leaves in the recorded program, in the order in which a run takes their values.
        outputs: places of its outputs, in the order in which a run gives their values; `shared` says of each whether
            its buffer is an input's or another output's too.
        ports: of the inputs, then of the outputs.
        trusted: whether it has run; what does not compile must not spoil anything.
    """

    __slots__ = ("executable", "inputs", "key", "outputs", "ports", "program", "shared", "trusted")

    def __init__(self, key: Flat) -> None:
        recorded = Program.read(key)
        self.key, self.outputs = key, key[0]
        self.inputs = [value.number for value in recorded.inputs]
        self.program = simplify(recorded)
        self.executable = build(self.program)
        self.trusted = False
        self.shared = [place in self.executable.shared for place in range(len(self.outputs))]
        seeds = {source for value in recorded.values if value.primitive is g.RANDOM_BITS for source in value.sources}
        self.ports = (*[Port("argument" if value.primitive is not SCALAR else "seed" if value in seeds else "number",
                             value.number, value.spec) for value in recorded.inputs],
                      *[Port("output", value.number, value.spec) for value in recorded.outputs])

    def of(self, order: Sequence[Node], names: Mapping[str, tuple[Node, Node]] | None = None) -> Self:
        """The same step with its ports as they were in one recording, whose nodes in recording order are `order`.

        names: of values, each with the nodes that hold it before and after the step (one and the same where the step
            does not change it).
        """
        called = {node: name for name, (node, _) in (names or {}).items()}
        places = {order[place]: number for number, place in enumerate(self.outputs)}
        changed = {before: after for before, after in (names or {}).values() if before is not after}
        memory = {cell: node for node in places if (cell := _memory(node)) is not None}

        def known(port: Port) -> Port:
            node = order[port.place]
            if port.kind != "argument":
                value = node.buffer.item() if port.kind in NUMBERS else None
                return port._replace(name=called.get(node, ""), value=value)
            kind: Literal["argument", "parameter", "state"] = "parameter" if node.tape.__class__ is Leaf else "argument"
            after = changed.get(node) or memory.get(_memory(node))
            becomes = None if after is None else places.get(after)
            if kind == "argument" and becomes is not None:
                kind = "state"
            return port._replace(kind=kind, name=called.get(node, ""), becomes=becomes)
        step = copy.copy(self)
        step.ports = tuple(map(known, self.ports))
        return step

    @property
    def numbers(self) -> list[bool | int | float]:
        """What the ports that take a Python number were given in the recording that `of` was told of."""
        return [port.value for port in self.ports if port.value is not None]

    def run(self, arguments: Sequence[object], numbers: Sequence[bool | int | float] | None = None,
            free: Collection[int] = ()) -> list[object]:
        """Buffers of the outputs, nothing being recorded. Raises ValueError where there are more or fewer ports.

        Args:
            arguments: a buffer for each port that takes one, in their order, of the port's shape, dtype and device.
            numbers: a Python number for each port that takes one, in their order; by default those of the recording.
            free: which of the inputs' memory may be written over, as numbers of ports: see `Executable.donatable`.
        """
        ports, numbers = self.ports[:len(self.inputs)], self.numbers if numbers is None else numbers
        taken = sum(port.kind in NUMBERS for port in ports)
        if (len(arguments), len(numbers)) != (len(ports) - taken, taken):
            raise ValueError(f"this step takes {len(ports) - taken} buffers and {taken} numbers, not {len(arguments)} "
                             f"and {len(numbers)}")
        buffers, given = iter(arguments), iter(numbers)
        return self.executable.run([scalar(next(given), port.spec.dtype) if port.kind in NUMBERS else next(buffers)
                                    for port in ports], free)

    def __repr__(self) -> str:
        launches = [line for line in self.executable.describe().splitlines() if line.startswith("kernel ")]
        what = launches or [f"one function of {self.executable.kernels} statements"]
        return "\n  ".join([f"<Step on {self.program.device}", *map(str, self.ports), *what]) + ">"


def _memory(node: Node) -> object:
    """What is one of two nodes that are values of one memory, before and after a change in place; None where nothing is
    known of it."""
    return node.tape if node.tape.__class__ is Leaf else None if node.version is None else node.version[0]


def build(program: Program) -> Executable:
    """The program compiled for its device."""
    if program.device.kind.native:
        from ..compiler.cpu.emit_numpy import NumpyExecutable
        return NumpyExecutable(program)
    from ..compiler.executable import Executable as Kernels
    return Kernels(program)
