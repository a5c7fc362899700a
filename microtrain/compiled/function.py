"""`mt.compile`: a function whose calls are recorded once for each structure, and replayed."""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Generic, ParamSpec, TypeVar, overload

from ..engine.session import current, others
from ..errors import CompileError
from ..runtime.lock import lock
from ..tensor import Tensor
from .explaining import another, explained
from .guards import MISS
from .looping import Looping, Progress, loop
from .recorder import under_way
from .recording import NOTHING, record
from .replay import Line
from .results import Recording
from .running import Again, circumstances
from .sight import Sight

P = ParamSpec("P")
R = TypeVar("R")

Attempt = Callable[..., Any]

MAX_RECORDINGS = 64
"""Structures of a step that are kept. Where there are more, those recorded first are recorded anew; or the function is
run as it is from then on, where they hardly are met again."""

MAX_LINES = 64
"""Replays of a step, each bound to the objects that it was made for, that are tried before a structure is looked up."""


class Compiled(Generic[P, R]):
    """A function that is recorded once for each structure, and replayed: what `compile` returns. Called as the function
    is."""

    def __init__(self, function: Callable[P, R], fallback: bool = False) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function, self.fallback = function, fallback
        self.recordings: dict[Any, list[Recording]] = {}
        self.lines: list[Attempt] = []
        self.calls = self.recorded = 0
        self.latest: Sight | None = None        # of the last recording before `MAX_RECORDINGS`
        self.gave_up = False                    # hardly any call is like one before
        self.told: set[str] = set()
        self.loops: dict[int | None, Looping] = {}
        self.steps_alone = ""                   # why a loop's steps were made one by one, the last time
        self.last_loop = ""                     # how it was run

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        self.calls += 1
        if others():
            with lock:
                return self.called(args, kwargs)        # type: ignore[no-any-return]
        # A lock takes as long as a small step's guards; here there is nobody to hold it against.
        lines = self.lines
        if lines and not under_way:             # nearly always the first one fits: a call less
            result = lines[0](args, kwargs)
            if result is not MISS:
                return result                   # type: ignore[no-any-return]
        return self.called(args, kwargs)        # type: ignore[no-any-return]

    def called(self, args: Any, kwargs: Any) -> Any:
        """Replay the step, by the first of the lines that fits."""
        lines = self.lines
        for line in () if under_way else lines:
            result = line(args, kwargs)
            if result is not MISS:
                if line is not lines[0]:
                    lines.remove(line)
                    lines.insert(0, line)
                return result
        with lock:
            return self.anew(args, kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """As a method: bound to its object."""
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied or pickled, it is the function's copy, and has recorded nothing."""
        return type(self), (self.function, self.fallback)

    def anew(self, args: Any, kwargs: Any) -> Any:
        """Look the structure up, or record it."""
        session = current()
        if session.recorder is not None or session.watchers or self.gave_up:
            return self.function(*args, **kwargs)
        try:
            sight = Sight.of(self.function, args, kwargs)
            key = (sight.description, circumstances())
            known = self.fitting(key, sight)
            if known is None:
                why = self.hopeless(sight)
                if why:
                    self.tell(why)
                    return self.function(*args, **kwargs)
                result, known = record(self.function, args, kwargs, sight)
                self.remember(key, known)
                if known.reason:
                    if known.reason is not NOTHING:
                        self.tell(known.reason)
                else:
                    sight = Sight.of(self.function, args, kwargs)
                    after = (sight.description, circumstances())
                    known.stationary = after == key
                    again = self.fitting(after, sight)
                    if again is not None and not again.reason:
                        self.bind(again, sight, args, kwargs)
                return result
        except CompileError as error:
            if not self.fallback:
                self.told.add(str(error))
                raise
            self.tell(str(error))
            return self.function(*args, **kwargs)
        if known.reason:
            return self.function(*args, **kwargs)
        line = self.bind(known, sight, args, kwargs)
        result = line(args, kwargs)
        assert result is not MISS
        return result

    def hopeless(self, sight: Sight) -> str:
        """Count a recording; why there are no more of them, where hardly any is used again."""
        self.recorded += 1
        if self.recorded == MAX_RECORDINGS - 1:
            self.latest = sight
        if self.recorded < MAX_RECORDINGS or self.calls >= 4 * self.recorded:
            return ""
        other = "" if self.latest is None else another(self.latest, sight)
        self.gave_up, self.latest, self.lines = True, None, []
        self.recordings.clear()
        return "hardly any call is like one before" + (
            f" ({other} is another each time). Hand it over as a tensor, or keep it where the step does not come to it"
            if other else "")

    def known(self, args: Any, kwargs: Any) -> tuple[Recording | None, Sight]:
        """The recording, if there is one, of a call with some arguments now."""
        sight = Sight.of(self.function, args, kwargs)
        return self.fitting((sight.description, circumstances()), sight), sight

    def fitting(self, key: Any, sight: Sight) -> Recording | None:
        """The recording of a structure where what was asked of values is answered as it was."""
        for recording in self.recordings.get(key, ()):
            if all(Again(question)(sight.tensors[number].node) == answer
                   for number, question, answer in recording.asked):
                return recording
        return None

    def loop(self, data: Tensor | Sequence[Tensor] = (), steps: int | None = None, batch_size: int | None = None,
             shuffle: int | None = None, epochs: int | None = None, progress: Progress | None = None) -> Tensor:
        """Call the step many times over, as many at once as the device takes; all is then as after so many calls.

        Args:
            data: the step's argument, or a tuple of its arguments, of shape (N, ...) where there is a batch size;
                nothing for a step without arguments.
            steps, epochs: how many steps, or passes over the data; one of them.
            batch_size: rows of the data in each step, by default all; rows that do not fill a batch are left out.
            shuffle: a seed; the rows are in another order in each epoch: those that `microtrain.randperm(N)` gives one
                after another, of a generator with that seed. By default they are in theirs.
            progress: called now and then, with the number of steps that are made and that of all.

        Returns:
            The losses that the step returned, of shape (steps,). What was trained so far is kept where it is
            interrupted, or where a loss is not finite.

        Raises:
            NonFiniteLossError: a loss is not finite: which step's, and the losses so far.
            TypeError, ValueError: the step does not return a loss; sizes that do not go together.
            CompileError: as the call.
        """
        losses, self.steps_alone, self.last_loop = loop(self, self.loops, data, steps, batch_size, shuffle, epochs,
                                                        progress)
        return losses

    def explain(self) -> str:
        """What became of the function, for a person to read: each structure that was met, with the inputs of its
        program, what it changes and the kernels that it is, or why it is not replayed; and how the last loop was run.
        """
        return explained(chain.from_iterable(self.recordings.values()), self.told, self.last_loop)

    def remember(self, key: Any, recording: Recording) -> None:
        """Keep a recording under its structure."""
        if len(self.recordings) >= MAX_RECORDINGS:
            self.recordings.pop(next(iter(self.recordings)))
        self.recordings.setdefault(key, []).append(recording)

    def bind(self, recording: Recording, sight: Sight, args: Any, kwargs: Any) -> Attempt:
        """The replay of a recording, bound to the objects that a sight has met; the first to be tried from now on."""
        line = Line(recording, sight, args, kwargs).function()
        self.lines = [line, *self.lines[:MAX_LINES - 1]]
        return line

    def tell(self, reason: str) -> None:
        """Warn, once, that the function is run as it is."""
        if reason not in self.told:
            self.told.add(reason)
            name = getattr(self.function, "__qualname__", "the step")
            warnings.warn(f"{name} is run as it is, not compiled: {reason}", UserWarning, stacklevel=5)


class CompiledObject(Compiled[P, R]):
    """A compiled object, or function with attributes, which has what that has: of a model, its parameters, its mode.
    A class of its own, as in one with `__getattr__` whatever is asked for takes several times as long."""

    def __getattr__(self, name: str) -> Any:
        if name == "function" or name[:2] == "__":       # not made yet, or asked for by Python itself
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.function, name)


@overload
def compile(step: Callable[P, R], *, fallback: bool = False) -> Compiled[P, R]: ...
@overload
def compile(step: None = None, *, fallback: bool = False) -> Callable[[Callable[P, R]], Compiled[P, R]]: ...
def compile(step: Callable[P, R] | None = None, *, fallback: bool = False) -> Any:
    """A step of training (or any function of tensors) that is recorded once and then replayed; also as a decorator.

    The function is called once for each structure: what it records becomes one program, of which each further call runs
    the program alone. Values of tensors, an optimizer's numbers and counts and a generator's draws are handed to it
    anew; whatever else the function can see (closure, globals, attributes, modes, switches) is compared at each call,
    and recorded anew where it has changed. After a call all is as after a plain call of the function.

    Args:
        step: a function of tensors, which may hold model and optimizer by closure or take them as arguments.
        fallback: warn and run the function as it is, where it cannot be replayed.

    Raises:
        CompileError: at a call, where the function looks at a value, prints, or changes a Python value: with the line.
        TypeError: for what is not callable.
    """
    if step is None:
        return functools.partial(compile, fallback=fallback)
    if not callable(step):
        raise TypeError(f"compile(): argument 'step' (position 1) must be callable, not {type(step).__name__}")
    plain = isinstance(step, types.FunctionType | types.MethodType) and not step.__dict__
    return (Compiled if plain else CompiledObject)(step, fallback)
