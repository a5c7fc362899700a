"""Recording a step: the function is called once, with nothing computed meanwhile, and what it does that a replay could
not do again is refused at the line that does it."""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine.recorder import Question
from ..engine.session import current
from ..errors import CompileError
from ..graph.constants import GivenFloat, GivenInt
from ..graph.node import Node, next_seq
from ..optim.lr_scheduler import LRScheduler
from ..tensor import Tensor
from ..tensor.random import Generator
from .blame import is_users, place, users_line
from .questions import through
from .stateful import stateful

IN_PYTHON = frozenset((Generator.get_state.__code__, Generator.seed.__code__))
"""Functions in Python that are refused."""

RANDOM = frozenset(("random", "secrets", "uuid", "tempfile", "subprocess", "socket"))
"""Modules in Python whose functions are refused."""

SEEDED = frozenset((Generator.manual_seed.__code__, Generator.set_state.__code__))
"""Functions that each replay calls as well; and `step` of schedulers."""


@dataclass
class Draw:
    """A draw of a generator's: the key and the counter."""

    generator: Any
    numbers: tuple[GivenInt, GivenInt]
    line: str


@dataclass
class Numbers:
    """An optimizer's numbers for the parameters of a group that have made as many steps as its parameter `place`;
    `number` is the optimizer's in the sight, once it is known."""

    optimizer: Any
    group: int
    place: int
    numbers: tuple[Any, ...]
    number: int = -1


@dataclass
class Call:
    """Something that each replay calls on the host."""

    method: Callable[..., Any]
    arguments: tuple[object, ...]


@dataclass
class Asked:
    """Something that was asked of a value at hand, and the answer."""

    node: Node
    question: Question
    answer: Hashable


@dataclass
class StepRecorder:
    """What a step did on the host while it was recorded, in order."""

    started: int = field(default_factory=next_seq)
    events: list[Draw | Numbers | Call] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    inside: types.FrameType | None = None
    reason: str = ""
    """Why the step, though it was recorded, is not replayed."""

    def read(self, node: Node) -> None:
        """Refuse a look at a value."""
        if node.buffer is not None and node.seq > self.started:
            return                                  # made from Python's numbers, which are described
        raise refusal("looks at a value, which is not computed yet while a step is recorded",
                      "return the tensor and look at it outside, or choose with microtrain.where")

    def answered(self, node: Node, question: Question, answer: Hashable) -> None:
        """Note what was asked of a value at hand."""
        self.asked.append(Asked(node, question, answer))

    def inferred(self, node: Node, question: Question) -> Hashable:
        """Ask what a value is computed from instead."""
        profile: Any = sys.getprofile()
        sys.setprofile(None)                    # what it is computed by may be compiled for it: that is not the step's
        try:
            leaf, asked, answer = through(node, question, {one for one, *_ in self.given_nodes()}, self.started)
        except LookupError:
            raise refusal("takes elements at an index that it computes, of which it cannot be told whether it is in "
                          "range", "compute the index outside, and hand it over as an argument") from None
        finally:
            restore(profile)
        if leaf is not None:
            self.answered(leaf, asked, answer)
        return answer

    def given_nodes(self) -> Iterator[tuple[Node, int, int]]:
        """The nodes of numbers that are others in each replay, each with its event's place, and which of its numbers it
        is."""
        for k, event in enumerate(self.events):
            for which, number in enumerate(() if isinstance(event, Call) else event.numbers):
                if isinstance(number, GivenFloat | GivenInt):
                    yield from [(node, k, which) for node in number.nodes.values()]

    def drawn(self, generator: object, seed: int, stream: int) -> tuple[int, int]:
        """Note a draw, and give its numbers as ones that are another in each replay."""
        draw = Draw(generator, (given(seed), given(stream)), users_line())
        self.events.append(draw)
        return draw.numbers

    def numbers(self, optimizer: Any, group: int, count: object, numbers: tuple[Any, ...]) -> tuple[Any, ...]:
        """Note an optimizer's numbers, and give them as ones that are others in each replay."""
        if any(isinstance(number, Tensor) for number in numbers) and "step" in optimizer._needed:
            self.reason = self.reason or "the optimizer's rate is a tensor, from which it makes numbers on the host"
        params = optimizer.param_groups[group]["params"]
        place = next(k for k, param in enumerate(params) if param._grad is not None
                     and optimizer.state.get(param, {}).get("step", 0) == count)
        made = tuple([given(number) if isinstance(number, int | float | np.number) else number for number in numbers])
        self.events.append(Numbers(optimizer, group, place, made))
        return made

    def called(self, frame: types.FrameType) -> None:
        """Note a call of what each replay has to call as well."""
        code, held = frame.f_code, frame.f_locals
        owner, *arguments = [held[name] for name in code.co_varnames[:code.co_argcount]]
        self.inside = frame
        self.events.append(Call(getattr(owner, code.co_name), tuple(arguments)))

    def watch(self, frame: types.FrameType, event: str, called: Any) -> None:
        """Refuse a function that would give another value each time, or change the world: a profiler's hook."""
        if self.inside is not None:
            if event == "return" and frame is self.inside:
                self.inside = None
            return
        if event == "c_call":
            what = stateful(called)
        elif event == "call" and (frame.f_code in SEEDED or (frame.f_code.co_name == "step" and is_scheduler(frame))):
            self.called(frame)
            return
        elif (event == "call" and (before := frame.f_back) is not None
              and (frame.f_code in IN_PYTHON or frame.f_globals.get("__name__") in RANDOM)):
            frame, what, called = before, "calls", frame.f_code
        else:
            return
        if what and (user := led_by_user(frame)) is not None:
            name = getattr(called, "__name__", "") or getattr(called, "co_name", "")
            raise CompileError(f"{place(user)}the compiled step {what} ({name}). A replay would not do that again: do "
                               "it outside the step, or hand the value over as an argument")


MACHINERY = frozenset(("microtrain", "warnings", "importlib", "linecache", "_frozen_importlib",
                       "_frozen_importlib_external"))


def is_scheduler(frame: types.FrameType) -> bool:
    """Whether a scheduler's method is called."""
    names = frame.f_code.co_varnames[:1]
    return bool(names) and isinstance(frame.f_locals.get(names[0]), LRScheduler)


def led_by_user(frame: types.FrameType | None) -> types.FrameType | None:
    """The frame of the user's that led to one; None where this package did, or Python's machinery."""
    collecting = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] in MACHINERY or frame.f_code in collecting or frame.f_code.co_name == "__del__":
            return None
        if is_users(frame):
            return frame
        frame = frame.f_back
    return None


def given(number: float | int | np.number) -> Any:
    """A number that is another in each replay."""
    whole = isinstance(number, int) and not isinstance(number, bool)
    made: Any = GivenInt(number) if whole else GivenFloat(float(number))
    made.nodes = {}
    return made


def refusal(what: str, instead: str) -> CompileError:
    """The error for something that a replay could not do again."""
    return CompileError(f"{users_line()}the compiled step {what}. A replay would not do that again: {instead}")


under_way: list[StepRecorder] = []
"""Who records now, who has the lock: compiled steps that are called meanwhile are a part of what is recorded."""


def restore(profile: Any) -> None:
    """Set a profiler again: a function, or cProfile's, which is none."""
    sys.setprofile(profile if callable(profile) else None)
    if hasattr(profile, "enable"):
        profile.enable()


@contextmanager
def recording_to(recorder: StepRecorder) -> Iterator[None]:
    """A block in which a step is recorded."""
    session = current()
    profile: Any = sys.getprofile()
    watch = recorder.watch                  # held, for one that raises is let go of while it is being called
    under_way.append(recorder)
    try:
        session.recorder = recorder
        sys.setprofile(watch)
        yield
    finally:
        restore(profile)
        session.recorder = None
        under_way.clear()
