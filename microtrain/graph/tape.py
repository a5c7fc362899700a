"""The tape: what a derivative will need of each recorded operation, kept apart from the values themselves.

A node that requires grad carries an `Entry` (made by an operation) or a `Leaf` (a user's tensor). An entry keeps the
source nodes whose *values* its rule uses, and mere edges to the others, so nothing else outlives the computation.
An entry never refers to its own output (a consumer's edge does): there are no reference cycles.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .spec import Spec

if TYPE_CHECKING:
    from .node import Node, Signature


class GradMode(threading.local):
    """Whether operations are recorded on the tape, for each thread."""

    enabled = True


grad_mode = GradMode()

OUT = -1


class Rule:
    """The derivative of one primitive: for each source, a function `(ct, out, *sources, *attrs) -> cotangent`.

    `uses` lists, for each of those functions, the sources (by index) and the output (`OUT`) whose values it reads;
    whatever is not listed arrives as a bare `Spec`. A variadic rule has one function, told the source's index first.
    """

    __slots__ = ("functions", "masks", "uses", "variadic")

    def __init__(self, functions: Sequence[Callable[..., Node]], uses: Sequence[Sequence[int]], variadic: bool) -> None:
        self.functions, self.uses, self.variadic = tuple(functions), tuple(map(tuple, uses)), variadic
        self.masks: dict[tuple[bool, ...], tuple[tuple[bool, ...], bool]] = {}

    def saved(self, needs: tuple[bool, ...]) -> tuple[tuple[bool, ...], bool]:
        """Which sources, and whether the output, must be kept when the sources marked in `needs` require grad."""
        found = self.masks.get(needs)
        if found is None:
            used: set[int] = set()
            for i, need in enumerate(needs):
                if need:
                    used.update(self.uses[0 if self.variadic else i])
            found = self.masks[needs] = (tuple(i in used for i in range(len(needs))), OUT in used)
        return found


overwritten = [False]
"""Whether any value that a tape entry kept was ever changed in place: only then are versions compared."""


class Tape:
    """Anything on the tape: an `Entry`, a `Leaf`, or a user's function."""

    __slots__ = ()


class Leaf(Tape):
    """The tape's end at a user's tensor: where a gradient is accumulated (PyTorch's AccumulateGrad)."""

    __slots__ = ("__weakref__", "hooks", "seq", "tensor")
    saves_out = False
    name = "AccumulateGrad"

    def __init__(self, tensor: Any, seq: int) -> None:
        self.tensor = weakref.ref(tensor)
        self.seq = seq
        self.hooks: dict[int, Callable[[Node], Node]] | None = None

    @property
    def variable(self) -> Any:
        """The tensor whose `.grad` this accumulates, or None when it is gone."""
        return self.tensor()

    next_functions: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


class Entry(Tape):
    """One recorded operation on the tape (PyTorch's grad_fn).

    `keeps` says that the rule reads values, so that no second walk is possible once they are released.
    `edges[i]` is None where source i needs no gradient, the source Node where its value (or, for its own rule, its
    output) is needed, else its bare Entry or Leaf. `sources[i]` is a Node where the value is kept, else a Spec.
    """

    __slots__ = ("__weakref__", "edges", "hooks", "keeps", "released", "saves_out", "seq", "signature", "sources")

    def __init__(self, node: Node, signature: Signature, sources: tuple[Node, ...]) -> None:
        self.signature = signature
        self.seq = node.seq
        self.hooks: dict[int, Callable[[Node], Node]] | None = None
        self.released = False
        rule = signature.rule
        needs = tuple([s.tape is not None for s in sources])
        keep, saves_out = rule.masks.get(needs) or rule.saved(needs)        # type: ignore[union-attr]
        edges: list[Node | Entry | Leaf | None] = []
        saved: list[Node | Spec] = []
        keeps = saves_out
        for source, kept in zip(sources, keep):     # noqa: B905 (the hot path; lengths agree)
            tape = source.tape
            if kept:
                source.holders += 1
                keeps = True
                saved.append(source)
                edges.append(tape and source)
            else:
                saved.append(source.spec)
                edges.append(source if tape is not None and tape.saves_out else tape)
        self.edges, self.sources, self.keeps, self.saves_out = edges, saved, keeps, saves_out
        if saves_out:
            node.holders += 1

    @property
    def name(self) -> str:
        """PyTorch's name of the backward function, e.g. `AddBackward0`."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The tape entries of the sources, as PyTorch gives them: pairs of entry (or None) and output number."""
        return tuple((tape_of(edge), 0) for edge in self.edges)

    def release(self, out: Node | None) -> None:
        """Let go of the kept values, after a backward that does not retain the graph."""
        if self.released:
            return
        self.released = True
        if not self.keeps:
            return
        sources, edges = self.sources, self.edges
        for i, source in enumerate(sources):
            if source.__class__ is not Spec:
                source.holders -= 1                     # type: ignore[union-attr]
                sources[i] = source.spec                # type: ignore[union-attr]
                tape = source.tape                      # type: ignore[union-attr]
                if tape is not None and not tape.saves_out:
                    edges[i] = tape
        if self.saves_out and out is not None:
            out.holders -= 1

    def __repr__(self) -> str:
        return f"<{self.name} object at {id(self):#x}>"


def tape_of(edge: Node | Entry | Leaf | None) -> Entry | Leaf | None:
    """The tape entry behind an edge."""
    return edge if edge is None or isinstance(edge, Tape) else edge.tape      # type: ignore[return-value]


@lru_cache(maxsize=None)
def entry_class(name: str) -> type[Entry]:
    """The class of entries that go by one of PyTorch's names, e.g. `MulBackward0`."""
    return type(name, (Entry,), {"__slots__": (), "__module__": __name__})
