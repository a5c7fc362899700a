"""Whole steps on a CPU: everybody's losses and weights are right, who is wrong gets no figure, and what is told."""

import json
import os
import re
import sys
from dataclasses import replace
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import microtrain as mt
from benchmarks.__main__ import main
from benchmarks.bench_device import ONCE
from benchmarks.environment import THREAD_VARIABLES, environment
from benchmarks.memory import HostMemory
from benchmarks.oracle import Oracle
from benchmarks.whole_steps import command, contenders, numpy_loops
from benchmarks.whole_steps.command import measured
from benchmarks.whole_steps.contenders import (
    CHECKED_STEPS,
    JAX_JIT,
    JAX_SCAN,
    LOOPED,
    NUMBA,
    NUMPY,
    PLAIN,
    REPLAYED,
    TORCH,
    TORCH_COMPILED,
    Histories,
    history,
    judge,
    makers,
    on_torch,
    rows,
)
from benchmarks.whole_steps.picture import draw
from benchmarks.whole_steps.results import Result, cell, document, figure, reasons, table
from benchmarks.workloads import steps
from microtrain.bench import Comparison, Failure, timing
from microtrain.bench.comparison import Entry, WrongResult
from microtrain.bench.timing import Contender, loop_clock
from tests.bench.shared import ROOT, timed

pytestmark = pytest.mark.usefixtures("nothing_pending")

ROWS = rows(tiny=True)
LOGISTIC = ROWS[1]
PACKAGE = {JAX_JIT: ["jax"], JAX_SCAN: ["jax"], NUMBA: ["numba", "scipy"]}
"""numba's products are SciPy's."""


def inputs_of(row):
    return Histories().inputs(row.workload)


@cache
def judge_of(number):
    return judge(ROWS[number], inputs_of(ROWS[number]))


def made(row, name):
    return makers(row, inputs_of(row), judge_of(ROWS.index(row)), slow=False)[name]()


# What is right


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.workload.name)
def test_the_reference_by_hand_is_pytorchs_autograd_in_float64(row):
    wide = {name: value.astype(np.float64) if value.dtype.kind == "f" else value
            for name, value in inputs_of(row).items()}
    found, right = Histories().right(row.workload, wide), history(on_torch(row, wide), CHECKED_STEPS)
    assert len(found["losses"]) == CHECKED_STEPS and found.keys() == right.keys() > {"losses"}
    for name, value in right.items():
        np.testing.assert_allclose(found[name], HostMemory().wide(value), rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", [TORCH, PLAIN, REPLAYED, LOOPED, JAX_JIT, JAX_SCAN, NUMPY, NUMBA])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.workload.name)
def test_everybodys_losses_and_weights_are_right_and_little_else_is(row, name):
    if name in PACKAGE:
        for package in PACKAGE[name]:
            pytest.importorskip(package)
    if name == NUMBA and not row.loop:
        assert name not in makers(row, {}, Oracle(HostMemory(), {}, {}))
        return
    contender = made(row, name)
    assert 0 <= contender.check() <= 1
    with pytest.raises(WrongResult):        # ten steps further on
        contender.check()
    contender.call()
    contender.finish()
    assert contender.steps == (row.at_once if name in contenders.IN_ONE_CALL else 1) or name == NUMPY


@pytest.mark.parametrize(("name", "constant"), [
    ("logistic 8x4", "LINEAR_LR"), ("mlp 4-8-3 batch 8", "MLP_LR"), ("perceptron", "PERCEPTRON_LR"),
])  # fmt: skip
def test_a_loop_that_is_slightly_off_is_refused(name, constant, monkeypatch):
    row = next(row for row in ROWS if row.workload.name == name)
    monkeypatch.setattr(numpy_loops, constant, getattr(steps, constant) * 1.001)
    with pytest.raises(WrongResult, match="is off by"):
        made(row, NUMPY).check()


def test_momentum_that_is_slightly_off_is_refused(monkeypatch):
    monkeypatch.setattr(numpy_loops, "MOMENTUM", 0.901)
    plain, momentum = ROWS[2:4]
    made(plain, NUMPY).check()
    with pytest.raises(WrongResult, match="is off by"):
        made(momentum, NUMPY).check()


def test_a_wrong_peer_has_no_figure_and_the_others_have_theirs(monkeypatch):
    def stale(step):
        first = []

        def call(*data):
            loss = step(*data)
            first.append(loss)
            return first[0]

        call.loop = lambda data, steps: mt.stack([call(*data) for _ in range(steps)])
        return call

    monkeypatch.setattr(mt, "compile", stale)
    result = measured(LOGISTIC, ONCE, slow=False)
    for name in (REPLAYED, LOOPED):
        entry = result.comparison[name]
        assert entry.failure.kind == "wrong" and entry.failure.reason.startswith("losses is off by")
        assert cell(result, entry) == "WRONG" and entry.samples == () and result.ratio(entry) is None
    assert result.failed == [REPLAYED, LOOPED]
    assert result.comparison[NUMPY].time is not None and result.comparison[PLAIN].time is not None
    assert re.search(r"^logistic 8x4, mt.compile: wrong: losses is off by", reasons([result]), re.M)


def test_what_is_not_installed_is_said_to_be(monkeypatch):
    for name in ("numba", "jax"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("benchmarks.whole_steps.numba_loops", "benchmarks.peers.jax_peers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("benchmarks.peers.jax_peers", raising=False)
    result = measured(LOGISTIC, ONCE, slow=False)
    assert [cell(result, result.comparison[name]) for name in (JAX_JIT, JAX_SCAN, NUMBA)] == ["not installed"] * 3
    assert result.failed == [] and result.comparison[REPLAYED].time is not None


# What is told


def test_the_readme_shows_the_newest_picture():
    newest = max((ROOT / "benchmarks" / "results").glob("steps-*.png"))
    assert re.findall(r"!\[.*\]\((.*)\)", (ROOT / "README.md").read_text()) == [f"benchmarks/results/{newest.name}"]
    assert newest.with_suffix(".json").exists()


UNABLE = Entry(NUMPY, Failure("cannot run", "OSError: no"))
RESULTS = [
    Result(LOGISTIC, Comparison((timed(TORCH, 200), replace(timed(REPLAYED, 50), samples=(100, 50, 20)),
                                 timed(LOOPED, 0.01), UNABLE))),
    Result(ROWS[4], Comparison((timed(TORCH, 1000), timed(REPLAYED, 5100)))),
]


def test_a_ratio_is_the_time_over_pytorchs():
    """Below 1 where it is faster, taken round by round."""
    quantiles = RESULTS[0].ratio(RESULTS[0].comparison[REPLAYED])
    assert (quantiles.lower, quantiles.median, quantiles.upper) == pytest.approx((0.175, 0.25, 0.375))
    assert table(RESULTS).splitlines() == [
        "time over PyTorch's                PyTorch us  mt.compile  compiled.loop  NumPy by hand",
        "logistic 8x4                              200        0.25       0.000050     cannot run",
        "conv 1x28x28, 3 channels, batch 2        1000         5.1              -              -",
    ]
    assert reasons(RESULTS) == "logistic 8x4, NumPy by hand: cannot run: OSError: no"


def test_figures():
    assert [figure(ratio) for ratio in (0.000213, 0.0333, 0.0999, 0.78, 0.996, 1.04, 5.12, 12)] == [
        "0.00021", "0.033", "0.100", "0.78", "1.0", "1.0", "5.1", "12.0"]


def test_json_and_picture(tmp_path):
    read = json.loads(json.dumps(document(RESULTS, environment("cpu"), "2030-01-02", "full"), allow_nan=False))
    assert {"numpy", "torch", "jax", "numba", "microtrain"} <= read["versions"].keys() and read["device"]["name"]
    torch_entry, replay, loop, unable = read["rows"][0]["contenders"]
    assert (torch_entry["ratio"]["median"], loop["in_one_call"], replay["in_one_call"]) == (1, True, False)
    assert replay["ratio"]["median"] == 0.25 and unable["failure"]["kind"] == "cannot run" and unable["time"] is None
    pytest.importorskip("matplotlib")
    assert draw(RESULTS, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_processor_time_is_the_processs_alone(monkeypatch):
    monkeypatch.setattr(timing, "time", SimpleNamespace(
        perf_counter_ns=lambda: pytest.fail("the wall's clock"), process_time_ns=iter(range(0, 10**9, 4000)).__next__))
    clock = loop_clock(1e-6, processor=True)
    sampler = clock.sampler(Contender(lambda: 1, lambda: None, lambda: None, steps=2))
    assert (clock.name, sampler.calls, sampler.take()) == ("loop, processor time", 2, 2.0)


@pytest.fixture
def here(monkeypatch):
    """As in the process that the command starts for one thread, so that it runs in this one, on all its processors."""
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(command, "one_processor", lambda: None)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("here")
def test_the_command_writes_what_it_measured_and_fails_where_somebody_was_wrong(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(contenders, "rows", lambda tiny: ROWS[:1])
    assert main(["--steps", "--quick", "--output", str(tmp_path)]) == 0
    names = sorted(os.listdir(tmp_path))
    assert re.fullmatch(r"steps-\d{4}-\d\d-\d\d-quick\.json", names[0]) and names[1:] in ([], [names[0][:-4] + "png"])
    read = json.loads((tmp_path / names[0]).read_text())
    assert [row["name"] for row in read["rows"]] == ["perceptron"] and read["effort"] == "quick"
    assert TORCH_COMPILED not in [entry["name"] for entry in read["rows"][0]["contenders"]]
    monkeypatch.setattr(numpy_loops, "PERCEPTRON_LR", 0.02)
    assert main(["--steps", "--tiny"]) == 1
    assert capsys.readouterr().out.endswith("failed: perceptron: NumPy by hand\n")


@pytest.mark.parametrize("wrong", [["--device", "interpret"], ["--workloads", "step"], ["--peers", "torch"]])
def test_the_command_refuses_what_does_not_apply(wrong, capsys):
    assert main(["--steps", *wrong]) == 2
    assert "leave out" in capsys.readouterr().err


def test_without_pytorch_there_is_nothing_to_measure_against(capsys, monkeypatch):
    monkeypatch.setattr(command, "installed", partial(lambda name: name != "torch"))
    assert main(["--steps"]) == 2
    assert "PyTorch, which is not installed" in capsys.readouterr().err
