"""How the nodes of a program are read, and what computing one inline would cost."""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import primitives as p
from ..graph.node import Kind
from ..graph.opaque import CALL
from .program import Program, Value


@dataclass(frozen=True)
class Cost:
    """An inline expression: its operations, what it loads, its depth, and the number of paths to its loads."""

    ops: frozenset[Value]
    loads: frozenset[Value]
    depth: int
    paths: int


class Demand:
    """How the nodes of a program are read, looking through views.

    `readers` counts the operations that read a node; `spread` has those read at one place by many elements (broadcast
    or taken at computed places), `operands` those that a matrix product reads, `whole` those that a user's kernel does.
    """

    def __init__(self, program: Program) -> None:
        self.readers: dict[Value, int] = dict.fromkeys(program.nodes, 0)
        self.spread: set[Value] = set()
        self.operands: set[Value] = set()
        self.whole: set[Value] = set()
        outputs = set(program.outputs)
        for node in reversed(program.nodes):
            view = node.primitive.kind is Kind.VIEW
            for source in set(node.sources):
                self.readers[source] += self.readers[node] if view else 1
                if (view and node in self.spread) or source.spec.numel < node.spec.numel or node.primitive is p.TAKE:
                    self.spread.add(source)
                if (view and node in self.operands) or node.primitive is p.MATMUL:
                    self.operands.add(source)
                if node.primitive is CALL:
                    self.whole.add(source)
            if view and node in outputs:
                for source in node.sources:
                    self.readers[source] += 1
