"""The tape: what a derivative will need of each recorded operation, kept apart from the values themselves.

A node that requires grad carries an `Entry` (made by an operation) or a `Leaf` (a user's tensor). An entry keeps the
source nodes whose *values* its rule uses, and mere edges to the others, so nothing else outlives the computation.
An entry never refers to its own output (a consumer's edge does): there are no reference cycles.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from .spec import Spec

if TYPE_CHECKING:
    from .node import Node, Signature


class GradMode(threading.local):
    """Whether operations are recorded on the tape, for each thread."""

    enabled = True


grad_mode = GradMode()

OUT = -1
ONE = (True,)


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


hooks: weakref.WeakKeyDictionary[Tape, dict[int, Callable[[Node], Node]]] = weakref.WeakKeyDictionary()
"""What to call with the cotangent that arrives at an entry; few entries have any."""

versions: weakref.WeakKeyDictionary[Node, tuple[Any, int]] = weakref.WeakKeyDictionary()
"""For values that have been viewed or changed in place: the memory's version cell, and the version they are of."""

overwritten = [False]
"""Whether any value that a tape entry kept was ever changed in place: only then are versions compared."""


class Tape:
    """Anything on the tape: an `Entry`, a `Leaf`, or a user's function."""

    __slots__ = ()
    saves_out: bool
    seq: int


class Leaf(Tape):
    """The tape's end at a user's tensor: where a gradient is accumulated (PyTorch's AccumulateGrad)."""

    __slots__ = ("__weakref__", "seq", "tensor")
    saves_out = False
    name = "AccumulateGrad"

    def __init__(self, tensor: Any, seq: int) -> None:
        self.tensor = weakref.ref(tensor)
        self.seq = seq

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

    __slots__ = ("__weakref__", "edges", "keeps", "released", "saves_out", "seq", "signature", "sources")

    def __init__(self, node: Node, signature: Signature, sources: tuple[Node, ...]) -> None:
        self.signature = signature
        self.seq = node.seq
        self.released = False
        masks = signature.rule.masks                                        # type: ignore[union-attr]
        if len(sources) == 1:                       # one source and two are the hot paths: worth their own lines
            source = sources[0]
            (kept,), saves_out = masks.get(ONE) or signature.rule.saved(ONE)        # type: ignore[union-attr]
            self.keeps = kept or saves_out
            if kept:
                source.holders += 1
                self.sources: list[Node | Spec] = [source]
                self.edges: list[Node | Tape | None] = [source]
            else:
                tape = source.tape
                self.sources = [source.spec]
                self.edges = [source if tape.saves_out else tape]                   # type: ignore[union-attr]
        elif len(sources) == 2:
            x, y = sources
            a, b = x.tape, y.tape
            needs: tuple[bool, ...] = (a is not None, b is not None)
            keep, saves_out = masks.get(needs) or signature.rule.saved(needs)       # type: ignore[union-attr]
            kx, ky = keep
            if kx:
                x.holders += 1
            if ky:
                y.holders += 1
            self.sources = [x if kx else x.spec, y if ky else y.spec]
            self.edges = [
                a and (x if kx or a.saves_out else a), b and (y if ky or b.saves_out else b)]
            self.keeps = kx or ky or saves_out
        else:
            needs = tuple([s.tape is not None for s in sources])
            keep, saves_out = masks.get(needs) or signature.rule.saved(needs)       # type: ignore[union-attr]
            self.sources = [s if kept else s.spec for s, kept in zip(sources, keep)]    # noqa: B905 (lengths agree)
            self.edges = [s.tape and (s if kept or s.tape.saves_out else s.tape)
                          for s, kept in zip(sources, keep)]                            # noqa: B905
            for source, kept in zip(sources, keep):                                     # noqa: B905
                if kept:
                    source.holders += 1
            self.keeps = saves_out or True in keep
        self.saves_out = saves_out
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
        if not self.keeps or self.released:
            self.released = True
            return
        self.released = True
        sources, edges = self.sources, self.edges
        i = 0
        for source in sources:
            if source.__class__ is not Spec:
                source.holders -= 1                     # type: ignore[union-attr]
                sources[i] = source.spec                # type: ignore[union-attr]
                tape = source.tape                      # type: ignore[union-attr]
                if tape is not None and not tape.saves_out:
                    edges[i] = tape
            i += 1                                      # noqa: SIM113 (mostly one source or two)
        if self.saves_out and out is not None:
            out.holders -= 1

    def __repr__(self) -> str:
        return f"<{self.name} object at {id(self):#x}>"


def tape_of(edge: Node | Tape | None) -> Tape | None:
    """The tape entry behind an edge."""
    return edge if edge is None or isinstance(edge, Tape) else edge.tape


@cache
def entry_class(name: str) -> type[Entry]:
    """The class of entries that go by one of PyTorch's names, e.g. `MulBackward0`."""
    return type(name, (Entry,), {"__slots__": (), "__module__": __name__})
