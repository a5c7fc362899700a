"""A program run many times over, each time on what the time before has left: what its inputs and outputs are then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..graph import dtypes
from ..graph.node import buffer_signature, interned
from ..graph.spec import spec
from ..ops import TAKE
from ..runtime.backend import Buffer
from .program import Program, Value


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

    @property
    def way(self) -> str:
        """What runs the steps, in words."""

    def run(self, values: list[Buffer], numbers: Sequence[np.ndarray], steps: int) -> tuple[list[Buffer], int]:
        """Buffers of the program's outputs after the last step, and how many steps were made: all, unless `watched`
        was not finite before.

        An output of `history` is of shape (steps, *shape); rows of steps that were not made hold anything.
        steps: 1 or more.
        values: a buffer for each input: the first value of one that is carried, all rows, (steps, *shape), of one of
            `rows`; anything for a number. None of them is written over.
        numbers: for each input that is a number, in order, its values: of shape (steps,), of the input's dtype.
        """


def batched(program: Program, arguments: Mapping[int, int]) -> tuple[Program, int]:
    """The same program on a minibatch of data, and the place of a new input, an int64 index of shape (B,).

    arguments: places of inputs (B, *rest) of one B, each with the rows N that there are: in its place is an input
        (N, *rest), of which the index picks the rows. No input has another place than before.
    ValueError for an input of no axes or of another B.
    """
    device, inputs = program.device, program.inputs
    sizes = {inputs[place].shape[:1] for place in arguments}
    if len(sizes) != 1 or () in sizes:
        raise ValueError("a minibatch is of rows of data, as many of each: the arguments are of shapes "
                         f"{', '.join(str(list(inputs[place].shape)) for place in arguments)}")
    new = {value: Value(value.signature, ()) for value in inputs}
    index = Value(buffer_signature(spec(sizes.pop(), dtypes.int64, device)), ())
    values = [*new.values(), index]
    for place, rows in arguments.items():
        whole = new[inputs[place]]
        whole.signature = buffer_signature(spec((rows, *whole.shape[1:]), whole.dtype, device))
        whole.spec = whole.signature.spec
        new[inputs[place]] = Value(interned(TAKE, (), (whole.spec, index.spec)), (whole, index))
        values.append(new[inputs[place]])
    for value in program.values:
        if value not in new:
            new[value] = Value(value.signature, tuple([new[source] for source in value.sources]))
            values.append(new[value])
    return Program(values, [new[value] for value in program.outputs]), len(inputs)
