"""Running the catalogue: microtrain against its peers and against the machine, workload by workload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

import microtrain
from microtrain.bench.comparison import Comparison, Entry, Failure
from microtrain.bench.measure import computed, failure, measure, synchronize
from microtrain.bench.timing import Contender
from microtrain.engine.run import flush
from microtrain.errors import AcceleratorError
from microtrain.runtime import kernel_backend
from microtrain.testing import count_kernels

from . import launch_facts
from .bench_device import Place
from .budget import Budget
from .launch_facts import Launched
from .limits import Verdict, least
from .memory import TorchArrays
from .oracle import Oracle, oracle
from .peers import Build, Peers
from .workload import Instance, Subject, Values, Workload, by_hand, results, unchanged
from .workloads.launch import Launch
from .workloads.launch import contenders as launch_contenders

MICROTRAIN = "microtrain"

COUNTED_CALLS = 4
"""Calls over which kernels are counted. A step is computed when the next one begins: one call alone shows nothing."""


@dataclass(frozen=True)
class Result:
    """A subject's figures.

    Attributes:
        kernels: what microtrain launches a call (on the CPU: would launch on a GPU); None where it has no figure.
        verdicts: its targets, held against the figures.
        launched: the kernels of a call, where a target was missed on a GPU.
    """

    subject: Subject
    comparison: Comparison
    kernels: float | None = None
    verdicts: tuple[Verdict, ...] = ()
    launched: tuple[Launched, ...] = ()

    @property
    def dropped(self) -> bool:
        """Whether there was no time for it."""
        found = self.comparison.first.failure
        return found is not None and found.kind == "dropped"

    @property
    def broke(self) -> bool:
        """Whether the GPU can no longer be used: by an exception's name, which is PyTorch's and ours."""
        failures = [entry.failure for entry in self.comparison.entries if entry.failure is not None]
        return any(failure.reason.startswith(AcceleratorError.__name__) for failure in failures)

    @property
    def passed(self) -> bool:
        """Whether microtrain was right and was timed, or there was no time for it, and no peer was wrong."""
        failures = [entry.failure for entry in self.comparison.entries if entry.failure is not None]
        first = self.comparison.first.failure
        return (first is None or self.dropped) and all(failure.kind != "wrong" for failure in failures)


def run_all(subjects: Sequence[Subject], place: Place, against: Peers, budget: Budget,
            tell: Callable[[Subject, list[Result]], None]) -> list[Result]:
    """Run subjects by their rank, as many as there is time for; before each, `tell` hears of it and of the results so
    far. After one that breaks the GPU none is run. Results are in the order given."""
    found: dict[int, Result] = {}
    broken = ""
    for number in sorted(range(len(subjects)), key=lambda number: subjects[number].rank):
        subject = subjects[number]
        tell(subject, [found[k] for k in sorted(found)])
        if broken:
            found[number] = Result(subject, Comparison((Entry(MICROTRAIN, Failure("cannot run", broken)),)))
            continue
        refusal = budget.refusal(subject.family)
        if refusal is not None:
            found[number] = Result(subject, Comparison((Entry(MICROTRAIN, Failure("dropped", refusal)),)))
            continue
        start = budget.clock()
        found[number] = run(subject, place, against)
        budget.spent(subject.family, budget.clock() - start)
        if found[number].broke:
            broken = f"the GPU can no longer be used in this process since {subject.name}"
    return [found[number] for number in range(len(subjects))]


def run(subject: Subject, place: Place, against: Peers) -> Result:
    """Check and time one subject, whatever it comes to."""
    try:
        if isinstance(subject, Workload):
            result = _run_workload(subject, place, against)
        else:
            measured = measure(_launch(subject, place), place.clocks(subject), place.rounds)
            result = _finished(subject, measured, place, 1, ())
    except Exception as error:
        result = Result(subject, Comparison((Entry(MICROTRAIN, failure(error)),)))
    if not result.broke:
        place.memory.free()
    return result


def _run_workload(workload: Workload, place: Place, against: Peers) -> Result:
    builds = against.of(workload)
    inputs = place.memory.inputs(workload)
    with matmuls(workload):
        judge = _judge(workload, inputs, place, builds.values())
        makers: dict[str, Callable[[], Contender]] = {MICROTRAIN: partial(_microtrain, workload, inputs, place, judge)}
        makers.update((name, partial(_peer, workload, inputs, build, judge)) for name, build in builds.items())
        comparison = measure(makers, place.clocks(workload), place.rounds)
        if comparison.first.failure is not None:
            return _finished(workload, comparison, place, None, ())
        call = _caller(workload, inputs, place)
        kernels = kernels_a_call(call)
        steps = launch_facts.steps_of(call) if place.gpu is not None else []
        return _finished(workload, comparison, place, kernels, steps)


@contextmanager
def matmuls(workload: Workload) -> Iterator[None]:
    """microtrain's and PyTorch's leave to multiply float32 in TF32, where the workload asks for it."""
    packages = [microtrain]
    with suppress(ImportError):
        import torch
        packages.append(torch)
    before = [package.get_float32_matmul_precision() for package in packages]
    for package in packages:
        package.set_float32_matmul_precision("high" if workload.format == "tf32" else "highest")
    try:
        yield
    finally:
        for package, was in zip(packages, before, strict=True):
            package.set_float32_matmul_precision(was)


def _finished(subject: Subject, comparison: Comparison, place: Place, kernels: float | None,
              steps: Sequence[Any]) -> Result:
    """The figures held against the limit and the targets, and a look at the kernels where they fall short."""
    if comparison.first.failure is not None:
        return Result(subject, comparison)
    comparison = replace(comparison, least=least(subject.limit, subject.format, place.ceilings))
    verdicts = tuple([target.judge(comparison, comparison.least) for target in subject.targets])
    missed = any(verdict.met is False for verdict in verdicts)
    return Result(subject, comparison, kernels, verdicts, _explained(steps, place) if missed and steps else ())


def _explained(steps: Sequence[Any], place: Place) -> tuple[Launched, ...]:
    gpu = place.gpu
    if gpu is None:
        return ()
    where = kernel_backend(place.where.type, place.where.index)

    def timed(step: Any) -> float:
        call = launch_facts.alone(step, where)
        sampler = place.kernel_clocks[0].sampler(Contender(call, lambda: None, synchronize))
        return sorted(sampler.take() for _ in range(3))[1]

    return tuple(launch_facts.described(steps, where.arch, gpu.properties, timed))


def _judge(workload: Workload, inputs: Values, place: Place, builds: Iterable[Build]) -> Oracle:
    """The oracle, with the tolerance that the first peer's errors set: PyTorch's, where it can run the workload."""
    def judge(build: Build) -> Oracle:
        return oracle(workload, inputs, place.memory,
                      lambda nearby: results(build(workload, nearby), workload.steps))

    def in_numpy(workload: Workload, nearby: Values) -> Instance:
        return by_hand(workload, np, nearby)

    try:
        return judge(next(iter(builds), in_numpy))
    except Exception:
        if isinstance(place.memory, TorchArrays):
            raise
        # The peer's own entry will report this; NumPy's float32 sets the tolerance.
        return judge(in_numpy)


def _instance(workload: Workload, inputs: Values, place: Place) -> Instance:
    """The workload on microtrain. A step of a loop is left to be computed as in anybody's, when the next one begins;
    what nothing will use is computed at once."""
    instance = workload.build(microtrain, place.memory.tensors(workload, inputs, place.device), unchanged)
    if workload.loop:
        return instance

    def run() -> Any:
        out = computed(instance.run())
        flush(place.where)
        return out

    return replace(instance, run=run)


def _caller(workload: Workload, inputs: Values, place: Place) -> Callable[[], Any]:
    """Calls of microtrain's, warm and counted from a computed state."""
    instance = _instance(workload, inputs, place)
    for _ in range(2):
        held = instance.run()
    del held
    return instance.run


def _microtrain(workload: Workload, inputs: Values, place: Place, judge: Oracle) -> Contender:
    instance = _instance(workload, inputs, place)

    def finish() -> None:
        flush(place.where)
        synchronize()

    return Contender(instance.run, lambda: judge.judge(results(instance, workload.steps)), finish)


def _peer(workload: Workload, inputs: Values, build: Build, judge: Oracle) -> Contender:
    instance = build(workload, inputs)
    return Contender(instance.run, lambda: judge.judge(results(instance, workload.steps)),
                     instance.wait or synchronize, instance.steps, instance.wait is None)


def _launch(subject: Subject, place: Place) -> dict[str, Callable[[], Contender]]:
    assert isinstance(subject, Launch)
    if place.gpu is not None:
        return launch_contenders(MICROTRAIN, place.gpu.torch, place.gpu.device, place.device, synchronize)
    import torch
    return launch_contenders(MICROTRAIN, torch, place.torch_device, place.device, synchronize)


def kernels_a_call(call: Callable[[], Any]) -> float:
    """Kernels that microtrain launches a call, once warm. On the CPU: those that the same graph would be on a GPU."""
    held: Any = None
    with count_kernels() as count:
        for _ in range(COUNTED_CALLS):
            held = call()
    del held
    return count.kernels / COUNTED_CALLS
