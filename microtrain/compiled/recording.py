"""Recording a step: the function is called once, nothing is computed in the meantime, and what it did is read off."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import plans
from ..engine.run import compute, flush
from ..engine.session import current, pending
from ..engine.step import Step
from ..errors import CompileError
from ..graph.node import LITERAL, SCALAR, Node, Unmade
from ..graph.tape import Entry
from ..tensor import Tensor
from ..tensor.memory import same_value
from .blame import changing, naming
from .recorder import Call, Draw, Numbers, StepRecorder, recording_to
from .results import Built, Change, Constant, Fresh, Recording, Result, Source, There
from .running import rebound
from .sight import Sight

NOTHING = "it computes nothing"


class Unfit(Exception):
    """Why a step that was recorded cannot be replayed; what it did is right."""


class Altered(CompileError):
    """A place of the user's was changed: which, what it held, and how one comes to it."""

    def __init__(self, place: Any, held: Any, path: str) -> None:
        super().__init__(path)
        self.place, self.held, self.path = place, held, path


@dataclass
class Before:
    """A tensor as it was before the step."""

    node: Node
    version: int
    grad: Tensor | None
    shares: bool


def counts_of(sight: Sight) -> dict[tuple[int, int], int]:
    """How many steps each parameter has made, by the optimizer's number and the parameter's id."""
    return {(number, id(param)): state.get("step", 0) for number, optimizer in enumerate(sight.optimizers)
            for param, state in optimizer.state.items()}


def record(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any],
           sight: Sight) -> tuple[Any, Recording]:
    """Call a function, nothing being computed meanwhile; then compute what it recorded. Returns what it returned.

    Raises CompileError for what cannot be replayed: all is as before the call then. `sight` is what it sees.
    """
    if sight.refused:
        where, path, kind = min((*naming(sight.codes, path), path, kind) for path, kind in sight.refused)[1:]
        raise CompileError(f"{where}the compiled step reads {path}, of type {kind}, which cannot "
                           "be compared from call to call: read it outside, and hand over what it gives as an argument")
    for device in dict.fromkeys(node.device for node in pending()):
        flush(device)
    before = [Before(tensor.node, tensor._version, tensor._grad, tensor._alias is not None) for tensor in sight.tensors]
    recorder, counts = StepRecorder(), counts_of(sight)
    try:
        with recording_to(recorder):
            result = function(*args, **kwargs)
        recording = Reading(sight, before, counts, recorder, result).recording
    except Altered as error:
        undo(sight, before, recorder)
        place, held = error.place, error.held
        with recording_to(recorder):
            where = changing(lambda: function(*args, **kwargs), lambda: changed(place, held))
        undo(sight, before, recorder)
        raise CompileError(f"{where}the compiled step changes {error.path}, a Python value. A replay would not do that "
                           "again: return what changes, and change it outside") from None
    except CompileError:
        undo(sight, before, recorder)
        raise
    return result, recording


def undo(sight: Sight, before: Sequence[Before], recorder: StepRecorder) -> None:
    """Have everything as it was before a step."""
    for event in reversed(recorder.events):
        if isinstance(event, Draw):
            event.generator._stream = event.numbers[1].real - 1
    for tensor, was in zip(sight.tensors, before, strict=True):
        if tensor.node is not was.node and was.shares:
            rebound(((tensor, was.node, was.version - tensor._version),))
        elif tensor.node is not was.node:
            tensor._alias = None
            tensor.node = was.node
            tensor._changes = was.version
        tensor._grad = was.grad
    for place, held, _ in sight.places:
        put_back(place, held)
    session = current()
    session.updated.clear()
    session.start_counting()


def put_back(place: Any, held: Any) -> None:
    """Have a place hold what it held."""
    if isinstance(place, types.CellType):
        place.cell_contents = held
    elif isinstance(place, np.ndarray):
        if place.flags.writeable:
            place[...] = held
    elif isinstance(held, tuple) and isinstance(place, dict):
        if len(held) == 2:
            place[held[0]] = held[1]
        else:
            place.pop(held[0], None)
    elif isinstance(held, tuple):
        if held[1] is not None:
            (type if isinstance(place, type) else object).__setattr__(place, *held)
    elif isinstance(place, dict):
        if any(place.get(key, place) is not value for key, value in held.items()) or len(place) != len(held):
            dict.clear(place)
            dict.update(place, held)
    elif isinstance(place, set):
        place.clear()
        place.update(held)
    elif isinstance(place, deque):
        place.clear()
        place.extend(held)
    else:
        place[:] = held


class Reading:
    """Reading off what a step did, once it was called and before anything is computed."""

    def __init__(self, sight: Sight, before: Sequence[Before], counts: dict[tuple[int, int], int],
                 recorder: StepRecorder, result: Any) -> None:
        self.sight, self.before, self.counts, self.recorder = sight, before, counts, recorder
        self.number = {id(tensor): k for k, tensor in enumerate(sight.tensors)}
        self.recording = Recording(recorder.reason, events=recorder.events, kept=sight.kept, paths=sight.paths)
        self.fresh: dict[int, Fresh] = {}
        self.wanted: dict[Node, None] = {}
        try:
            self.places()
            self.values()
            self.read_program(result)
        except Unfit as error:
            # What was recorded is right: it is computed as it is.
            self.recording.reason = str(error) or NOTHING
            self.compute_all()

    # ------------------------------------------------------------------------------------------ what was changed
    def places(self) -> None:
        """The user's places: what was put there is put there by each replay; anything else is refused."""
        scheduled = any(isinstance(event, Call) for event in self.recorder.events)
        groups = {id(group) for optimizer in self.sight.optimizers for group in optimizer.param_groups}
        for place, held, path in self.sight.places:
            own = self.sight.own.get(id(place), ())
            for key, now in [] if own is None else changed(place, held):
                if key in (own or ()) and (scheduled or id(place) not in groups):
                    continue
                if isinstance(now, Tensor):
                    self.recording.stored.append((place, key, now))         # type: ignore[arg-type]
                else:
                    raise Altered(place, held, path)

    def values(self) -> None:
        """Tensors that have other values than before, and other gradients."""
        for tensor, was in zip(self.sight.tensors, self.before, strict=True):
            node = tensor.node
            if type(node) is Unmade:
                node.spec                           # noqa: B018 (asked for, it is made)
            alias = tensor._alias
            if alias is not None and not was.shares and alias.view is same_value and alias.family.is_only(tensor):
                tensor.leave()
            if tensor.node is not was.node:
                if tensor._alias is not None and not (was.shares and tensor._alias.view is same_value and
                                                      alone(tensor, self.number)):
                    raise Unfit("it changes a tensor that shares memory with another, which it sees or makes")
                if tensor.node.spec is not was.node.spec or tensor.node.tape is not was.node.tape:
                    raise Unfit("it changes what a tensor requires of a gradient, or its shape or dtype")
                self.wanted[tensor.node] = None

    # ------------------------------------------------------------------------------------------ what is run
    def compute_all(self) -> None:
        """Compute what the step recorded, as it would be without anything being compiled."""
        for device in dict.fromkeys(node.device for node in pending()):
            flush(device)

    def read_program(self, returned: Any) -> None:
        """The program, whose values enter it, and the results."""
        recording, sight = self.recording, self.sight
        roots = list(dict.fromkeys([*pending(), *[node for node in self.wanted if node.buffer is None]]))
        devices = {node.device for node in roots}
        if not roots:
            raise Unfit("")
        if len(devices) > 1:
            raise Unfit(f"it computes on several devices, {', '.join(sorted(map(str, devices)))}")
        recording.device = device = roots[0].device
        step, order = plans.plans.find(roots, device)
        assert step is not None
        self.outputs = {order[place]: k for k, place in enumerate(step.outputs)}
        self.by_node: dict[Node, int] = {}
        self.by_buffer: dict[int, list[int]] = {}
        for k, was in enumerate(self.before):
            if was.node.__class__ is Node:
                self.by_node.setdefault(was.node, k)
                self.by_buffer.setdefault(id(was.node.buffer), []).append(k)
        self.given = {node: Source("number", k, which) for node, k, which in self.recorder.given_nodes()}
        for event in recording.events:
            if isinstance(event, Numbers):
                if event.optimizer not in sight.optimizers:
                    raise Unfit("it steps an optimizer that neither its closure, nor globals, nor arguments lead to")
                event.number = sight.optimizers.index(event.optimizer)
            if isinstance(event, Draw) and not event.numbers[1].nodes:
                raise CompileError(f"{event.line}the compiled step draws random numbers on the host (as randperm "
                                   "does). A replay would not draw others: hand them over as an argument")
        inputs = [self.source(order[place]) for place in step.inputs]
        for asked in self.recorder.asked:
            source = self.source(asked.node)
            if source.kind == "tensor":
                recording.asked.append((source.number, asked.question, asked.answer))
        recording.result = self.read(returned)
        for k, (tensor, was) in enumerate(zip(sight.tensors, self.before, strict=True)):
            if tensor.node is not was.node:
                recording.changes.append(Change(k, self.fresh_of(tensor), tensor._version - was.version,
                                                was.shares))
            if tensor._grad is not was.grad:
                recording.gradients.append((k, self.read(tensor._grad)))
        for number, optimizer in enumerate(sight.optimizers):
            for param, state in optimizer.state.items():
                if id(param) not in self.number:
                    raise Unfit("an optimizer's state has a parameter that the step does not lead to")
                read = {key: self.read(value) for key, value in state.items() if key != "step"}
                count = state.get("step", 0) - self.counts.get((number, id(param)), 0) if "step" in state else None
                recording.states.append((number, self.number[id(param)], read, count))
        recording.stored = [(place, key, self.read(value)) for place, key, value in recording.stored]
        needed = self.needed()
        recording.step = step if needed == tuple(range(len(step.outputs))) else self.narrowed(step, needed)
        recording.inputs = inputs
        del order
        compute(roots, device)
        self.compute_all()

    def source(self, node: Node) -> Source:
        """Whose value a leaf is."""
        found = self.given.get(node)
        if found is not None:
            return found
        if node.primitive is SCALAR:
            return Source("constant", value=node.buffer)
        k = self.by_node.get(node)
        if k is None:
            same = self.by_buffer.get(id(node.buffer), ())
            if len(same) > 1:
                raise Unfit("it reads memory that several tensors share")
            if not same and node.seq < self.recorder.started:
                raise Unfit("it reads a tensor that neither its closure, nor globals, nor arguments lead to")
            if not same:
                node.shared = True                  # each replay reads it: no run is given its memory
                return Source("constant", value=node.buffer)
            k = same[0]
        return Source("tensor", k)

    def needed(self) -> tuple[int, ...]:
        """The outputs that somebody sees after the step."""
        results: list[Any] = [self.recording.result, *[change.value for change in self.recording.changes],
                              *[result for _, result in self.recording.gradients],
                              *[result for _, _, state, _ in self.recording.states for result in state.values()],
                              *[result for _, _, result in self.recording.stored]]
        found = set()
        while results:
            result = results.pop()
            if isinstance(result, Fresh) and result.output is not None:
                found.add(result.output)
            if isinstance(result, Built):
                results += result.parts
        return tuple(sorted(found))

    def narrowed(self, step: Step, needed: tuple[int, ...]) -> Step:
        """The step with the outputs that are needed alone; results count them anew."""
        places = tuple([step.outputs[k] for k in needed])
        self.recording.renumber = dict(zip(needed, range(len(needed)), strict=True))
        return Step((places, *step.key[1:]))

    # ------------------------------------------------------------------------------------------ results
    def read(self, value: Any) -> Result:
        """How a replay gives what the recorded call gave."""
        if isinstance(value, Tensor):
            k = self.number.get(id(value))
            return There(k) if k is not None else self.fresh_of(value)
        if type(value) in (list, tuple):
            return Built(type(value), (), tuple([self.read(part) for part in value]))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return Built(type(value), (), tuple([self.read(part) for part in value]))
        if type(value) is dict:
            return Built(dict, tuple(value), tuple([self.read(part) for part in value.values()]))
        if value is None or isinstance(value, bool | int | float | str | bytes) or id(value) in self.sight.numbers:
            return Constant(value)
        raise Unfit(f"it gives an object that it made itself, of type {type(value).__name__}: return a tuple, list or "
                    "dict of tensors")

    def fresh_of(self, tensor: Tensor) -> Fresh:
        """How a replay makes a tensor like one that the recorded call made."""
        known = self.fresh.get(id(tensor))
        if known is None:
            known = self.fresh[id(tensor)] = self.made_as(tensor)
        return known

    def made_as(self, tensor: Tensor) -> Fresh:
        """Where its value comes from. Raises Unfit where a replay could not make it."""
        alias = tensor._alias
        if alias is not None and not (tensor.is_contiguous() and alone(tensor, self.number)):
            raise Unfit("it gives a tensor that shares memory with another")
        node = tensor.node
        if node.__class__ is not Node:
            node.spec                               # noqa: B018
            node = tensor.node
        tape = node.tape
        if isinstance(tape, Entry) and not tape.released and tensor._leaf is None:
            raise Unfit("it gives a tensor whose derivative may still be asked for: compile the whole step, "
                        "backward() with it, or write .detach()")
        if tape is not None and not isinstance(tape, Entry) and id(tensor) not in self.number:
            raise Unfit("it gives a new leaf that requires grad: change the one that is there in place, under "
                        "microtrain.no_grad()")
        output = self.outputs.get(node)
        source = None
        if output is None:
            if node.buffer is None and node.primitive is not LITERAL:
                raise Unfit("it gives a value that is not computed with the others")
            source = self.source(node) if node.buffer is not None else None
            if source is None:
                raise Unfit("it gives a constant")
        return Fresh(type(tensor), output, source, node.spec, tape)


def alone(tensor: Tensor, there: Mapping[int, int]) -> bool:
    """Whether nobody else that was there before shares a tensor's memory."""
    family = tensor._alias.family                   # type: ignore[union-attr]
    families = [family] if family.memory is None else [family, *family.memory.living()]
    return all(member is tensor or id(member) not in there for one in families for member in one.living())


def changed(place: Any, held: Any) -> list[tuple[Any, Any]]:
    """What a place holds now that it did not hold before: keys and values."""
    missing = object()
    if isinstance(place, types.CellType):
        now = place.cell_contents
        return [] if same(now, held) else [(None, now)]
    if isinstance(place, np.ndarray):
        return [] if place.tobytes() == held.tobytes() else [(None, None)]
    if isinstance(held, tuple) and isinstance(place, dict):
        now = place.get(held[0], missing)
        return [] if same(now, held[1] if len(held) == 2 else missing) else [(held[0], now)]
    if isinstance(held, tuple):
        now = place.__dict__.get(held[0]) if isinstance(place, type) else getattr(place, held[0], None)
        return [] if same(now, held[1]) else [(held[0], now)]
    if isinstance(place, dict):
        gone = [(key, None) for key in held if key not in place]
        return gone + [(key, now) for key, now in place.items() if not same(now, held.get(key, missing))]
    if isinstance(place, set):
        return [] if place == held else [(None, None)]
    if len(place) != len(held):
        return [(None, None)]
    return [(k, now) for k, (now, was) in enumerate(zip(place, held, strict=True)) if not same(now, was)]


def same(now: Any, was: Any) -> bool:
    """Whether a place holds what it held: the same object, or an equal plain value."""
    return now is was or (type(now) is type(was) and isinstance(now, bool | int | float | str) and now == was)

