"""Comparing a graph with one that was met before, and with nothing else: a function of its own for each such graph.

Building a structure's key takes a set, an index and a sort of all its nodes; to see that a graph *is* a known one takes
a look at each signature and each edge. So what is met again gets a function, emitted as one straight line. That which
finds a plan for `(w * x).sigmoid()` says

    n0, = roots
    if n0.signature is not s0: return None
    n1, = n0.sources
    if n1.signature is not s1 or n1.holders: return None
    ...

A backward that was walked before is found in the same way: see `autograd.replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..graph.node import Node

Recogniser = Callable[[Sequence[Node]], "list[Node] | None"]
"""Of roots whose signatures are those of the structure's: its nodes in the plan's order, or None for another graph."""


class Line:
    """A function of one straight line, in the making: it returns None for another graph than it was made from. `names`
    are those of the nodes that were met, `space` what else the text names."""

    def __init__(self, head: str, met: Sequence[Node] = ()) -> None:
        self.text = [f"def {head}:"]
        self.space: dict[str, object] = {}
        self.names: dict[Node, str] = {}
        for node in met:
            self.meet(node)

    def meet(self, node: Node) -> str:
        """A name for a node that is met for the first time."""
        self.names[node] = f"n{len(self.names)}"
        return self.names[node]

    def keep(self, name: str, value: object) -> str:
        """Have a name stand for a value."""
        self.space[name] = value
        return name

    def write(self, line: str) -> None:
        self.text.append(f"    {line}")

    def refuse(self, *conditions: str) -> None:
        """Return None where any of the conditions holds."""
        if conditions:
            self.write(f"if {' or '.join(conditions)}: return None")

    def differs(self, node: Node) -> str:
        """The condition that a node has another signature."""
        name = self.names[node]
        return f"{name}.signature is not {self.keep(f's{name[1:]}', node.signature)}"

    def unpack(self, sources: Sequence[Node], text: str) -> list[Node]:
        """Name the sources that `text` gives, and refuse others where one was met before; returns the new ones."""
        places, again, fresh = [], [], []
        for k, source in enumerate(sources):
            if source in self.names:
                places.append(f"m{k}")
                again.append(f"m{k} is not {self.names[source]}")
            else:
                places.append(self.meet(source))
                fresh.append(source)
        if places:
            self.write(f"{', '.join(places)}, = {text}")
        self.refuse(*again)
        return fresh

    def distinct(self, names: Sequence[str]) -> None:
        """Refuse where two of what was met under several names are one."""
        if len(names) > 1:
            self.refuse(f"len({{{', '.join(names)}}}) < {len(names)}")

    def function(self) -> Any:
        """The function itself."""
        exec(compile("\n".join(self.text), "<microtrain line>", "exec"), self.space)
        return self.space[self.text[0][4:].partition("(")[0]]


def recogniser(order: Sequence[Node], roots: Sequence[Node]) -> Recogniser:
    """The function that recognises the graph behind `roots`, whose nodes in recording order are `order`.

    It compares signatures, who feeds whom, which values the tape keeps (they are outputs), and that leaves which were
    two are two: a buffer that is read under two names could be written over under one.
    """
    line = Line("recognise(roots)")
    met = line.unpack(roots, "roots")
    wanted = set(met)
    for node in met:                            # grows as it is walked
        kept = f"{'not ' if node.holders else ''}{line.names[node]}.holders"
        line.refuse(line.differs(node), *[kept] * (bool(node.sources) and node not in wanted))
        met += line.unpack(node.sources, f"{line.names[node]}.sources")
    line.distinct([line.names[node] for node in met if node.buffer is not None])
    line.write(f"return [{', '.join(line.names[node] for node in order)}]")
    function: Recogniser = line.function()
    return function
