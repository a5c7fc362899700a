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
from benchmarks import command, environment, suite
from benchmarks.__main__ import main
from benchmarks.bench_device import ONCE, Effort, place
from benchmarks.budget import Budget
from benchmarks.catalogue import EAGER, FAMILIES, catalogue, medium, on_gpu, small, tiny
from benchmarks.ceilings import SuiteHostCeilings
from benchmarks.environment import THREAD_VARIABLES
from benchmarks.launch_facts import Launched
from benchmarks.limits import Excess, Limit, Share, Speed, Verdict, least
from benchmarks.memory import HostMemory, TorchArrays
from benchmarks.oracle import Oracle, oracle
from benchmarks.peers import BY_HAND, Peer, Peers, peers, torch_peers
from benchmarks.picture import draw
from benchmarks.report import document, dropped, limits, misses, table, write_json
from benchmarks.roofline import points, roofline
from benchmarks.suite import MICROTRAIN, Result, run, run_all
from benchmarks.workload import by_hand, results
from benchmarks.workloads import steps
from microtrain.bench import (
    Bound,
    Comparison,
    Failure,
    Quantiles,
    WrongResult,
    ceilings,
    compare,
    measure,
    timing,
)
from microtrain.bench.comparison import Entry
from microtrain.bench.text import columns, microseconds
from microtrain.bench.timing import Contender, LoopClock

pytestmark = pytest.mark.usefixtures("nothing_pending")

ROOT = Path(__file__).resolve().parents[2]
BRIEF = Effort(rounds=2, seconds=1e-4)
HOST = place("cpu", BRIEF)

TINY = tiny("cpu")
STEPS = [one for one in TINY if one.family == "step" and one.format == "float32"]
SMALL = small()
MAP = SMALL[0]


def swapped(T, tensors, compiled):
    return MAP.build(T, {**tensors, "a": tensors["b"]} if T is mt else tensors, compiled)


PLANTED = replace(MAP, build=swapped)
"""The elementwise workload, which microtrain, and nobody else, is made to compute of the wrong operand."""


def by_name(workload):
    return workload.name


def inputs_of(workload):
    return HOST.memory.inputs(workload)


def judge_of(workload):
    return suite._judge(workload, inputs_of(workload), HOST, peers("cpu").of(workload).values())


def on_microtrain(workload):
    return results(suite._instance(workload, inputs_of(workload), HOST), workload.steps)


# What is right


@pytest.mark.parametrize("workload", TINY, ids=by_name)
def test_the_reference_by_hand_is_pytorchs_autograd_in_float64(workload):
    """So either may stand for the other: by hand on the host, PyTorch where arrays are too large for it."""
    host, device = HostMemory(), TorchArrays(torch, "cpu")
    values = {name: value.astype(np.float64) if value.dtype.kind not in "iu" else value
              for name, value in host.inputs(workload).items()}
    found = host.right(workload, values)
    right = device.right(workload, {name: torch.from_numpy(np.array(value)) for name, value in values.items()})
    assert found.keys() == right.keys() >= {f"{name}" for name in workload.state}
    for name, value in right.items():
        assert value.dtype == torch.float64 and np.asarray(found[name]).dtype == np.float64
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("workload", [*TINY, *SMALL, *medium()], ids=by_name)
def test_microtrain_is_within_the_tolerance_and_little_else_is(workload):
    judge = judge_of(workload)
    found = on_microtrain(workload)
    assert 0 <= judge.judge(found) <= 1
    half = workload.format == "bfloat16"
    for name, value in found.items():
        # A bias of 1e-5 is a sum of rows in which numbers of some hundredths cancel.
        largest = max(np.abs(judge.expected[name]).max(), 0.01)
        # What products of 512 terms and five steps of training are seen to need.
        assert judge.allowed[name] <= (0.2 if half else 2e-5) * largest
        off = np.array(judge.memory.wide(value))
        off.flat[off.size // 2] += (0.3 if half else 1e-4) * largest
        with pytest.raises(WrongResult, match=f"^{re.escape(name)} is off by"):
            judge.judge({**found, name: off})


@pytest.mark.parametrize("workload", STEPS, ids=by_name)
@pytest.mark.parametrize("constant", ["PERCEPTRON_LR", "LINEAR_LR", "MLP_LR", "MOMENTUM", "CHECKED_STEPS"])
def test_a_step_that_is_slightly_off_is_noticed(workload, constant, monkeypatch):
    """Another learning rate or momentum, or one step too many, is caught by the workloads that use it."""
    judge = judge_of(workload)
    kind = workload.name.split()[0]
    uses = {"perceptron": {"PERCEPTRON_LR"}, "mlp": {"MLP_LR", "MOMENTUM"}}.get(kind, {"LINEAR_LR"})
    if constant == "CHECKED_STEPS":
        workload = replace(workload, steps=workload.steps + 1)
    else:
        monkeypatch.setattr(steps, constant, getattr(steps, constant) * 1.01)
    if constant in {*uses, "CHECKED_STEPS"}:
        with pytest.raises(WrongResult, match="is off by"):
            judge.judge(on_microtrain(workload))
    else:
        judge.judge(on_microtrain(workload))


@pytest.mark.parametrize("format, spacing", [("float32", 2.0**-23), ("bfloat16", 2.0**-7)])
def test_what_is_allowed_comes_from_the_format_and_from_the_errors_of_others(format, spacing):
    """Four roundings of the largest element, or four times what PyTorch is off by."""
    workload = next(one for one in TINY if one.name == f"layer 16x32x16 {format}")
    judge = judge_of(workload)
    largest = np.abs(judge.expected["result"]).max()
    seen = np.abs(judge.memory.wide(results(torch_peers.eager(workload, inputs_of(workload), "cpu"), 1)["result"])
                  - judge.expected["result"]).max()
    assert 4 * max(seen, spacing * largest) <= judge.allowed["result"] <= 64 * spacing * largest
    assert seen > 0


def test_inputs_are_the_same_every_time_and_rounded_to_their_format():
    workload = next(one for one in TINY if one.name == "layer 16x32x16 bfloat16")
    for memory in (HostMemory(), TorchArrays(torch, "cpu")):
        first, second = (memory.inputs(workload)["x"] for _ in range(2))
        wide = memory.wide(first)
        assert str(first.dtype).endswith("bfloat16") and memory.largest(wide - memory.wide(second)) == 0
        assert memory.largest(wide) > 1


def test_the_oracle_refuses_what_cannot_be_compared():
    judge = Oracle(HostMemory(), {"result": np.ones(2)}, {"result": 0.1})
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


@pytest.fixture
def by_the_host(monkeypatch):
    """Functions are timed by the host's clock, also where another test has had PyTorch start a GPU."""
    for module in (ceilings, measure):
        monkeypatch.setattr(module, "gpu_started", lambda: False)


@pytest.mark.usefixtures("by_the_host")
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


def test_a_call_of_many_steps_counts_as_so_many(monkeypatch):
    clock = Clock(monkeypatch)
    sampler = LoopClock(1e-3).sampler(Contender(clock.takes(300_000), accept, lambda: None, steps=100))
    assert sampler.calls % 100 == 0 and sampler.take() == 3.0


@pytest.mark.usefixtures("by_the_host")
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
    ({"f": int}, {"check": accept, "bytes": -1}, ValueError),
])  # fmt: skip
def test_compare_refuses(functions, arguments, error):
    with pytest.raises(error, match=r"^compare\(\): "):
        compare(functions, **arguments)


# The suite


def test_every_peer_of_the_cpu_runs_every_family():
    for workload in {one.family: one for one in TINY}.values():
        workload = next(one for one in TINY if one.family == workload.family)
        result = run(workload, HOST, peers("cpu"))
        names = [entry.name for entry in result.comparison.entries]
        assert names[:2] == [MICROTRAIN, EAGER] and names[-1] == BY_HAND
        assert all(entry.time is not None for entry in result.comparison.entries)
        assert result.passed and result.kernels >= 1


@pytest.mark.parametrize("memory", [HostMemory(), TorchArrays(torch, "cpu")], ids=["numpy", "torch"])
def test_jax_computes_the_same_a_call_at_a_time_and_in_a_loop(memory):
    pytest.importorskip("jax")
    from benchmarks.peers.jax_peers import AT_ONCE, JITTED, LOOPED, builders

    found = builders("cpu")
    for workload in {(one.family, one.format, one.loop): one for one in TINY}.values():
        inputs = memory.inputs(workload)
        judge = oracle(workload, inputs, memory, lambda nearby, of=workload: results(
            torch_peers.eager(of, nearby, "cpu"), of.steps))
        for name in (JITTED, LOOPED):
            if found[name].runs(workload):
                instance = found[name].build(workload, inputs)
                judge.judge(results(instance, workload.steps))
                assert instance.steps == (AT_ONCE if name == LOOPED else 1)
                instance.wait()


def test_kernels_are_counted_a_call():
    assert suite.kernels_a_call(suite._caller(MAP, inputs_of(MAP), HOST)) == 1
    with mt.settings.fuse(False):
        assert suite.kernels_a_call(suite._caller(MAP, inputs_of(MAP), HOST)) == 2


def broken_peer(workload, inputs):
    raise RuntimeError("this peer has no driver")


def test_a_peer_that_raises_is_reported_and_the_others_timed():
    against = Peers({"broken": Peer(broken_peer), **peers("cpu").builders})
    result = run(MAP, HOST, against)
    assert result.passed
    text = table([result], "cpu")
    assert re.search(r"^map of 2, 2\^12 +cpu +broken +cannot run: RuntimeError: this peer has no driver$", text, re.M)
    assert re.search(r"^map of 2, 2\^12 +cpu +torch +[\d.]+ +[\d.]+ +\d+\.\d\d +1 +ok \(\d+%\)$", text, re.M)


def test_a_peer_that_is_wrong_has_no_figure_and_fails_the_run():
    def wrong(workload, inputs):
        return torch_peers.eager(workload, {**inputs, "a": inputs["b"]}, "cpu")

    result = run(MAP, HOST, Peers({**peers("cpu").builders, "wrong": Peer(wrong)}))
    assert not result.passed
    assert result.comparison["torch"].time is not None and result.comparison["wrong"].time is None
    assert re.search(r"^map of 2, 2\^12 +cpu +wrong +wrong: result is off by", table([result], "cpu"), re.M)


def test_a_workload_that_cannot_even_be_judged_leaves_the_others_theirs():
    def broken(draw):
        raise MemoryError("2^40 elements")

    first, second = run_all([replace(MAP, inputs=broken), MAP], HOST, peers("cpu"), Budget(100), lambda *told: None)
    assert str(first.comparison.first.failure) == "cannot run: MemoryError: 2^40 elements" and not first.passed
    assert second.passed


def test_products_in_tf32_are_let_in_only_while_they_are_timed():
    seen = []

    def looks(workload, inputs):
        seen.append((mt.get_float32_matmul_precision(), torch.get_float32_matmul_precision()))
        return torch_peers.eager(workload, inputs, "cpu")

    for format in ("tf32", "float32"):
        assert run(replace(MAP, format=format), HOST, Peers({**peers("cpu").builders, "looks": Peer(looks)})).passed
    assert seen == [("high", "high"), ("highest", "highest")]
    assert mt.get_float32_matmul_precision() == torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("error", [mt.AcceleratorError, type("AcceleratorError", (RuntimeError,), {})],
                         ids=["ours", "PyTorch's"])
def test_after_a_workload_that_breaks_the_gpu_none_is_run(error, monkeypatch):
    at = place("cpu", ONCE)
    freed = []
    monkeypatch.setattr(at.memory, "free", lambda: freed.append(1))

    def breaks(T, inputs, compiled):
        raise error("an illegal memory access")

    chosen = [MAP, replace(MAP, name="broken", build=breaks), replace(MAP, name="next")]
    found = run_all(chosen, at, Peers({}), Budget(1e9), lambda *_: None)
    reasons = [result.comparison.first.failure and result.comparison.first.failure.reason for result in found]
    assert reasons == [None, "AcceleratorError: an illegal memory access",
                       "the GPU can no longer be used in this process since broken"]
    assert not found[1].passed and not found[2].passed and freed == [1]


def test_what_there_is_no_time_for_is_dropped_by_rank_and_named():
    now = [0.0]
    budget = Budget(10, lambda: now[0])

    told = []

    def tell(subject, results):
        told.append((subject.name, [result.subject.name for result in results]))
        now[0] += 4

    chosen = [replace(MAP, name="last", rank=3), replace(MAP, name="first", rank=0), replace(MAP, name="next")]
    found = run_all(chosen, place("cpu", ONCE), peers("cpu"), budget, tell)
    assert [(result.subject.name, result.dropped) for result in found] == [
        ("last", True), ("first", False), ("next", False)]
    assert told == [("first", []), ("next", ["first"]), ("last", ["first", "next"])]
    assert found[0].passed and "out of time: of 10 s 0 were left" in str(found[0].comparison.first.failure)
    assert dropped(found) == "no time for 1: last" and dropped(found[1:]) == ""


def test_a_family_that_takes_longer_than_is_left_is_not_begun():
    now = [0.0]
    budget = Budget(100, lambda: now[0])
    budget.spent("matmul", 30)
    budget.spent("matmul", 20)
    now[0] = 75.0
    assert budget.refusal("matmul") == ("out of time: of 100 s 25 were left, and one of family matmul took up to 30")
    assert budget.refusal("map") is None


def test_a_catalogue_of_what_was_asked_for():
    for chosen in (catalogue("cpu"), catalogue("cuda"), catalogue("cpu", True), catalogue("interpret")):
        names = [one.name for one in chosen]
        # Every family in its turn; a launch only where there is one.
        assert list(dict.fromkeys(one.family for one in chosen)) == [
            family for family in FAMILIES if family != "launch" or any(one.family == "launch" for one in chosen)]
        assert len(set(names)) == len(names)
    assert by_name(catalogue("cpu", False, ["row"])[-1]) == f"full sum {1 << 20}"
    assert len(catalogue("cuda")) > len(catalogue("cpu")) > len(catalogue("cpu", True))
    assert {one.family for one in catalogue("cuda")} == set(FAMILIES)
    for families, complaint in ((["maps"], "no workload 'maps'"), ([], "no workload;")):
        with pytest.raises(ValueError, match=f"{complaint}.*step, map"):
            catalogue("cpu", False, families)


def test_the_gpus_catalogue_begins_with_every_family_and_compiles_few_peers():
    chosen = on_gpu()
    assert {one.family for one in chosen if one.rank == 0} == set(FAMILIES)
    compiled = [peer for one in chosen for peer in getattr(one, "peers", ())]
    assert compiled.count("torch.compile max-autotune") <= 2 and compiled.count("torch.compile") <= 32
    for one in chosen:
        # What is held against a peer that compiles is compiled.
        for target in one.targets:
            if isinstance(target, Speed) and target.peer == "torch.compile max-autotune":
                assert target.peer in one.peers
        # What is asked for a share of its limit has one.
        if any(isinstance(target, Share) for target in one.targets):
            assert one.limit.bytes or one.limit.products


# Limits


class Fixed:
    """Ceilings of a machine that copies 1000 bytes a microsecond, multiplies at 2000 operations a microsecond and
    launches in 3."""

    def bandwidth(self):
        return 1000.0

    def product(self, format, product):
        return 7.0 if format == "float32" else None

    def rate(self, format):
        return 2000.0 if format == "float32" else None

    def launch(self):
        return 3.0

    def document(self):
        return {}


@pytest.mark.parametrize("limit, format, expected", [
    (Limit(bytes=5000), "float32", Bound("bytes", 5)),
    (Limit(bytes=5000, products=((1, 1, 1),)), "float32", Bound("operations", 7)),
    (Limit(products=((1, 1, 1), (2, 2, 2)), operations=4000), "float32", Bound("operations", 16)),
    (Limit(bytes=5000, launches=2), "float32", Bound("launches", 6)),
    (Limit(bytes=5000, products=((1, 1, 1),)), "tf32", Bound("bytes", 5)),
    (Limit(arithmetic=10**9), "float32", None),
])  # fmt: skip
def test_a_limit_is_the_largest_of_its_times(limit, format, expected):
    assert least(limit, format, Fixed()) == expected


def compared(ours, peer):
    return Comparison((timed(MICROTRAIN, ours), timed("torch", peer, ours / peer)), Bound("bytes", 9.0))


@pytest.mark.parametrize("target, ours, found, met", [
    (Share(0.9), 10.0, 0.9, True), (Share(0.9), 10.1, 9 / 10.1, False),
    (Speed("torch", 2.0), 10.0, 2.0, True), (Speed("torch", 2.0), 10.1, 20 / 10.1, False),
    (Excess("torch", 1.0), 21.0, 1.0, True), (Excess("torch", 1.0), 21.5, 1.5, False),
    (Speed("JAX", 1.0), 10.0, None, None), (Excess("JAX", 1.0), 10.0, None, None),
])  # fmt: skip
def test_a_target_is_met_or_missed(target, ours, found, met):
    comparison = compared(ours, 20.0)
    verdict = target.judge(comparison, comparison.least)
    assert verdict.found == (None if found is None else pytest.approx(found)) and verdict.met is met
    assert replace(verdict, met=None) == replace(target.judge(replace(comparison, least=None), comparison.least),
                                                 met=None)


def test_limits_count_what_the_workloads_read_and_write():
    """Bytes by the inputs and results themselves, and operations of a product by its shape."""
    for workload in TINY:
        values = inputs_of(workload)
        if workload.family in ("step", "update"):
            continue
        out = results(by_hand(workload, np, values), 1)
        inputs = dict(values)
        if workload.name.startswith("map of a[:, 1:-1]"):
            inputs["a"] = inputs["a"][:, 1:-1]
        size = 2 if workload.format == "bfloat16" else 4
        wanted = sum(value.nbytes for value in inputs.values()) + size * sum(np.size(value) for value in out.values())
        # The one number that is a loss, and what is not counted of a reduction to one, are a few bytes.
        assert abs(workload.limit.bytes - wanted) <= 8, workload.name
    layer = next(one for one in TINY if one.name == "layer 16x32x16 float32")
    assert layer.limit.products == ((16, 32, 16),) and layer.limit.work == 2 * 16 * 32 * 16 + 2 * 16 * 16


def test_an_update_reads_and_writes_20_or_28_bytes_a_parameter():
    for name, each in (("SGD", 20), ("Adam", 28)):
        one = next(one for one in TINY if one.name.startswith(name))
        assert one.limit.bytes == each * 21 and one.limit.launches == 1


def test_the_hosts_ceilings_are_measured_once():
    ceilings = SuiteHostCeilings(1 << 16, (32, 32, 32))
    first = ceilings.bandwidth()
    assert first > 0 and ceilings.bandwidth() == first
    time = ceilings.product("float32", (32, 32, 32))
    assert ceilings.rate("float32") == pytest.approx(2 * 32**3 / time)
    assert ceilings.rate("bfloat16") is None and ceilings.launch() is None
    assert ceilings.document()["products"] == [{"format": "float32", "shape": [32, 32, 32], "us": round(time, 4)}]


@pytest.mark.usefixtures("by_the_host")
def test_users_are_told_the_share_of_their_limit(monkeypatch):
    clock = Clock(monkeypatch)
    monkeypatch.setattr(sys.modules["microtrain.bench.compare"], "ceilings_here", Fixed)
    functions = {"fast": clock.takes(10_000), "slow": clock.takes(20_000)}
    found = compare(functions, accept, rounds=3, seconds=1e-4, bytes=5000)
    assert found.least == Bound("bytes", 5.0)
    assert found.share("fast") == pytest.approx(0.5) and found.share("slow") == pytest.approx(0.25)
    assert re.search(r"of the limit\n.* 50%\n.* 25%$", str(found))
    assert compare(functions, accept, rounds=1, seconds=1e-4, operations=4000).least == Bound("operations", 2.0)
    assert compare(functions, accept, rounds=1, seconds=1e-4).least is None


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
        np.testing.assert_array_equal(found[name].detach(), value.detach(), err_msg=name)


# The report


def timed(name, time, ratio=1.0):
    spread = Quantiles(time * 0.9, time, time * 1.1)
    return Entry(name, None, "loop", 10, (time,) * 3, spread, Quantiles(ratio, ratio, ratio), 0.12)


UNABLE = Entry("torch", Failure("cannot run", "OSError: no"))
SOFTMAX, SUM, LOSS = SMALL[2:5]
KERNEL = Launched("row over 128 rows of 128", "exp, sum, div", (128,), {"BLOCK_C": 128}, 4, 3, 65536, 65536, 0.1, 40, 0,
                  512, 128, 128, 0.5)
RESULTS = [
    Result(STEPS[0], Comparison((timed(MICROTRAIN, 7.5), timed("torch", 150, 0.05), timed(BY_HAND, 3, 2.5))), 1.0),
    Result(MAP, Comparison((Entry(MICROTRAIN, Failure("wrong", "result is off by 1")),
                            Entry("torch", Failure("not timed", "no figure"))))),
    Result(SOFTMAX, Comparison((timed(MICROTRAIN, 1234.4), UNABLE), Bound("bytes", 617.2)), 1.5,
           (Verdict(">= 0.88 of the limit", 0.5, False), Verdict(">= 1 x torch", None, None)), (KERNEL,)),
    Result(SUM, Comparison((timed(MICROTRAIN, 20),), Bound("bytes", 19.0)), 1.0,
           (Verdict(">= 0.88 of the limit", 0.95, True),)),
    Result(LOSS, Comparison((Entry(MICROTRAIN, Failure("dropped", "out of time")),))),
]


def test_table():
    assert table(RESULTS, "cpu").splitlines() == [
        "workload              device  peer           microtrain us  peer us  ratio  kernels     check",
        "perceptron            cpu     torch                   7.50      150   0.05        1  ok (12%)",
        "perceptron            cpu     numpy by hand           7.50     3.00   2.50        1  ok (12%)",
        "map of 2, 2^12        cpu     microtrain     wrong: result is off by 1",
        "softmax 128x128       cpu     torch          cannot run: OSError: no",
        "full sum 4096         cpu     -                       20.0        -      -        1  ok (12%)",
        "cross entropy 128x10  cpu     microtrain     dropped: out of time",
    ]


def test_limits_and_misses():
    assert [" ".join(line.split()) for line in limits(RESULTS).splitlines()] == [
        "workload clock microtrain us warm us loop us limit us set by of the limit target found met",
        "softmax 128x128 loop 1234 - - 617 bytes 0.50 >= 0.88 of the limit 0.50 NO",
        "softmax 128x128 loop 1234 - - 617 bytes 0.50 >= 1 x torch - -",
        "full sum 4096 loop 20.0 - - 19.0 bytes 0.95 >= 0.88 of the limit 0.95 yes",
    ]
    assert misses(RESULTS).splitlines() == [
        "softmax 128x128: >= 0.88 of the limit: 0.50; 1.5 launches a call",
        "    row over 128 rows of 128 (exp, sum, div); grid 128; tile BLOCK_C 128; 4 warps, 3 stages; 40 registers, 0 "
        "bytes spilled, 512 bytes shared, accesses of 128 and 128 bits; occupancy 50%; 0.131 MB in 0.1 us (1311 GB/s)",
    ]
    assert limits(RESULTS[:2]) == misses(RESULTS[:2]) == ""


def test_text():
    assert list(map(microseconds, (0.1234, 7.314, 73.14, 731.4, 7314))) == ["0.12", "7.31", "73.1", "731", "7314"]
    assert columns(("a", "b"), [("long", "1"), ("a remark that is long",)]) == "a     b\nlong  1\na remark that is long"


def test_json(tmp_path):
    path = tmp_path / "cpu.json"
    contents = document(RESULTS, environment.environment("cpu"), {"copy_GB_s": 3.0},
                        "2030-01-02T03:04:05+00:00", "quick", True)
    write_json(path, contents)
    read = json.loads(path.read_text())
    assert read == json.loads(json.dumps(contents))
    assert os.listdir(tmp_path) == ["cpu.json"]
    assert read["schema"] == 2 and read["effort"] == "quick" and read["date"].startswith("2030-01-02")
    assert read["device"]["type"] == "cpu" and read["device"]["name"]
    assert read["versions"]["numpy"] == np.__version__ and read["versions"]["microtrain"] == mt.__version__
    assert {"python", "torch", "triton"} < read["versions"].keys()
    assert read["ceilings"] == {"copy_GB_s": 3.0}
    perceptron, wrong, missed = read["workloads"][:3]
    assert missed["share"] == pytest.approx(0.5) and missed["limit"] == {"us": 617.2, "by": "bytes"}
    assert missed["targets"][0] == {"target": ">= 0.88 of the limit", "found": 0.5, "met": False}
    assert missed["launched"][0]["registers"] == 40 and missed["launched"][0]["bandwidth_GB_s"] > 0
    assert missed["costs"]["bytes"] == 8 * 128 * 128
    assert perceptron["passed"] and perceptron["kernels"] == 1
    assert perceptron["contenders"][1] == {
        "name": "torch", "failure": None, "clock": "loop", "calls": 10, "samples": [150, 150, 150],
        "tolerance_used": 0.12, "otherwise": {}, "declined": {},
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
    assert roofline(RESULTS, Fixed(), tmp_path / "c.png", "title").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(tmp_path)) == ["a.png", "c.png"]


def test_a_point_under_the_roof_is_work_over_bytes_and_over_time():
    row, total = 128 * 128, 1 << 12
    assert points(RESULTS) == [("row", 5 * row / (8 * row), 5 * row / 1234.4), ("row", 2 * total / (4 * (total + 1)),
                                                                               2 * total / 20)]


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
    status = main(["--device", "cpu", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_a_wrong_result_prints_no_figure_and_exits_1(here, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "catalogue", lambda *arguments, **named: [PLANTED])
    status, out, _ = bench(capsys, "--quick", "--output", tmp_path)
    assert status == 1
    assert re.search(r"^map of 2, 2\^12 +cpu +microtrain +wrong: result is off by [\d.]+, allowed is ", out, re.M)
    assert len([line for line in out.splitlines() if line.startswith("map of 2")]) == 1
    assert out.endswith("failed: map of 2, 2^12\n")
    (name,) = os.listdir(tmp_path)
    contenders = json.loads((tmp_path / name).read_text())["workloads"][0]["contenders"]
    assert {"microtrain", EAGER, BY_HAND} <= {entry["name"] for entry in contenders}, "and JAX, where it is installed"
    assert all((entry["time"], entry["samples"]) == (None, []) for entry in contenders)


def test_a_run_that_is_killed_has_written_what_it_had(here, capsys, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(draw):
        raise Killed

    monkeypatch.setattr(command, "BETWEEN_WRITES", 0.0)
    monkeypatch.setattr(command, "catalogue", lambda *arguments, **named: [MAP, PLANTED, replace(MAP, inputs=dies)])
    with pytest.raises(Killed):
        bench(capsys, "--quick", "--output", tmp_path)
    (path,) = tmp_path.iterdir()
    read = json.loads(path.read_text())
    assert not read["complete"] and [one["passed"] for one in read["workloads"]] == [True, False]


def test_without_pytorch_its_figures_are_left_out(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "benchmarks.peers.torch_peers")
    monkeypatch.delattr("benchmarks.peers.torch_peers")
    status, out, _ = bench(capsys, "--quick", "--workloads", "map,row")
    assert status == 0
    assert re.search(r"^PyTorch cannot be imported \(.*\): its figures are left out$", out, re.M)
    assert re.search(r"^map of 2, 2\^12 +cpu +numpy by hand +[\d.]+ +[\d.]+", out, re.M)
    assert not re.search(r"^map of 2, 2\^12 +cpu +torch", out, re.M)


def test_peers_are_chosen_by_name(here, capsys, monkeypatch):
    status, out, _ = bench(capsys, "--quick", "--workloads", "map", "--peers", "numpy by hand")
    assert status == 0
    assert set(re.findall(r"^map of 2, .* cpu +(.+?) +[\d.]+ +[\d.]+ ", out, re.M)) == {"numpy by hand"}


def test_an_unknown_peer_is_one_line(here, capsys):
    status, out, err = bench(capsys, "--peers", "numpy")
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert "no peer 'numpy'; there are torch" in err and "numpy by hand" in err


def test_once_runs_full_sizes_a_single_time(here, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "catalogue", lambda *arguments, **named: [MAP] if not any(named.values()) else [])
    status, out, _ = bench(capsys, "--once", "--output", tmp_path)
    assert status == 0 and "the times mean nothing" in out
    (path,) = tmp_path.glob("*-once.json")
    (workload,) = json.loads(path.read_text())["workloads"]
    assert workload["passed"] and all(len(entry["samples"]) == 1 for entry in workload["contenders"])


def test_quick_from_end_to_end(tmp_path):
    """In a process of its own, which starts another one for one thread."""
    env = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    env["PYTHONPATH"] = str(ROOT)
    out = tmp_path / "new" / "folder"
    command_line = [sys.executable, "-m", "benchmarks", "--device", "cpu", "--quick",
                    "--workloads", "map,update", "--output", str(out)]
    done = subprocess.run(command_line, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line for line in done.stdout.splitlines() if re.search(r" cpu +(torch|numpy by hand) ", line)]
    assert len(rows) == 2 * len(catalogue("cpu", True, ["map", "update"]))
    assert all(re.search(r" ok \(\d+%\)$", row) for row in rows)
    (file,) = out.glob("*.json")
    assert re.fullmatch(r"cpu-\d{4}-\d\d-\d\d-quick\.json", file.name)
    read = json.loads(file.read_text())
    assert read["device"]["threads"] == 1 and read["effort"] == "quick" and read["complete"]
    assert all(workload["passed"] for workload in read["workloads"])
    assert {path.name for path in out.glob("*.png")} == {f"{file.stem}.png", f"{file.stem}-roofline.png"}


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["--workloads", "maps"], "no workload 'maps'; there are step"),
    (["--workloads", ""], "no workload; there are step"),
    (["--device", "tpu"], "invalid choice: 'tpu'"),
    (["--seconds", "0"], "argument --seconds: should be a number above 0"),
    (["--quick", "--tiny"], "not allowed with argument"),
    (["--tiny", "--once"], "not allowed with argument"),
])  # fmt: skip
def test_a_mistake_is_one_line(capsys, arguments, complaint):
    status, out, err = bench(capsys, *arguments)
    assert (status, out) == (2, "")
    assert complaint in err and err.count("\n") == 1


def test_an_output_that_cannot_be_written_is_said_before_anything_is_timed(here, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "run_all", lambda *arguments: pytest.fail("timed"))
    (tmp_path / "file").write_text("")
    status, out, err = bench(capsys, "--output", tmp_path / "file")
    assert (status, out) == (2, "") and err.count("\n") == 1


def test_a_default_device_that_is_not_timed(capsys):
    with mt.settings.device("null:sm_90"):
        status = main([])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "") and "the default device is 'null'" in err


def test_the_package_is_light_to_import():
    code = "import microtrain.bench, sys; print(*{'torch', 'triton', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "\n"


SECOND = """
import sys
from benchmarks.environment import again_on_one_thread
from microtrain.cli.main import answered

sys.exit(answered(lambda: again_on_one_thread(["--device", "cpu", "--peers", "torch"])))
"""


def test_a_second_process_hears_of_what_ends_the_first():
    """The one whose libraries have one thread. It is told of once."""
    process = subprocess.Popen([sys.executable, "-c", SECOND], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}, text=True)
    assert "(cpu)" in process.stdout.readline()
    process.terminate()
    _, err = process.communicate(timeout=60)      # the pipes are closed: nobody is left who has them
    assert (process.returncode, err) == (143, "microtrain: terminated\n")
