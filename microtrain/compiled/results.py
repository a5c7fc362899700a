"""What is known of a step that was recorded: the program, whose values enter it, and what is left changed after it.

What is left is told by results: the value of a tensor that was there before, a gradient, a tensor of an optimizer's
state, something in a place of the user's, what the function returned.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from ..engine.step import Step
from ..graph.spec import Device, Spec
from ..graph.tape import Tape
from .recorder import Call, Draw, Numbers


@dataclass(frozen=True)
class Fresh:
    """A tensor that each replay makes: of an output, or of an input's value (`output` is None)."""

    kind: type
    output: int | None
    source: Source | None
    spec: Spec
    tape: Tape | None


@dataclass(frozen=True)
class There:
    """A tensor that was there before, by its number in the sight."""

    tensor: int


@dataclass(frozen=True)
class Built:
    """A list, tuple or dict of results."""

    kind: type
    keys: tuple[Any, ...]
    parts: tuple[Result, ...]


@dataclass(frozen=True)
class Constant:
    """An object that each replay gives as it is."""

    value: Any


Result = Fresh | There | Built | Constant


@dataclass(frozen=True)
class Source:
    """Where an input's value comes from: a tensor (its number in the sight), a number (its place among the events, and
    which of theirs it is), or the recording itself."""

    kind: str
    number: int = 0
    which: int = 0
    value: Any = None


@dataclass(frozen=True)
class Change:
    """A tensor, by its number in the sight, has another value after the step, and was changed so many times; whether
    others, which the step does not see, share its memory."""

    tensor: int
    value: Fresh
    times: int
    shared: bool


@dataclass
class Recording:
    """What a replay needs to know of a step.

    Attributes:
        step: what is run; `inputs` says whose value each of its inputs is, `outputs` which of its outputs are wanted.
        events: what is done on the host, in order.
        asked: what was asked of values at hand: the tensor's number, question and answer.
        changes, gradients: tensors by number, with what becomes of their values and gradients.
        states: for optimizers (by number in the sight) and parameters (by number): the entries of the state after it,
            and by how much the count of steps has grown (None where there is none).
        stored: what becomes of the user's places: container, key, result.
        result: what the function returned.
        reason: why the step is not replayed, though it was recorded; "" where it is.
        line: the user's line to tell it with.
        runner: what runs the step, once it was replayed.
        stationary: whether the next step has the same description.
        paths: how the step comes to each tensor.
        renumber: outputs of the recorded program, as numbers of `step`'s, where those differ.
        kept: what must live as long as the recording, whose description names it.
    """

    reason: str = ""
    step: Step | None = None
    device: Device | None = None
    inputs: list[Source] = field(default_factory=list)
    events: list[Draw | Numbers | Call] = field(default_factory=list)
    asked: list[tuple[int, Any, Hashable]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    gradients: list[tuple[int, Result]] = field(default_factory=list)
    states: list[tuple[int, int, dict[str, Result], int | None]] = field(default_factory=list)
    stored: list[tuple[Any, Any, Result]] = field(default_factory=list)
    result: Result = Constant(None)
    stationary: bool = False
    runner: Any = None
    paths: list[str] = field(default_factory=list)
    kept: list[object] = field(default_factory=list)
    renumber: dict[int, int] = field(default_factory=dict)
