"""Which operations become one kernel: one greedy pass in topological order.

Each operation is either *inline*, recomputed wherever it is read, or *placed* in a group, where it is computed once
for each element of the group's domain and written to memory only if another group or the caller needs it. An operation
is placed when it must be (a reduction, a product, an output, or what is too dear to compute twice), or when its
operands were just computed by a group that can take it along. It joins the first group whose domain fits, which runs
late enough, and in which every value that the group itself computes is read where it is computed.
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import ops as p
from .. import settings
from ..graph.node import Kind
from ..ops.user_kernel import CALL
from .access import accesses
from .group import Schedule
from .horizontal import bundled
from .index import Coords
from .lower import lower
from .program import Program, Value
from .templates.registry import opened
from .templates.template import Group, Offer

CHEAP_OPS, CHEAP_READS = 16, 4
"""At most this much is computed again for a second reader: 16 operations take less time than reading 4 floats more."""

MAX_OPS, MAX_READS = 64, 24
"""An expression larger than this is placed even for one reader, so that no emitted expression grows without bound."""

MAX_PATHS = 256
"""Ways from an inline expression to its operands: reading one operand at two places doubles what is below it."""

MAX_DEPTH = 128
"""Operations on a path through an inline expression, views included: it is walked recursively."""

PROLOGUE_OPS = 4
"""Operations on a matrix operand as it is loaded: done again for every tile of the result."""

GROUP_OPS, GROUP_READS = 512, 64
"""A group's limits: ptxas takes seconds for longer kernels, and a kernel's arguments have 4 KB in all."""


class Conflict(Exception):
    """A group computes a value elsewhere than a node would read it, or too late."""


def schedule(program: Program) -> Schedule:
    """The kernels that compute a program's outputs. What has no elements needs none."""
    return Scheduler(lower(program)).run()


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
        self.readers: dict[Value, int] = dict.fromkeys(program.values, 0)
        self.spread: set[Value] = set()
        self.operands: set[Value] = set()
        self.whole: set[Value] = set()
        outputs = set(program.outputs)
        for node in reversed(program.values):
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


class Scheduler:
    """The state of the pass: what is placed where, and what each node would cost inline."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.groups = Schedule(program)
        self.place = self.groups.place
        self.outputs = {node for node in program.outputs if node.spec.numel and node.primitive is not p.BUFFER}
        self.fuse = settings.fuse.value
        self.demand = Demand(program)
        self.cost: dict[Value, Cost] = {}

    def run(self) -> Schedule:
        """Place every node that needs it. What only values of no elements are computed from is not computed."""
        for node in self.program.values:
            self.cost[node] = self.measured(node)
            if node.spec.numel or node.primitive.kind is Kind.OPAQUE:
                self.visit(node)
        wanted = set(self.outputs)
        for group in reversed(self.groups):             # whoever reads a value comes later
            group.stores = [node for node in group.members if node in wanted]
            if group.stores or not group.template.ours:
                wanted.update(group.reads)
        self.groups[:] = [group for group in self.groups if group.stores or not group.template.ours]
        if self.fuse:
            bundled(self.groups)
        return self.groups

    def measured(self, node: Value) -> Cost:
        """What it takes to compute `node` inline from leaves and placed nodes."""
        kind = node.primitive.kind
        ops: frozenset[Value] = frozenset((node,)) if kind in (Kind.MAP, Kind.INDEX) else frozenset()
        loads: frozenset[Value] = frozenset((node,)) if node.primitive is p.BUFFER else frozenset()
        depth = paths = 0
        for source in set(node.sources):
            if source in self.place:
                loads, paths = loads | {source}, paths + 1
            else:
                below = self.cost[source]
                ops, loads = ops | below.ops, loads | below.loads
                depth, paths = max(depth, below.depth), paths + below.paths
        return Cost(ops, loads, depth + 1, max(paths, 1))

    def visit(self, node: Value) -> None:
        """Place `node`, or leave it inline."""
        needed = self.needed(node)
        if needed or self.attracted(node):
            group = self.joined(node, anywhere=needed) if self.fuse else None
            if group is None and needed:
                group = Group(len(self.groups), opened(node))
                self.groups.append(group)
                self.enter(group, Offer(group.template, {node: group.template.position(node)}), node)
            if group is not None:
                self.place[node] = group

    def needed(self, node: Value) -> bool:
        """Whether a node must be placed."""
        kind, cost = node.primitive.kind, self.cost[node]
        if node in self.outputs or kind in (Kind.REDUCE, Kind.MATMUL, Kind.OPAQUE):
            return True
        if kind in (Kind.LEAF, Kind.CONSTANT):
            return False
        if node in self.demand.whole:
            return True
        ops, loads = len(cost.ops), len(cost.loads)
        if ops > MAX_OPS or loads > MAX_READS or cost.depth > MAX_DEPTH or cost.paths > MAX_PATHS:
            return True
        if kind is Kind.VIEW:
            return False
        if not self.fuse or (node in self.demand.operands and ops > PROLOGUE_OPS):
            return True
        again = self.demand.readers[node] > 1 or node in self.demand.spread
        return again and (ops > CHEAP_OPS or loads > CHEAP_READS)

    def attracted(self, node: Value) -> bool:
        """Whether a cheap map had better be computed beside an operand than by its readers.

        A product's or a reduction's result that nothing else reads is then not stored at all.
        """
        if node.primitive.kind is not Kind.MAP:
            return False
        for source in map(self.unviewed, node.sources):
            group = self.place.get(source)
            if group is not None and node.spec.numel <= source.spec.numel:
                alone = self.demand.readers[source] == 1 and source not in self.outputs
                if group.template.attracts(node, alone):
                    return True
        return False

    def unviewed(self, node: Value) -> Value:
        """The node that an inline view looks at."""
        while node.primitive.kind is Kind.VIEW and len(node.sources) == 1 and node not in self.place:
            node = node.sources[0]
        return node

    # ------------------------------------------------------------------------------------------------ joining a group

    def joined(self, node: Value, anywhere: bool) -> Group | None:
        """The first group that can take `node` along, having taken it; not `anywhere`: only one it depends on."""
        loads = self.cost[node].loads
        placed = {self.place[load].index for load in loads if load in self.place}
        for group in self.groups[max(placed, default=0):]:
            shares = bool(group.reads.keys() & loads)
            if group.index not in placed and not (anywhere and group.template.welcomes(node, shares)):
                continue
            if group.ops + len(self.cost[node].ops) > GROUP_OPS or len(group.reads.keys() | loads) > GROUP_READS:
                continue
            for offer in group.template.offers(group.members, node, self.place):
                try:
                    self.enter(group, offer, node)
                except Conflict:
                    continue
                return group
        return None

    def enter(self, group: Group, offer: Offer, node: Value) -> None:
        """Make `node`, the last of an offer's members, a member of `group`, run over the template offered.

        Raises Conflict, and changes nothing, where the group cannot take it.
        """
        template, members = offer
        trial = Group(group.index, template, members)
        seen: set[tuple[Value, Coords]] = set()
        again = 0

        def visit(node: Value, coords: Coords, repeated: bool) -> None:
            nonlocal again
            if not node.spec.numel or (node, coords) in seen or trial.computes(node, coords):
                return
            seen.add((node, coords))
            home = self.place.get(node)
            if home is not None and home.index != trial.index:
                if home.index > trial.index:
                    raise Conflict
                trial.reads[node] = None
            elif node.primitive.kind is Kind.LEAF:
                trial.reads[node] = None
            else:
                repeated = repeated or node in members
                again += repeated and node.primitive.kind in (Kind.MAP, Kind.INDEX)
                if again > CHEAP_OPS or node.primitive.kind in (Kind.REDUCE, Kind.MATMUL, Kind.OPAQUE):
                    raise Conflict
                for access in accesses(node, coords):
                    visit(access.source, access.coords, repeated)

        for source, coords in template.entry(node, members[node]):
            visit(source, coords, False)
        group.template, group.members = template, members
        group.reads.update(trial.reads)
        group.ops += len(self.cost[node].ops)
