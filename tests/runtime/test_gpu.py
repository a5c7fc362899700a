"""What only a GPU shows: direct launches, bits that repeat, streams that overlap, memory that runs out, graphs, and an
access outside of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import microtrain as mt
from benchmarks.launch_facts import steps_of
from microtrain.engine.run import flush
from microtrain.nn import functional as F
from microtrain.runtime import virtual
from tests.conftest import CUDA

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(os.environ["MICROTRAIN_DEVICE"] != "cuda", reason="about cuda")]


def launched(*tensors: mt.Tensor) -> None:
    """Launch what is pending, and wait for nothing."""
    for tensor in tensors:
        flush(tensor.device, tensor.node)


def train(steps: int = 20, device: str = "cuda") -> tuple[list[float], list[np.ndarray]]:
    """Losses and parameters of an MLP with Adam from one seed."""
    rng = np.random.default_rng(5)
    mt.manual_seed(5)
    with mt.settings.device("cpu"):
        model = mt.nn.Sequential(mt.nn.Linear(33, 65), mt.nn.ReLU(), mt.nn.Linear(65, 10))
    model.to(device)
    optimizer = mt.optim.Adam(model.parameters(), lr=1e-2)
    x = mt.tensor(rng.standard_normal((257, 33)), dtype=mt.float32, device=device)
    y = mt.tensor(rng.integers(0, 10, 257), device=device)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [loss.item() for loss in losses], [p.detach().cpu().numpy() for p in model.parameters()]


def test_kernels_are_launched_directly() -> None:
    x = mt.randn(1000, device="cuda")
    launches = steps_of(lambda: (x * 2 + 1).sum().item())
    assert launches and all(launch.queue.__name__ in ("own", "shared") for launch in launches)


def test_three_runs_have_the_same_bits() -> None:
    first, *others = [train() for _ in range(3)]
    assert first[0][-1] < 0.7 * first[0][0]
    for losses, parameters in others:
        assert losses == first[0]
        for a, b in zip(parameters, first[1], strict=True):
            np.testing.assert_array_equal(a, b)


def test_training_on_the_gpu_and_on_the_cpu_agree() -> None:
    (ours, _), (theirs, _) = train(10), train(10, "cpu")
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_memory_that_another_stream_still_reads_is_not_given_away() -> None:
    main, side = CUDA.current_stream(), CUDA.Stream()
    n = 1 << (16 if virtual.wanted() else 24)           # a virtual GPU keeps account of streams, and is slow
    for number in np.float32(0.11) + np.float32(0.37) * np.arange(40, dtype=np.float32):
        x = mt.rand(n) * 0 + float(number)              # no whole number: those are part of a kernel
        launched(x)
        side.wait_stream(main)
        with CUDA.stream(side):
            busy = mt.rand(512, n // 512).sum(0)        # so that the reader comes late
            launched(busy)
            y = x * 2
            launched(y)
        del x
        over = mt.rand(n) - 7                           # of x's size, on the first stream
        launched(over)
        main.wait_stream(side)
        assert y.amin().item() == y.amax().item() == 2 * number
        assert over.amax().item() <= -6


def test_memory_runs_out_and_the_next_operation_works() -> None:
    held = mt.rand(1000)
    before = held.tolist()
    n = CUDA.get_device_properties(0).total_memory // 2           # elements, of 4 bytes each
    with pytest.raises(mt.OutOfMemoryError, match=r"out of memory on cuda:0: [\d.]+ GiB were asked for .*What is pend"):
        mt.rand(n).cpu()
    assert (held * 2).tolist() == [2 * value for value in before]


@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty")       # the one that is refused
def test_a_graph_replays_what_was_run_before_and_refuses_what_is_new() -> None:
    x = mt.rand(1000)
    expected = x.cpu().numpy()

    def step() -> mt.Tensor:
        return (x * 1.3725 + 0.25).tanh()

    graph = CUDA.CUDAGraph()
    launched(x)
    with pytest.raises(RuntimeError, match="a new kernel cannot be loaded while a CUDA graph is being captured"), \
            CUDA.graph(graph):
        step().tolist()
    side = CUDA.Stream()
    side.wait_stream(CUDA.current_stream())
    with CUDA.stream(side):
        launched(step())
    CUDA.current_stream().wait_stream(side)
    graph = CUDA.CUDAGraph()
    with CUDA.graph(graph):
        y = step()
        launched(y)
    graph.replay()
    mt.cuda.synchronize()
    np.testing.assert_allclose(y.cpu().numpy(), np.tanh(expected * 1.3725 + 0.25), rtol=1e-5)


WILD = """
import triton
import triton.language as tl

import microtrain as mt

@triton.jit
def wild_kernel(x_ptr, out_ptr, offset):
    tl.store(out_ptr + offset, tl.load(x_ptr))

wild = mt.custom_kernel(wild_kernel, outputs=lambda x: x, grid=(1,), scalars=lambda x: (1 << 40,))
x = mt.ones(4)
held = [(x * n).exp() for n in range(2, 6)]
try:
    print(wild(x).tolist())
except mt.AcceleratorError as error:
    print("first:", error)
try:
    print(held[0].tolist())
except mt.AcceleratorError as error:
    print("then:", error)
"""


def test_an_access_outside_of_memory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wild.py"
    path.write_text(WILD)
    root = str(Path(__file__).resolve().parents[2])
    said = subprocess.run([sys.executable, str(path)], env={**os.environ, "PYTHONPATH": root}, capture_output=True,
                          text=True, timeout=120)
    if virtual.wanted():        # it says which access, and goes on
        assert said.returncode == 1 and "EmulatorError: 1 faults in wild_kernel" in said.stderr, said.stderr
        assert "out of bounds" in said.stderr and "wild.py:9" in said.stderr, said.stderr
        return
    lines = [line for line in said.stdout.splitlines() if line]
    assert [line.partition(":")[0] for line in lines] == ["first", "then"], said.stdout + said.stderr
    assert all("cuda:0 can no longer be used by this process: CUDA error: an illegal memory access" in line
               for line in lines), lines


def test_what_microtrain_says_of_the_gpu_is_what_pytorch_says() -> None:
    ours, theirs = mt.cuda, CUDA
    for name in ("device_count", "current_device", "get_device_name", "get_device_capability", "memory_allocated",
                 "memory_reserved", "max_memory_allocated", "max_memory_reserved"):
        assert getattr(ours, name)() == getattr(theirs, name)(), name
    for where in (None, 0, "cuda", "cuda:0", mt.device("cuda")):
        ours.synchronize(where)
    for wrong in ("cpu", theirs.device_count()):
        errors = []
        for module in (ours, theirs):
            with pytest.raises((ValueError, RuntimeError)) as caught:
                module.synchronize(wrong)
            errors.append(isinstance(caught.value, ValueError))
        assert errors[0] is errors[1]
    assert ours.mem_get_info()[1] == theirs.mem_get_info()[1]
    assert mt.ones(2, device="cuda").device == mt.device("cuda:0") == mt.default_device()
