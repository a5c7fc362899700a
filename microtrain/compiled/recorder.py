"""Recording a step: the function is called once, with nothing computed meanwhile, and what it does that a replay could
not do again is refused at the line that does it."""

from __future__ import annotations

import builtins
import contextvars
import datetime
import io
import os
import random
import sys
import types
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engine.recorder import Question
from ..errors import CompileError
from ..graph.constants import GivenFloat, GivenInt
from ..graph.node import Node, next_seq
from ..tensor import Tensor

PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep

CLOCKS = ("time", "posix", "nt", "secrets", "_socket", "_uuid")
"""Modules in C whose functions give another value each time, or change the world."""

WORLD: dict[object, str] = {builtins.print: "prints", builtins.input: "asks for input", io.open: "opens a file"}
"""Functions that a replay would leave out, in words."""

STATEFUL = (random.Random, io.IOBase, contextvars.ContextVar)
"""Objects in C whose methods give another value each time, or change the world."""


@dataclass
class Draw:
    """A draw of a generator's: the key and the counter."""

    generator: Any
    numbers: tuple[GivenInt, GivenInt]


@dataclass
class Numbers:
    """An optimizer's numbers for the parameters of a group that have made as many steps as its parameter `place`."""

    optimizer: Any
    group: int
    place: int
    numbers: tuple[Any, ...]


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

    def drawn(self, generator: object, seed: int, stream: int) -> tuple[int, int]:
        """Note a draw, and give its numbers as ones that are another in each replay."""
        draw = Draw(generator, (given(seed), given(stream)))        # type: ignore[arg-type]
        self.events.append(draw)
        return draw.numbers

    def numbers(self, optimizer: Any, group: int, count: object, numbers: tuple[Any, ...]) -> tuple[Any, ...]:
        """Note an optimizer's numbers, and give them as ones that are others in each replay."""
        if any(isinstance(number, Tensor) for number in numbers) and "step" in optimizer._needed:
            self.reason = self.reason or "the optimizer's rate is a tensor, from which it makes numbers on the host"
        params = optimizer.param_groups[group]["params"]
        place = next(k for k, param in enumerate(params) if param._grad is not None
                     and optimizer.state.get(param, {}).get("step", 0) == count)
        made = tuple([number if isinstance(number, Tensor) else given(number) for number in numbers])
        self.events.append(Numbers(optimizer, group, place, made))
        return made

    def called(self, method: Callable[..., Any], *arguments: object) -> None:
        """Note a call on the host."""
        self.events.append(Call(method, arguments))

    def watch(self, frame: types.FrameType, event: str, called: Any) -> None:
        """Refuse a function in C that would give another value each time, or change the world: a profiler's hook."""
        if event != "c_call" or frame.f_code.co_filename.startswith(PACKAGE):
            return
        owner = getattr(called, "__self__", None)
        module = owner.__name__ if isinstance(owner, types.ModuleType) else ""
        what = WORLD.get(called) if called.__hash__ else None
        if what is None and (module in CLOCKS or isinstance(owner, STATEFUL)
                             or owner in (datetime.datetime, datetime.date)
                             or type(owner).__module__.startswith("numpy.random")):
            what = "calls"
        if what is not None and not in_warnings(frame):
            raise refusal(f"{what} ({called.__name__})",
                          "do it outside the step, or hand the value over as an argument")


def given(number: float | int) -> Any:
    """A number that is another in each replay."""
    made: Any = GivenInt(number) if isinstance(number, int) and not isinstance(number, bool) else GivenFloat(number)
    made.nodes = {}
    return made


def in_warnings(frame: types.FrameType | None) -> bool:
    """Whether a warning is being shown."""
    while frame is not None:
        if frame.f_globals.get("__name__") in ("warnings", "linecache"):
            return True
        frame = frame.f_back
    return False


def users_line() -> str:
    """File and line of the user's that led here."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}: "


def refusal(what: str, instead: str) -> CompileError:
    """The error for something that a replay could not do again."""
    return CompileError(f"{users_line()}the compiled step {what}. A replay would not do that again: {instead}")

