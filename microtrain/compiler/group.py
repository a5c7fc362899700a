"""What the scheduler makes of a program: groups of operations, each of which becomes one kernel."""

from __future__ import annotations

from .program import Program, Value
from .templates.template import Group


class Schedule(list[Group]):
    """Groups in the order in which they run, of `program` (lowered); `place` says which group computes a value."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.place: dict[Value, Group] = {}
