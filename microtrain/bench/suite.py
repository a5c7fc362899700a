"""Running the catalogue: microtrain against its peers, workload by workload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import microtrain

from ..compiler.realize import flush
from ..graph.spec import Device
from ..testing import count_kernels
from .comparison import ROUNDS, SECONDS, Comparison, Contender, computed, measure, synchronize
from .oracle import Oracle, oracle
from .workload import Inputs, Instance, Workload, results, unchanged

MICROTRAIN = "microtrain"
BY_HAND = "numpy by hand"

COUNTED_CALLS = 4
"""Calls over which kernels are counted. A step is computed when the next one begins: one call alone shows nothing."""

Build = Callable[[Workload, Inputs], Instance]


@dataclass(frozen=True)
class Effort:
    """How long to measure: samples of each contender, and seconds a sample."""

    rounds: int
    seconds: float


FULL = Effort(ROUNDS, SECONDS)
QUICK = Effort(5, 0.002)


@dataclass(frozen=True)
class Result:
    """A workload's figures. `kernels` is what microtrain launches a call (on the CPU: would launch on a GPU), or None
    where microtrain has no figure."""

    workload: Workload
    comparison: Comparison
    kernels: float | None

    @property
    def passed(self) -> bool:
        """Whether microtrain was right and was timed, and no peer was wrong."""
        failures = [entry.failure for entry in self.comparison.entries if entry.failure is not None]
        return self.comparison.first.failure is None and all(failure.kind != "wrong" for failure in failures)


@dataclass(frozen=True)
class Peers:
    """Who else runs the workloads, by name, and the note that explains who does not."""

    builders: Mapping[str, Build]
    note: str | None = None


def peers(device: str) -> Peers:
    """PyTorch, where it is installed, and on the CPU NumPy."""
    found: dict[str, Build] = {}
    note = None
    try:
        from . import torch_peers
    except ImportError as error:
        note = f"PyTorch cannot be imported ({error}): its figures are left out"
    else:
        torch_peers.one_thread()
        found.update(torch_peers.builders(device))
    if device == "cpu":
        found[BY_HAND] = lambda workload, inputs: workload.by_hand(inputs)
    return Peers(found, note)


def run_workload(workload: Workload, device: str, against: Peers, effort: Effort = FULL) -> Result:
    """Check and time one workload on `device` ("cpu" or "cuda")."""
    inputs = workload.inputs(np.random.default_rng(0))
    judge = _judge(workload, inputs, against)
    makers: dict[str, Callable[[], Contender]] = {MICROTRAIN: partial(_microtrain, workload, inputs, device, judge)}
    makers.update((name, partial(_peer, workload, inputs, build, judge)) for name, build in against.builders.items())
    comparison = measure(makers, effort.rounds, effort.seconds)
    kernels = None if comparison.first.failure else kernels_a_call(workload, inputs, device)
    return Result(workload, comparison, kernels)


def _judge(workload: Workload, inputs: Inputs, against: Peers) -> Oracle:
    """The oracle, with the tolerance that the first peer's float32 sets: PyTorch's, where it can run the workload."""
    def by_hand(workload: Workload, nearby: Inputs) -> Instance:
        return workload.by_hand(nearby)

    def judge(build: Build) -> Oracle:
        return oracle(workload, inputs, lambda nearby: results(build(workload, nearby), workload.steps))

    try:
        return judge(next(iter(against.builders.values()), by_hand))
    except Exception:
        # The peer's own entry will report this; NumPy's float32 sets the tolerance.
        return judge(by_hand)


def _instance(workload: Workload, inputs: Inputs, device: str) -> Instance:
    """The workload on microtrain. A step is left to be computed as in anybody's loop, when the next one begins; the
    result of an operation, which nothing will use, is computed at once."""
    tensors = {name: microtrain.tensor(value, device=device) for name, value in inputs.items()}
    instance = workload.build(microtrain, tensors, unchanged)
    if workload.trains:
        return instance
    return Instance(lambda: computed(instance.run()), instance.state)


def _microtrain(workload: Workload, inputs: Inputs, device: str, judge: Oracle) -> Contender:
    instance = _instance(workload, inputs, device)
    where = Device(device)

    def finish() -> None:
        flush(where)
        synchronize()

    return Contender(instance.run, lambda: judge.judge(results(instance, workload.steps)), finish)


def _peer(workload: Workload, inputs: Inputs, build: Build, judge: Oracle) -> Contender:
    instance = build(workload, inputs)
    return Contender(instance.run, lambda: judge.judge(results(instance, workload.steps)), synchronize)


def kernels_a_call(workload: Workload, inputs: Inputs, device: str) -> float:
    """Kernels that microtrain launches a call, once warm. On the CPU: those that the same graph would be on a GPU."""
    instance = _instance(workload, inputs, device)
    held: Any = None
    for _ in range(2):
        held = instance.run()
    with count_kernels() as count:
        for _ in range(COUNTED_CALLS):
            held = instance.run()
    del held
    return count.kernels / COUNTED_CALLS
