"""The memory of a run: where temporaries lie in one workspace, and over which inputs an output may be written.

A temporary lives from the launch that stores it to the last one that reads it; two that do not live at the same time
may lie at the same place. Launches of a run follow one another, so an input that no later launch reads is memory for
what is stored next, if its owner gives it away: an update then needs no second copy of a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..graph.node import BUFFER
from ..graph.spec import Spec
from .program import Program, Value
from .templates.template import Kernel

# Bytes at whose multiples temporaries begin, as CUDA's own allocations do: every access may be 16 bytes wide.
ALIGNMENT = 256
Lives = Mapping[Value, tuple[int, int]]  # The first and the last launch during which a value needs its memory


def nbytes(spec: Spec) -> int:
    """Bytes of a value."""
    return spec.numel * spec.dtype.itemsize


def lifetimes(kernels: Sequence[Kernel], outside: set[Value]) -> dict[Value, tuple[int, int]]:
    """When each temporary lives; those `outside` (inputs and outputs) are none."""
    lives: dict[Value, tuple[int, int]] = {}
    for number, kernel in enumerate(kernels):
        for value in kernel.pointers:
            if value not in outside:
                lives[value] = (lives.get(value, (number, number))[0], number)
    return lives


def arrange(lives: Lives) -> tuple[dict[Value, int], int]:
    """An offset in one workspace for each temporary, and the workspace's size, in bytes.

    The largest are placed first, each in the smallest gap left by those that live at the same time (the greedy by size
    of Pisarchyk and Lee, 2020).
    """
    offsets: dict[Value, int] = {}
    for value in sorted(lives, key=lambda value: -nbytes(value.spec)):
        first, last = lives[value]
        taken = sorted((offset, offset + nbytes(other.spec)) for other, offset in offsets.items()
                       if lives[other][0] <= last and first <= lives[other][1])
        size, end, best = nbytes(value.spec), 0, None
        for start, stop in taken:
            if start - end >= size and (best is None or start - end < best[0]):
                best = (start - end, end)
            end = max(end, -(-stop // ALIGNMENT) * ALIGNMENT)
        offsets[value] = end if best is None else best[1]
    return offsets, max((offset + nbytes(value.spec) for value, offset in offsets.items()), default=0)


def heirs(kernels: Sequence[Kernel], program: Program) -> dict[Value, list[Value]]:
    """For each output that a kernel stores, the inputs in whose memory it may lie, if nobody else sees them.

    Of the same shape and dtype, and read for the last time by an earlier launch, or by the same one at the very
    element that is stored.
    """
    inputs = [value for value in program.inputs if value.primitive is BUFFER and value not in program.outputs]
    last = dict.fromkeys(inputs, -1)
    last.update({value: number for number, kernel in enumerate(kernels) for value in kernel.pointers})
    found: dict[Value, list[Value]] = {}
    for number, kernel in enumerate(kernels):
        for value in kernel.group.stores:
            if value in program.outputs:
                found[value] = [given for given in inputs if given.spec is value.spec and (
                    last[given] < number or (last[given] == number and elementwise(kernel, given, value)))]
    return {value: donors for value, donors in found.items() if donors}


def elementwise(kernel: Kernel, given: Value, stored: Value) -> bool:
    """Whether a kernel reads an input only where it stores a value, each element in one program.

    What the compiler makes of one program is not in our hands: its threads may hold copies of an element in several
    layouts. So a function that stores more than one value is to have a barrier between its loads and its stores.
    """
    reading = [body for body in kernel.bodies if any(touch.value is given for touch in body.loads)]
    if len(reading) != 1:           # one may still read what another has stored
        return False
    body, = reading
    position = next((touch.at for _, touch in body.touches if touch.value is stored), None)
    part, = [part for part in kernel.group.parts if part is body.group]
    return (position is not None and (body.fenced or len(part.stores) == 1) and part.template.in_one_program(position)
            and all(index == position for value, index, *_ in body.loads if value is given))
