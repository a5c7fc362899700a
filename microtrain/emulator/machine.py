"""Runs the blocks of a function over a batch of programs.

While all threads are at one place there is no mask. When they part, those at the lowest place go first, so that they
meet again (`meeting`); a barrier lets nobody of a program pass before all have come.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .blocks import Block
from .integers import Array
from .report import EmulatorError
from .threads import Launch, Registers
from .translate import Code, Program
from .warps import Warps

GONE = 1 << 30
"""The place of threads that have returned."""
TURNS = 256
"""Steps apart after which another batch has its turn, where programs may wait for each other."""
PATIENCE = 64
"""Steps apart after which the program that is farthest goes first, once: the others may be waiting for it."""


class Machine(Warps):
    """A batch of programs of a kernel."""

    def __init__(self, launch: Launch, programs: Array, program: Program, entry: str, waits: bool) -> None:
        local = max(code.function.local_bytes for code in program.codes.values())
        super().__init__(launch, programs, local)
        self.code = program.codes
        self.entry = entry
        self.waits = waits
        """Whether programs may wait for others: then batches take turns."""
        self.thread_instructions = 0

    def run(self) -> Iterator[None]:
        return self.call(self.code[self.entry], {}, None)

    def early(self, site: int, register: str, on: Array | None) -> None:
        if self.launch.checks and (on is None or len(on)):
            self.fault(site, "asynchronous", f"{register} is used before the wgmma that writes it is waited for",
                       0 if on is None else int(on[0]))

    def call(self, code: Code, registers: Registers, m: Array | None) -> Iterator[None]:
        blocks, at, steps = code.blocks, 0, 0
        place: Array | None = None if m is None else np.where(m, 0, GONE)
        waiting = np.zeros(self.N, bool)
        while True:
            steps += 1
            here: Array | None = None
            if place is not None:
                ready = np.where(waiting, GONE, place)
                at = int(ready.min())
                if at == GONE:
                    if not waiting.any():
                        return
                    self.release(code, place, waiting)
                    waiting[:] = False
                    continue
                if self.waits and steps % PATIENCE == 0:
                    lowest = ready.reshape(self.B, self.T).min(1)
                    at = int(lowest[lowest < GONE].max())       # the program that is farthest
                here = ready == at
                if here.all():
                    place = here = None
            block = blocks[at]
            self.thread_instructions += (len(block.ops) + 1) * (self.N if here is None else int(here.sum()))
            answer = block.run(self, registers, here)
            if block.end.kind == "call":
                yield from self.invoke(block, registers, here)
            goal = self.following(block, answer)
            if place is not None and here is not None:
                place = np.where(here, goal, place)
                if block.end.kind == "barrier":
                    waiting |= here
            elif isinstance(goal, int):
                if block.end.kind == "barrier":
                    self.pass_barrier(None)
                    if self.launch.checks:
                        self.in_shared.log.clear()      # after a barrier of all programs no read of before can clash
                if goal == GONE:
                    return
                at = goal
            else:
                place = goal
            if self.waits and steps % TURNS == 0:
                yield

    def following(self, block: Block, answer: Array | None) -> int | Array:
        """The number of the block that comes next, or one for each thread."""
        end, following = block.end, block.following
        if end.kind in ("fall", "barrier", "call"):
            return following
        if end.kind == "jump":
            return end.targets[0]
        if end.kind == "table":
            assert answer is not None
            goal = np.array(end.targets)[np.minimum(self.full(answer), len(end.targets) - 1)]
            return int(goal[0]) if (goal == goal[0]).all() else goal
        yes, no = (end.targets[0], following) if end.kind == "branch" else (GONE, following)
        if end.predicate is None:
            return GONE
        answer = np.asarray(answer)
        if answer.all():
            return yes
        return np.where(self.full(answer), yes, no) if answer.any() else no

    def release(self, code: Code, place: Array, waiting: Array) -> None:
        """Nothing else can run: threads that wait pass their barrier. Reports those that wait at different ones."""
        places, waits = place.reshape(self.B, self.T), waiting.reshape(self.B, self.T)
        if self.launch.checks:
            gone = (places == GONE) & waits.any(1, keepdims=True)
            low, high = np.where(waits, places, GONE).min(1), np.where(waits, places, -1).max(1)
            apart = (low != high) & (high >= 0)
            for bad, message in ((apart, "threads of a program wait at different barriers: here, and after line {}"),
                                 (gone.any(1), "threads of a program have returned, and others wait at a barrier")):
                if bad.any():
                    row = int(np.flatnonzero(bad)[0])
                    passed = {block.following: block for block in code.blocks if block.end.kind == "barrier"}
                    block, other = passed[int(high[row])], passed[int(low[row])]
                    assert other.end.instruction is not None
                    lane = row * self.T + int(np.flatnonzero(waits[row] & (places[row] == high[row]))[0])
                    line = other.end.instruction.line
                    self.fault(block.end.site, "barrier", message.format(line), lane, count=int(bad.sum()))
        self.pass_barrier(np.flatnonzero(waits.any(1)))

    def invoke(self, block: Block, registers: Registers, m: Array | None) -> Iterator[None]:
        """Call a function: its parameters have been stored under the names that the call gives."""
        instruction = block.end.instruction
        assert instruction is not None
        operands = list(instruction.operands)
        results = operands.pop(0).strip("() ") if operands[0].startswith("(") else ""
        name = operands[0]
        given = [part.strip() for part in "".join(operands[1:2]).strip("() ").split(",")]
        code = self.code.get(name)
        if code is None:
            if name == "__assertfail":
                lane = 0 if m is None else int(np.flatnonzero(m)[0])
                self.fault(block.end.site, "assert", "an assertion of the kernel fails", lane)
                self.launch.report.check()
            if name != "vprintf":
                raise EmulatorError(f"line {instruction.line}: {name} is not in the PTX")
            registers[results, 0] = np.zeros((), np.uint32)
            return
        for parameter, argument in zip(code.function.parameters, given, strict=False):
            hand(registers, argument, parameter)
        yield from self.call(code, registers, m)
        for result in code.function.returns:
            hand(registers, result, results)


def hand(registers: Registers, stored: str, name: str) -> None:
    """What was stored as one parameter is another's too."""
    registers.update({(name, key[1]): value for key, value in registers.items()
                      if isinstance(key, tuple) and key[0] == stored})
