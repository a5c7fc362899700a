"""The benchmarks' GPU half without a GPU: events, graphs and L2 on a torch.cuda that keeps time by a counter, launches
on a driver that adds, and the whole command on a `cuda` device whose kernels are computed by NumPy."""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from benchmarks import bench_device, command, environment, launch_facts, launch_ways, peers
from benchmarks.__main__ import main
from benchmarks.bench_device import ONCE, on_gpu
from benchmarks.catalogue import COMPILED, GRAPH, LOGISTIC, catalogue, tiny
from benchmarks.ceilings import SuiteGpuCeilings
from benchmarks.limits import Share
from benchmarks.peers import torch_peers
from benchmarks.roofline import roofs
from benchmarks.suite import Result, _caller, kernels_a_call, run
from microtrain import settings
from microtrain.bench import Quantiles, ceilings, compare
from microtrain.bench.comparison import WrongResult
from microtrain.bench.gpu import Gpu, GpuCeilings, cold_graph, events, kernel_clocks, repeated, warm_graph
from microtrain.bench.measure import measure
from microtrain.bench.timing import Contender
from microtrain.compiler.cpu.reference import reference
from microtrain.engine.plans import plans
from microtrain.engine.session import current, pending
from microtrain.graph.node import SCALAR
from microtrain.runtime.kinds import KINDS
from microtrain.runtime.torch_memory import TorchMemory
from tests.bench.paper import H100, HOST, NODE, FakeCuda, Timed


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    for name, value in fake.names().items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "paper", fake, raising=False)
    return fake


@pytest.fixture
def timed(paper: FakeCuda) -> Timed:
    return Timed(torch, "cpu")


def kernel(paper: FakeCuda, cost: float) -> Contender:
    return Contender(lambda: paper.queue(cost), lambda: None, lambda: None)


# Clocks


def test_a_graph_shows_the_kernel_alone_and_its_edge_and_holds_what_fills_the_seconds(
        paper: FakeCuda, timed: Timed) -> None:
    """Both graphs of a cold one hold as many clears; without the second one they would be counted as the call's."""
    for clock, cost, calls in ((cold_graph, 7.0, 32), (warm_graph, 7.0, 32), (cold_graph, 100.0, 10)):
        sampler = clock(timed, 1e-3).sampler(kernel(paper, cost))
        assert sampler.calls == calls and sampler.take() == pytest.approx(cost + NODE)
    assert paper.calls.count("capture") == 5
    assert [timed.calls(kernel(paper, cost), 1e-3, 32) for cost in (1.0, 100.0, 5000.0)] == [32, 10, 1]


def test_between_events_a_slow_host_does_not_count(paper: FakeCuda, timed: Timed) -> None:
    """Its 10 us a call are hidden behind the GPU's head start; timed at once they would be the figure."""
    assert events(timed, 1e-3).sampler(kernel(paper, 3.0)).take() == pytest.approx(3.0)
    torch.cuda._sleep = lambda cycles: None             # the fixture puts it back
    assert timed.timed(kernel(paper, 3.0).call) == pytest.approx(HOST + 3.0)


def test_what_a_graph_cannot_hold_is_timed_by_events_and_says_so(paper: FakeCuda, timed: Timed) -> None:
    paper.refuses = True
    found = measure({"ours": lambda: kernel(paper, 3.0)}, kernel_clocks(timed, 1e-3), 3).first
    assert found.clock == "events, cold L2" and found.time is not None and found.time.median == pytest.approx(3.0)
    assert found.declined["graph, cold L2"] == "RuntimeError: operation not permitted when stream is capturing"
    assert set(found.otherwise) == {"loop"} and "graph, warm L2" in found.declined


def test_what_runs_on_streams_of_its_own_is_never_timed_by_a_graph_that_would_be_empty(timed: Timed) -> None:
    contender = Contender(lambda: None, lambda: None, lambda: None, on_stream=False)
    found = measure({"JAX": lambda: contender}, kernel_clocks(timed, 1e-6), 1).first
    assert found.clock == "loop" and "streams of its own" in found.declined["graph, cold L2"]


def test_a_capture_runs_its_body_once_before_and_once_within(paper: FakeCuda, timed: Timed) -> None:
    seen: list[int] = []
    replay = timed.captured(repeated(3, lambda: seen.append(1), lambda: torch.ones(2)))
    assert len(seen) == 6 and paper.calls == ["stream", "capture", "replay"]
    assert torch.equal(replay(), torch.ones(2))
    assert len(seen) == 6 and paper.calls[-1] == "replay"


def test_clearing_reads_twice_what_l2_holds(paper: FakeCuda) -> None:
    gpu = Gpu(torch, "cpu")
    assert gpu.shadow.numel() * gpu.shadow.element_size() == 2 * H100.L2_cache_size
    gpu.shadow.fill_(1)
    gpu.clear()
    assert gpu.sink.item() == gpu.shadow.numel()


def test_users_functions_are_timed_the_same_way_once_a_gpu_is_started(
        paper: FakeCuda, timed: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(ceilings, "gpu_ceilings", lambda: GpuCeilings(timed, 4000, (4, 8, 2)))
    monkeypatch.setattr(GpuCeilings, "bandwidth", lambda self: 100.0)
    found = compare({"mine": lambda: paper.queue(7.0), "reads": lambda: paper.queue(15.0)}, check=lambda out: None,
                    rounds=3, seconds=1e-3, bytes=400)
    assert found["mine"].clock == "graph, cold L2" and found["mine"].time == Quantiles(*[pytest.approx(8.0)] * 3)
    assert found["reads"].ratio is not None and found["reads"].ratio.median == pytest.approx(0.5)
    assert found.share("mine") == pytest.approx(0.5)
    heads = r"^function +us a call +quartiles +mine / it +events, cold L2 +graph, warm L2 +loop +of the limit$"
    assert re.search(heads, str(found), re.M)


# Ceilings


def test_ceilings_are_bytes_and_operations_over_the_time_of_copies_sums_and_products(
        paper: FakeCuda, timed: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    precisions: list[Any] = []

    def taking(cost: float, function: Any) -> Any:
        def run(*given: Any, **named: Any) -> Any:
            paper.queue(cost)
            precisions.append((given[0].dtype, torch.get_float32_matmul_precision()))
            return function(*given, **named)
        return run

    for owner, name, cost in ((torch.Tensor, "copy_", 49.0), (torch, "add", 59.0), (torch, "matmul", 19.0)):
        monkeypatch.setattr(owner, name, taking(cost, getattr(owner, name)))
    found = SuiteGpuCeilings(timed, 4000, (4, 8, 2))
    assert found.bandwidth() == pytest.approx(12000 / (59.0 + NODE))
    for format, expected in (("bfloat16", (torch.bfloat16, "highest")), ("tf32", (torch.float32, "high")),
                             ("float32", (torch.float32, "highest"))):
        precisions.clear()
        assert found.rate(format) == pytest.approx(2 * 4 * 8 * 2 / (19.0 + NODE))    # type: ignore[arg-type]
        assert set(precisions) == {expected}
    assert torch.get_float32_matmul_precision() == "highest"
    precisions.clear()
    assert found.product("tf32", (4, 8, 2)) == pytest.approx(19.0 + NODE) and not precisions
    written = found.document()
    assert written["copy_GB_s"] == written["add_GB_s"] == 0.2 and written["l2_bytes"] == 4096
    assert {(one["format"], *one["shape"]) for one in written["products"]} == {         # type: ignore[attr-defined]
        (format, 4, 8, 2) for format in ("bfloat16", "tf32", "float32")}


def test_a_launch_that_cannot_be_measured_is_no_ceiling_and_the_report_says_why(
        timed: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(launch_ways, "add_kernel", PaperKernel())
    monkeypatch.setattr(ctypes, "CDLL", missing)
    found = SuiteGpuCeilings(timed, 4000, (4, 8, 2))
    assert found.launch() is None
    assert found.document()["launch_reason"] == "OSError: libcuda.so.1: cannot open shared object file"


# Launches


def add(x: int, y: int, out: int, size: int) -> None:
    """What the kernel does, on addresses."""
    arrays = [np.ctypeslib.as_array((ctypes.c_float * size).from_address(address)) for address in (x, y, out)]
    np.add(arrays[0], arrays[1], out=arrays[2])


class PaperKernel:
    """`add_kernel`, compiled: `kernel[grid]` launches and gives what Triton's compiled kernels have."""

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(x: Any, y: Any, out: Any, size: int, BLOCK: int) -> Any:
            assert grid == (1,) and size <= BLOCK
            add(x.data_ptr(), y.data_ptr(), out.data_ptr(), size)
            return SimpleNamespace(function=12345, metadata=SimpleNamespace(num_warps=4, shared=0))
        return launch


class PaperDriver:
    """`libcuda`: cuLaunchKernel unpacks its arguments as the driver does, and adds."""

    def __init__(self, error: int = 0) -> None:
        self.error = error
        self.launches: list[Any] = []

    def cuLaunchKernel(self, function: Any, *arguments: Any) -> int:
        *geometry, shared, _stream, packed, extra = arguments
        self.launches.append((function.value, tuple(geometry), shared, extra))
        x, y, out = (ctypes.c_void_p.from_address(packed[i]).value for i in range(3))
        size = ctypes.c_int32.from_address(packed[3]).value
        assert ctypes.c_void_p.from_address(packed[4]).value is ctypes.c_void_p.from_address(packed[5]).value is None
        assert x is not None and y is not None and out is not None
        add(x, y, out, size)
        return self.error


@pytest.fixture
def driver(paper: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> PaperDriver:
    fake = PaperDriver()
    monkeypatch.setattr(launch_ways, "add_kernel", PaperKernel())
    monkeypatch.setattr(ctypes, "CDLL", lambda name: fake)
    return fake


def test_the_driver_gets_the_kernels_arguments_and_geometry(driver: PaperDriver) -> None:
    raw = launch_ways.RawLaunch(torch, "cpu")
    raw.check()
    assert driver.launches == [(12345, (1, 1, 1, 128, 1, 1), 0, None)]
    launch_ways.TritonLaunch(torch, "cpu").check()
    driver.error = 700
    with pytest.raises(RuntimeError, match="failed with error 700"):
        raw()
    raw = launch_ways.RawLaunch(torch, "cpu")
    raw.call = lambda: None
    with pytest.raises(WrongResult, match="did not add"):
        raw.check()


@pytest.mark.skipif(mt.tensor([1.0]).device.type == "interpret", reason="Triton's kernels are interpreted here")
def test_tritons_compiled_kernels_have_what_a_raw_launch_reads() -> None:
    from triton.compiler import CompiledKernel
    from triton.runtime import JITFunction
    assert isinstance(launch_ways.add_kernel, JITFunction)
    assert launch_ways.add_kernel.arg_names == ["x_ptr", "y_ptr", "out_ptr", "numel", "BLOCK"]
    assert {"function", "metadata"} <= set(CompiledKernel.__init__.__code__.co_names)


# The whole of it


class PaperBackend(TorchMemory):
    """A `cuda` device on the host's memory: a launch is computed by the NumPy twin of its kernel."""

    def __init__(self) -> None:
        super().__init__(torch, "cpu")
        self.arch = "sm_90"

    def launch(self, launch: Any, pointers: tuple[Any, ...], scalars: tuple[int, ...]) -> None:
        torch.cuda.paper.queue(5.0)
        made = launch.kernel
        memory = dict(zip(made.pointers, pointers, strict=True))
        numbers = dict(zip(made.scalars, scalars, strict=True))
        values = [decoded(numbers[node], node.dtype) if node.primitive is SCALAR else self.to_numpy(memory[node])
                  for node in made.group.reads]
        meant = reference(made.group.reads, made.group.stores).run(values)
        for node, value in zip(made.group.stores, meant, strict=True):
            memory[node].copy_(self.host_tensor(np.array(value, node.dtype.numpy)))


def decoded(bits: int, dtype: Any) -> np.ndarray:
    return np.asarray(np.int64(bits).view(np.float64) if dtype.is_floating_point else bits, dtype.numpy)


@pytest.fixture
def gpu(driver: PaperDriver, paper: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> Iterator[Timed]:
    # What other tests have left on a GPU is not for paper: computed if read.
    current().keep({node for node in pending() if node.spec.device.type == "cuda"})
    monkeypatch.setitem(KINDS["cuda"].loaded, 0, PaperBackend())
    for name in ("known", "recent"):            # a plan knows its backend, and this one is gone after the test
        monkeypatch.setattr(plans, name, {})
    monkeypatch.setattr(torch, "compile", lambda function, mode=None: function)
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)
    with settings.virtual_gpu(""):
        yield Timed(torch, "cpu")


def paper_peers() -> peers.Peers:
    """PyTorch's, without a graph of a whole step: a replay on paper trains nothing."""
    found = torch_peers.builders("cpu", True)
    return peers.Peers({name: peer for name, peer in found.items() if name != GRAPH})


def paper_place(gpu: Gpu) -> bench_device.Place:
    at = on_gpu("cuda", gpu, ONCE)
    roof = SuiteGpuCeilings(gpu, 4000, (16, 16, 16), 1e-4)
    return bench_device.Place(at.device, "cpu", at.memory, at.kernel_clocks, at.loop_clocks, roof, 1, gpu)


def missed(gpu: Gpu, name: str) -> Result:
    subject = next(one for one in tiny("cuda") if one.name == name)
    return run(replace(subject, targets=(Share(1e9),)), paper_place(gpu), paper_peers())


def test_a_missed_target_is_explained_by_the_kernels_as_they_are_compiled_and_timed(
        gpu: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_facts, "resources", lambda step, target: {
        "registers": 128, "spills": 8, "shared_bytes": 65536, "load_bits": 128, "store_bits": 32})
    result = missed(gpu, "map of 2, 2^6")
    assert result.comparison.first.failure is None, result.comparison.first.failure
    assert result.comparison.first.clock == "graph, cold L2" and result.verdicts[0].met is False
    (one,) = result.launched
    assert one.domain == "map over 64 elements" and one.computes == "sigmoid, mul"
    assert (one.bytes_read, one.bytes_written) == (512, 256) and one.time == pytest.approx(5.0 + NODE)
    assert one.bandwidth == pytest.approx(768 / 6.0 / 1e3)
    assert one.resident == launch_facts.occupancy(128, 65536, one.num_warps, H100)
    assert "8 bytes spilled" in str(one) and one.tile["BLOCK"] > 0


@pytest.mark.parametrize("registers, shared_bytes, warps, share", [
    (32, 0, 4, 1.0), (128, 0, 4, 0.25), (128, 0, 16, 0.25), (255, 0, 8, 0.125),      # registers allow 4, 1 and 1
    (32, 65536, 4, 3 / 16), (32, 233472, 8, 0.125), (32, 0, 32, 1.0),                # shared memory 3 and 1
])  # fmt: skip
def test_occupancy_is_what_registers_shared_memory_and_warps_leave(
        registers: int, shared_bytes: int, warps: int, share: float) -> None:
    assert launch_facts.occupancy(registers, shared_bytes, warps, H100) == pytest.approx(share)


@pytest.mark.skipif(mt.tensor([1.0]).device.type == "interpret", reason="Triton's kernels are interpreted here")
def test_resources_are_those_of_the_null_device(gpu: Timed) -> None:
    (one,) = missed(gpu, "softmax 4x16").launched
    assert one.registers is not None and 8 <= one.registers <= 255 and one.spills == 0
    assert one.load_bits is not None and one.load_bits >= 32 and 0 < (one.resident or 0) <= 1


def test_the_kernels_of_a_step_are_found(gpu: Timed) -> None:
    subject: Any = next(one for one in tiny("cuda") if one.name == "logistic 8x4")
    at = paper_place(gpu)
    steps = launch_facts.steps_of(_caller(subject, at.memory.inputs(subject), at))
    found = launch_facts.described(steps, "a GPU that nobody knows", H100, lambda step: 2.0)
    assert len(steps) == len(found) == kernels_a_call(_caller(subject, at.memory.inputs(subject), at)) <= 3
    assert all(one.bytes_read > 0 and one.bytes_written > 0 and one.registers is None for one in found)
    assert found[0].bandwidth == pytest.approx((found[0].bytes_read + found[0].bytes_written) / 2e3)
    assert [one.bytes_read + one.bytes_written for one in found] == sorted(
        (one.bytes_read + one.bytes_written for one in found), reverse=True)


def test_the_whole_command_on_paper(gpu: Timed, paper: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Any,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    """Every family once: clocks, ceilings, peers, limits and report as on a GPU."""
    chosen = {one.family: one for one in reversed(catalogue("cuda", smallest=True))}
    chosen["map"] = replace(chosen["map"], peers=(COMPILED,), targets=(Share(1e9),))
    chosen["step"] = replace(chosen["step"], targets=LOGISTIC)
    monkeypatch.setattr(command, "catalogue", lambda *arguments, **named: list(chosen.values()))
    monkeypatch.setattr(command, "place", lambda device, effort: paper_place(gpu))
    monkeypatch.setattr(command, "peers", lambda device: paper_peers())
    monkeypatch.setattr(environment, "_said", lambda *words: "570.1" if words[0] == "nvidia-smi" else None)
    monkeypatch.setattr(launch_facts, "resources", lambda step, target: {"registers": 32, "shared_bytes": 0})
    monkeypatch.setattr(torch.Tensor, "zero_", lambda tensor: paper.queue(0) or torch.Tensor.fill_(tensor, 0))
    drawn: list[Any] = []
    monkeypatch.setattr(command, "_draw", lambda results, found, *rest: drawn.append(roofs(found)))
    status = main(["--device", "cuda", "--tiny", "--output", str(tmp_path)])
    out, err = capsys.readouterr()
    assert (status, err) == (0, ""), out
    assert "a GPU of paper (cuda)" in out and "the times mean nothing" in out
    assert re.search(r"^map of 1, 2\^6 +cuda +torch\.compile +[\d.]+ +[\d.]+ ", out, re.M)
    assert re.search(r"^map of 1, 2\^6: >= 1e\+09 of the limit: .*; 1 launches a call\n    .*32 registers", out, re.M)
    assert re.search(r"^launch of 4 arguments +cuda +triton kernel\[grid\] +[\d.]+ +[\d.]+ ", out, re.M)
    (path,) = tmp_path.glob("*.json")
    read = json.loads(path.read_text())
    assert read["effort"] == "tiny" and read["device"]["driver"] == "570.1" and read["device"]["capability"] == "9.0"
    assert read["ceilings"]["launch_us"] > 0 and read["ceilings"]["graph_node_us"] == NODE
    found = {one["family"]: one for one in read["workloads"]}
    assert found.keys() == chosen.keys() and all(one["passed"] for one in found.values())
    ours = found["row"]["contenders"][0]
    assert ours["clock"] == "graph, cold L2"
    assert set(ours["otherwise"]) == {"events, cold L2", "graph, warm L2", "loop"} and ours["declined"] == {}
    assert found["step"]["contenders"][0]["clock"] == "loop" and found["map"]["launched"][0]["registers"] == 32
    ((bandwidth, rates),) = drawn
    assert bandwidth > 0 and set(rates) == {"bfloat16", "tf32", "float32"}
