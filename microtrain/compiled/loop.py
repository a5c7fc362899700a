"""Many steps of a recorded step at once: what its inputs are from step to step, and the loop that runs them.

A step that leaves all as it found it, but for values, can be looped: the next step reads what this one leaves. What is
done on the host in each step (an optimizer's numbers, a scheduler's, draws) is done for some hundred steps beforehand
and handed over as a table; then those steps are run at once, and then all is as they would have left it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from ..compiler.loop import Loop, Roles, batched
from ..compiler.program import Program, Value
from ..graph.constants import scalar
from ..graph.dtypes import DType
from ..graph.node import SCALAR, literal
from ..graph.spec import Device
from .recorder import Call, Draw
from .results import Fresh, Recording, There
from .running import GroupNumbers
from .sight import Sight

SECONDS = 0.25
"""How long the steps that are run at once take, about: then Ctrl-C is heard, and progress is told."""

FIRST = 32
"""Steps that are run at once before it is known how long they take."""


class NotLooped(Exception):
    """Why steps are replayed one by one."""


class StepLoop:
    """A recorded step, looped, with what a sight has met.

    Args:
        recording, sight: of a step after which the next has the same description.
        rows: for a loop over batches of data, how many rows there are; the arguments are batches.
        one_launch: whether, on a GPU, one program may do all; it may add up in another order than a step's kernels.
    """

    def __init__(self, recording: Recording, sight: Sight, rows: int | None, one_launch: bool = True) -> None:
        assert recording.step is not None
        self.recording, self.sight, self.step = recording, sight, recording.step
        fixed = {place: source.value for place, source in enumerate(recording.inputs) if source.kind == "constant"
                 and self.step.program.inputs[place].primitive is SCALAR}
        self.program: Program = with_literals(self.step.program, fixed)
        self.places = [place for place in range(len(recording.inputs)) if place not in fixed]
        self.inputs = [recording.inputs[place] for place in self.places]
        self.batches: list[int] = []
        index: frozenset[int] = frozenset()
        if rows is not None:
            places = [place for place, source in enumerate(self.inputs)
                      if source.kind == "tensor" and sight.is_argument(source.number)]
            if places:
                self.batches = places
                self.program, place = batched(self.program, dict.fromkeys(places, rows))
                index = frozenset((place,))
        history = self.output(recording.result)
        self.roles = Roles(dict(self.carried()), index, frozenset((history,)), history)
        self.loop = built(self.program, self.roles, one_launch)
        self.left = False
        self.uses: list[tuple[int, int, DType]] = []
        for source, value in zip(self.inputs, self.program.inputs, strict=False):
            if source.kind == "number":
                self.uses.append((source.number, source.which, value.dtype))

    def output(self, result: object) -> int:
        """Which output of the program a result is."""
        if not isinstance(result, Fresh) or result.output is None:
            raise NotLooped("the step does not return its loss, or one of its values is another's after it")
        return self.recording.renumber.get(result.output, result.output)

    def carried(self) -> Iterator[tuple[int, int]]:
        """Inputs that have another value in the next step, and which outputs those are."""
        recording, sight = self.recording, self.sight
        becomes: dict[int, object] = {change.tensor: change.value for change in recording.changes}
        grads, loose = dict(recording.gradients), sight.loose
        for place, source in enumerate(self.inputs):
            if source.kind != "tensor":
                continue
            where = loose.get(source.number)
            result = becomes.get(source.number)
            if where is not None and where[0] == "grad":
                result = grads.get(where[1], result)
            elif where is not None:
                result = self.after(where, result)
            else:
                for container, key, stored in recording.stored:
                    held = container.cell_contents if key is None else container[key] \
                        if isinstance(container, dict | list) else getattr(container, key)
                    if held is sight.tensors[source.number]:
                        result = stored
            if result is not None and not isinstance(result, There):
                yield place, self.output(result)

    def after(self, where: tuple[Any, ...], otherwise: object) -> object:
        """What becomes of a tensor of an optimizer's state."""
        _, optimizer, param, key = where
        for number, tensor, results, _ in self.recording.states:
            if self.sight.optimizers[number] is optimizer and self.sight.tensors[tensor] is param:
                return results[key]
        return otherwise

    def numbers(self, steps: int) -> list[np.ndarray]:
        """Do what is done on the host in so many steps; what they are handed, a column for each input."""
        if not self.recording.events:
            return []
        columns: list[list[Any]] = [[] for _ in self.uses]
        made: list[tuple[Any, Any]] = []
        for k, event in enumerate(self.recording.events):
            if isinstance(event, Draw | Call):
                made.append((event, None))
                continue
            optimizer = self.sight.optimizers[event.number]
            param = optimizer.param_groups[event.group]["params"][event.place]
            uses = [(which, dtype) for number, which, dtype in self.uses if number == k]
            grows = next((count for number, tensor, _, count in self.recording.states if count is not None
                          and self.sight.optimizers[number] is optimizer and self.sight.tensors[tensor] is param), 0)
            begun = optimizer.state.get(param, {}).get("step", 0)
            made.append((GroupNumbers(optimizer, event.group, uses), (begun, grows)))
        takers = {k: [column for column, (number, _, _) in zip(columns, self.uses, strict=True) if number == k]
                  for k in range(len(made))}
        which = {k: [(use[1], use[2]) for use in self.uses if use[0] == k] for k in range(len(made))}
        for step in range(steps):
            for k, (event, count) in enumerate(made):
                if isinstance(event, Call):
                    event.method(*event.arguments)
                    continue
                if isinstance(event, Draw):
                    drawn = event.generator.draw()
                    values = [scalar(drawn[place], dtype) for place, dtype in which[k]]
                else:
                    values = event(count[0] + step * count[1])
                for column, value in zip(takers[k], values, strict=True):
                    column.append(value)
        return [np.array(column, dtype.numpy) for column, (_, _, dtype) in zip(columns, self.uses, strict=True)]

    def runner(self, steps: int, data: Sequence[Any], index: Any) -> Callable[[list[Any]], tuple[list[Any], int]]:
        """What runs so many steps, given the inputs of the first: `data` and a table of rows in the batches' place."""
        def run(values: list[Any]) -> tuple[list[Any], int]:
            numbers = self.numbers(steps)
            values = [values[place] for place in self.places]
            if self.batches:
                for place in self.batches:
                    values[place] = data[self.inputs[place].number - self.sight.first_argument]
                values.append(index)
            return self.loop.run(values, numbers, steps)
        return run

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """A block after which, where it is left by an exception before what was computed is everybody's (`left`), all
        that was done on the host is as it was."""
        self.left = False
        schedulers = [event.method.__self__ for event in self.recording.events         # type: ignore[attr-defined]
                      if isinstance(event, Call)]
        before = [(vars(one), dict(vars(one))) for one in schedulers]
        before += [(group, dict(group)) for optimizer in self.sight.optimizers for group in optimizer.param_groups]
        streams = [(event.generator, event.generator._stream) for event in self.recording.events
                   if isinstance(event, Draw)]
        try:
            yield
        finally:
            if not self.left:
                for place, held in before:
                    place.update(held)
                for generator, stream in streams:
                    generator._stream = stream


def with_literals(program: Program, numbers: Mapping[int, np.generic]) -> Program:
    """A program in which some inputs, by their places, are constants."""
    if not numbers:
        return program
    new: dict[Value, Value] = {}
    for place, number in numbers.items():
        value = program.inputs[place]
        new[value] = Value(literal(number.item(), value.dtype, program.device).signature, ())
    for value in program.values:
        if value not in new:
            new[value] = Value(value.signature, tuple([new[source] for source in value.sources]))
    return Program([new[value] for value in program.values], [new[value] for value in program.outputs])


def built(program: Program, roles: Roles, one_launch: bool = True) -> Loop:
    """The loop of a program, for its device. Raises NotLooped where it cannot be one."""
    device: Device = program.device
    if device.kind.native:
        from ..compiler.cpu.loop_numpy import NumpyLoop
        return NumpyLoop(program, roles)
    from ..compiler.loop_kernel import KernelLoop, Refusal
    from ..compiler.loop_launches import LaunchLoop
    if one_launch:
        with suppress(Refusal):
            return KernelLoop(program, roles)
    return LaunchLoop(program, roles)


class Pace:
    """How many steps are run at once, so that they take about `SECONDS`."""

    def __init__(self) -> None:
        self.steps = FIRST

    @contextmanager
    def timed(self, steps: int) -> Iterator[None]:
        """A block in which so many steps are run."""
        begun = time.perf_counter()
        yield
        seconds = time.perf_counter() - begun
        self.steps = max(1, min(8 * steps, int(steps * SECONDS / max(seconds, 1e-9))))
