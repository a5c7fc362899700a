"""What the scheduler makes of a program: groups of operations, each of which becomes one kernel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..graph.node import Kind
from ..graph.opaque import CALL
from .access import accesses, operand_coords, reduced_sizes, reduction_coords
from .domain import Domain, Fold, MatmulDomain
from .index import Coords, Index, linear, split
from .program import Program, Value


@dataclass
class Group:
    """One kernel: its domain, and for each node placed in it the row-major position computed at the domain's symbols.

    `reads` are the leaves and other groups' nodes that it loads, `stores` the members that it writes to memory.
    """

    index: int
    domain: Domain
    members: dict[Value, Index] = field(default_factory=dict)
    reads: dict[Value, None] = field(default_factory=dict)
    stores: list[Value] = field(default_factory=list)
    ops: int = 0

    def computes(self, node: Value, coords: Coords) -> bool:
        """Whether the element of `node` at `coords` is at hand where the group runs over its symbols."""
        return node in self.members and linear(coords, node.shape) == self.members[node]

    @property
    def root(self) -> Value:
        """The first member: the reduction or product that the reduce and matmul templates compute."""
        return next(iter(self.members))


class Schedule(list[Group]):
    """Groups in the order in which they run, of `program` (lowered); `place` says which group computes a node."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.place: dict[Value, Group] = {}


def fold_of(node: Value, domain: Domain, position: Index) -> Fold:
    """How a group over `domain` does a reduction whose result stands at `position`."""
    return next(fold for fold in domain.folds(*reduced_sizes(node)) if fold.kept == position)


def entry(node: Value, domain: Domain, position: Index) -> list[tuple[Value, Coords]]:
    """The elements that a member of a group over `domain` is computed from, at the domain's symbols."""
    kind = node.primitive.kind
    if kind is Kind.REDUCE:
        fold = fold_of(node, domain, position)
        return [(node.sources[0], reduction_coords(node, fold.kept, fold.folded))]
    if isinstance(domain, MatmulDomain) and kind is Kind.MATMUL:
        return list(zip(node.sources, operand_coords(node, domain.b, domain.m, domain.n, domain.k), strict=True))
    if kind is Kind.OPAQUE:         # whole arrays
        return [(source, ()) for source in node.sources if node.primitive is CALL]
    return [(access.source, access.coords) for access in accesses(node, split(position, node.shape))]


def evaluated(group: Group, nodes: Iterable[Value]) -> list[Value]:
    """`nodes` of a group and everything inline behind them, up to what its kernel reads; sources first."""
    found = set(nodes)
    stack = list(found)
    while stack:
        for source in stack.pop().sources:
            if source not in found and source not in group.reads:
                found.add(source)
                stack.append(source)
    return sorted(found, key=lambda node: node.seq)
