"""``python -m benchmarks.host.launch_costs``: what queueing a step's kernels costs, on a driver that launches nothing.

A process of its own, since it must not use a GPU's driver; `host` starts it. It runs each step on the cuda device,
checks that every launch tells the driver what Triton's `kernel[grid](...)` tells it, and times both. It prints JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from microtrain.bench.comparison import WrongResult
from microtrain.bench.timing import Quantiles, calibrate, sample
from microtrain.engine.run import flush
from microtrain.graph.spec import Device
from microtrain.runtime.backend import Launch
from microtrain.runtime.cuda import CudaBackend
from microtrain.runtime.kinds import KINDS
from microtrain.runtime.torch_memory import TorchMemory

from ..workload import Workload
from .layers import STEPS, WARM, Cost, Effort, instance_of
from .stub_driver import StubDriver

TARGET = 3.0
"""Microseconds a launch."""

FASTER = 3.0
"""Times that `kernel[grid](...)` should take as long, at least."""

SIZES = {"i1": 1, "i8": 1, "u8": 1, "i16": 2, "i32": 4, "i64": 8, "fp32": 4}
"""Bytes of a kernel's parameters by Triton's name for their types; a pointer has 8."""


class StubbedCuda(CudaBackend):
    """The cuda device on the stub driver: memory is the CPU's, and launches can be noted."""

    arch = "sm_90"

    def __init__(self, stub: StubDriver) -> None:
        import torch
        TorchMemory.__init__(self, torch, "cpu")
        self.index, self.driver, self.kernels = 0, stub.triton, {}
        self.stream = self.driver.get_current_stream(0)
        self.noted: list[Queued] | None = None

    def capturing(self) -> bool:
        """The stub driver has no graphs."""
        return False

    def launch(self, launch: Launch, pointers: tuple[Any, ...], scalars: tuple[int, ...]) -> None:
        if self.noted is not None:
            # Tensors of its own: `kernel[grid]` takes nothing else, and a step's may be gone when it is timed.
            buffers = tuple([self.empty(node.spec) for node in launch.kernel.pointers])
            self.noted.append(Queued(launch, buffers, tuple([buffer.address for buffer in buffers]), scalars))
        super().launch(launch, pointers, scalars)


@dataclass(frozen=True)
class Queued:
    """One launch with its buffers, their addresses and its numbers."""

    launch: Launch
    buffers: tuple[Any, ...]
    pointers: tuple[int, ...]
    scalars: tuple[int, ...]

    def by_triton(self) -> Any:
        """Launch it as Triton's users do. Returns the compiled kernel."""
        launch = self.launch
        return launch.function[launch.grid](*launch.arguments(self.buffers, self.scalars), **launch.options)


def launches_of(workload: Workload, backend: StubbedCuda) -> list[Queued]:
    """What a step launches once it is warm."""
    instance = instance_of(workload, "cuda:0")
    for _ in range(WARM):
        held = instance.run()
    noted: list[Queued] = []
    backend.noted = noted
    held = instance.run()
    backend.noted = None
    flush(Device("cuda:0"))
    del held
    return noted


def flat(values: Iterable[Any]) -> list[Any]:
    """Members of tuples, in order."""
    return [leaf for value in values for leaf in (flat(value) if isinstance(value, tuple) else [value])]


def told(stub: StubDriver, queue: Callable[[], Any], types: list[str]) -> dict[str, Any]:
    """What the driver is told when a kernel with parameters of these types is queued, but for the kernel's handle."""
    before = stub.launches
    stub.expect([SIZES.get(kind, 8) for kind in types])
    queue()
    if stub.launches != before + 1:
        raise WrongResult(f"one launch reached the driver as {stub.launches - before}")
    found = asdict(stub.last())
    del found["function"]
    stub.expect([])
    return found


def check(queued: Queued, backend: StubbedCuda, stub: StubDriver) -> None:
    """Raise WrongResult unless the driver is told the same by this launch and by Triton's own."""
    kernel = queued.by_triton()
    theirs = flat(kernel.src.signature.values())
    signature, _ = queued.launch.signature()
    ours = [kind for kind in flat(signature.values()) if kind != "constexpr"]
    by_us = told(stub, partial(backend.launch, queued.launch, queued.pointers, queued.scalars), ours)
    by_triton = told(stub, queued.by_triton, [kind for kind in theirs if kind != "constexpr"])
    # Triton makes constants of the ones among the arguments, which are then no parameters.
    arguments = zip(flat(signature.values()), theirs, strict=True)
    left = [kind != "constexpr" for own, kind in arguments if own != "constexpr"]
    by_us["parameters"] = tuple([value for value, kept in zip(by_us["parameters"], left, strict=True) if kept])
    if by_us != by_triton:
        raise WrongResult(f"{queued.launch.kernel.group.template}: the driver is told {by_us}, "
                          f"and by Triton {by_triton}")


def measure_launches(workload: Workload, effort: Effort, stub: StubDriver, backend: StubbedCuda) -> list[Cost]:
    """What a launch of a step costs, here and in Triton. Raises WrongResult as `check`."""
    step = launches_of(workload, backend)
    for queued in step:
        check(queued, backend, stub)

    def ours() -> None:
        for queued in step:
            backend.launch(queued.launch, queued.pointers, queued.scalars)

    def triton() -> None:
        for queued in step:
            queued.by_triton()

    def nothing() -> None: ...

    calls = {way: calibrate(way, nothing, effort.seconds) for way in (ours, triton)}
    samples = [[sample(way, nothing, count) / len(step) for way, count in calls.items()] for _ in range(effort.rounds)]
    by_us, by_triton = (Quantiles.of(times) for times in zip(*samples, strict=True))
    return [Cost(workload.name, "launch", len(step), "launches", by_us, TARGET),
            Cost(workload.name, "kernel[grid]", len(step), "launches", by_triton, FASTER * by_us.median, at_least=True)]


def main(folder: str, rounds: str, seconds: str, *names: str) -> None:
    """Print the costs of the steps of these names as JSON."""
    stub = StubDriver(Path(folder))
    backend = StubbedCuda(stub)
    KINDS["cuda"].loaded[0] = backend
    effort = Effort(int(rounds), float(seconds))
    print(json.dumps([asdict(cost) for workload in STEPS if workload.name in names
                      for cost in measure_launches(workload, effort, stub, backend)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
