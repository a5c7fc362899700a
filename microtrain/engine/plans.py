"""The plans of graphs that were met: a graph's structure is a key, a key has a plan (`step.Step`).

A graph whose structure was met before finds its plan in a dictionary; one that is met often is compared with it
directly (`match`), for which no key is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, count
from operator import attrgetter

from .. import settings
from ..compiler.program import Flat
from ..graph.node import Node
from ..graph.spec import Device
from .match import Recogniser, recogniser
from .step import Step

MAX_PLANS = 4096
"""Plans kept; a structure met again after that is planned anew."""

MAX_RECENT = 8
"""Graphs with equal roots that are told apart by comparing; of more of them each is found by its key."""

_seq, _signature, _sources = attrgetter("seq"), attrgetter("signature"), attrgetter("sources")


def linearize(roots: Iterable[Node]) -> tuple[list[Node], Flat, tuple[int, ...]]:
    """The graph behind `roots`: nodes in recording order, its structure (a `Program`, flat) and its outputs. Outputs
    are the roots and every pending node that the tape keeps for a derivative."""
    wanted = set(roots)
    seen = wanted.copy()
    order = list(wanted)
    push, visit = order.append, seen.add
    for node in order:                          # grows as it is walked
        for source in node.sources:
            if source not in seen:
                visit(source)
                push(source)
    order.sort(key=_seq)
    index = dict(zip(order, count()))
    # A constant may be kept by the tape too, but it is shared and never computed: it has no sources.
    chosen = {index[node] for node in wanted if node.buffer is None}
    chosen.update([index[node] for node in order if node.holders and node.sources])
    outputs = tuple(sorted(chosen))
    # A signature says how many sources it has, so the two flat sequences say who feeds whom.
    key = (outputs, *map(_signature, order), *map(index.__getitem__, chain.from_iterable(map(_sources, order))))
    return order, key, outputs


class Plans:
    """Every thread's plans. `known` are the plans by device, switches and structure; `recent` those met more than once,
    by device, switches and the roots' signatures: `MAX_RECENT` each, the latest first."""

    def __init__(self) -> None:
        self.known: dict[object, Step] = {}
        self.recent: dict[object, list[tuple[Recogniser, Step]]] = {}

    def forget(self) -> None:
        """Drop all plans: every graph is planned and compiled anew."""
        self.known.clear()
        self.recent.clear()

    def find(self, roots: Iterable[Node], device: Device) -> tuple[Step | None, list[Node]]:
        """The plan of the graph behind `roots` (None where nothing is to be computed) and its nodes in recording order.

        roots: no node twice.
        """
        roots = list(roots)
        circumstances = (device, settings.fuse.value, settings.matmul_precision.value, settings.tune.value)
        kind = (*circumstances, *[node.signature for node in roots])
        latest = self.recent.get(kind, ()) if settings.cache.value else ()
        for recognise, plan in latest:
            order = recognise(roots)
            if order is not None:
                return plan, order
        order, key, outputs = linearize(roots)
        if not outputs:
            return None, order
        setting = (*circumstances, key)
        found = self.known.get(setting) if settings.cache.value else None
        if found is None:
            if len(self.known) >= MAX_PLANS:
                self.forget()
            found = self.known[setting] = Step(key)
        elif all(found is not plan for _, plan in latest):
            # Of these roots: what is a root here may be a value that the tape keeps in another graph of the same plan.
            self.recent[kind] = [(recogniser(order, roots), found), *latest[:MAX_RECENT - 1]]
        return found, order


plans = Plans()
