"""A program as a list of kernel launches on one device, and the memory that a run of them takes.

Temporaries lie in one workspace, allocated for the run and freed with it; outputs, which live on one by one, are
allocated alone or written over an input that the caller gives away. All memory is taken before the first launch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from operator import itemgetter, length_hint
from typing import Any

from .. import settings
from ..errors import OutOfMemoryError
from ..graph.node import SCALAR
from ..runtime import kernel_backend
from ..runtime.backend import Buffer, Pointer
from .memory import arrange, heirs, lifetimes, nbytes
from .program import Program
from .schedule import schedule
from .templates.template import Kernel, Launch, Schedule, encoded
from .tune import tuned
from .validate import watched


class Executable:
    """A scheduled program. `kernels` is the number of launches of a run; `groups` what each of them computes."""

    def __init__(self, program: Program) -> None:
        self.groups: Schedule = schedule(program)
        self.program = self.groups.program
        device = program.device
        self.backend = kernel_backend(device.type, device.index)
        self.launches = [self.launch_of(Kernel(group, self.groups)) for group in self.groups]
        self.kernels = len(self.launches)
        self.lay_out()
        inputs, outputs = self.program.inputs, self.program.outputs
        times = Counter(outputs)
        times.update(inputs)
        self.shared = tuple(k for k, value in enumerate(outputs) if times[value] > 1)
        self.passed = tuple(k for k, value in enumerate(inputs) if times[value] > 1)

    def launch_of(self, kernel: Kernel) -> Launch:
        """A kernel's launch with the tile that is the best guess here, or that was measured to be the best."""
        timer = self.backend.timer if settings.tune.value else None
        return kernel.launch(self.backend.arch) if timer is None else tuned(kernel, timer)

    def lay_out(self) -> None:
        """Give every value a place in a run's memory: inputs, then what is allocated alone, then temporaries."""
        kernels = [launch.kernel for launch in self.launches]
        inputs, outputs = self.program.inputs, self.program.outputs
        stored = {value: number for number, kernel in enumerate(kernels) for value in kernel.group.stores}
        donors = heirs(kernels, self.program)
        # What has no elements is stored by nobody: it is allocated as outputs are.
        alone = dict.fromkeys(outputs)
        alone |= dict.fromkeys(value for kernel in kernels for value in kernel.pointers if value not in stored)
        for value in inputs:
            alone.pop(value, None)
        # Those with the fewest inputs to choose from come first.
        single = sorted(alone, key=lambda value: (stored.get(value, 0), len(donors.get(value, ()))))
        offsets, self.workspace = arrange(lifetimes(kernels, {*inputs, *single}))
        self.place = place = {value: k for k, value in enumerate([*inputs, *single, *offsets])}
        self.single = [(value.spec, tuple([place[donor] for donor in donors.get(value, ())]), stored.get(value, 0))
                       for value in single]
        self.parts = [(offset, value.spec) for value, offset in offsets.items()]
        self.chosen: tuple[Collection[int], list[int | None]] = (), [None] * len(single)     # for the last run's `free`
        self.donatable = tuple(sorted({k for _, found, _ in self.single for k in found}))
        self.numbers = [(k, value.dtype) for k, value in enumerate(inputs) if value.primitive is SCALAR]
        self.results = [place[value] for value in outputs]
        for launch in self.launches:
            launch.take_pointers = picked([place[value] for value in launch.kernel.pointers])
            launch.take_scalars = picked([place[value] for value in launch.kernel.scalars])

    def run(self, values: list[Buffer], free: Collection[int] = ()) -> list[Buffer]:
        """As `program.Executable` says; without memory for the run (OutOfMemoryError) nothing was written over."""
        memory = [*values]
        for k, dtype in self.numbers:
            memory[k] = encoded(memory[k], dtype)
        try:
            over = self.allocate(memory, free)
            workspace = self.between() if self.parts else None
        except OutOfMemoryError as error:
            memory.clear()      # an exception that is kept keeps what is in its frames
            raise OutOfMemoryError(f"{error}. {self.needs()}") from None
        results = [memory[k] for k in self.results]     # before the launches: nothing is between them and the return
        left = iter(self.launches)
        try:
            if settings.poison.value or settings.validate.value:
                memory += [self.backend.part(workspace, offset, spec) for offset, spec in self.parts]
                self.watched(memory, values, left)
            else:
                self.queue(self.backend.pointers(memory, workspace, self.parts), left)
        except BaseException:
            begun = len(self.launches) - length_hint(left)
            for donor, when in over:
                if when < begun:
                    values[donor] = None
            raise
        return results

    def queue(self, addresses: list[Pointer], left: Iterator[Launch] | None = None) -> None:
        """Queue every launch, given an address for each place of a run's memory: all that a run does on the device.

        `left` are the launches to queue, by default all of them.
        """
        queue = self.backend.launch
        for launch in self.launches if left is None else left:
            queue(launch, launch.take_pointers(addresses), launch.take_scalars(addresses))

    def watched(self, memory: list[Buffer], values: list[Buffer], left: Iterator[Launch]) -> None:
        """As `queue`, each looked at as the settings say. Raises RuntimeError as `validate.watched`."""
        for launch in left:
            group = launch.kernel.group
            given = [(values if value.primitive is SCALAR else memory)[self.place[value]] for value in group.reads]
            stored = [memory[self.place[value]] for value in group.stores]
            fresh = [not any(one is memory[k] for k in self.donatable) for one in stored]
            with watched(launch, self.backend, given, stored, fresh):
                self.queue(self.backend.pointers(memory, None, ()), iter((launch,)))

    def needs(self) -> str:
        """What a run takes, and what a run without memory can do about it."""
        outputs = sum(nbytes(spec) for spec, *_ in self.single)
        return (f"What is pending, {len(self.program.values)} operations in {self.kernels} kernels, needs "
                f"{outputs / 2 ** 20:.1f} MiB for {len(self.single)} results and {self.workspace / 2 ** 20:.1f} MiB "
                "for what lies between them. Free what is no longer needed (del x, x.grad = None), compute under "
                "no_grad() or in smaller batches, or read results sooner: nothing was changed, and the same "
                "computation works once there is room")

    def allocate(self, memory: list[Buffer], free: Collection[int]) -> list[tuple[int, int]]:
        """Append memory for each output; returns which inputs will be written over, and by which launch."""
        if free != self.chosen[0]:
            self.chosen = free, self.choose(free)
        chosen = self.chosen[1]
        memory += [self.fresh(k) if donor is None else memory[donor] for k, donor in enumerate(chosen)]
        return [(donor, number) for (*_, number), donor in zip(self.single, chosen, strict=True)
                if donor is not None] if free else []

    def fresh(self, number: int) -> Buffer:
        """Memory for one of the values that are allocated alone."""
        return self.backend.empty(self.single[number][0])

    def between(self) -> Buffer:
        """Memory for the temporaries."""
        return self.backend.workspace(self.workspace)

    def choose(self, free: Collection[int]) -> list[int | None]:
        """Which of the free inputs each output is written over."""
        left, chosen = set(free), []
        for _, donors, _ in self.single:
            donor = next((k for k in donors if k in left), None)
            left.discard(donor)
            chosen.append(donor)
        return chosen

    def describe(self) -> str:
        """Each kernel for a person to read: template, domain, operations, what it reads and writes, and its source."""
        return "\n".join([described(number, launch) for number, launch in enumerate(self.launches, 1)])


def described(number: int, launch: Launch) -> str:
    """One kernel for a person to read."""
    kernel, group = launch.kernel, launch.kernel.group
    reads = [str(value.spec) for value in kernel.pointers if value not in group.stores]
    reads += [f"{len(kernel.scalars)} numbers"] if kernel.scalars else []
    lines = [f"kernel {number}: {group.template}, grid {launch.grid}",
             f"  reads  {', '.join(reads) or 'nothing'}",
             f"  writes {', '.join(str(value.spec) for value in group.stores)}",
             f"  computes {', '.join(value.primitive.name for value in group.members)} ({group.ops} operations)"]
    sources = "\n".join(function.source for function in kernel.emitted)
    return "\n".join(lines) + "\n" + "".join(f"    {line}\n" for line in sources.splitlines())


def picked(places: list[int]) -> Callable[[list[Pointer]], tuple[Any, ...]]:
    """What takes these places of a list, as a tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda memory: tuple([memory[k] for k in places])
