"""A walk that was made before, as one straight line.

A rule of the table is a function of the signatures of what it is given, of the values of numbers among them, and of the
grad mode, and of nothing else (see `Rule`). So for a tape of the same structure a walk records the same nodes, and a
walk that is made again gets a function of its own, emitted as text (see `engine.match`). It first compares the tape
with the one that it was made from: the rules, who feeds whom, the order of recording, and the signatures of whatever a
rule looks at. Then it makes the nodes that the walk made, in the same order, and lets go of what the walk let go of.
A rule that is given a number whose value is not part of the structure is called, as the walk would.

Only what a training step does is replayed: one loss, all leaves, no hooks but theirs, nothing to retain or to
differentiate again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..engine.match import Line
from ..graph import node as graph
from ..graph.node import SCALAR, Kind, Node
from ..graph.tape import DeadEnd, Entry, Leaf, Pullback, Tape
from .saved import check_versions, fitted

MAX_REPLAYS = 8
"""Walks that begin with the same rule and are compared in turn; and walks of the same rules that get a function."""

MAX_VISITS = 512
"""Entries of a walk that is remembered: a longer line takes Python too long to compile."""

MAX_MET = 4096
"""Walks of which it is remembered that they were made."""


class Visit(NamedTuple):
    """What a walk did at an entry with these edges: for each source by its number, the rule's cotangent, and the sum
    that it made with what had arrived there before."""

    tape: Any
    edges: Sequence[Any]
    made: list[tuple[int, Node, Node]]


Function = Callable[[Node, Node], dict[Tape, Node] | None]


class Replay(NamedTuple):
    """A function `(out, cotangent) -> cotangents of the leaves, or None`, and how many nodes it records at most."""

    function: Function
    size: int


class Replays:
    """The walks that were met: `made` has the functions of each sequence of rules, none for one that was met once;
    `known` those to be tried for a walk that begins with a rule, the last one met first."""

    def __init__(self) -> None:
        self.known: dict[Pullback | None, list[Replay]] = {}
        self.made: dict[tuple[Pullback, ...], list[Replay]] = {}

    def run(self, out: Node, ct: Node, room: int) -> dict[Tape, Node] | None:
        """The leaves' cotangents, when such a walk is known that records at most `room` nodes. Raises RuntimeError for
        a kept value that was changed in place."""
        for replay in self.known.get(None if out.tape is None else out.tape.pullback, ()):
            if replay.size <= room:
                found = replay.function(out, ct)
                if found is not None:
                    return found
        return None

    def learn(self, out: Node, ct: Node, visits: Sequence[Visit], size: int) -> None:
        """Remember a walk that was just made from `out` and recorded `size` nodes; know it when it is met again."""
        if not 0 < len(visits) <= MAX_VISITS or any(not isinstance(tape, Entry) or tape.bare or tape.hooks is not None
                                                    for tape, *_ in visits):
            return
        kind = tuple([tape.pullback for tape, *_ in visits])
        made = self.made.get(kind)
        if made is None:
            if len(self.made) >= MAX_MET:
                self.made.clear()
                self.known.clear()
            self.made[kind] = []
            return
        tried = self.known.get(kind[0], [])
        others = [replay for replay in made if replay not in tried]
        if not others and len(made) < MAX_REPLAYS:              # the same rules, but not the same operands
            try:
                others = [Replay(Walk(out, ct, visits).function(), size)]
            except Untold:
                return
            made += others
        self.known[kind[0]] = [*others, *tried][:MAX_REPLAYS]


class Untold(Exception):
    """One cannot tell what a walk would do that looks the same."""


class Walk(Line):
    """The text of one replay."""

    def __init__(self, out: Node, ct: Node, visits: Sequence[Visit]) -> None:
        super().__init__("replay(n0, c0)", [out])
        self.visits, self.first = visits, out.seq
        first = visits[0].tape
        self.outs: dict[Tape, str] = {first: "n0"}              # the node by which an entry or a leaf was reached
        self.places: dict[Tape | None, str] = {tape: f"t{k}" for k, (tape, *_) in enumerate(visits)}
        self.leaves: dict[Tape, str] = {}
        self.cotangents: dict[Tape | None, Node] = {first: ct}
        self.made: dict[Node, str] = {ct: "c0"}                 # by the walk itself, and its constants
        self.space |= {"graph": graph, "Node": Node, "Leaf": Leaf, "fitted": fitted, "check_versions": check_versions}
        told(ct.signature.primitive is not SCALAR)
        self.refuse(f"c0.signature is not {self.keep('given', ct.signature)}")

    def function(self) -> Function:
        for k, visit in enumerate(self.visits):
            self.compare(k, *visit)
        if len(self.visits) > 1:                                # which also says that no two are one
            self.refuse(f"not {' > '.join(f't{k}.seq' for k in range(len(self.visits)))}")
        self.distinct(list(self.leaves.values()))
        for k, visit in enumerate(self.visits):
            self.pull(k, *visit)
        for k, visit in enumerate(self.visits):
            self.release(k, *visit)
        found = [f"{name}: {self.made[self.cotangents[leaf]]}" for leaf, name in self.leaves.items()]
        self.write(f"return {{{', '.join(found)}}}")
        return super().function()

    def compare(self, k: int, tape: Entry, edges: Sequence[Node], _: object) -> None:
        """Return None unless entry k is as it was: its rule, fresh, and its sources the same in the same places."""
        pullback, name = tape.pullback, self.outs[tape]
        self.write(f"t{k} = {name}.tape")
        self.write(f"s = {name}.sources")
        self.refuse(f"t{k}.pullback is not {self.keep(f'p{k}', pullback)}", f"t{k}.sources is not s")
        self.unpack(edges, "s")
        needs = [i for i, _ in pullback.steps]
        # An entry's rule tells the signature of the value that it was made for.
        self.refuse(*dict.fromkeys(self.differs(edges[i]) for i in pullback.kept
                                   if i not in needs or not isinstance(edges[i].tape, Entry)))
        for i in needs:
            behind: Any = edges[i].tape
            place = self.names[edges[i]]
            told(behind is not None and not isinstance(behind, DeadEnd))    # which has no value to be told by
            if isinstance(behind, Leaf) and behind not in self.outs:
                self.leaves[behind] = self.places[behind] = leaf = f"l{len(self.leaves)}"
                self.write(f"{leaf} = {place}.tape")
                self.refuse(f"{leaf}.__class__ is not Leaf")
            # Of two values, one of which took the other's place on the tape, nobody knows here which to read.
            told(self.outs.setdefault(behind, place) == place)

    def pull(self, k: int, tape: Entry, edges: Sequence[Node], made: list[tuple[int, Node, Node]]) -> None:
        """Make what entry k's rule made for each source that requires grad."""
        pullback, ct = tape.pullback, self.cotangents[tape]
        looked_at = [ct, *[edges[i] for i in pullback.kept]]
        open_ended = any(node.signature.primitive is SCALAR for node in looked_at)
        told([i for i, *_ in made] == [i for i, _ in pullback.steps])
        for i, given, total in made:
            if open_ended:
                self.call(k, i, pullback, edges, given)
            self.build(given)
            self.build(total)
            self.cotangents[edges[i].tape] = total

    def call(self, k: int, i: int, pullback: Pullback, edges: Sequence[Node], given: Node) -> None:
        """Call the rule, which looks at a number's value; what follows knows the result's signature alone."""
        told(given not in self.made and given not in self.names and given.signature.primitive.kind is not Kind.CONSTANT
             and given.signature.primitive is not SCALAR)
        tape = self.visits[k].tape
        operands = [self.made[self.cotangents[tape]], self.outs[tape] if pullback.saves_out else "None",
                    *[self.names[edge] for edge in edges],
                    *[self.keep(f"a{k}_{j}", value) for j, value in enumerate(pullback.attrs)]]
        number = f"{i}, " if pullback.rule.variadic else ""
        name = self.made[given] = f"v{len(self.made)}"
        self.write(f"{name} = {self.keep(f'r{k}', pullback.rule)}.functions[{0 if number else i}]"
                   f"({number}{', '.join(operands)})")
        want = self.keep(f"w{k}_{i}", dict(pullback.steps)[i])
        self.write(f"if {name}.spec is not {want}: {name} = fitted({name}, {want})")
        self.refuse(f"{name}.signature is not {self.keep(f'x{name}', given.signature)}")

    def build(self, wanted: Node) -> None:
        """Make a node, and what it is made of that was not there before the walk, in the order of recording."""
        order = [wanted]
        for node in order:                      # grows as it is walked
            if self.name_of(node) is None:
                order += node.sources
        for node in sorted({node for node in order if self.name_of(node) is None}, key=lambda node: node.seq):
            told(node.seq > self.first and node.buffer is None and node.tape is None and node.version is None)
            sources = ", ".join([self.name_of(source) or "" for source in node.sources])
            name = self.made[node] = f"v{len(self.made)}"
            for line in graph.making(name, self.keep(f"x{name}", node.signature), self.keep(f"y{name}", node.spec),
                                     f"({sources},)" if sources else "()", "graph.next_seq()"):
                self.write(line)

    def name_of(self, node: Node) -> str | None:
        """The name of a node that is there. A number that a rule wrote is one with any equal number among the operands,
        but those may be others the next time."""
        primitive = node.signature.primitive
        if node not in self.made and (primitive is SCALAR or primitive.kind is Kind.CONSTANT):
            self.made[node] = self.keep(f"k{len(self.made)}", node)
        return self.made.get(node) or self.names.get(node)

    def release(self, k: int, tape: Entry, edges: Sequence[Node], _: object) -> None:
        """Let go of what entry k kept, as `Entry.release` and `strip` do; raise where that was changed in place."""
        pullback, name = tape.pullback, self.outs[tape]
        kept = [self.names[edges[i]] for i in pullback.kept] + [name] * pullback.saves_out
        if kept:                                                # few have a version: no call for those that have none
            self.write(f"if {' or '.join(f'{node}.version' for node in kept)}: check_versions(t{k}, {name})")
        for node in kept:
            self.write(f"{node}.holders -= 1")
        if kept or not k:
            self.write(f"t{k}.released = True")
        needs = [i for i, _ in pullback.steps]
        behind = [self.places[edge.tape] if i in needs else f"{self.names[edge]}.tape"
                  for i, edge in enumerate(edges)]
        self.write(f"t{k}.edges = ({', '.join(behind)},)")
        self.write(f"t{k}.sources = p{k}.inputs")
        self.write(f"t{k}.bare = True")


def told(certain: bool) -> None:
    """Raise where one cannot tell what a walk would do."""
    if not certain:
        raise Untold


replays = Replays()
