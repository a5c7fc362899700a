"""What a whole step that is being recorded asks of those who record it: nothing is computed in the meantime.

A thread's session has a recorder while a function is recorded to be replayed (`mt.compile`). What would compute
something asks it first; what draws a number on the host that is another in the next step hands it over.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

import numpy as np

from ..graph.node import Node

Question = Callable[[np.ndarray], Hashable]
"""What is asked of a value that is at hand; the answer is part of the structure."""


class Recorder(Protocol):
    """What is told of a step while it is recorded."""

    def read(self, node: Node) -> None:
        """A value is about to be looked at. Raises CompileError, unless it was made of the step's own constants."""

    def answered(self, node: Node, question: Question, answer: Hashable) -> None:
        """Something was asked of a value that is at hand."""

    def inferred(self, node: Node, question: Question) -> Hashable:
        """The answer to something that was asked of a value that is not computed yet. Raises CompileError where what it
        is computed from does not tell."""

    def drawn(self, generator: object, seed: int, stream: int) -> tuple[int, int]:
        """A generator has given the key and counter of a draw."""

    def numbers(self, optimizer: object, group: int, count: object, numbers: tuple[float, ...]) -> tuple[float, ...]:
        """An optimizer is about to use these numbers for a group's parameters that have made `count` steps."""

