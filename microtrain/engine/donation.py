"""Writing an update over what it updates: a run is given the memory of values that nobody can see any more.

Who still sees a value is asked of Python itself. The pending graph is taken apart, as computing it would do anyway;
a leaf that is gone then was held by that graph alone, and its buffer is given to the run. Whoever else needs the value
(a tensor, the tape, another pending graph) holds its node, so the leaf stays. A buffer that can be seen without its
node, because another node or an array has it too, is marked `shared` on the node and never given away.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence

from ..compiler.program import Executable, Flat
from ..graph.dtypes import float32
from ..graph.node import Kind, Node, Primitive, Signature, leaf, new_node
from ..graph.spec import Spec
from ..scopes import finish


def _lost(*_: object) -> Node:
    raise RuntimeError("this value is lost: the run that was to compute it failed after it had written over values "
                       "that it depends on (an update of a parameter in place); compute it anew from what is at hand")


LOST = Primitive("lost", Kind.COMPOSITE, lambda *_: ((), float32), differentiable=False, decompose=_lost)
"""What stands in a graph for a leaf that was written over by a run that failed. Raises when it is computed."""


class Apart:
    """A graph taken apart: `outs` are the nodes to compute, `free` the places of leaves that nobody else holds.

    order, key, outputs, leaves: as `linearize` gives them; `order` is emptied. candidates: places among the leaves.
    """

    def __init__(self, order: list[Node], key: Flat, outputs: Sequence[int], leaves: list[object],
                 candidates: Sequence[int]) -> None:
        self.key, self.outputs, self.leaves, self.candidates = key, outputs, leaves, candidates
        self.outs = [order[i] for i in outputs]
        self.seqs = [node.seq for node in order]
        self.at_hand: list[Node | None] = [node for node in order if node.buffer is not None]
        self.watched: dict[int, weakref.ref[Node]] = {}
        self.free: tuple[int, ...] = ()
        order.clear()

    def take_apart(self) -> None:
        """Let go of the graph, and find out which leaves are gone with it."""
        for k in self.candidates:
            node = self.at_hand[k]
            if node is not None and not node.shared:
                self.watched[k] = weakref.ref(node)
                self.at_hand[k] = node = None
        for node in self.outs:
            node.sources = ()
        self.free = tuple([k for k, reference in self.watched.items() if reference() is None])

    def put_together(self) -> None:
        """Make the graph whole again, after the run failed; a leaf that was written over is lost."""
        made: list[Node] = []
        outs = dict(zip(self.outputs, self.outs, strict=True))
        at_hand = iter(range(len(self.leaves)))
        sources = iter([part for part in self.key[1:] if isinstance(part, int)])
        for i, signature in enumerate([part for part in self.key[1:] if isinstance(part, Signature)]):
            inputs = tuple([made[next(sources)] for _ in signature.inputs])
            if signature.primitive.kind is Kind.LEAF:
                node = self.at_leaf(next(at_hand), signature.spec)
            else:
                node = outs.get(i) or new_node(signature, ())
                node.sources = inputs
            node.seq = self.seqs[i]
            made.append(node)

    def at_leaf(self, k: int, spec: Spec) -> Node:
        """The leaf at a place, or what stands for it now that it is gone."""
        reference = self.watched.get(k)
        node = self.at_hand[k] if reference is None else reference()
        if node is not None:
            return node
        return new_node(Signature(LOST, (), (), spec), ()) if self.leaves[k] is None else leaf(self.leaves[k], spec)

    def run(self, executable: Executable, take: Callable[[list[Node], list[object]], None]) -> None:
        """Compute, and have `take` give the nodes their values. When the run fails the graph is whole again."""
        values: list[object] | None = None
        try:
            self.take_apart()
            values = executable.run(self.leaves, self.free)
            take(self.outs, values)
        except BaseException:
            if values is None:
                self.put_together()
            else:                       # an interrupt of a kind that nothing keeps away: what was computed is not lost
                take(self.outs, values)
            raise


# `_signal`: the functions of `signal` in C. Those around them look for enums, which takes 20 us a call.


HANDLED = [getattr(_signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGVTALRM", "SIGPROF",
                                               "SIGUSR1", "SIGUSR2", "SIGBREAK") if hasattr(_signal, name)]
"""Signals that programs have handlers for which raise."""


def uninterrupted(function: Callable[..., None], *arguments: object) -> None:
    """Call a function that must not be left half done: a signal (Ctrl-C) in the meantime is handled when it has
    returned."""
    handlers = {number: handler for number in HANDLED if callable(handler := _signal.getsignal(number))}
    if not handlers or threading.current_thread() is not threading.main_thread():
        function(*arguments)
        return
    came: dict[int, object] = {}
    try:
        for number in handlers:
            _signal.signal(number, came.__setitem__)
        function(*arguments)
    finally:
        finish(restore, handlers)
        for number, frame in came.items():
            handlers[number](number, frame)


def restore(handlers: Mapping[int, Callable[..., object]]) -> None:
    """Have signals handled as before."""
    for number, handler in handlers.items():
        _signal.signal(number, handler)
