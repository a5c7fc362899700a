"""`compiled.loop`: many steps, run as many at once as the device takes, with all that a person wants between them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol, SupportsIndex

import numpy as np

from ..engine.run import realize
from ..errors import CompileError, NonFiniteLossError
from ..graph.node import leaf
from ..graph.spec import spec
from ..runtime import backend
from ..runtime.lock import lock
from ..tensor import Generator, Tensor, cat, randperm
from ..tensor import tensor as tensor_of
from ..tensor.host import recorded, values
from ..tensor.storage import wrap
from .guards import MISS
from .loop import NotLooped, Pace, StepLoop
from .recorder import refusal
from .replay import Line
from .results import Recording
from .running import Again
from .sight import Sight

MAX_LOOPS = 4
"""Loops of a step that are kept, for data of so many numbers of rows."""

Progress = Callable[[int, int], object]
"""Told, now and then, how many steps of how many are done."""


class Steps(Protocol):
    """A compiled step, as a loop needs it."""

    calls: int

    def __call__(self, *args: Any) -> Any: ...
    def known(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Recording | None, Sight]: ...


class Batches:
    """Which rows each step sees: whole batches, one after another, in each epoch in another order if `shuffle` is a
    seed; rows that do not fill a batch are left out of an epoch."""

    def __init__(self, rows: int, size: int, shuffle: int | None) -> None:
        self.rows, self.size, self.each = rows, size, rows // size
        self.generator = None if shuffle is None else Generator("cpu").manual_seed(shuffle)
        self.orders: list[np.ndarray] = []

    def order(self, epoch: int) -> np.ndarray:
        """The rows of an epoch in order; epochs are asked for in theirs."""
        if self.generator is None:
            return np.arange(self.rows)
        while len(self.orders) <= epoch:
            self.orders.append(randperm(self.rows, generator=self.generator, device="cpu").numpy())
        return self.orders[epoch]

    def table(self, first: int, steps: int) -> np.ndarray:
        """The rows of so many steps, of shape (steps, size)."""
        found: list[np.ndarray] = []
        while len(found) < steps:
            epoch, place = divmod(first + len(found), self.each)
            order = self.order(epoch)[:self.each * self.size].reshape(self.each, self.size)
            found += list(order[place:place + steps - len(found)])
        return np.stack(found).astype(np.int64)


class Rows:
    """Rows that are given: `given`, of shape (steps, size), int64, are those of each step."""

    def __init__(self, rows: int, given: np.ndarray) -> None:
        self.rows, self.given = rows, given

    def table(self, first: int, steps: int) -> np.ndarray:
        """The rows of so many steps, of shape (steps, size)."""
        return self.given[first:first + steps]


class Looping:
    """A loop that is under way."""

    def __init__(self, steps: Steps, data: tuple[Tensor, ...], batches: Batches | Rows | None,
                 one_launch: bool = True) -> None:
        self.steps, self.data, self.one_launch = steps, data, one_launch
        self.pace = Pace()
        self.attempt: Callable[..., Any] | None = None
        self.args: tuple[Tensor, ...] = ()      # what the loop is bound to: the batch of one of its steps
        self.loop: StepLoop | None = None
        self.why = ""
        self.begin(batches)

    def begin(self, batches: Batches | Rows | None) -> None:
        """Begin with the steps of some batches of the data."""
        self.batches, self.done, self.alone = batches, 0, 0
        self.losses: list[Tensor] = []
        if self.loop is not None and not self.answers_hold(self.loop.recording, self.loop.sight):
            self.attempt = self.loop = None

    def answers_hold(self, recording: Recording, sight: Sight) -> bool:
        """Whether what was asked of a batch is answered for all of the data as it was."""
        first = sight.first_argument
        return self.batches is None or all(Again(question)(self.data[number - first].node) == answer
                                           for number, question, answer in recording.asked if number >= first)

    def arguments(self) -> tuple[Tensor, ...]:
        """What the next step is called with."""
        if self.batches is None:
            return self.data
        index = self.batches.table(self.done, 1)[0]
        return tuple([one[tensor_of(index, device=one.device)] for one in self.data])

    def advance(self, left: int) -> None:
        """Make some steps, at most `left`. Raises NonFiniteLossError."""
        with lock:
            if self.attempt is None and not self.why:
                self.bind(self.arguments())
            made = self.many(left) if self.attempt is not None else None
        if made is None:
            loss = self.steps(*self.arguments())
            self.alone += 1
            if not isinstance(loss, Tensor) or loss.shape:
                given = f"one of shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
                raise TypeError("loop() keeps the losses: the step has to return its loss, a tensor without axes, not "
                                f"{given}")
            self.keep(loss.detach().reshape(1), 1)

    def bind(self, args: tuple[Tensor, ...]) -> None:
        """Have the loop ready, where the step was recorded and leaves all as it found it."""
        try:
            recording, sight = self.steps.known(args, {})
        except CompileError as error:
            self.why = str(error)
            return
        if recording is None or recording.reason or not recording.stationary:
            self.why = "" if recording is None else recording.reason
            return
        rows = None if self.batches is None else self.batches.rows
        try:
            if not self.answers_hold(recording, sight):
                raise NotLooped("of an index it is not known for all batches whether it counts from the end")
            self.loop = StepLoop(recording, sight, rows, self.one_launch)
            self.attempt, self.args = Line(recording, sight, args, {}, self.loop).function(), args
        except NotLooped as error:
            self.why = str(error)

    def many(self, left: int) -> int | None:
        """Make many steps at once; None where something has changed in the meantime."""
        assert self.attempt is not None and self.loop is not None
        steps = min(self.pace.steps, left)
        index, data = None, []
        if self.batches is not None:
            device = self.data[0].device
            index = backend(device.type, device.index).from_numpy(self.batches.table(self.done, steps))
            data = [realize(one.node) for one in self.data]
        with self.loop.all_or_nothing(), self.pace.timed(steps):
            result = self.attempt(self.args, {}, self.loop.runner(steps, data, index))
        if result is MISS:
            self.attempt = self.loop = None
            return None
        buffer, made = result
        self.steps.calls += made
        port = self.loop.program.outputs[self.loop.output(self.loop.recording.result)].spec
        losses = wrap(leaf(buffer, spec((steps,), port.dtype, port.device)))
        self.keep(losses if made == steps else losses[:made], made)
        return int(made)

    def keep(self, losses: Tensor, made: int) -> None:
        """Keep the losses of some steps. Raises NonFiniteLossError where one is not finite."""
        self.losses.append(losses)
        finite = np.isfinite(values(losses.node))
        if not finite.all():
            wrong = int(finite.argmin())
            step = self.done + wrong + 1
            self.done += made
            raise NonFiniteLossError(step, float(values(losses.node)[wrong]), self.all())
        self.done += made

    def described(self) -> str:
        """How the steps were run."""
        if self.loop is None:
            return f"{self.done} steps one by one" + (f": {self.why}" if self.why else "")
        return f"{self.done} steps, {self.alone} of them one by one, the others by {self.loop.loop.way}"

    def all(self) -> Tensor:
        """The losses of all steps that were made."""
        first = self.losses[0]
        if len(self.losses) == 1:
            return first
        if not first.device.kind.native:
            return cat(self.losses)
        joined = np.concatenate([values(one.node) for one in self.losses])      # no program for each run of lengths
        return wrap(leaf(joined, spec(joined.shape, first.dtype, first.device)))


def loop(steps: Steps, loops: dict[int | None, Looping], data: Any, count: int | None, batch_size: int | None,
         shuffle: int | None, epochs: int | None, progress: Progress | None) -> tuple[Tensor, str, str]:
    """As `Compiled.loop`; returns also why steps were made one by one, if they were, and how they were run. `loops`
    are those made before, by the number of rows."""
    tensors: tuple[Any, ...] = tuple(data) if isinstance(data, list | tuple) else (data,)
    for one in tensors:
        if not isinstance(one, Tensor):
            raise TypeError("loop(): argument 'data' must be a tensor or a tuple of tensors, the step's arguments, not "
                            + type(one).__name__)
    if progress is not None and not callable(progress):
        raise TypeError(f"loop(): argument 'progress' must be callable, not {type(progress).__name__}")
    if recorded():
        raise refusal("runs a loop", "run it outside, or call the looped step once")
    batches = None
    count, batch_size, epochs = whole("steps", count), whole("batch_size", batch_size), whole("epochs", epochs)
    if isinstance(shuffle, bool):
        raise TypeError("loop(): argument 'shuffle' must be a seed, an int (or None, for no shuffling), not bool")
    shuffle = whole("shuffle", shuffle)
    if batch_size is not None and not tensors:
        raise ValueError("loop(): batch_size goes with data, of which each step is handed rows")
    if batch_size is not None:
        batches = Batches(checked_rows(tensors, batch_size), batch_size, shuffle)
    elif shuffle is not None:
        raise ValueError("loop(): shuffle goes with a batch_size: without one each step sees all of the data")
    if (count is None) == (epochs is None):
        raise ValueError(f"loop(): give steps or epochs, one of them, not {count} and {epochs}")
    total = count if count is not None else (epochs or 0) * (1 if batches is None else batches.each)
    if total < 1:
        raise ValueError(f"loop(): there must be at least one step, not {total}")
    key = None if batches is None else batches.rows
    # While it is under way nobody else has it: `progress`, or another thread, may run another loop of the step.
    looping = loops.pop(key, None) or Looping(steps, tensors, batches)
    looping.data, looping.why = tensors, ""
    looping.args = tensors if batches is None else looping.args
    looping.begin(batches)
    try:
        while looping.done < total:
            looping.advance(total - looping.done)
            if progress is not None:
                progress(looping.done, total)
        return looping.all(), looping.why, looping.described()
    finally:
        looping.data, looping.losses = (), []       # it is kept, not what it has seen
        looping.args = () if batches is None else looping.args
        with lock:
            loops[key] = looping
            if len(loops) > MAX_LOOPS:
                loops.pop(next(iter(loops)))


def whole(name: str, count: SupportsIndex | None) -> int | None:
    """A count as Python's integer. Raises TypeError where it is none."""
    try:
        return None if count is None else operator.index(count)
    except TypeError:
        raise TypeError(f"loop(): argument '{name}' must be int, not {type(count).__name__}") from None


def checked_rows(tensors: Sequence[Tensor], batch_size: int) -> int:
    """How many rows there are. Raises ValueError where tensors have not as many, or not enough for a batch."""
    rows = {one.shape[0] if one.shape else 0 for one in tensors}
    if len(rows) != 1:
        raise ValueError("loop(): with a batch_size the data are rows, as many of each, not of shapes "
                         f"{', '.join(str(list(one.shape)) for one in tensors)}")
    count = rows.pop()
    if not 1 <= batch_size <= count:
        raise ValueError(f"loop(): batch_size must be from 1 to the number of rows, {count}, not {batch_size}")
    return count
