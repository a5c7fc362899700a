"""The graph of a training step, recorded again by the graph and autograd layers alone: what recording itself costs.

Everything above them is left out: a user's tensors and modules, the checks of arguments, the optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from microtrain.autograd import api
from microtrain.autograd.walk import walk
from microtrain.bench.comparison import WrongResult
from microtrain.engine import run
from microtrain.engine.plans import linearize
from microtrain.engine.session import current
from microtrain.graph import node as graph_node
from microtrain.graph.node import Node, leaf, record, record1, record2
from microtrain.graph.tape import Tape
from microtrain.runtime.lock import lock


class Recording:
    """The operations behind a loss, and its walk over the tape.

    Made right after the walk of a step that `gradients` came from, while the graph is not computed yet.
    """

    def __init__(self, loss: Node, cotangent: Node, gradients: dict[Tape, Node]) -> None:
        order = linearize([loss])[0]
        self.cotangent, self.gradients = cotangent, gradients
        leaves, operations = [node for node in order if not node.sources], [node for node in order if node.sources]
        place = {node: k for k, node in enumerate(leaves + operations)}
        self.leaves = list(map(_still, leaves))
        self.operations = [(node.primitive, tuple([place[source] for source in node.sources]), node.attrs)
                           for node in operations]

    def again(self) -> dict[Tape, Node]:
        """Record the operations and walk back from the last: a gradient for each leaf of the tape, not computed."""
        current().start_counting()                    # as after every computed step: the walk records what it likes
        nodes = self.leaves.copy()
        for primitive, places, attrs in self.operations:
            if len(places) == 1:
                nodes.append(record1(primitive, nodes[places[0]], attrs))
            elif len(places) == 2 and not attrs:
                nodes.append(record2(primitive, nodes[places[0]], nodes[places[1]]))
            else:
                nodes.append(record(primitive, tuple([nodes[i] for i in places]), attrs))
        return walk((nodes[-1],), (self.cotangent,), None, retain_graph=False, create_graph=False)

    def count(self) -> int:
        """How many nodes are recorded, once the walk has been met: a replay leaves out what a rule made for nobody."""
        self.again()
        first = graph_node.next_seq()
        self.again()
        # `start_counting` and the walk take a number each.
        return graph_node.next_seq() - first - 1 - 2

    def check(self) -> None:
        """Raise WrongResult unless what is recorded again are the gradients of the step, to the last bit."""
        fresh = self.again()
        if fresh.keys() != self.gradients.keys():
            raise WrongResult(f"recorded again, the loss has gradients for {len(fresh)} leaves, in the step for "
                              f"{len(self.gradients)}")
        values = _values(fresh)
        for place, expected in _values(self.gradients).items():
            found = values[place]
            if not np.array_equal(found, expected):
                raise WrongResult(f"recorded again, a gradient of shape {expected.shape} is off by "
                                  f"{np.abs(found - expected).max():.3g} from that of the step")


def _still(node: Node) -> Node:
    """A leaf of the same value in the same place on the tape, whose tensor has not moved on: the step's update may have
    made the node itself one whose value is out of date."""
    if node.tape is None:
        return node
    same = leaf(node.buffer, node.spec)
    same.tape = node.tape
    node.shared = same.shared = True
    return same


def _values(gradients: dict[Tape, Node]) -> dict[Tape, Any]:
    """The gradients computed, apart from anything else that is pending: on the cpu device, arrays."""
    pending = list(dict.fromkeys(node for node in gradients.values() if node.buffer is None))
    if pending:
        with lock:
            run.compute(pending, pending[0].device)
    return {place: node.buffer for place, node in gradients.items()}


@contextmanager
def recordings() -> Iterator[list[Recording]]:
    """A Recording of each loss that is differentiated inside the block."""
    made: list[Recording] = []
    before: Callable[..., dict[Tape, Node]] = api.walk

    def watched(outputs: Sequence[Node], cotangents: Sequence[Node], *rest: Any, **options: Any) -> dict[Tape, Node]:
        found = before(outputs, cotangents, *rest, **options)
        made.append(Recording(outputs[0], cotangents[0], found))
        return found

    api.walk = watched
    try:
        yield made
    finally:
        api.walk = before
