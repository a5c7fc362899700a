"""What a thread has recorded and not computed yet.

Each thread records a graph of its own, however many there are: what one has half recorded is none of another's
business. Plans and memos are everybody's. Whatever is computed is computed under one lock (`runtime.lock`), so that a
value that two threads need is computed once, and a launch never meets another.
"""

from __future__ import annotations

import _thread
import threading
import weakref
from collections.abc import Callable, Collection

from ..graph import node as graph_node
from ..graph.constants import forget_constants
from ..graph.node import Node, Unmade
from ..graph.spec import Device
from ..graph.tape import Tape
from ..runtime.lock import lock
from .handle import HasNode, TensorLike
from .recorder import Recorder

MAX_PENDING = 1024
"""Operations recorded since the last computation after which what is pending is computed at once, so that a running
sum neither grows without bound nor compiles into an endless function."""

sessions: list[tuple[weakref.ref[Session], list[weakref.ref[HasNode]]]] = []
"""Every thread's session with what it holds; that outlives the thread, until it is computed by another."""


class Session:
    """What one thread has recorded and not computed yet.

    Attributes:
        held: weak references to the tensors that were given a node without a value, in the order in which they were; to
            some twice, to some that are gone. A tensor tells nobody when it goes: its death runs no code.
        limit: the recording number past which `settle` is called: one comparison an operation watches all rules.
        most: the recording number past which there may be more than `MAX_PENDING` operations pending: see `full`.
        started: the recording number of the last computation; what is pending has later ones.
        recorded: how many operations this thread has recorded, where each thread counts its own; None where there is
            but one, whose recording numbers say it.
        retained: while gradients are accumulated: the tensors that had theirs retained, with what it was before.
        since: `recorded` (or the recording number) as it was at `started`.
        updated: devices on which a parameter was changed in place since the last computation.
        visiting: while there are watchers, the entries of the tape that backwards, one inside another, are at.
        recorder: what is told of a whole step while it is recorded; nothing is computed then.
        watchers: what is told of every operation that a tensor records, as it is recorded; anomaly detection computes
            it at once.
    """

    __slots__ = ("__weakref__", "held", "limit", "most", "recorded", "recorder", "retained", "since", "started",
                 "updated", "visiting", "watchers")

    limit: int
    most: int
    since: int
    started: int

    def __init__(self) -> None:
        self.held: list[weakref.ref[HasNode]] = []
        self.updated: set[Device] = set()
        self.watchers: list[Callable[[Node, Tape | None, int], None]] = []
        self.visiting: list[Tape] = []
        self.retained: list[tuple[TensorLike, TensorLike | None]] = []
        self.recorded: int | None = None
        self.recorder: Recorder | None = None
        with lock:
            sessions.append((weakref.ref(self), self.held))
            if len(sessions) > 1:
                self.recorded = 0
                count_apart()
                self.forget_ended()             # a program may record in many and compute nothing
        self.start_counting()

    def start_counting(self) -> None:
        """Count recorded operations from here."""
        forget_constants()
        self.started = next_number()
        self.since = self.started if self.recorded is None else self.recorded
        self.most = self.started + MAX_PENDING
        self.limit = 0 if self.updated or self.watchers else self.most

    def ordinal(self) -> int:
        """How many operations this thread has recorded, from some number on; this counts as one."""
        number = graph_node.next_seq()
        return number if self.recorded is None else self.recorded

    def full(self, number: int) -> bool:
        """Whether more than `MAX_PENDING` operations are pending when one with this recording number is. Another
        thread's are not counted: else it depended on how threads take turns where a step is cut in two."""
        excess = (number if self.recorded is None else self.recorded) - self.since - MAX_PENDING
        if excess <= 0:
            self.most = number - excess
            self.limit = self.most if self.limit else 0
        return excess > 0

    def discount(self, count: int) -> None:
        """Do not count so many of the operations that were recorded last."""
        self.since += count
        self.started += count
        self.most += count
        self.limit = self.most if self.limit else 0

    def keep(self, apart_from: Collection[Node] = ()) -> None:
        """Hold what is not computed yet and no more, apart from some nodes."""
        self.held[:] = [reference for reference in self.held if (tensor := reference()) is not None
                        and type(node := tensor.node) is not Unmade and node.buffer is None and node not in apart_from]

    def forget_ended(self) -> None:
        """Forget threads that have ended, once all is computed that they left."""
        sessions[:] = [(of, held) for of, held in sessions if of() is not None or pending_of(held)]
        if len(sessions) == 1 and self.recorded is not None:
            graph_node.next_seq = next_number
            self.since, self.recorded = next_number() - (self.recorded - self.since), None

    def elsewhere(self) -> set[Node]:
        """What is pending in other threads."""
        return {node for _, held in sessions if held is not self.held for node in pending_of(held[:])}


next_number = graph_node.next_seq


def count_apart() -> None:
    """Have each thread count what it records, from here on."""
    def next_seq() -> int:
        session = here.session
        if session.recorded is not None:
            session.recorded += 1
        return next_number()

    graph_node.next_seq = next_seq
    for reference, _ in sessions:
        session = reference()
        if session is not None and session.recorded is None:
            session.recorded = next_number()


def pending_of(held: list[weakref.ref[HasNode]]) -> dict[Node, None]:
    """The nodes without a value that some tensors hold."""
    nodes = [tensor.node for reference in held if (tensor := reference()) is not None]
    return dict.fromkeys([node for node in nodes if type(node) is not Unmade and node.buffer is None])


main = Session()
"""The main thread's."""


class Here(threading.local):
    """The session of the thread that asks; the main thread's while its own is made, which may run a `__del__`."""

    session = main

    def __init__(self) -> None:
        self.session = main if threading.current_thread() is threading.main_thread() else Session()


here = Here()

others: Callable[[], int] = _thread._count
"""How many threads there are beside the main one: asked first, in a third of the time that `here` takes."""


def current() -> Session:
    """The session of the thread that asks."""
    return here.session if others() else main


def pending() -> list[Node]:
    """The nodes that a tensor of this thread's holds and that are not computed yet, in the order of recording."""
    return list(pending_of(current().held))
