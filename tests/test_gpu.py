"""What only a GPU shows: streams, memory that runs out, capture in a CUDA graph, bits that repeat, direct launches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain.bench.launched import steps_of
from microtrain.compiler.realize import realize
from microtrain.nn import functional as F

pytestmark = pytest.mark.gpu


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
    launches = [step.launch for step in steps_of(lambda: (x * 2 + 1).sum().item())]
    assert launches and all(launch.queue.__name__ in ("own", "shared") for launch in launches)


def test_three_runs_have_the_same_bits() -> None:
    first, *others = [train() for _ in range(3)]
    assert first[0][-1] < 0.7 * first[0][0]
    for losses, parameters in others:
        assert losses == first[0]
        for a, b in zip(parameters, first[1], strict=True):
            np.testing.assert_array_equal(a, b)


def test_streams_share_no_memory_too_early() -> None:
    """Buffers of 64 MB made on one stream, used on another and dropped at once, while the first makes new ones."""
    n = 1 << 24
    side = torch.cuda.Stream()
    x = mt.ones(n, device="cuda")
    wrong = []
    for number in range(50):
        y = x * float(number)
        first = y.sum().item()
        with torch.cuda.stream(side):
            z = (y + 1.0) * 2.0
            realize(z.node)             # queued on the other stream
        del y
        again = (x * -1.0).sum().item()
        torch.cuda.current_stream().wait_stream(side)
        second = z.sum().item()
        if (first, again, second) != (n * number, -n, 2 * n * (number + 1)):
            wrong.append((number, first, again, second))
    assert not wrong


def test_memory_that_runs_out_is_told_and_survived() -> None:
    """Of this process's share of the memory, which is made small: others may be using the GPU."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.05)
    side = int((0.02 * total / 4) ** 0.5)
    held: list[Any] = []
    try:
        with pytest.raises(RuntimeError, match=r"(?i)out of memory"):
            for number in range(4):
                held.append(mt.ones(side, side, device="cuda") * float(number))
                held[-1][0, 0].item()
        assert held and held[0][-1, -1].item() == 0         # what was there before is still right
        held.clear()
        assert (mt.ones(side, side, device="cuda") * 2)[-1, -1].item() == 2
    finally:
        held.clear()
        torch.cuda.set_per_process_memory_fraction(1.0)
    losses, _ = train(2)
    assert np.isfinite(losses).all()


def test_a_computation_is_captured_in_a_cuda_graph_and_replayed() -> None:
    x, w = mt.randn(300, 77, device="cuda"), mt.randn(77, 33, device="cuda")
    for _ in range(2):
        np.testing.assert_allclose(F.softmax(x @ w, 1).sum().item(), 300, rtol=1e-4)
    realize(F.softmax(x @ w, 1).node)       # the plan that is captured: it has been compiled and loaded
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = F.softmax(x @ w, 1)
        realize(y.node)
    fresh = torch.randn(300, 77, dtype=torch.float32)
    torch.from_dlpack(x).copy_(fresh)
    graph.replay()
    torch.cuda.synchronize()
    expected = torch.softmax(fresh.double() @ torch.from_numpy(w.cpu().numpy()).double(), 1)
    np.testing.assert_allclose(y.cpu().numpy(), expected.numpy(), atol=1e-5)


def test_training_on_the_gpu_and_on_the_cpu_agree() -> None:
    (ours, _), (theirs, _) = train(10), train(10, "cpu")
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
