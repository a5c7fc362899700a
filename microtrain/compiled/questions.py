"""Questions about a value that is not computed yet while a step is recorded, as whether an index is in range: each is
asked of what the value is computed from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from contextlib import suppress

import numpy as np

from ..engine.plans import plans
from ..engine.recorder import Question
from ..graph.dtypes import bool_
from ..graph.node import LITERAL, SCALAR, Kind, Node
from ..runtime import backend

Ends = tuple[int, int]
"""The least and the greatest of some integers."""

FINE = (None, (None, False), (None, True))
"""Answers of what is in range: of ends between which not all integers may be met, no other one is an answer."""


CHOOSING = ("cast", "expand", "flip", "gather", "permute", "reshape", "slice", "take")
"""Operations whose elements are all elements of their first source."""

KNOWN: dict[str, Callable[[Node], int]] = {
    "random_bits": lambda node: 2**32 - 1, "iota": lambda node: node.attrs[0] - 1,
    **dict.fromkeys(("argmax", "argmin", "argsort"), lambda node: node.sources[0].shape[node.attrs[0]] - 1)}
"""Operations that give integers from 0 on, and their greatest one."""


class Through:
    """A question about a value, as a question about the leaf that it is computed from: of a leaf as it was recorded by
    computing the value; of another, of which batches are taken, and where the value is drawn, by its ends."""

    def __init__(self, question: Question, node: Node, leaf: Node | None, numbers: Collection[Node],
                 started: int) -> None:
        self.question, self.memory = question, backend(node.device.type, node.device.index)
        self.shape = None if leaf is None else leaf.shape
        self.run: Callable[[np.ndarray | None], np.ndarray] | None = None
        self.ends: Callable[[Ends], Ends] | None = None
        made = behind(node)
        if not any(one in numbers for one in made) and all(
                one.primitive.kind in (Kind.VIEW, Kind.MAP, Kind.INDEX) for one in made if one.sources):
            self.run = self.computed(node, leaf)
        try:
            self.ends = ends_of(node, leaf, numbers, started)
        except LookupError:
            if self.run is None:
                raise

    def computed(self, node: Node, leaf: Node | None) -> Callable[[np.ndarray | None], np.ndarray]:
        """What computes the value."""
        step, order = plans.find([node], node.device)
        assert step is not None
        run, output = step.executable.run, step.outputs.index(order.index(node))
        inputs = [order[place] for place in step.inputs]
        given = [None if one is leaf else one.buffer for one in inputs]

        def compute(array: np.ndarray | None) -> np.ndarray:
            values = [self.memory.from_numpy(array) if value is None and array is not None else value
                      for value in given]
            return self.memory.to_numpy(run(values)[output])
        return compute

    def __call__(self, array: np.ndarray | None) -> Hashable:
        if self.run is not None and (array is None or array.shape == self.shape):
            return self.question(self.run(array))
        if self.ends is None:
            return NotImplemented
        ends = (int(array.min()), int(array.max())) if array is not None and array.size else (0, 0)
        answer = self.question(np.array(self.ends(ends)))
        return answer if answer in FINE else NotImplemented


def through(node: Node, question: Question, numbers: Collection[Node],
            started: int) -> tuple[Node | None, Question, Hashable]:
    """The leaf to ask instead of a value (None where the answer is always the same), what to ask it, and the answer.
    `numbers` are others in each replay; leaves made since `started` are not. Raises LookupError where it cannot be
    told."""
    with suppress(LookupError):
        answer = question(np.array(ends_of(node, None, numbers, started)((0, 0))))
        if answer in FINE:
            return None, question, answer
    leaves = [one for one in behind(node) if is_leaf(one, started)]
    if len(leaves) > 1:
        raise LookupError
    leaf = leaves[0] if leaves else None
    asked = Through(question, node, leaf, numbers, started)
    answer = asked(None if leaf is None else asked.memory.to_numpy(leaf.buffer))
    if answer is NotImplemented:
        raise LookupError
    return leaf, asked, answer


def is_leaf(node: Node, started: int) -> bool:
    """Whether a value was there before the step."""
    return node.primitive not in (SCALAR, LITERAL) and not node.sources and node.seq < started


def behind(node: Node) -> list[Node]:
    """A value and all that it is computed from."""
    found = dict.fromkeys([node])
    order = [node]
    for one in order:                           # grows as it is walked
        new = [source for source in one.sources if source not in found]
        found |= dict.fromkeys(new)
        order += new
    return list(found)


def ends_of(node: Node, leaf: Node | None, numbers: Collection[Node], started: int) -> Callable[[Ends], Ends]:
    """The ends of a value's integers, whatever is drawn, given those of a leaf. Raises LookupError where they are not
    known."""
    name, parts = node.primitive.name, node.sources
    if node is leaf:
        return lambda ends: ends
    if name in KNOWN or node.dtype is bool_:
        last = KNOWN[name](node) if name in KNOWN else 1
        return lambda ends: (0, last)
    if node in numbers or node.dtype.is_floating_point or is_leaf(node, started):
        raise LookupError
    if not parts:
        value = node.attrs[0] if node.primitive is LITERAL else node.buffer
        least, greatest = int(np.min(value)), int(np.max(value))
        return lambda ends: (least, greatest)
    one = ends_of(parts[0], leaf, numbers, started)
    if name in CHOOSING:
        return one
    if name not in ("add", "sub", "mul", "remainder"):
        raise LookupError
    other = ends_of(parts[1], leaf, numbers, started)

    def ends_between(ends: Ends) -> Ends:
        (a, b), (c, d) = one(ends), other(ends)
        if name == "remainder":
            return (0, d - 1) if c > 0 else (min(c + 1, 0), max(d - 1, 0))
        found = {"add": (a + c, b + d), "sub": (a - d, b - c), "mul": (a * c, a * d, b * c, b * d)}[name]
        return min(found), max(found)
    return ends_between
