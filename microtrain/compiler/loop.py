"""A program run many times over, each time on what the time before has left: what its inputs and outputs are then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..runtime.backend import Buffer


@dataclass(frozen=True)
class Roles:
    """What the inputs and outputs of a program are from one step of a loop to the next.

    An input that is a number (`SCALAR`) has a value for each step. Of the others, those that are not named here are the
    same in every step. An output that is not named here is wanted as it is after the last step.

    Attributes:
        carried: places of inputs, each with the place of the output that is its value in the next step.
        rows: places of inputs that are one row of a table with a row for each step.
        history: places of outputs of which the value of every step is wanted, as a table with a row for each.
        watched: place of a 0-d output, a loss: the step in which it is not finite is the last one.
    """

    carried: Mapping[int, int] = field(default_factory=dict)
    rows: frozenset[int] = frozenset()
    history: frozenset[int] = frozenset()
    watched: int | None = None


class Loop(Protocol):
    """A program compiled to be run many times at once."""

    def run(self, values: list[Buffer], numbers: Sequence[np.ndarray], steps: int) -> tuple[list[Buffer], int]:
        """Buffers of the program's outputs after the last step, and how many steps were made: all, unless `watched`
        was not finite before.

        An output of `history` is of shape (steps, *shape); rows of steps that were not made hold anything.
        steps: 1 or more.
        values: a buffer for each input: the first value of one that is carried, all rows, (steps, *shape), of one of
            `rows`; anything for a number. None of them is written over.
        numbers: for each input that is a number, in order, its values: of shape (steps,), of the input's dtype.
        """
