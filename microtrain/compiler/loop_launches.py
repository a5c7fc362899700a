"""A loop as a step's launches again and again: for what one program cannot do, or had better not.

All memory is taken before the first launch. A launch finds each value at the same address in every step, but for a row
of a table, and for what is carried where a later launch reads the old value: that has two places by turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np

from ..graph.spec import Spec
from ..runtime.backend import Buffer, Pointer
from ..runtime.compiling import ALIGNMENT
from .executable import Executable
from .fixed_run import FixedLaunches
from .loop import Roles
from .loop_kernel import apart, encoded_rows
from .memory import heirs, nbytes
from .program import Program


class LaunchLoop:
    """A program's launches, so many times: a `Loop`. With `watched` the host looks at the numbers of all steps in the
    end, as a look at each would have the device wait; where one is not finite, the steps up to it are run again.

    Raises ValueError for what is carried to something else.
    """

    def __init__(self, program: Program, roles: Roles) -> None:
        self.outputs = len(program.outputs)
        watched = frozenset() if roles.watched is None else frozenset((roles.watched,))
        program, self.roles = apart(program, replace(roles, history=roles.history | watched))
        self.executable = executable = Executable(program)
        device = executable.backend.requeuing
        self.queue = executable.queue if device is None else FixedLaunches(executable, device).queue
        inputs, outputs, place = executable.program.inputs, executable.program.outputs, executable.place
        donors = heirs([launch.kernel for launch in executable.launches], executable.program)
        pairs = {outputs[after]: inputs[before] for before, after in self.roles.carried.items()}
        self.over = {place[after]: place[before] for after, before in pairs.items() if before in donors.get(after, ())}
        self.turns = {place[after]: place[before] for after, before in pairs.items() if place[after] not in self.over}
        self.rows = {place[inputs[k]]: inputs[k].spec for k in self.roles.rows}
        self.history = {place[outputs[k]]: outputs[k].spec for k in self.roles.history}
        self.tables = {place[outputs[k]] for k in roles.history}
        self.watched = next((place[outputs[k]] for k in watched), None)
        self.numbers = [inputs[k] for k, _ in executable.numbers]

    @property
    def way(self) -> str:
        """As `Loop` says."""
        return "a step's launches again and again"

    def run(self, values: list[Buffer], numbers: Sequence[np.ndarray], steps: int,
            last: int | None = None) -> tuple[list[Buffer], int]:
        """As `Loop` says; `last` is the step after which it ends, where that is known."""
        executable, device = self.executable, self.executable.backend
        memory: list[Buffer] = [device.copy(value) if k in self.roles.carried else value
                                for k, value in enumerate(values)]
        for k, of in self.rows.items():
            memory[k] = device.workspace(steps * width(of))
            device.copy(values[k], device.rows(memory[k], steps, width(of), of))
        for k, (of, *_) in enumerate(executable.single, len(values)):
            memory.append(memory[self.over[k]] if k in self.over else
                          device.workspace(steps * width(of)) if k in self.history else device.empty(of))
        workspace = device.workspace(executable.workspace) if executable.parts else None
        addresses = device.pointers(memory, workspace, executable.parts)
        changing = dict(self.moving(memory, addresses, encoded_rows(self.numbers, numbers, steps)))
        made = steps if last is None else last
        for now in zip(range(made), *changing.values(), strict=False):     # turns have no end
            for k, pointer in zip(changing, now[1:], strict=True):
                addresses[k] = pointer
            self.queue(addresses)
        if self.watched is not None and last is None:
            losses = device.to_numpy(self.table(memory, self.watched, steps))
            if not np.isfinite(losses).all():
                return self.run(values, numbers, steps, int(np.isfinite(losses).argmin()) + 1)
        return [device.copy(self.table(memory, k, steps)) if k in self.tables else self.latest(memory, k, made)
                for k in executable.results[:self.outputs]], made

    def moving(self, memory: list[Buffer], addresses: list[Pointer],
               table: np.ndarray) -> Iterator[tuple[int, Iterable[Pointer]]]:
        """The places in memory that are others in another step, each with what it is in each."""
        for column, (k, _) in enumerate(self.executable.numbers):
            yield k, table[:, column].tolist()
        for k, of in (*self.rows.items(), *self.history.items()):
            parts = [(step * width(of), of) for step in range(len(table))]
            yield k, self.executable.backend.pointers([], memory[k], parts)
        for after, before in self.turns.items():
            yield before, cycle((addresses[before], addresses[after]))
            yield after, cycle((addresses[after], addresses[before]))

    def table(self, memory: list[Buffer], k: int, steps: int) -> Buffer:
        """The values of all steps."""
        return self.executable.backend.rows(memory[k], steps, width(self.history[k]), self.history[k])

    def latest(self, memory: list[Buffer], k: int, made: int) -> Buffer:
        """What a place in memory holds after so many steps."""
        if k in self.history:
            return self.executable.backend.part(memory[k], (made - 1) * width(self.history[k]), self.history[k])
        return memory[self.turns.get(k, k) if made % 2 == 0 else k]


def width(of: Spec) -> int:
    """Bytes from row to row of a table: each begins where a kernel expects a value to."""
    return -(-nbytes(of) // ALIGNMENT) * ALIGNMENT
