"""``benchmarks --host``: what is checked before a cost is printed, and that the clock sees the layer it names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import microtrain as mt
from benchmarks.__main__ import main
from benchmarks.host import command as host_command
from benchmarks.host import layers as host
from benchmarks.host import recording, stub_driver
from benchmarks.host.layers import Cost, Effort, host_table, measure_step
from microtrain.autograd.replay import replays
from microtrain.bench.comparison import WrongResult
from microtrain.bench.timing import Quantiles
from microtrain.engine.plans import plans
from microtrain.graph.node import record2
from microtrain.runtime.virtual import libcuda

BRIEF = Effort(rounds=3, seconds=1e-3)
PERCEPTRON = host.STEPS[0]


def computing_another(T: Any, tensors: Any, compiled: Any) -> Any:
    return PERCEPTRON.build(T, {**tensors, "x": tensors["x"] * 1.01}, compiled)


def of_ever_new_graphs(T: Any, tensors: Any, compiled: Any) -> Any:
    instance, calls = PERCEPTRON.build(T, tensors, compiled), []

    def run() -> Any:
        calls.append(None)
        return sum([instance.run()] * max(len(calls) - PERCEPTRON.steps, 1))
    return replace(instance, run=run)


@pytest.mark.parametrize(("build", "said"), [(computing_another, "off by"),
                                             (of_ever_new_graphs, "graphs were not met before")])
def test_a_step_that_is_wrong_or_whose_plan_is_not_found_gets_no_figure(build: Any, said: str) -> None:
    with pytest.raises(WrongResult, match=said):
        measure_step(replace(PERCEPTRON, build=build), BRIEF)


def test_a_graph_that_is_not_the_steps_gets_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operands the wrong way round when they are recorded again: 1 - y is y - 1."""
    monkeypatch.setattr(recording, "record2", lambda primitive, x, y: record2(primitive, y, x))
    with pytest.raises(WrongResult, match=r"recorded again, a gradient of shape .* is off by"):
        measure_step(PERCEPTRON, BRIEF)


PLANTED_SECONDS = 0.005


def slow(function: Any) -> Any:
    """The function with milliseconds planted in it."""
    def slowed(*arguments: Any, **options: Any) -> Any:
        time.sleep(PLANTED_SECONDS)
        return function(*arguments, **options)
    return slowed


@pytest.mark.parametrize("layer", ["record", "look-up", "step"])
def test_the_time_of_a_layer_is_its_own(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Milliseconds planted in one layer are seen there, and in no other: no measurement of speed."""
    def build(T: Any, tensors: Any, compiled: Any) -> Any:
        instance = PERCEPTRON.build(T, tensors, compiled)
        return replace(instance, run=slow(instance.run))

    if layer == "record":
        monkeypatch.setattr(recording, "walk", slow(recording.walk))
    elif layer == "look-up":
        monkeypatch.setattr(plans, "find", slow(plans.find))
    costs = measure_step(replace(PERCEPTRON, build=build) if layer == "step" else PERCEPTRON, BRIEF)
    taken = {cost.layer: cost.time.median * cost.count / (1e6 * PLANTED_SECONDS) for cost in costs}
    assert taken.pop(layer) >= 0.9
    assert (taken.pop("read") >= 0.9) == (layer != "record"), "a step that is read is recorded by itself"
    assert max(taken.values()) < 0.9 and len(taken) == 2, taken


def test_the_device_is_left_out_and_put_back() -> None:
    (mt.tensor([0.0, 0.0], device="cpu") * 3).numpy()       # the number 3 is older than any tensor below
    x = mt.tensor([1.0, 2.0], device="cpu")
    (x * 3).numpy()
    before = [plan.executable for plan in plans.known.values()]
    with host.Watch().watching():
        assert ((x * 3).numpy() == [3.0, 6.0]).all()
        x = mt.tensor([5.0, 5.0], device="cpu")
        assert ((x * 3).numpy() == [3.0, 6.0]).all()          # remembered, not computed
    assert [plan.executable for plan in plans.known.values()] == before
    assert ((x * 3).numpy() == [15.0, 15.0]).all()


def test_nodes_are_those_that_a_step_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "known", {})               # as in a process that has made no step before
    monkeypatch.setattr(replays, "made", {})
    costs = {cost.layer: cost for cost in measure_step(PERCEPTRON, BRIEF)}
    operations = 10                                     # clamp and log and all between, as they are written
    assert costs["record"].count > operations
    assert costs["step"].count == costs["record"].count + 4               # two updates, of a product and a difference
    assert costs["look-up"].count >= costs["record"].count                # its graph has leaves besides
    assert all(cost.time.lower > 0 for cost in costs.values())


@pytest.mark.parametrize(("layer", "target", "met", "end"), [
    ("record", 2.0, True, "<= 2  met"), ("record", 1.9, False, "missed"), ("step", None, None, "1.00 to 3.00")])
def test_a_row_says_whether_its_target_is_met_and_the_table_what_it_contains(
        layer: str, target: float | None, met: bool | None, end: str) -> None:
    of = Cost("perceptron", layer, 10.0, "nodes", Quantiles(1.0, 2.0, 3.0), target)
    table = host_table([of])
    row = table.splitlines()[1].rstrip()
    assert of.met is met and row.endswith(end) and "20.0" in row
    assert ("optimizer; no target" in table) is (layer == "step") and "queueing" not in table


interpreted = os.environ.get("TRITON_INTERPRET") == "1"
on_the_stub = pytest.mark.skipif(stub_driver.compiler() is None or interpreted,
                                 reason="needs a C compiler, and kernels that are compiled")


@pytest.fixture
def of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command times the perceptron alone, in this process."""
    monkeypatch.setattr(host_command, "on_one_thread", lambda: True)
    monkeypatch.setattr(host_command, "STEPS", (PERCEPTRON,))


@on_the_stub
def test_the_command_prints_every_layer_and_writes_what_it_printed(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], of_one_step: None) -> None:
    assert main(["--host", "--quick", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    file, = tmp_path.glob("host-*-quick.json")
    written = json.loads(file.read_text())
    costs = written["costs"]
    assert [cost["layer"] for cost in costs] == [
        "record", "look-up", "step", "read", "import", "launch", "kernel[grid]"]
    for cost in costs:
        assert f"{cost['time']['median']:.2f}" in printed and written["layers"][cost["layer"]] in printed
        untargeted = cost["layer"] in ("step", "read")
        assert (cost["target"] is None) == (cost["met"] is None) == untargeted


def test_without_a_c_compiler_the_other_layers_are_timed(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, of_one_step: None) -> None:
    monkeypatch.setattr(libcuda, "compiler", lambda: None)
    assert main(["--host", "--quick"]) == 0
    printed = capsys.readouterr().out
    assert "launches are not timed" in printed and "install gcc" in printed and "record" in printed


def test_a_failed_check_is_the_commands_failure(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, of_one_step: None) -> None:
    def wrong(*arguments: Any) -> Any:
        raise WrongResult("the driver is told 1, and by Triton 2")
    monkeypatch.setattr(host_command, "measure_launches", wrong)
    assert main(["--host", "--quick"]) == 1
    assert "failed: the driver is told 1" in capsys.readouterr().out


PLANTED = """
import sys
from pathlib import Path
from microtrain.runtime.kinds import KINDS
from benchmarks.host import launch_costs
from benchmarks.host.layers import Effort
from microtrain.runtime.cuda import CudaBackend

stub = launch_costs.StubDriver(Path(sys.argv[1]))
backend = KINDS["cuda"].loaded[0] = launch_costs.StubbedCuda(stub)
right = CudaBackend.queue
for wrong in (lambda self, launch, pointers, scalars: right(self, launch, pointers[::-1], scalars),
              lambda self, launch, pointers, scalars: right(self, launch, pointers, tuple([n + 1 for n in scalars])),
              right):
    CudaBackend.queue = wrong
    try:
        costs = launch_costs.measure_launches(launch_costs.STEPS[1], Effort(1, 1e-3), stub, backend)
    except launch_costs.WrongResult as error:
        print("caught:", error)
print(*[cost.layer for cost in costs])
"""


@on_the_stub
def test_a_launch_that_tells_the_driver_something_else_is_caught(tmp_path: Path) -> None:
    """Pointers in another order, other numbers, and then all as it should be."""
    stub_driver.build(tmp_path)
    done = subprocess.run([sys.executable, "-c", PLANTED, str(tmp_path)], env=stub_driver.environment(tmp_path),
                          capture_output=True, text=True, check=True)
    caught = re.findall("^caught: .*the driver is told", done.stdout, re.MULTILINE)
    assert len(caught) == 2 and done.stdout.splitlines()[-1] == "launch kernel[grid]", done.stdout


def test_host_takes_no_device_and_no_workloads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "--workloads", "mlp"]) == 2
    assert "leave out --device and --workloads" in capsys.readouterr().err
