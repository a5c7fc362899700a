"""Whole loops on the cpu device: a Python function, or machine code where it is of 0-d values and steps are many."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

import numpy as np

from ... import settings
from ...runtime.backend import Buffer
from ..loop import Roles
from ..program import Program
from .emit_llvm import compiled_loop
from .emit_loop import Function, LoopEmitter
from .emit_numpy import quiet
from .fused_maps import fused

MANY = 2000
"""Steps of a program, in all its loops, from which on it is machine code: it takes LLVM as long to write it as 2,000
steps of NumPy's take, and once in a process a tenth of a second to begin."""


OFTEN = 256
"""Steps from which on what is computed element by element is fused: as of replays (`compiled.running.MANY`)."""


class NumpyLoop:
    """A program and its loop as a Python function. Every program can be looped so; equal loops share what was made."""

    def __init__(self, program: Program, roles: Roles) -> None:
        carried = tuple(sorted(roles.carried.items()))
        self.made = made(program, carried, roles.rows, roles.history, roles.watched, settings.fuse.value)

    @property
    def way(self) -> str:
        """As `Loop` says."""
        if self.made.machine is not None:
            return "machine code"
        return "a function of NumPy calls" + " and machine code" * self.made.fused

    def run(self, values: list[Buffer], numbers: Sequence[np.ndarray], steps: int) -> tuple[list[Buffer], int]:
        function = self.made.function(steps)
        outputs, count = quiet(function, values, numbers, steps)
        return list(outputs), count


class Made:
    """The functions of a loop, and in how many steps they were run."""

    def __init__(self, program: Program, roles: Roles, fuses: bool) -> None:
        self.program, self.roles, self.fuses, self.steps = program, roles, fuses, 0
        self.source, self.python = looped(program, roles)
        self.fused = False
        self.machine: Function | None = None

    def function(self, steps: int) -> Function:
        """What runs so many steps more."""
        before, self.steps = self.steps, self.steps + self.fuses * steps
        with suppress(OSError, RuntimeError):       # no memory for code, say: NumPy goes on
            if before < MANY <= self.steps:
                self.machine = compiled_loop(self.program, self.roles)
            carried = [*self.roles.carried.values()]
            if before < OFTEN <= self.steps and (program := fused(self.program, carried)) is not self.program:
                self.source, self.python = looped(program, self.roles, self.python)
                self.fused = True
        return self.machine or self.python


def looped(program: Program, roles: Roles, otherwise: Function | None = None) -> tuple[str, Function]:
    """The text of a program's loop, and the Python function; `otherwise` is as of `NumpyExecutable`."""
    emitter = LoopEmitter(program, roles)
    emitter.otherwise = otherwise
    source = emitter.function()
    namespace: dict[str, Function] = {}
    exec(compile(source, "<microtrain cpu loop>", "exec"), emitter.namespace, namespace)
    return source, namespace["loop"]


@lru_cache(maxsize=256)
def made(program: Program, carried: tuple[tuple[int, int], ...], rows: frozenset[int], history: frozenset[int],
         watched: int | None, fuses: bool) -> Made:
    """The functions of a loop, whoever asks."""
    return Made(program, Roles(dict(carried), rows, history, watched), fuses)
