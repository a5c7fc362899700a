"""The benchmarks: what is checked before it is timed, what a report says, and that nothing wrong gets a figure."""

import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain.bench import (
    Comparison,
    Failure,
    Quantiles,
    WrongResult,
    command,
    compare,
    environment,
    suite,
    timing,
    torch_peers,
)
from microtrain.bench.catalogue import FAMILIES, MEDIUM, SMALL, STEPS, catalogue
from microtrain.bench.comparison import Entry
from microtrain.bench.environment import THREAD_VARIABLES
from microtrain.bench.oracle import Oracle
from microtrain.bench.picture import draw
from microtrain.bench.report import document, table, write_json
from microtrain.bench.suite import BY_HAND, MICROTRAIN, Effort, Peers, Result, run_workload
from microtrain.bench.text import columns, microseconds
from microtrain.bench.workload import results
from microtrain.cli import main

ROOT = Path(__file__).parent.parent
BRIEF = Effort(rounds=2, seconds=1e-4)


def swapped(T, tensors, compiled):
    return SMALL[0].build(T, {**tensors, "y": tensors["x"]} if T is mt else tensors, compiled)


PLANTED = replace(SMALL[0], build=swapped)
"""The elementwise workload, which microtrain, and nobody else, is made to compute of the wrong operand."""


def by_name(workload):
    return workload.name


def inputs_of(workload):
    return workload.inputs(np.random.default_rng(0))


def judge_of(workload):
    return suite._judge(workload, inputs_of(workload), suite.peers("cpu"))


def on_microtrain(workload):
    return results(suite._instance(workload, inputs_of(workload), "cpu"), workload.steps)


# What is right


@pytest.mark.parametrize("workload", [*STEPS, *SMALL], ids=by_name)
def test_the_reference_by_hand_is_pytorchs_autograd_in_float64(workload):
    wide = {name: value.astype(np.float64) if value.dtype == np.float32 else value
            for name, value in inputs_of(workload).items()}
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        right = results(torch_peers.eager(workload, wide, "cpu"), workload.steps)
    finally:
        torch.set_default_dtype(before)
    found = results(workload.by_hand(wide), workload.steps)
    assert found.keys() == right.keys()
    for name, value in right.items():
        assert value.dtype == np.float64
        np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("workload", [*STEPS, *SMALL, *MEDIUM], ids=by_name)
def test_microtrain_is_within_the_tolerance_and_little_else_is(workload):
    judge = judge_of(workload)
    found = on_microtrain(workload)
    assert 0 <= judge.judge(found) <= 1
    for name, value in found.items():
        assert judge.allowed[name] <= 2e-5 * np.abs(judge.expected[name]).max()
        off = value.copy()
        off.flat[off.size // 2] += 1e-4 * np.abs(value).max()
        with pytest.raises(WrongResult, match=f"^{name} is off by"):
            judge.judge({**found, name: off})


@pytest.mark.parametrize("workload", STEPS, ids=by_name)
@pytest.mark.parametrize("constant", ["PERCEPTRON_LR", "LINEAR_LR", "MLP_LR", "MOMENTUM", "CHECKED_STEPS"])
def test_a_step_that_is_slightly_off_is_noticed(workload, constant, monkeypatch):
    """Another learning rate or momentum, or one step too many, is caught by the workloads that use it."""
    judge = judge_of(workload)
    training = sys.modules["microtrain.bench.training"]
    uses = {"perceptron": {"PERCEPTRON_LR"}, "mlp": {"MLP_LR", "MOMENTUM"}}.get(workload.family, {"LINEAR_LR"})
    if constant == "CHECKED_STEPS":
        workload = replace(workload, steps=workload.steps + 1)
    else:
        monkeypatch.setattr(training, constant, getattr(training, constant) * 1.01)
    if constant in {*uses, "CHECKED_STEPS"}:
        with pytest.raises(WrongResult, match="is off by"):
            judge.judge(on_microtrain(workload))
    else:
        judge.judge(on_microtrain(workload))


def test_the_oracle_refuses_what_cannot_be_compared():
    judge = Oracle({"result": np.ones(2)}, {"result": 0.1})
    assert judge.judge({"result": np.array([1.05, 1.0])}) == pytest.approx(0.5)
    for values, complaint in (
        ({"result": np.array([1, np.nan])}, "off by nan"),
        ({"result": np.ones((2, 1))}, "shape"),
        ({"other": np.ones(2)}, r"values \['other'\] instead of \['result'\]"),
    ):
        with pytest.raises(WrongResult, match=complaint):
            judge.judge(values)


# Timing


class Clock:
    """Time that passes only when a function says so."""

    def __init__(self, monkeypatch):
        self.now = 0
        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter_ns=lambda: self.now))

    def takes(self, nanoseconds, result=1.0):
        def function():
            self.now += nanoseconds
            return result

        return function


def accept(result):
    assert result is not None


def test_figures_are_microseconds_a_call_and_the_ratio_is_the_firsts_time_over_the_others(monkeypatch):
    clock = Clock(monkeypatch)
    found = compare({"fast": clock.takes(1500), "slow": clock.takes(6000)}, accept, rounds=5, seconds=1e-4)
    assert found["fast"].time == Quantiles(1.5, 1.5, 1.5)
    assert found["slow"].time == Quantiles(6, 6, 6)
    assert found["slow"].ratio == Quantiles(0.25, 0.25, 0.25)
    assert found["fast"].ratio == Quantiles(1, 1, 1)
    assert found.first is found["fast"] and [entry.name for entry in found.others] == ["slow"]
    assert len(found["slow"].samples) == 5
    assert all(entry.calls * entry.time.median >= 100 for entry in found.entries)
    with pytest.raises(KeyError, match="there are fast, slow"):
        found["other"]


def test_waiting_for_what_was_queued_counts():
    seen = []
    timing.sample(lambda: seen.append("call"), lambda: seen.append("finish"), 3)
    assert seen == ["call"] * 3 + ["finish"]


def test_functions_take_turns_in_a_rotating_order():
    seen = []
    compare({name: lambda name=name: seen.append(name) or 1.0 for name in "abc"}, accept, rounds=3, seconds=1e-12)
    assert "".join(seen[-9:]) == "abcbcacab"


def test_quantiles():
    assert Quantiles.of([4, 1, 3, 2, 5]) == Quantiles(2, 3, 4)
    with pytest.raises(ValueError, match="no samples"):
        Quantiles.of([])


# compare


def test_a_lazy_result_is_computed_within_its_time():
    x = mt.ones(3)
    made = []
    with mt.testing.count_kernels() as count:
        compare({"exp": lambda: made.append(1) or x.exp(), "pair": lambda: made.append(1) or (x.sin(), 1)},
                accept, rounds=2, seconds=1e-6)
    assert len(count.programs) == len(made)


@pytest.mark.parametrize("verdict", [False, np.False_, mt.tensor(False)], ids=type)
def test_a_wrong_result_has_no_figure(verdict):
    found = compare({"right": lambda: 1, "wrong": lambda: 2}, lambda out: out == 1 or verdict, rounds=2, seconds=1e-6)
    assert found["right"].time is not None
    assert found["wrong"] == Entry("wrong", found["wrong"].failure)
    assert found["wrong"].failure.kind == "wrong"
    assert re.search(r"^wrong +wrong: its check returned", str(found), re.M)


def test_nothing_is_timed_against_a_wrong_result():
    called = []

    def check(out):
        assert out == 1, "two is not one"

    found = compare({"wrong": lambda: 2, "right": lambda: called.append(1) or 1}, check, rounds=2, seconds=1e-6)
    assert found["wrong"].failure == Failure("wrong", "two is not one assert 2 == 1")
    assert found["right"].failure.kind == "not timed"
    assert called == []
    assert not re.search(r"\d\.\d", str(found))


def test_a_function_that_raises_leaves_the_others_their_figures():
    def broken():
        raise OSError("no such\nluck")

    calls = []

    def tires():
        calls.append(1)
        if len(calls) > 4:
            raise MemoryError
        return 1

    found = compare({"good": lambda: 1, "broken": broken, "tires": tires}, accept, rounds=9, seconds=1e-12)
    assert found["good"].time is not None and len(found["good"].samples) == 9
    assert str(found["broken"].failure) == "cannot run: OSError: no such luck"
    assert str(found["tires"].failure) == "cannot run: MemoryError"


def test_an_assertion_of_the_functions_own_is_not_a_wrong_result():
    def asserts():
        raise AssertionError("inside")

    found = compare({"good": lambda: 1, "asserts": asserts}, accept, rounds=1, seconds=1e-6)
    assert found["asserts"].failure == Failure("cannot run", "AssertionError: inside")


@pytest.mark.parametrize(("functions", "arguments", "error"), [
    ({}, {"check": accept}, ValueError),
    ({"f": int}, {"check": None}, TypeError),
    ({"f": int}, {"check": accept, "rounds": 0}, ValueError),
    ({"f": int}, {"check": accept, "seconds": float("nan")}, ValueError),
])  # fmt: skip
def test_compare_refuses(functions, arguments, error):
    with pytest.raises(error, match=r"^compare\(\): "):
        compare(functions, **arguments)


# The suite


def test_every_peer_of_the_cpu_runs_every_step():
    for workload in STEPS:
        result = run_workload(workload, "cpu", suite.peers("cpu"), BRIEF)
        assert [entry.name for entry in result.comparison.entries] == [MICROTRAIN, "torch", BY_HAND]
        assert all(entry.time is not None for entry in result.comparison.entries)
        assert result.passed


def test_kernels_are_counted_a_call():
    assert suite.kernels_a_call(SMALL[0], inputs_of(SMALL[0]), "cpu") == 1
    with mt.settings.fuse(False):
        assert suite.kernels_a_call(SMALL[0], inputs_of(SMALL[0]), "cpu") == 3


def broken_peer(workload, inputs):
    raise RuntimeError("this peer has no driver")


def test_a_peer_that_raises_is_reported_and_the_others_timed():
    against = Peers({"broken": broken_peer, **suite.peers("cpu").builders})
    result = run_workload(SMALL[0], "cpu", against, BRIEF)
    assert result.passed
    text = table([result], "cpu")
    assert re.search(r"^map 4096 +cpu +broken +cannot run: RuntimeError: this peer has no driver$", text, re.M)
    assert re.search(r"^map 4096 +cpu +torch +[\d.]+ +[\d.]+ +\d+\.\d\d +1 +ok \(\d+%\)$", text, re.M)


def test_a_peer_that_is_wrong_has_no_figure_and_fails_the_run():
    def wrong(workload, inputs):
        return suite.peers("cpu").builders["torch"](workload, {**inputs, "y": inputs["x"]})

    result = run_workload(SMALL[0], "cpu", Peers({**suite.peers("cpu").builders, "wrong": wrong}), BRIEF)
    assert not result.passed
    assert result.comparison["torch"].time is not None and result.comparison["wrong"].time is None
    assert re.search(r"^map 4096 +cpu +wrong +wrong: result is off by", table([result], "cpu"), re.M)


def test_a_catalogue_of_what_was_asked_for():
    assert [workload.family for workload in catalogue("cpu", True)] == list(FAMILIES)
    assert by_name(catalogue("cpu", False, ["sum"])[-1]) == f"sum {1 << 20}"
    assert len(catalogue("cuda")) > len(catalogue("cpu")) > len(catalogue("cpu", True))
    names = [workload.name for workload in catalogue("cuda")]
    assert len(set(names)) == len(names)
    for families, complaint in ((["maps"], "no workload 'maps'"), ([], "no workload;")):
        with pytest.raises(ValueError, match=f"{complaint}.*perceptron, logistic"):
            catalogue("cpu", False, families)


def fake_capture(monkeypatch, instance):
    """`captured` without a GPU: what is captured runs, so it trains one step more than a real capture does, and a
    replay runs it again."""
    outs = []

    def run():
        outs.append(instance.run())
        return outs[-1]

    def replay(graph):
        outs[torch_peers.CAPTURE_WARMUP].data.copy_(instance.run().data)

    stream = SimpleNamespace(wait_stream=lambda other: None)
    fakes = {"Stream": lambda: stream, "current_stream": lambda: stream, "stream": nullcontext,
             "CUDAGraph": type("Graph", (), {"replay": replay}), "graph": nullcontext}
    for name, value in fakes.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return torch_peers.captured(replace(instance, run=run))


@pytest.mark.parametrize("workload", STEPS, ids=by_name)
def test_capturing_leaves_no_trace_of_the_steps_it_takes(workload, monkeypatch):
    replayed = fake_capture(monkeypatch, torch_peers.eager(workload, inputs_of(workload), "cpu"))
    found = results(replayed, workload.steps)
    expected = results(torch_peers.eager(workload, inputs_of(workload), "cpu"), workload.steps)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workload", [*STEPS, *SMALL], ids=by_name)
def test_every_peer_of_the_gpu_runs_or_says_why_not(workload):
    against = suite.peers("cuda")
    assert list(against.builders) == ["torch", "torch CUDA graph", "torch.compile"]
    result = run_workload(workload, "cuda", against, BRIEF)
    assert result.passed, table([result], "cuda")
    assert result.comparison["torch"].time is not None


# The report


def timed(name, time, ratio=1.0):
    spread = Quantiles(time * 0.9, time, time * 1.1)
    return Entry(name, None, 10, (time,) * 3, spread, Quantiles(ratio, ratio, ratio), 0.12)


UNABLE = Entry("torch", Failure("cannot run", "OSError: no"))
RESULTS = [
    Result(STEPS[0], Comparison((timed(MICROTRAIN, 7.5), timed("torch", 150, 0.05), timed(BY_HAND, 3, 2.5))), 1.0),
    Result(SMALL[0], Comparison((Entry(MICROTRAIN, Failure("wrong", "result is off by 1")),
                                 Entry("torch", Failure("not timed", "no figure")))), None),
    Result(SMALL[1], Comparison((timed(MICROTRAIN, 1234.4), UNABLE)), 1.5),
    Result(SMALL[2], Comparison((timed(MICROTRAIN, 20),)), 1.0),
]


def test_table():
    assert table(RESULTS, "cpu").splitlines() == [
        "workload         device  peer           microtrain us  peer us  ratio  kernels     check",
        "perceptron       cpu     torch                   7.50      150   0.05        1  ok (12%)",
        "perceptron       cpu     numpy by hand           7.50     3.00   2.50        1  ok (12%)",
        "map 4096         cpu     microtrain     wrong: result is off by 1",
        "softmax 128x128  cpu     torch          cannot run: OSError: no",
        "sum 4096         cpu     -                       20.0        -      -        1  ok (12%)",
    ]


def test_text():
    assert list(map(microseconds, (0.1234, 7.314, 73.14, 731.4, 7314))) == ["0.12", "7.31", "73.1", "731", "7314"]
    assert columns(("a", "b"), [("long", "1"), ("a remark that is long",)]) == "a     b\nlong  1\na remark that is long"


def test_json(tmp_path):
    path = tmp_path / "cpu.json"
    contents = document(RESULTS, environment.environment("cpu"), "2030-01-02T03:04:05+00:00", True)
    write_json(path, contents)
    read = json.loads(path.read_text())
    assert read == json.loads(json.dumps(contents))
    assert os.listdir(tmp_path) == ["cpu.json"]
    assert read["schema"] == 1 and read["quick"] is True and read["date"].startswith("2030-01-02")
    assert read["device"]["type"] == "cpu" and read["device"]["name"]
    assert read["versions"]["numpy"] == np.__version__ and read["versions"]["microtrain"] == mt.__version__
    assert {"python", "torch", "triton"} < read["versions"].keys()
    assert set(read["units"]) == {"time", "ratio", "kernels", "tolerance_used"}
    perceptron, wrong = read["workloads"][:2]
    assert perceptron["passed"] and perceptron["kernels"] == 1
    assert perceptron["contenders"][1] == {
        "name": "torch", "failure": None, "calls": 10, "samples": [150, 150, 150], "tolerance_used": 0.12,
        "time": {"lower": 135.0, "median": 150, "upper": pytest.approx(165.0)},
        "ratio": {"lower": 0.05, "median": 0.05, "upper": 0.05},
    }  # fmt: skip
    assert not wrong["passed"]
    assert [entry["time"] for entry in wrong["contenders"]] == [None, None]
    assert str(ROOT) not in path.read_text()


def test_a_number_that_json_does_not_know_leaves_the_old_file(tmp_path):
    path = tmp_path / "cpu.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1} and os.listdir(tmp_path) == ["cpu.json"]


def test_picture(tmp_path):
    pytest.importorskip("matplotlib")
    assert draw(RESULTS, tmp_path / "a.png", "title").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no figures"):
        draw(RESULTS[1:2], tmp_path / "b.png", "title")
    assert os.listdir(tmp_path) == ["a.png"]


def test_revision_is_that_of_the_packages_own_repository(tmp_path, monkeypatch):
    """A package installed into somebody else's repository has no revision of its own."""
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(mt, "__file__", str(tmp_path / "__init__.py"))
    git("init")
    git("commit", "--allow-empty", "-m", "empty")
    assert environment.revision() is None
    git("add", "__init__.py")
    git("commit", "-m", "package")
    assert re.fullmatch(r"[0-9a-f]{12}", environment.revision())
    (tmp_path / "__init__.py").write_text("changed")
    assert environment.revision().endswith("-dirty")


# The command


@pytest.fixture
def here(monkeypatch):
    """As in the process that the command starts for one thread, so that it runs in this one."""
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def bench(capsys, *arguments):
    status = main(["bench", "--device", "cpu", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_a_wrong_result_prints_no_figure_and_exits_1(here, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "catalogue", lambda *arguments: [PLANTED])
    status, out, _ = bench(capsys, "--quick", "--output", tmp_path)
    assert status == 1
    assert re.search(r"^map 4096 +cpu +microtrain +wrong: result is off by [\d.]+, allowed is ", out, re.M)
    assert len([line for line in out.splitlines() if line.startswith("map 4096")]) == 1
    assert out.endswith("failed: map 4096\n")
    (name,) = os.listdir(tmp_path)
    found = json.loads((tmp_path / name).read_text())["workloads"]
    assert [(entry["time"], entry["samples"]) for entry in found[0]["contenders"]] == [(None, [])] * 3


def test_without_pytorch_its_figures_are_left_out(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "microtrain.bench.torch_peers")
    monkeypatch.delattr("microtrain.bench.torch_peers")
    status, out, _ = bench(capsys, "--quick", "--workloads", "map,logistic")
    assert status == 0
    assert re.search(r"^PyTorch cannot be imported \(.*\): its figures are left out$", out, re.M)
    assert re.search(r"^map 4096 +cpu +numpy by hand +[\d.]+ +[\d.]+", out, re.M)
    assert not re.search(r"^map 4096 +cpu +torch", out, re.M)


def test_quick_from_end_to_end(tmp_path):
    """In a process of its own, which starts another one for one thread."""
    env = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    env["PYTHONPATH"] = str(ROOT)
    out = tmp_path / "new" / "folder"
    command_line = [sys.executable, "-m", "microtrain", "bench", "--device", "cpu", "--quick", "--output", str(out)]
    done = subprocess.run(command_line, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line for line in done.stdout.splitlines() if re.search(r" cpu +(torch|numpy by hand) ", line)]
    assert len(rows) == 2 * len(catalogue("cpu", True))
    assert all(re.search(r" ok \(\d+%\)$", row) for row in rows)
    (file,) = out.glob("*.json")
    assert re.fullmatch(r"cpu-\d{4}-\d\d-\d\d-quick\.json", file.name)
    read = json.loads(file.read_text())
    assert read["device"]["threads"] == 1 and read["quick"] is True
    assert all(workload["passed"] for workload in read["workloads"])
    assert file.with_suffix(".png").exists()


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["--workloads", "maps"], "no workload 'maps'; there are perceptron"),
    (["--workloads", ""], "no workload; there are perceptron"),
    (["--device", "tpu"], "invalid choice: 'tpu'"),
])  # fmt: skip
def test_a_mistake_is_one_line(capsys, arguments, complaint):
    status, out, err = bench(capsys, *arguments)
    assert (status, out) == (2, "")
    assert complaint in err and err.count("\n") == 1


def test_an_output_that_cannot_be_written_is_said_before_anything_is_timed(here, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "run_workload", lambda *arguments: pytest.fail("timed"))
    (tmp_path / "file").write_text("")
    status, out, err = bench(capsys, "--output", tmp_path / "file")
    assert (status, out) == (2, "") and err.count("\n") == 1


@pytest.mark.parametrize(("name", "complaint"), [
    ("interpret", "the default device is 'interpret'"),
    ("gpu", "MICROTRAIN_DEVICE: Expected one of"),
])  # fmt: skip
def test_a_default_device_that_is_not_timed(capsys, name, complaint):
    with mt.settings.device(name):
        status = main(["bench"])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "") and complaint in err


def test_the_package_is_light_to_import():
    code = "import microtrain.bench, sys; print(*{'torch', 'triton', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "\n"
