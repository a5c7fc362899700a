"""``python -m benchmarks --host``: what a training step costs this process, whatever a device does meanwhile.

A step passes three layers: its operations are *recorded*, the graph behind its values is made a key and its plan
*looked up*, and each of the plan's kernels is *launched*. All three are Python and can be timed without a GPU: what a
device would do is left out. Beside them stands the whole *step* until its graph is computed: recording and all that is
above it, the user's tensors and modules, the checks of arguments, the optimizer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import microtrain
from microtrain.bench.comparison import WrongResult
from microtrain.bench.text import columns
from microtrain.bench.timing import Quantiles, calibrate, sample
from microtrain.engine import run
from microtrain.engine.plans import linearize, plans
from microtrain.graph import node as graph_node
from microtrain.graph.node import Node
from microtrain.graph.spec import Device
from microtrain.runtime.detect import installed

from ..memory import HostMemory
from ..oracle import oracle
from ..workload import Instance, Workload, by_hand, results, unchanged
from ..workloads import steps as training
from . import stub_driver
from .recording import Recording, recordings

HOST = HostMemory()

STEPS = (training.perceptron(), training.logistic(256, 64), training.mlp(128, (784, 128, 10)))

@dataclass(frozen=True)
class Effort:
    """How long to measure: samples, and seconds a sample."""

    rounds: int
    seconds: float


LOOK = Effort(rounds=5, seconds=0.002)

MANY_SHORT = Effort(rounds=101, seconds=0.002)
"""A busy machine takes a process off its processor for longer than one of them lasts."""

WARM = 4
"""Steps until each one's graph is the one before's."""

RECORD_TARGET = 2.0
"""Microseconds a node: of recording a step's forward graph with its tape, and of the walk back."""

LOOKUP_TARGET = 1.0
"""Microseconds a node: of making the key of a graph met before and finding its plan."""

IMPORT_TARGET = 60_000.0
"""Microseconds of the processor's that `import microtrain` takes beyond NumPy."""

SCHEMA = 3
"""Of the JSON file: raised when the meaning of a field changes."""

UNITS = {
    "count": "nodes or launches of one step; 1 where the whole is timed",
    "time": "microseconds for each of them (of the processor's, for an import); lower and upper quartile",
    "target": "microseconds that each should take at most; at_least: that Triton's kernel[grid] should take; or null",
}

MOST_IMPORTS = 9
"""Processes that are started for nothing but an import."""

LAYERS = {
    "record": "the step's operations with their tape entries, and the walk back: the graph and autograd layers alone",
    "look-up": "from a recorded graph to its plan, met before, and the values that the plan takes",
    "step": "all Python of a step but look-up and kernels: recording, tensors, modules, checks, optimizer; no target",
    "read": "the same, look-up included, of a step after which .item() reads the loss; no target",
    "launch": "queueing one kernel of the plan with its addresses",
    "kernel[grid]": "queueing the same kernel as Triton's users do",
    "import": "the processor's time for `import microtrain`, after NumPy's, with its compiled files at hand",
}
"""What each row contains."""

HEADS = ("step", "layer", "us a step", "of", "us each", "quartiles", "target", "")


class Unavailable(Exception):
    """Something cannot be measured here; the text says what is missing."""


@dataclass(frozen=True)
class Cost:
    """What one layer of a step costs.

    Attributes:
        count: how many nodes or launches a step has.
        unit: what they are.
        time: microseconds for each of them; quartiles over the rounds.
        target: microseconds that each should take at most; or, `at_least`, what Triton's own way should take; None
            where nothing is asked.
    """

    step: str
    layer: str
    count: float
    unit: str
    time: Quantiles
    target: float | None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the target, if there is one."""
        if self.target is None:
            return None
        return self.time.median >= self.target if self.at_least else self.time.median <= self.target


class Watch:
    """Sums up where the time of some steps goes: seconds, and the graphs that were computed."""

    def __init__(self) -> None:
        self.look_up = self.compute = self.started = 0.0
        self.graphs = self.nodes = self.plans = 0
        self.counting = False

    def computed(self, compute: Callable[..., None], roots: Iterable[Node], device: Device) -> None:
        """Stand in for `compute`: look at the clock before and after."""
        roots = list(roots)
        if self.counting:
            self.nodes += len(linearize(roots)[0])
        self.started = perf_counter()
        compute(roots, device)
        self.compute += perf_counter() - self.started
        self.graphs += 1

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch every graph that is computed inside the block. Plans met before compute nothing there."""
        compute, known = run.compute, list[Any](plans.known.values())
        run.compute = lambda roots, device: self.computed(compute, roots, device)
        self.plans = len(known)
        for plan in known:
            plan.executable = Remembered(plan.executable, self)
        try:
            yield
        finally:
            run.compute = compute
            for plan in known:
                plan.executable = plan.executable.executable


    def check(self) -> None:
        """Raise WrongResult where a plan was made inside the block."""
        if len(plans.known) != self.plans:
            raise WrongResult(f"{len(plans.known) - self.plans} graphs were not met before: they have another "
                              "structure than those of the steps before, and what was timed is planning them")


class Remembered:
    """A plan's executable that computes once and gives the same values from then on: a device that takes no time."""

    def __init__(self, executable: Any, watch: Watch) -> None:
        self.executable, self.watch = executable, watch
        self.values: list[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.executable, name)

    def run(self, values: list[Any], *rest: Any) -> list[Any]:
        """The values of the first run. What took until now is the look-up."""
        self.watch.look_up += perf_counter() - self.watch.started
        if self.values is None:
            self.values = self.executable.run(values, *rest)
        return self.values


def instance_of(workload: Workload, device: str) -> Instance:
    """The workload on microtrain, with the same numbers every time."""
    return workload.build(microtrain, HOST.tensors(workload, HOST.inputs(workload), device), unchanged)


def measure_step(workload: Workload, effort: Effort) -> list[Cost]:
    """Record, look-up and the whole step, of one training step on the cpu device.

    Raises WrongResult where the steps are wrong (compared with the workload by hand in NumPy), where what is recorded
    again has other gradients than the step, or where a step's plan is not found though the step was met before.
    """
    inputs = HOST.inputs(workload)
    judge = oracle(workload, inputs, HOST, lambda nearby: results(by_hand(workload, np, nearby), workload.steps))
    instance = instance_of(workload, "cpu")
    judge.judge(results(instance, workload.steps))

    def finish() -> None:
        run.flush(Device("cpu"))

    with recordings() as differentiated:
        instance.run()
    recording, = differentiated
    recording.check()

    # Nobody reads a loss here, as the check did: these steps are other graphs.
    sample(instance.run, finish, WARM)
    watch = Watch()
    with watch.watching():
        look_up, step = costs_of_step(workload.name, instance.run, finish, effort, watch)
    return [cost_of_recording(workload.name, recording, effort), look_up, step,
            cost_of_reading(workload.name, instance.run, effort)]


def nothing_is_queued() -> None:
    """Nothing to wait for."""


def cost_of_recording(name: str, recording: Recording, effort: Effort) -> Cost:
    """Record: forward graph and walk, in the graph and autograd layers."""
    nodes, calls = recording.count(), calibrate(recording.again, nothing_is_queued, effort.seconds)
    taken = [sample(recording.again, nothing_is_queued, calls) / nodes for _ in range(effort.rounds)]
    return Cost(name, "record", nodes, "nodes", Quantiles.of(taken), RECORD_TARGET)


def costs_of_step(name: str, run: Callable[[], Any], finish: Callable[[], Any], effort: Effort, watch: Watch
                  ) -> tuple[Cost, Cost]:
    """Look-up and the whole of a step whose plans are known and which differentiates one loss."""
    calls = calibrate(run, finish, effort.seconds)
    watch.nodes, watch.counting = 0, True
    sample(run, finish, calls)
    nodes, watch.counting = watch.nodes, False
    step, look_up = [], []
    for _ in range(effort.rounds):
        watch.look_up = watch.compute = watch.graphs = 0
        first = graph_node.next_seq()
        elapsed = sample(run, finish, calls) * calls
        # Each graph that is computed takes a number as well, and so does each walk.
        recorded = graph_node.next_seq() - first - 1 - watch.graphs - calls
        step.append((elapsed - 1e6 * watch.compute) / recorded)
        look_up.append(1e6 * watch.look_up / nodes)
    watch.check()
    return (Cost(name, "look-up", nodes / calls, "nodes", Quantiles.of(look_up), LOOKUP_TARGET),
            Cost(name, "step", recorded / calls, "nodes", Quantiles.of(step), None))


def cost_of_reading(name: str, run: Callable[[], Any], effort: Effort) -> Cost:
    """All Python of a step after which its loss is read."""
    def read() -> None:
        run().item()

    sample(read, nothing_is_queued, WARM)
    watch, taken = Watch(), []
    with watch.watching():
        calls = calibrate(read, nothing_is_queued, effort.seconds)
        for _ in range(effort.rounds):
            watch.look_up = watch.compute = 0
            elapsed = sample(read, nothing_is_queued, calls)
            taken.append(elapsed - 1e6 * (watch.compute - watch.look_up) / calls)
    watch.check()
    return Cost(name, "read", 1, "step", Quantiles.of(taken), None)


IMPORT = """
from time import process_time
import numpy
start = process_time()
import microtrain
print(process_time() - start)
"""


def measure_import(effort: Effort) -> Cost:
    """What `import microtrain` costs, in processes of its own, the first of which may have to compile its files."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    where = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": ""}
    taken = [1e6 * float(subprocess.check_output([sys.executable, "-c", IMPORT], env=where))
             for _ in range(1 + min(effort.rounds, MOST_IMPORTS))]
    return Cost("", "import", 1, "process", Quantiles.of(taken[1:]), IMPORT_TARGET)


def measure_launches(effort: Effort, steps: Iterable[Workload] = STEPS) -> list[Cost]:
    """What the launches of some of STEPS cost, in a process with a driver that launches nothing.

    Raises Unavailable where there is no C compiler, PyTorch or Triton; WrongResult where that process failed, as it
    does when the driver is told something else than by Triton.
    """
    for package in ("torch", "triton"):
        if not installed(package):
            raise Unavailable(f"{package} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        try:
            stub_driver.build(Path(folder))
        except RuntimeError as error:
            raise Unavailable(str(error)) from error
        done = subprocess.run([sys.executable, "-m", "benchmarks.host.launch_costs", folder, str(effort.rounds),
                               str(effort.seconds), *[workload.name for workload in steps]], check=False,
                              capture_output=True, text=True, env=stub_driver.environment(Path(folder)))
    if done.returncode:
        raise WrongResult(f"launches on the stub driver: {done.stderr.strip()[-2000:] or done.returncode}")
    return [Cost(**{**cost, "time": Quantiles(**cost["time"])}) for cost in json.loads(done.stdout)]


def host_table(costs: Iterable[Cost]) -> str:
    """One line for each step and layer, and what the layers contain."""
    costs = list(costs)
    named = dict.fromkeys(cost.layer for cost in costs)
    return "\n".join([columns(HEADS, [_row(cost) for cost in costs], left=2), "",
                      *[f"{layer:13} {LAYERS[layer]}" for layer in named]])


def _row(cost: Cost) -> tuple[str, ...]:
    target, verdict = "", ""
    if cost.target is not None:
        target, verdict = f"{'>=' if cost.at_least else '<='} {cost.target:.3g}", "met" if cost.met else "missed"
    return (cost.step, cost.layer, f"{cost.time.median * cost.count:.1f}", f"{cost.count:.4g} {cost.unit}",
            f"{cost.time.median:.2f}", f"{cost.time.lower:.2f} to {cost.time.upper:.2f}", target, verdict)


def host_document(costs: Iterable[Cost], environment: dict[str, Any], date: str, quick: bool) -> dict[str, Any]:
    """All there is to know of a run, for JSON."""
    return {"schema": SCHEMA, "date": date, "quick": quick, **environment, "units": UNITS, "layers": LAYERS,
            "costs": [{**asdict(cost), "met": cost.met} for cost in costs]}
