"""What a replay calls: the step itself, an optimizer's numbers, questions about values, new tensors."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from operator import is_, itemgetter
from sys import getrefcount
from typing import Any

import numpy as np

from .. import settings
from ..autograd.mode import no_grad
from ..engine.donation import LOST, uninterrupted
from ..engine.run import realize
from ..engine.step import Step
from ..graph.constants import scalar
from ..graph.dtypes import DType, get_default_dtype
from ..graph.node import Node, Signature, leaf
from ..graph.tape import grad_mode
from ..runtime import backend
from ..tensor import Tensor
from ..tensor.memory import fresh


def own_references() -> int:
    """What `getrefcount` says of a value that an attribute, a local variable and its own call refer to."""
    value = object()
    holder = [value]
    return getrefcount(value) if holder else 0


OWN = own_references()

quietly = contextvars.copy_context()
"""A context in which NumPy does not warn, for who has the lock: entering it costs next to nothing."""
quietly.run(np.seterr, all="ignore")

_switches: list[tuple[int, tuple[Any, ...]]] = [(-1, ())]


def circumstances() -> tuple[Any, ...]:
    """What else decides how a step is recorded and compiled."""
    count, values = _switches[0]
    if count != settings.changes:
        values = tuple([flag.value for flag in settings.FLAGS.values()])
        _switches[0] = settings.changes, values
    return (values, get_default_dtype(), grad_mode.enabled)


class GroupNumbers:
    """An optimizer's numbers for a group, as the scalars that a step takes: made anew where an option or the count of
    steps has changed. `uses` are those that are needed: which number, in which dtype."""

    def __init__(self, optimizer: Any, group: int, uses: Sequence[tuple[int, DType]]) -> None:
        self.optimizer, self.group, self.uses = optimizer, optimizer.param_groups[group], uses
        # A rate that is a tensor, or an array, is compared with the rest of the group.
        given = [name for name in optimizer._given if isinstance(self.group[name], int | float | tuple)]
        self.given = itemgetter(*given) if given else id
        self.last, self.count = self.given(self.group), -1
        self.scalars: list[Any] = []

    def __call__(self, count: int) -> list[Any]:
        now = self.given(self.group)
        if count != self.count or now != self.last:
            numbers = self.optimizer._numbers(self.group, count)
            self.scalars = [scalar(numbers[which], dtype) for which, dtype in self.uses]
            self.last, self.count = now, count
        return self.scalars


def rebound(changes: Sequence[tuple[Tensor, Node, int]]) -> None:
    """Give tensors that share memory with others the value of a node, so many changes later, off the tape."""
    for tensor, node, times in changes:
        version = tensor._version + times
        with no_grad():
            tensor.rebind(fresh(node))
        if tensor._alias is None:
            tensor._changes = version
        else:
            tensor._alias.family.cell.version = version


def twin(node: Node) -> Node:
    """A node in the place of one that others hold, which is to be given another value."""
    other = leaf(None, node.spec)
    other.tape = node.tape
    return other


MANY = 256
"""Replays after which what is worth it becomes machine code: each function costs 5 ms, and the first one in a process a
tenth of a second."""


class Runner:
    """Runs a step on buffers.

    fixed: places of inputs that may be the same in many runs; on the cpu what depends on them alone is kept.
    carried: places of inputs, each with the place of the output that is its value in the next run.
    often: on the cpu, whether it is worth machine code.
    """

    def __init__(self, step: Step, fixed: Sequence[int], carried: Mapping[int, int], often: bool = False) -> None:
        self.step, self.executable = step, step.executable
        self.machine: Callable[..., tuple[Any, ...] | None] | None = None
        self.fused = False
        self.waits = step.program.device.kind.native and not often and settings.fuse.value
        self.runs = 0
        self.fixed: tuple[int, ...] = ()
        self.last: list[Any] = []
        self.kept: Any = None
        self.quick: Callable[..., list[Any]] = self.executable.run
        self.function: Any = None
        self.takes_each = False
        if step.program.device.kind.native:
            from ..compiler.cpu.emit_numpy import NumpyExecutable
            native = NumpyExecutable(step.program, in_place=True, fixed=fixed, carried=carried)
            if often:
                with suppress(OSError, RuntimeError):               # no memory for code, say: NumPy goes on
                    from ..compiler.cpu.emit_llvm import compiled_step
                    from ..compiler.cpu.fused_maps import fused
                    self.machine, program = compiled_step(step.program), fused(step.program)
                    if program is not step.program:
                        native = NumpyExecutable(program, True, fixed, carried, otherwise=native)
                        self.fused = True
            self.executable, self.quick, self.function = native, quietly.run, native.function
            self.fixed = tuple(fixed) if native.hoisted is not None else ()
            self.prepare, self.takes_each = native.prepare, native.takes_each
        else:
            from ..compiler.executable import Executable
            from ..compiler.fixed_run import FixedRun
            assert isinstance(step.executable, Executable)
            self.quick = FixedRun(step.executable, carried).run
        self.native = step.program.device.kind.native
        self.execute: Callable[..., list[Any]] = self.executable.run if self.native else self.quick
        self.donatable = frozenset(self.executable.donatable)
        self.trusted = self.native

    def enough(self) -> bool:
        """Count a run that is asked for; whether there were so many that another had better take its place."""
        self.runs += 1
        return self.runs >= MANY

    @property
    def spent(self) -> bool:
        """Whether it would not do another run."""
        return self.waits and self.runs + 1 >= MANY

    def same(self, values: list[Any], nodes: Sequence[Node]) -> Any:
        """What depends on the fixed inputs alone, kept while they are the same and nobody else sees them."""
        given = [values[place] for place in self.fixed]
        again = len(self.last) == len(given) and all(map(is_, self.last, given))
        self.last, self.kept = given, None
        made = self.prepare(values)
        if again and not any(node.shared for node in nodes):
            self.kept = made                    # of values that are met once nothing is kept
        return made

    def run(self, values: list[Any], free: tuple[int, ...], nodes: Sequence[Node | None],
            kept: Any = None) -> list[Any]:
        """The outputs; inputs in `free` are written over, and where a run fails in between they are lost."""
        more = () if kept is None else (kept,)
        if not free or not self.trusted:
            results = self.execute(values, (), *more)
            self.trusted = True
            return results
        made: list[Any] = []

        def go() -> None:
            try:
                made[:] = self.execute(values, free, *more)
            except BaseException:
                for place in free:
                    node = nodes[place]
                    if values[place] is None and node is not None:
                        node.signature, node.buffer = Signature(LOST, (), (), node.spec), None
                raise
        uninterrupted(go)
        return made


class Again:
    """A question about a value, asked in each replay; of a value that was asked about last time nothing is asked."""

    def __init__(self, question: Callable[[np.ndarray], Hashable]) -> None:
        self.question = question
        self.last: Any = None
        self.answer: Hashable = None

    def __call__(self, node: Node) -> Hashable:
        buffer = realize(node)
        if buffer is not self.last or node.shared:
            device = node.spec.device
            self.answer = self.question(backend(device.type, device.index).to_numpy(buffer))
            self.last = buffer
        return self.answer
