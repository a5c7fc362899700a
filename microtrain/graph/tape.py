"""The tape: what a derivative will need of each recorded operation, kept apart from the values themselves.

A node that requires grad carries an `Entry` (made by an operation) or a `Leaf` (a user's tensor). An entry keeps the
source nodes whose *values* its rule uses, and mere edges to the others, so nothing else outlives the computation.
An entry never refers to its own output (a consumer's edge does): there are no reference cycles.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from .spec import Spec


class GradMode(threading.local):
    """Whether operations are recorded on the tape, for each thread."""

    enabled = True


grad_mode = GradMode()

OUT = -1


class Recorded:
    """What the tape knows of a value: the part of a node (`node.Node`) that stands below it."""

    __slots__ = ("holders", "seq", "sources", "spec", "tape")

    holders: int
    seq: int
    sources: tuple[Any, ...]
    spec: Spec
    tape: Tape | None


class Rule:
    """The derivative of one primitive: for each source, a function `(ct, out, *sources, *attrs) -> cotangent`.

    `uses` lists, for each of those functions, the sources (by index) and the output (`OUT`) whose values it reads;
    whatever is not listed arrives as a bare `Spec`. What a rule records is determined by the signatures of the
    cotangent and of what it reads, by the values of numbers among those, and by the grad mode: a walk that is met again
    does not ask it anew (see `autograd.replay`). A variadic rule has one function, told the source's index first.
    Where it is `flat` the slopes are constant between the source's kinks: a cotangent depends on its own source with
    derivative 0, as PyTorch has it, where no derivative at all would be an error.
    """

    __slots__ = ("flat", "functions", "uses", "variadic")

    def __init__(self, functions: Sequence[Callable[..., Any]], uses: Sequence[Sequence[int]], variadic: bool = False,
                 flat: bool = False) -> None:
        self.functions, self.uses = tuple(functions), tuple(map(tuple, uses))
        self.variadic, self.flat = variadic, flat


class Pullback:
    """A signature's rule where certain of the sources require grad: worked out once, shared by all such entries.
    `steps` pairs the index of each of those sources with its spec. `kept` are the indices of the sources whose values
    the rule reads; `saves_out` says whether it reads the output's, `keeps` whether it reads any."""

    __slots__ = ("attrs", "entry", "hooks", "inputs", "keeps", "kept", "rule", "saves_out", "steps")

    def __init__(self, rule: Rule, attrs: tuple[object, ...], inputs: tuple[Spec, ...], name: str,
                 needs: tuple[bool, ...]) -> None:
        used = {k for i, need in enumerate(needs) if need for k in rule.uses[0 if rule.variadic else i]}
        self.rule, self.attrs, self.inputs = rule, attrs, inputs
        self.entry = entry_class(name)
        self.steps = tuple((i, inputs[i]) for i, need in enumerate(needs) if need)
        self.kept, self.saves_out = tuple(i for i in range(len(needs)) if i in used), OUT in used
        self.keeps = bool(self.kept) or self.saves_out
        self.hooks: Hooks | None = None

    def with_hooks(self, hooks: Hooks | None) -> Pullback:
        """The same for one entry alone, which has hooks."""
        own = copy.copy(self)
        own.hooks = hooks
        return own


class HookTable(dict[int, Callable[..., object]]):
    """Hooks by the number of their handle, which refers to this table weakly."""

    __slots__ = ("__weakref__",)


class Hooks(HookTable):
    """What is called with the gradient that arrives at a place on the tape: a user's functions, by the number of their
    handle, and then the tensors that `retain_grad` keeps it for. `tensor` makes the tensor that they are given.

    It lies on the tape itself, so that a function that refers to its own tensor goes with it. A leaf's lies on its
    tensor: the place is part of every graph that is still to be computed, which must keep no model alive. When that
    tensor goes away before a backward its place takes them over.
    """

    __slots__ = ("after", "leaf", "me", "retaining", "tensor")

    def __init__(self, tensor: Callable[[Any], Any]) -> None:
        self.tensor = tensor
        self.after = HookTable()                # called with a leaf itself once its `.grad` has been added to
        self.retaining: list[weakref.ref[Any]] = []
        self.leaf: weakref.ref[Leaf] | None = None
        self.me: weakref.ref[Hooks] = weakref.ref(self)


class LeafHooks(Hooks):
    """A leaf's. An interrupt that comes while one goes away is lost, as ever in Python: so no others run code then."""

    __slots__ = ()

    def __del__(self) -> None:
        reference = getattr(self, "leaf", None)
        leaf = None if reference is None else reference()
        if leaf is not None and self.me() is not None:          # not as part of a cycle: then weak references are gone
            leaf.hooking = self


class Tape:
    """Anything on the tape: an `Entry`, a `Leaf`, or a user's function."""

    __slots__ = ()
    bare = True
    edges: Sequence[Recorded | Tape | None] = ()
    hooks: Hooks | None = None
    is_leaf = False
    pullback: Pullback | None = None
    released = False
    saves_out: bool
    seq: int

    @property
    def name(self) -> str:
        """PyTorch's name of the backward function, e.g. `AddBackward0`."""
        return type(self).__name__

    @property
    def place(self) -> tuple[Tape | None, int]:
        """The entry that users are shown for this one, and which of its outputs this is."""
        return self, 0

    @property
    def next_functions(self) -> tuple[tuple[Tape | None, int], ...]:
        """The tape entries of the sources, as PyTorch gives them: pairs of entry (or None) and output number."""
        return tuple((None, 0) if tape is None else tape.place for tape in map(tape_of, self.edges))

    def __repr__(self) -> str:
        return f"<{self.name} object at {id(self):#x}>"


def nobody() -> None:
    """A weak reference to nothing."""


class Leaf(Tape):
    """The tape's end at a user's tensor: where a gradient is accumulated (PyTorch's AccumulateGrad)."""

    __slots__ = ("__weakref__", "hooking", "seq", "tensor")
    hooked = False              # whether any leaf ever had hooks
    is_leaf = True
    saves_out = False
    name = "AccumulateGrad"

    def __init__(self, seq: int) -> None:
        self.tensor: Callable[[], Any] = nobody
        self.seq = seq
        self.hooking: weakref.ref[Hooks] | Hooks | None = None

    @property
    def hooks(self) -> Hooks | None:
        """The hooks, which lie on the tensor while it is there."""
        found = self.hooking
        return found() if isinstance(found, weakref.ref) else found

    @hooks.setter
    def hooks(self, hooks: Hooks | None) -> None:
        assert hooks is not None
        Leaf.hooked = True
        hooks.__class__ = LeafHooks
        hooks.leaf, self.hooking = weakref.ref(self), weakref.ref(hooks)
        self.tensor()._backward_hooks = hooks

    @property
    def variable(self) -> Any:
        """The tensor whose `.grad` this accumulates, or None when it is gone or does not require grad any more."""
        return self.tensor()


class DeadEnd(Tape):
    """The place of a tensor that requires grad and from which no gradient goes on: a view, made without grad mode, of
    what requires grad."""

    __slots__ = ("__weakref__", "hooks")
    is_leaf = True
    name = ""
    saves_out = False
    seq = 0
    next_functions = ((None, 0),)

    def __init__(self) -> None:
        self.hooks: Hooks | None = None

    @property
    def place(self) -> tuple[Tape | None, int]:
        return None if self.is_leaf else self, 0


class AsStridedBackward0(DeadEnd):
    """The place of a view that required grad and whose base, detached since, was changed."""

    __slots__ = ("seq",)
    is_leaf = False
    name = "AsStridedBackward0"

    def __init__(self, seq: int) -> None:
        super().__init__()
        self.seq = seq


class Entry(Tape):
    """One recorded operation on the tape (PyTorch's grad_fn).

    At first `sources` and `edges` are the node's own sources. When a value that depends on it is computed, the entry is
    made `bare` (see `strip`): then `sources[i]` is a Node only where the rule reads the value, else a Spec, and
    `edges[i]` a Node only where the source's own rule will read it (its output), else its tape entry or None.
    An entry that keeps values is walked once: then they are `released`.
    """

    __slots__ = ("__weakref__", "bare", "edges", "pullback", "released", "seq", "sources")

    edges: tuple[Recorded | Tape | None, ...]
    pullback: Pullback
    released: bool
    sources: tuple[Recorded | Spec, ...]

    @property
    def hooks(self) -> Hooks | None:
        """The hooks; an entry that has any has a pullback of its own, so that no walk takes it for another."""
        return self.pullback.hooks

    @hooks.setter
    def hooks(self, hooks: Hooks | None) -> None:
        self.pullback = self.pullback.with_hooks(hooks)

    @property
    def saves_out(self) -> bool:                        # type: ignore[override]
        """Whether the rule reads the output's value."""
        return self.pullback.saves_out

    def release(self, out: Recorded | None) -> None:
        """Let go of the kept values, after a backward that does not retain the graph."""
        if self.released:
            return
        self.released = True
        pullback = self.pullback
        for i in pullback.kept:
            self.sources[i].holders -= 1                # type: ignore[union-attr]
        self.sources = pullback.inputs
        if self.saves_out and out is not None:
            out.holders -= 1


def tape_of(edge: Recorded | Tape | None) -> Tape | None:
    """The tape entry behind an edge."""
    return edge if edge is None or isinstance(edge, Tape) else edge.tape


def enter(node: Recorded, pullback: Pullback) -> None:
    """Put an operation on the tape."""
    entry = node.tape = pullback.entry()
    entry.pullback = pullback
    entry.seq = node.seq
    entry.edges = entry.sources = sources = node.sources
    entry.bare = entry.released = False
    for i in pullback.kept:
        sources[i].holders += 1
    if pullback.saves_out:
        node.holders += 1


def strip(tape: Tape) -> None:
    """Make an entry, whose value has been computed, and all that are behind it let go of what no rule reads. A step
    that drops its loss unread never comes here: its entries go with it, as they were recorded."""
    stack = [tape]
    while stack:
        tape = stack.pop()
        if tape.bare:
            continue
        tape.bare = True                                # type: ignore[misc]
        edges = []
        for edge in tape.edges:
            behind = edge if edge is None or isinstance(edge, Tape) else edge.tape
            if behind is not None and not behind.bare:
                stack.append(behind)
            # A value that the rule behind it has read for the last time, or never reads, is held no longer.
            edges.append(behind if behind is None or not behind.saves_out or behind.released else edge)
        if isinstance(tape, Entry):
            kept, inputs = () if tape.released else tape.pullback.kept, tape.pullback.inputs
            tape.sources = inputs if not kept else tuple(
                [source if i in kept else inputs[i] for i, source in enumerate(tape.sources)])
            tape.edges = tuple(edges)


@cache
def entry_class(name: str) -> type[Entry]:
    """The class of entries that go by one of PyTorch's names, e.g. `MulBackward0`."""
    return type(name, (Entry,), {"__slots__": (), "__module__": __name__})
