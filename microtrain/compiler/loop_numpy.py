"""Whole loops on the cpu device: a Python function, or machine code where numba compiles it and steps are many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..runtime.backend import Buffer
from .emit_loop import Function, LoopEmitter
from .emit_numpy import quiet
from .loop import Roles
from .loop_numba import compiled
from .program import Program

MANY = 2000
"""Steps of one program from which on its loop is worth compiling, which takes numba about a second."""


class NumpyLoop:
    """A program and its loop as a Python function. Every program can be looped so."""

    def __init__(self, program: Program, roles: Roles) -> None:
        self.program, self.roles, self.steps = program, roles, 0
        self.machine: Function | None = None
        emitter = LoopEmitter(program, roles)
        self.source = emitter.function()
        made: dict[str, Function] = {}
        exec(compile(self.source, "<microtrain cpu loop>", "exec"), emitter.namespace, made)
        self.function = made["loop"]

    def run(self, values: list[Buffer], numbers: Sequence[np.ndarray], steps: int) -> tuple[list[Buffer], int]:
        if self.steps < MANY <= self.steps + steps:
            self.machine = compiled(self.program, self.roles)
        self.steps += steps
        outputs, made = quiet(lambda values: (self.machine or self.function)(values, numbers, steps), values)
        return list(outputs), made
