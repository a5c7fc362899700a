"""Recognising a graph whose structure was met before, by comparing it with that structure and nothing else.

Building a structure's key takes a set, an index and a sort of all its nodes; to see that a graph *is* a known one takes
a look at each signature and each edge. So a plan that is met again gets a function of its own, emitted as one straight
line, which compares node by node, and gives the nodes in the plan's order. For `(w * x).sigmoid()` it says

    n3, = roots
    if n3.signature is not s3: return None
    n2, = n3.sources
    if n2.signature is not s2 or n2.holders: return None
    n0, n1, = n2.sources
    ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..graph.node import Node

Recogniser = Callable[[Sequence[Node]], "list[Node] | None"]
"""Of roots whose signatures are those of the structure's: its nodes in the plan's order, or None for another graph."""


def recogniser(order: Sequence[Node], roots: Sequence[Node]) -> Recogniser:
    """The function that recognises the graph behind `roots`, whose nodes in recording order are `order`.

    It compares signatures, who feeds whom, which values the tape keeps (they are outputs), and that leaves which were
    two are two: a buffer that is read under two names could be written over under one.
    """
    names = {node: f"n{i}" for i, node in enumerate(order)}
    space: dict[str, Any] = {f"s{i}": node.signature for i, node in enumerate(order)}
    lines = ["def recognise(roots):", f"    {', '.join(names[root] for root in roots)}, = roots"]
    met = list(roots)
    wanted, seen = set(met), set(met)
    for node in met:                            # grows as it is walked
        name = names[node]
        differs = f"{name}.signature is not s{name[1:]}"
        if node.sources and node not in wanted:
            differs += f" or {'not ' if node.holders else ''}{name}.holders"
        lines.append(f"    if {differs}: return None")
        places, again = [], []
        for k, source in enumerate(node.sources):
            if source in seen:
                places.append(f"m{k}")
                again.append(f"m{k} is not {names[source]}")
            else:
                seen.add(source)
                met.append(source)
                places.append(names[source])
        if places:
            lines.append(f"    {', '.join(places)}, = {name}.sources")
        if again:
            lines.append(f"    if {' or '.join(again)}: return None")
    leaves = [names[node] for node in met if node.buffer is not None]
    if len(leaves) > 1:
        lines.append(f"    if len({{{', '.join(leaves)}}}) < {len(leaves)}: return None")
    lines.append(f"    return [{', '.join(names[node] for node in order)}]")
    exec(compile("\n".join(lines), "<microtrain recogniser>", "exec"), space)
    return space["recognise"]                   # type: ignore[no-any-return]
