"""Runs of a program that are as one before: its launches are queued again, and only what has changed is looked at.

A replayed step finds its parameters where they were, and its data where they were some steps ago. So memory is kept,
and with it the arguments of each launch; made anew are those that have an address or a number in them which is another
one. What a user can keep, a loss or gradients, has two places by turns, or more where it is kept.
"""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from sys import getrefcount

from .. import settings
from ..runtime.backend import Buffer, Graph, Pointer, Requeuing
from ..runtime.graphs import GraphRefused
from .executable import Executable
from .memory import nbytes
from .templates.template import Launch

PLAIN_RUNS = 2
"""Runs before anything is kept: kernels are compiled in the first, and many programs are run no more than that."""

TURNS = 2
"""How many runs are remembered: gradients lie in other memory than those of the step before, which are still there."""

GRAPH_RUNS = 16
"""Runs of one kind after which their launches become a CUDA graph, which takes a few hundred microseconds."""

GRAPH_LAUNCHES = 3
"""Launches from which on a graph is worth it: one costs 2.4 us of the host's time, a node 1.3 of the GPU's."""

KEPT = 1 << 22
"""Bytes that are kept from run to run, of the workspace and of each output; what is larger takes longer to fill than
to ask for."""


def own_references() -> int:
    """What `getrefcount` says of a value that is in a list alone, asked in a loop over that."""
    return next(getrefcount(value) for value in [object()])


ALONE = own_references()


class Turn:
    """All launches with the arguments that they had in one run."""

    def __init__(self, launches: int) -> None:
        self.addresses: list[Pointer] = []
        self.arguments: list[tuple[object, ...]] = [()] * launches
        self.words: list[tuple[Pointer, ...]] = [()] * launches     # the pointers and numbers among them
        self.runs = 0
        self.graph: Graph | None = None


class FixedLaunches:
    """An executable's launches with the arguments of the last few runs; the first run of all is plain."""

    def __init__(self, executable: Executable, device: Requeuing) -> None:
        self.executable, self.device = executable, device
        self.launches = executable.launches
        self.begun = False                      # whether all kernels are compiled
        self.thread = threading.get_ident()     # another one may have no context of the driver's
        self.turns: list[Turn] = []             # the latest is the last
        self.graphs = len(self.launches) >= GRAPH_LAUNCHES and all(
            launch.kernel.group.template.ours and 0 not in launch.grid for launch in self.launches)
        self.takers: dict[int, list[int]] = {}
        for number, launch in enumerate(self.launches):
            for value in (*launch.kernel.pointers, *launch.kernel.scalars):
                self.takers.setdefault(executable.place[value], []).append(number)

    def queue(self, addresses: list[Pointer], left: Iterator[Launch] | None = None) -> None:
        """As `Executable.queue`."""
        stream = self.device.only_stream()
        if stream is None or threading.get_ident() != self.thread or not self.begun:
            Executable.queue(self.executable, addresses, left)
            self.begun = True
            return
        turn = next((turn for turn in self.turns if turn.addresses == addresses), None)
        if turn is None:
            if len(self.turns) < TURNS:
                self.turns.insert(0, Turn(len(self.launches)))
            turn = self.turns[0]
            self.renew(turn, [*addresses])
        if turn is not self.turns[-1]:
            self.turns.remove(turn)
            self.turns.append(turn)
        turn.runs += 1
        if self.graphs and turn.runs == GRAPH_RUNS:
            self.capture(turn)
        if turn.graph is None:
            self.device.requeue(self.launches if left is None else left, turn.arguments, stream)
            return
        deque(left or (), maxlen=0)             # all or none of them
        self.device.queue_graph(turn.graph, stream)

    def capture(self, turn: Turn) -> None:
        """Make a turn's launches a graph, if they can be one."""
        try:
            turn.graph = self.device.graph(self.launches, turn.arguments, turn.words)
        except Exception as error:              # whatever it is, the launches still can be queued one by one
            self.refused(error)

    def refused(self, error: Exception) -> None:
        """Do without graphs from now on."""
        self.graphs = False
        for turn in self.turns:
            turn.graph = None
        warnings.warn(f"steps are launched kernel by kernel, not as a CUDA graph: {error}", RuntimeWarning,
                      stacklevel=2)

    def renew(self, turn: Turn, addresses: list[Pointer]) -> None:
        """Make those arguments anew that were others in a run before."""
        before, turn.addresses = turn.addresses, []     # after an interrupt it is not known which are the old ones
        changed = [k for k, now in enumerate(addresses) if now != before[k]] if before else self.takers
        for number in {number for k in changed for number in self.takers.get(k, ())}:
            launch = self.launches[number]
            pointers, scalars = launch.take_pointers(addresses), launch.take_scalars(addresses)
            turn.arguments[number], turn.words[number] = launch.arguments(pointers, scalars), (*pointers, *scalars)
            if turn.graph is not None:
                try:
                    turn.graph.renew(number, turn.words[number])
                except GraphRefused as error:
                    self.refused(error)
        turn.addresses = addresses


class FixedRun(Executable):
    """An executable that is run many times: the first runs are plain, later ones keep what they can.

    carried: places of inputs, each with the place of the output that is its value in the next run.
    """

    def __init__(self, executable: Executable, carried: Mapping[int, int]) -> None:
        vars(self).update(vars(executable))
        outputs, first = self.program.outputs, len(self.program.inputs)
        self.over = {self.place[outputs[after]] - first: before for before, after in carried.items()}
        self.runs = 0
        self.device = self.backend.requeuing
        self.stream: int | None = None                      # whose memory is kept
        self.fixed: FixedLaunches | None = None             # of this run, if it is not a plain one
        self.known: FixedLaunches | None = None
        self.workspace_kept: Buffer = None
        self.held: list[list[Buffer]] = []

    def run(self, values: list[Buffer], free: Collection[int] = ()) -> list[Buffer]:
        stream = None if self.device is None or self.runs < PLAIN_RUNS else self.device.only_stream()
        watched = settings.poison.value or settings.validate.value
        self.fixed = None if stream is None or watched else self.kept_on(stream)
        results = super().run(values, free)
        self.runs += 1
        return results

    def kept_on(self, stream: int) -> FixedLaunches:
        """What is kept, on the stream whose memory it is."""
        if self.known is None or stream != self.stream:
            assert self.device is not None
            self.known, self.stream, self.workspace_kept = FixedLaunches(self, self.device), stream, None
            self.held = [[] for _ in self.single]
        return self.known

    def choose(self, free: Collection[int]) -> list[int | None]:
        """What is carried is written over what it was, so that it stays where it is."""
        mine = {k: donor for k, donor in self.over.items() if donor in free and donor in self.single[k][1]}
        others = super().choose([donor for donor in free if donor not in mine.values()])
        return [mine.get(k, other if nbytes(spec) > KEPT else None)
                for k, ((spec, *_), other) in enumerate(zip(self.single, others, strict=True))]

    def queue(self, addresses: list[Pointer], left: Iterator[Launch] | None = None) -> None:
        queue = super().queue if self.fixed is None else self.fixed.queue
        queue(addresses, left)

    def between(self) -> Buffer:
        if self.fixed is None or self.workspace > KEPT:
            return super().between()
        if self.workspace_kept is None:
            self.workspace_kept = super().between()
        return self.workspace_kept

    def fresh(self, number: int) -> Buffer:
        if self.fixed is None or nbytes(self.single[number][0]) > KEPT:
            return super().fresh(number)
        for buffer in self.held[number]:
            if getrefcount(buffer) == ALONE and not hasattr(buffer, "lent"):
                return buffer
        made = super().fresh(number)
        self.held[number] = [*self.held[number][1 - TURNS:], made]
        return made
