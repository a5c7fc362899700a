"""A walk that was made before, as one straight line.

The walk finds out which entry is next and what has arrived there; for a tape of the same structure the answers are the
same. So a walk that is made again gets a function of its own, emitted as text. It first compares the tape with the one
that it was made from: the rules, who feeds whom, the order of recording. Then it calls the same rules on the same
operands in the same order; what they record, and the values that they look at, is up to the rules as ever. For
`(w * x).sigmoid()` it is

    def replay(n0, c0):
        t0 = n0.tape
        s = n0.sources
        if t0.pullback is not p0 or t0.sources is not s: return None
        n1, = s
        ...
        v = r0.functions[0](c0, n0, n1)
        if v.spec is not w0_0: v = fitted(v, w0_0)
        c1 = v
        ...
        return {l0: c2}

Only what a training step does is replayed: one loss, all leaves, no hooks but theirs, nothing to retain or to
differentiate again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..graph import ops as g
from ..graph.node import Node
from ..graph.tape import DeadEnd, Entry, Leaf, Pullback, Tape

Visit = tuple[Any, Sequence[Any]]
"""An entry that a walk came to, with its edges at that time."""

MAX_REPLAYS = 8
"""Walks that begin with the same rule and are compared in turn; and walks of the same rules that get a function."""

MAX_VISITS = 512
"""Entries of a walk that is remembered: a longer line takes Python too long to compile."""

MAX_MET = 4096
"""Walks of which it is remembered that they were made."""


class Replays:
    """The walks that were met: `made` has the functions of each sequence of rules, none for one that was met once;
    `known` those to be tried for a walk that begins with a rule, the last one met first."""

    def __init__(self) -> None:
        self.known: dict[Pullback, list[Replay]] = {}
        self.made: dict[tuple[Pullback, ...], list[Replay]] = {}

    def run(self, out: Node, ct: Node, room: int) -> dict[Tape, Node] | None:
        """The leaves' cotangents, when such a walk is known that records at most `room` nodes.

        Raises RuntimeError for a kept value that was changed in place.
        """
        tape: Any = out.tape
        for replay in self.known.get(tape.pullback, ()):
            if replay.size <= room:
                found = replay.function(out, ct)
                if found is not None:
                    return found
        return None

    def learn(self, out: Node, visits: Sequence[Visit], size: int, **functions: Callable[..., Any]) -> None:
        """Remember a walk that was just made from `out` and recorded `size` nodes; know it when it is met again.

        `functions` are the walk's own, `fitted` and `check_versions`.
        """
        if not 0 < len(visits) <= MAX_VISITS or any(not isinstance(tape, Entry) or tape.bare for tape, _ in visits):
            return
        if any(tape.hooks is not None for tape, _ in visits):
            return
        kind = tuple([tape.pullback for tape, _ in visits])
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
            function = Line(out, visits, functions).function()
            if function is None:
                return
            others = [Replay(function, size)]
            made += others
        self.known[kind[0]] = [*others, *tried][:MAX_REPLAYS]


class Replay:
    """A function `(out, cotangent) -> cotangents of the leaves, or None`, and how many nodes it records."""

    __slots__ = ("function", "size")

    def __init__(self, function: Callable[[Node, Node], dict[Tape, Node] | None], size: int) -> None:
        self.function, self.size = function, size


class Line:
    """The text of one replay."""

    def __init__(self, out: Node, visits: Sequence[Visit], functions: Mapping[str, Callable[..., Any]]) -> None:
        self.out, self.visits = out, visits
        self.space: dict[str, Any] = {"add": g.add, "Leaf": Leaf, **functions}
        self.nodes: dict[Node, str] = {out: "n0"}
        self.outs: dict[Tape, str] = {visits[0][0]: "n0"}       # the node by which an entry or a leaf was reached
        self.leaves: dict[Tape, str] = {}
        self.cotangents: dict[Tape, str] = {visits[0][0]: "c0"}
        self.clear = True
        self.text = ["def replay(n0, c0):"]

    def function(self) -> Any:
        """The compiled function, or None where one cannot tell what it would do."""
        for k, (tape, edges) in enumerate(self.visits):
            self.compare(k, tape, edges)
        if not self.clear:
            return None
        order = " > ".join(f"t{k}.seq" for k in range(len(self.visits)))
        if len(self.visits) > 1:
            self.write(f"if not {order}: return None")          # which also says that no two are one
        if len(self.leaves) > 1:
            self.write(f"if len({{{', '.join(self.leaves.values())}}}) < {len(self.leaves)}: return None")
        for k, (tape, edges) in enumerate(self.visits):
            self.pull(k, tape, edges)
        if not self.visits[0][0].pullback.keeps:
            self.write("t0.released = True")
        found = ", ".join(f"{name}: {self.cotangents[tape]}" for tape, name in self.leaves.items())
        self.write(f"return {{{found}}}")
        exec(compile("\n".join(self.text), "<microtrain replay>", "exec"), self.space)
        return self.space["replay"]

    def write(self, line: str) -> None:
        self.text.append(f"    {line}")

    def compare(self, k: int, tape: Any, edges: Sequence[Node]) -> None:
        """Return None unless entry k is as it was: its rule, fresh, and its sources the same in the same places."""
        self.space[f"p{k}"], self.space[f"r{k}"] = tape.pullback, tape.pullback.rule
        name, places, again = self.outs[tape], [], []
        for i, edge in enumerate(edges):
            if edge in self.nodes:
                places.append(f"m{i}")
                again.append(f"m{i} is not {self.nodes[edge]}")
            else:
                self.nodes[edge] = f"n{len(self.nodes)}"
                places.append(self.nodes[edge])
        self.write(f"t{k} = {name}.tape")
        self.write(f"s = {name}.sources")
        self.write(f"if t{k}.pullback is not p{k} or t{k}.sources is not s: return None")
        self.write(f"{', '.join(places)}, = s")
        if again:
            self.write(f"if {' or '.join(again)}: return None")
        for i, _ in tape.pullback.steps:
            behind, place = edges[i].tape, self.nodes[edges[i]]
            if behind.__class__ is Leaf and behind not in self.outs:
                leaf = self.leaves[behind] = f"l{len(self.leaves)}"
                self.write(f"{leaf} = {place}.tape")
                self.write(f"if {leaf}.__class__ is not Leaf: return None")
            self.clear &= not isinstance(behind, DeadEnd)       # which has no value of its own to be told by
            # Of two values, one of which took the other's place on the tape, nobody knows here which to read.
            self.clear &= self.outs.setdefault(behind, place) == place

    def pull(self, k: int, tape: Any, edges: Sequence[Node]) -> None:
        """Call entry k's rule for each source that requires grad, and let go of what it kept."""
        pullback, name = tape.pullback, self.outs[tape]
        kept = [self.nodes[edges[i]] for i in pullback.kept] + [name] * pullback.saves_out
        if kept:                                                # few have a version: no call for those that have none
            self.write(f"if {' or '.join(f'{node}.version' for node in kept)}: check_versions(t{k}, {name})")
        operands = [self.nodes[edge] for edge in edges]
        for j, value in enumerate(pullback.attrs):
            self.space[f"a{k}_{j}"] = value
            operands.append(f"a{k}_{j}")
        given = f"{self.cotangents[tape]}, {name if pullback.saves_out else None}, {', '.join(operands)}"
        for i, want in pullback.steps:
            call = f"functions[0]({i}, {given})" if pullback.rule.variadic else f"functions[{i}]({given})"
            self.space[f"w{k}_{i}"] = want
            self.write(f"v = r{k}.{call}")
            self.write(f"if v.spec is not w{k}_{i}: v = fitted(v, w{k}_{i})")
            behind: Any = edges[i].tape
            if behind in self.cotangents:
                self.write(f"{self.cotangents[behind]} = add({self.cotangents[behind]}, v)")
            else:
                self.cotangents[behind] = f"c{len(self.cotangents)}"
                self.write(f"{self.cotangents[behind]} = v")
        if kept:                                                # as `Entry.release`
            for node in kept:
                self.write(f"{node}.holders -= 1")
            self.write(f"t{k}.released = True")
            self.write(f"t{k}.sources = p{k}.inputs")


replays = Replays()
