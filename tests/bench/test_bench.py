"""The benchmarks: what is checked before it is timed, what a report says, and that nothing wrong gets a figure."""

import re
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import microtrain as mt
from benchmarks import suite
from benchmarks.bench_device import ONCE, place
from benchmarks.budget import Budget
from benchmarks.catalogue import EAGER, FAMILIES, catalogue, medium, on_gpu
from benchmarks.limits import Share, Speed
from benchmarks.memory import HostMemory, TorchArrays
from benchmarks.oracle import Oracle, oracle
from benchmarks.peers import BY_HAND, Peer, Peers, peers, torch_peers
from benchmarks.report import dropped, table
from benchmarks.suite import MICROTRAIN, run, run_all
from benchmarks.workload import results
from benchmarks.workloads import steps
from microtrain.bench import WrongResult
from tests.bench.shared import HOST, MAP, SMALL, STEPS, TINY, by_name, inputs_of

pytestmark = pytest.mark.usefixtures("nothing_pending")


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


# The suite


def test_every_peer_of_the_cpu_runs_every_family():
    for workload in {one.family: one for one in reversed(TINY)}.values():
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


def wrong_peer(workload, inputs):
    return torch_peers.eager(workload, {**inputs, "a": inputs["b"]}, "cpu")


@pytest.mark.parametrize("peer, passed, said", [
    (broken_peer, True, "cannot run: RuntimeError: this peer has no driver$"),
    (wrong_peer, False, "wrong: result is off by")])  # fmt: skip
def test_a_peer_that_raises_or_is_wrong_is_reported_and_the_others_timed(peer, passed, said):
    """The first peer's errors set the tolerance, or NumPy's where it raises."""
    rest, other = peers("cpu").builders, {"other": Peer(peer)}
    result = run(MAP, HOST, Peers({**other, **rest} if passed else {**rest, **other}))
    assert result.passed is passed
    assert result.comparison["torch"].time is not None and result.comparison["other"].time is None
    text = table([result], "cpu")
    assert re.search(rf"^map of 2, 2\^12 +cpu +other +{said}", text, re.M)
    assert re.search(r"^map of 2, 2\^12 +cpu +torch +[\d.]+ +[\d.]+ +\d+\.\d\d +1 +ok \(\d+%\)$", text, re.M)


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
    now, told = [0.0], []
    budget = Budget(10, lambda: now[0])

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
    for seconds in (30, 20):
        budget.spent("matmul", seconds)
    now[0] = 75.0
    assert budget.refusal("matmul") == "out of time: of 100 s 25 were left, and one of family matmul took up to 30"
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
