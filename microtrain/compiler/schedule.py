"""Which operations become one kernel: one greedy pass in topological order.

Each operation is either *inline*, recomputed wherever it is read, or *placed* in a group, where it is computed once
for each element of the group's domain and written to memory only if another group or the caller needs it. An operation
is placed when it must be (a reduction, a product, an output, or what is too dear to compute twice), or when its
operands were just computed by a group that can take it along. It joins the first group whose domain fits, which runs
late enough, and in which every value that the group itself computes is read where it is computed.
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import ops, settings
from ..graph.node import Kind
from ..ops.user_kernel import CALL
from .access import Access, accesses, unviewed
from .horizontal import bundled
from .index import Coords
from .lower import lower
from .program import Program, Value
from .templates.registry import opened
from .templates.template import Group, Offer, Schedule

# At most this much is computed again for a second reader: 16 operations take less time than reading 4 floats more.
CHEAP_OPS, CHEAP_READS = 16, 4
# An expression larger than this is placed even for one reader, so that no emitted expression grows without bound.
MAX_OPS, MAX_READS = 64, 24
# Ways from an inline expression to its operands: reading one operand at two places doubles what is below it.
MAX_PATHS = 256
MAX_DEPTH = 128  # Operations on a path through an inline expression, views included: it is walked recursively
PROLOGUE_OPS = 4  # Operations on a matrix operand as it is loaded: done again for every tile of the result
# A group's limits: ptxas takes seconds for longer kernels, and a kernel's arguments have 4 KB in all.
GROUP_OPS, GROUP_READS = 512, 64


class Conflict(Exception):
    """A group computes a value elsewhere than it would be read, or too late."""


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

    `readers` counts the operations that read a value; `spread` has those read at one place by many elements (broadcast
    or taken at computed places), `operands` those that a matrix product reads, `whole` those that a user's kernel does.
    """

    def __init__(self, program: Program) -> None:
        self.readers: dict[Value, int] = dict.fromkeys(program.values, 0)
        self.spread: set[Value] = set()
        self.operands: set[Value] = set()
        self.whole: set[Value] = set()
        outputs = set(program.outputs)
        for value in reversed(program.values):
            view = value.primitive.kind is Kind.VIEW
            for source in set(value.sources):
                self.readers[source] += self.readers[value] if view else 1
                smaller = source.spec.numel < value.spec.numel
                if smaller or value.primitive is ops.TAKE or (view and value in self.spread):
                    self.spread.add(source)
                if (view and value in self.operands) or value.primitive is ops.MATMUL:
                    self.operands.add(source)
                if value.primitive is CALL:
                    self.whole.add(source)
            if view and value in outputs:
                for source in value.sources:
                    self.readers[source] += 1


class Scheduler:
    """The state of the pass: what is placed where, and what each value would cost inline."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.groups = Schedule(program)
        self.place = self.groups.place
        self.outputs = {value for value in program.outputs if value.spec.numel and value.primitive is not ops.BUFFER}
        self.fuse = settings.fuse.value
        self.demand = Demand(program)
        self.cost: dict[Value, Cost] = {}
        self.accesses: dict[tuple[Value, Coords], list[Access]] = {}    # a value is tried in several groups

    def run(self) -> Schedule:
        """Place every value that needs it. What only values of no elements are computed from is not computed."""
        for value in self.program.values:
            self.cost[value] = self.measured(value)
            if value.spec.numel or value.primitive.kind is Kind.USER_KERNEL:
                self.visit(value)
        wanted = set(self.outputs)
        for group in reversed(self.groups):             # whoever reads a value comes later
            group.stores = [value for value in group.members if value in wanted]
            if group.stores or not group.template.ours:
                wanted.update(group.reads)
        self.groups[:] = [group for group in self.groups if group.stores or not group.template.ours]
        if self.fuse:
            bundled(self.groups)
        return self.groups

    def measured(self, value: Value) -> Cost:
        """What it takes to compute `value` inline from leaves and placed nodes."""
        kind = value.primitive.kind
        done: frozenset[Value] = frozenset((value,)) if kind in (Kind.MAP, Kind.INDEX) else frozenset()
        loads: frozenset[Value] = frozenset((value,)) if value.primitive is ops.BUFFER else frozenset()
        depth = paths = 0
        for source in set(value.sources):
            if source in self.place:
                loads, paths = loads | {source}, paths + 1
            else:
                below = self.cost[source]
                done, loads = done | below.ops, loads | below.loads
                depth, paths = max(depth, below.depth), paths + below.paths
        return Cost(done, loads, depth + 1, max(paths, 1))

    def visit(self, value: Value) -> None:
        """Place `value`, or leave it inline."""
        needed = self.needed(value)
        if needed or self.attracted(value):
            group = self.joined(value, anywhere=needed) if self.fuse else None
            if group is None and needed:
                group = Group(len(self.groups), opened(value))
                self.groups.append(group)
                self.enter(group, Offer(group.template, {value: group.template.position(value)}), value)
            if group is not None:
                self.place[value] = group

    def needed(self, value: Value) -> bool:
        """Whether a value must be placed."""
        kind, cost = value.primitive.kind, self.cost[value]
        if value in self.outputs or kind in (Kind.REDUCE, Kind.MATMUL, Kind.USER_KERNEL):
            return True
        if kind in (Kind.LEAF, Kind.CONSTANT):
            return False
        if value in self.demand.whole:
            return True
        size, loads = len(cost.ops), len(cost.loads)
        if size > MAX_OPS or loads > MAX_READS or cost.depth > MAX_DEPTH or cost.paths > MAX_PATHS:
            return True
        if kind is Kind.VIEW:
            return False
        if not self.fuse or (value in self.demand.operands and size > PROLOGUE_OPS):
            return True
        again = self.demand.readers[value] > 1 or value in self.demand.spread
        return again and (size > CHEAP_OPS or loads > CHEAP_READS)

    def attracted(self, value: Value) -> bool:
        """Whether a cheap map had better be computed beside an operand than by its readers.

        A product's or a reduction's result that nothing else reads is then not stored at all.
        """
        if value.primitive.kind is not Kind.MAP:
            return False
        for source in [unviewed(source, self.place) for source in value.sources]:
            group = self.place.get(source)
            if group is not None and value.spec.numel <= source.spec.numel:
                alone = self.demand.readers[source] == 1 and source not in self.outputs
                if group.template.attracts(value, alone):
                    return True
        return False

    # ------------------------------------------------------------------------------------------------ joining a group

    def joined(self, value: Value, anywhere: bool) -> Group | None:
        """The first group that can take `value` along, having taken it; not `anywhere`: only one it depends on."""
        loads = self.cost[value].loads
        placed = {self.place[load].index for load in loads if load in self.place}
        for group in self.groups[max(placed, default=0):]:
            shares = bool(group.reads.keys() & loads)
            if group.index not in placed and not (anywhere and group.template.welcomes(value, shares)):
                continue
            if group.ops + len(self.cost[value].ops) > GROUP_OPS or len(group.reads.keys() | loads) > GROUP_READS:
                continue
            for offer in group.template.offers(group.members, value, self.place):
                try:
                    self.enter(group, offer, value)
                except Conflict:
                    continue
                return group
        return None

    def enter(self, group: Group, offer: Offer, value: Value) -> None:
        """Make `value`, the last of an offer's members, a member of `group`, run over the template offered.

        Raises Conflict, and changes nothing, where the group cannot take it.
        """
        template, members = offer
        trial = Group(group.index, template, members)
        seen: set[tuple[Value, Coords]] = set()
        again = 0

        def visit(value: Value, coords: Coords, repeated: bool) -> None:
            nonlocal again
            if not value.spec.numel or (value, coords) in seen or trial.computes(value, coords):
                return
            seen.add((value, coords))
            home = self.place.get(value)
            if home is not None and home.index != trial.index:
                if home.index > trial.index:
                    raise Conflict
                trial.reads[value] = None
            elif value.primitive.kind is Kind.LEAF:
                trial.reads[value] = None
            else:
                repeated = repeated or value in members
                again += repeated and value.primitive.kind in (Kind.MAP, Kind.INDEX)
                if again > CHEAP_OPS or value.primitive.kind in (Kind.REDUCE, Kind.MATMUL, Kind.USER_KERNEL):
                    raise Conflict
                found = self.accesses.get((value, coords))
                if found is None:
                    found = self.accesses[value, coords] = accesses(value, coords)
                for access in found:
                    visit(access.source, access.coords, repeated)

        for source, coords in template.entry(value, members[value]):
            visit(source, coords, False)
        group.template, group.members = template, members
        group.reads.update(trial.reads)
        group.ops += len(self.cost[value].ops)
