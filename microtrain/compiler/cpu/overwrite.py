"""Outputs of a NumPy function that are written over its inputs, by statements that come last.

What is written over cannot be computed from again: so every reader comes before, and nothing among the last statements
can fail. Arrays here may be views of one another, unlike memory on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from ... import ops
from ...graph.node import BUFFER, Kind
from ..program import Program, Value

COPIES = frozenset((ops.PAD, ops.CAT))
"""Views by their kind, of which NumPy makes new arrays."""


def memories(program: Program) -> dict[Value, Value]:
    """Of each value the one whose memory it may be a view of, or itself."""
    memory: dict[Value, Value] = {}
    for value in program.values:
        view = value.primitive.kind is Kind.VIEW and value.primitive not in COPIES
        memory[value] = memory[value.sources[0]] if view else value
    return memory


class Overwriting:
    """Which outputs are written over which inputs, and the order of a function's statements that this asks for.

    Attributes:
        over: outputs, each with the input that it is written over where that is given away.
        first, last: the values of the program; those that are `over` an input, and what is computed from them.
    """

    def __init__(self, program: Program, able: Callable[[Value], bool], kept: Collection[Value], least: float,
                 before: Mapping[Value, Value]) -> None:
        """able: whether a value can be written into memory that is there. kept: values that must stay as they are.
        least: how many elements are worth it. before: of outputs the input that each replaces, where that is known."""
        memory = memories(program)
        self.users: dict[Value, list[Value]] = {value: [] for value in program.values}
        readers: dict[Value, list[Value]] = {value: [] for value in program.values}
        for value in program.values:
            for source in dict.fromkeys(value.sources):
                self.users[source].append(value)
                readers[memory[source]].append(value)
        self.over: dict[Value, Value] = {}
        self.before: dict[Value, list[Value]] = {}      # of one that is over an input, who reads that
        seen = {memory[value] for value in (*program.outputs, *kept)}
        donors = [value for value in program.inputs if value.primitive is BUFFER and value not in seen]
        by_spec = {value.spec: [donor for donor in donors if donor.spec is value.spec] for value in donors}
        for value in sorted(set(program.outputs), key=lambda value: value.number):
            found = by_spec.get(value.spec, []) if value.spec.numel >= least and able(value) else []
            # Its own old value, mostly, is near.
            behind = [*([before[value]] if value in before else ()), *value.sources,
                      *[one for source in value.sources for one in source.sources]]
            for donor in sorted(found, key=lambda donor: behind.index(donor) if donor in behind else len(behind)):
                views = [source for source in value.sources if source is not donor and memory[source] is donor]
                if not views and self.comes_last(value, readers[donor], able):
                    self.over[value] = donor
                    self.before[value] = [one for one in readers[donor] if one is not value]
                    for reader in self.before[value]:
                        self.users[reader].append(value)
                    found.remove(donor)
                    break
        late = self.after(self.over)
        self.first = [value for value in program.values if value not in late]
        self.last = self.sorted(late)

    def after(self, values: Iterable[Value]) -> set[Value]:
        """Values, and all that must be computed after one of them."""
        found = set(values)
        stack = list(found)
        while stack:
            new = set(self.users[stack.pop()]) - found
            found |= new
            stack += new
        return found

    def comes_last(self, value: Value, readers: Collection[Value], able: Callable[[Value], bool]) -> bool:
        """Whether a value can wait for the readers of an input, and all that waits for it can be written in place."""
        late = self.after([value])
        return all(map(able, late)) and not any(reader in late for reader in readers if reader is not value)

    def sorted(self, late: Collection[Value]) -> list[Value]:
        """Values, each after those that it must wait for."""
        done: dict[Value, None] = {}
        stack = sorted(late, key=lambda value: -value.number)
        while stack:
            value = stack[-1]
            missing = [one for one in (*value.sources, *self.before.get(value, ())) if one in late and one not in done]
            stack += missing
            if not missing:
                done[stack.pop()] = None
        return list(done)
