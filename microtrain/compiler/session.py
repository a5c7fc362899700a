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
from typing import Any

from ..graph import node as graph_node
from ..graph.node import Node
from ..graph.spec import Device
from ..runtime.lock import lock

MAX_PENDING = 1024
"""Operations recorded since the last computation after which what is pending is computed at once, so that a running
sum neither grows without bound nor compiles into an endless function."""

sessions: list[tuple[weakref.ref[Session], list[weakref.ref[Any]]]] = []
"""Every thread's session with what it holds; that outlives the thread, until another takes it over."""


class Session:
    """What one thread has recorded and not computed yet.

    Attributes:
        held: weak references to the tensors that were given a node without a value, in the order in which they were; to
            some twice, to some that are gone. A tensor tells nobody when it goes: its death runs no code.
        limit: the recording number past which `settle` is called: one comparison an operation watches all rules.
        started: the recording number from which pending operations are counted.
        updated: devices on which a parameter was changed in place since the last computation.
        watchers: what is told of every operation that a tensor records, as it is recorded; anomaly detection computes
            it at once.
    """

    __slots__ = ("__weakref__", "held", "limit", "started", "updated", "watchers")

    def __init__(self) -> None:
        self.held: list[weakref.ref[Any]] = []
        self.updated: set[Device] = set()
        self.watchers: list[Callable[[Node, Any], None]] = []
        self.start_counting()
        with lock:
            sessions.append((weakref.ref(self), self.held))

    def start_counting(self) -> None:
        """Count recorded operations from here."""
        graph_node.forget_constants()
        self.started = graph_node.next_seq()
        self.limit = 0 if self.updated or self.watchers else self.started + MAX_PENDING

    def pending(self) -> dict[Node, None]:
        """The nodes that a tensor of this thread's holds and that are not computed yet, in the order of recording."""
        return pending_of(self.held)

    def keep(self, apart_from: Collection[Node] = ()) -> None:
        """Hold what is not computed yet and no more, apart from some nodes."""
        self.held[:] = [reference for reference in self.held if (tensor := reference()) is not None
                        and (node := node_of(tensor)) is not None and node.buffer is None and node not in apart_from]

    def take_over(self) -> None:
        """What threads that have ended left is pending here from now on."""
        for reference, held in sessions:
            if reference() is None:
                self.held += held
        sessions[:] = [entry for entry in sessions if entry[0]() is not None]

    def elsewhere(self) -> set[Node]:
        """What is pending in other threads."""
        return {node for _, held in sessions if held is not self.held for node in pending_of(held[:])}


def pending_of(held: list[weakref.ref[Any]]) -> dict[Node, None]:
    """The nodes without a value that some tensors hold."""
    found: dict[Node, None] = {}
    for reference in held:
        tensor = reference()
        if tensor is not None:
            node = node_of(tensor)
            if node is not None and node.buffer is None:
                found[node] = None
    return found


def node_of(tensor: Any) -> Node | None:
    """The node that a tensor holds; None for one that has let go of its node for the time being."""
    try:
        return object.__getattribute__(tensor, "node")      # type: ignore[no-any-return]
    except AttributeError:
        return None


main = Session()
"""The main thread's."""


class Here(threading.local):
    """The session of the thread that asks."""

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
    return list(current().pending())
