"""Replays on a GPU: launches queued again with the arguments that they had, on a virtual one."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import ops as g
from microtrain.compiler import fixed_run
from microtrain.compiler.executable import Executable
from microtrain.compiler.loop import Roles
from microtrain.compiler.loop_launches import LaunchLoop
from microtrain.compiler.templates.template import Launch
from microtrain.engine.plans import linearize
from microtrain.graph.node import SCALAR
from microtrain.runtime import backend
from microtrain.runtime.virtual.device import VirtualGpu
from tests.runtime import test_virtual_gpu
from tests.support.programs import program, tensor

pytestmark = test_virtual_gpu.pytestmark
gpu = test_virtual_gpu.gpu

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((6, 8, 4)).astype(np.float32), RNG.integers(0, 3, (6, 8))


def on_gpu(array: np.ndarray) -> mt.Tensor:
    return mt.tensor(array, device="cuda")


def trainer(make: Callable[..., Any] = mt.optim.Adam, **options: Any) -> tuple[mt.nn.Module, Any, Callable[..., Any]]:
    """A model, its optimizer, and a step."""
    mt.manual_seed(1)
    model = mt.nn.Sequential(mt.nn.Linear(4, 5), mt.nn.Tanh(), mt.nn.Linear(5, 3)).to("cuda")
    opt = make(model.parameters(), lr=0.03, **options)

    def step(x: mt.Tensor, y: mt.Tensor) -> mt.Tensor:
        opt.zero_grad()
        loss = mt.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss
    return model, opt, step


def bits(model: mt.nn.Module, losses: list[mt.Tensor]) -> list[bytes]:
    return [one.detach().cpu().numpy().tobytes() for one in (*losses, *model.parameters())]


def ran(model: mt.nn.Module, opt: Any, step: Callable[..., Any], steps: int = 12) -> list[bytes]:
    """What some steps leave; the data, the rate and who else sees a parameter are others now and then."""
    batches = [(on_gpu(x), on_gpu(y)) for x, y in zip(X, Y, strict=True)]
    losses, kept = [], []
    for k in range(steps):
        losses.append(step(*batches[k % len(batches) if k > steps // 2 else 0]))
        if k == steps - 5:
            opt.param_groups[0]["lr"] = 0.01
        if k == steps - 3:
            kept += [one * 1.5 for one in model.parameters()]       # not computed yet
    return bits(model, [*losses, *kept])


@pytest.mark.parametrize("make, options", [(mt.optim.Adam, {}), (mt.optim.SGD, {"momentum": 0.9}),
                                           (mt.optim.SGD, {})], ids=["adam", "momentum", "sgd"])
def test_replays_are_plain_steps(make: Callable[..., Any], options: dict[str, Any], gpu: VirtualGpu) -> None:
    want = ran(*trainer(make, **options))
    model, opt, step = trainer(make, **options)
    assert ran(model, opt, mt.compile(step)) == want


def settled(runs: int = fixed_run.PLAIN_RUNS + 8) -> tuple[Any, mt.Tensor, mt.Tensor]:
    """A compiled step that was replayed a few times."""
    _, _, step = trainer(mt.optim.SGD)
    compiled, x, y = mt.compile(step), on_gpu(X[0]), on_gpu(Y[0])
    for _ in range(runs):
        compiled(x, y)
    return compiled, x, y


def test_a_replay_as_the_last_one_makes_no_argument_anew(gpu: VirtualGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, x, y = settled()
    made: list[Launch] = []
    arguments = Launch.arguments
    monkeypatch.setattr(Launch, "arguments", lambda self, *given: made.append(self) or arguments(self, *given))
    taken: list[Any] = []
    allocate = type(backend("cuda")).allocate
    monkeypatch.setattr(type(backend("cuda")), "allocate", lambda self, *of: taken.append(of[0]) or allocate(self, *of))
    before = gpu.library.launches
    compiled(x, y)
    launches = gpu.library.launches - before
    assert launches > 2
    assert not taken, "all memory is there"
    assert not made
    made.clear()
    compiled(on_gpu(X[1]), y)
    assert 0 < len(made) < launches, "those that read the data"


def test_many_replays_are_graphs(gpu: VirtualGpu) -> None:
    """A launch a step, whatever the arguments; the bits are those of plain steps, and nothing is left of it."""
    steps, graphs = 48, gpu.driver_graphs
    want = ran(*trainer(), steps)
    model, opt, step = trainer()
    before = gpu.library.launches, graphs.launches
    assert ran(model, opt, mt.compile(step), steps) == want
    made = graphs.launches - before[1]
    assert made >= steps - 2 * fixed_run.GRAPH_RUNS - fixed_run.PLAIN_RUNS - 4
    each = len(next(iter(graphs.executables.values())))
    assert gpu.library.launches - before[0] <= (steps - made + 2) * (each + 1)
    del model, opt, step
    gc.collect()
    assert not graphs.executables and not graphs.graphs


def test_a_graph_takes_other_arguments(gpu: VirtualGpu) -> None:
    compiled, plain = (settled(2 * fixed_run.GRAPH_RUNS + 8)[0] for _ in range(2))
    before, plain = gpu.driver_graphs.launches, plain.function
    for k in range(1, 4):
        batch = on_gpu(X[k]), on_gpu(Y[k])
        assert compiled(*batch).item() == plain(*batch).item()
    assert gpu.driver_graphs.launches == before + 3


def test_a_loop_of_launches_is_graphs(gpu: VirtualGpu) -> None:
    """Two places by turns, and a history: addresses are others in each step."""
    steps, before = 2 * fixed_run.GRAPH_RUNS + 6, gpu.driver_graphs.launches
    rng = np.random.default_rng(2)
    w, b, x = (tensor(rng.standard_normal(shape), "cuda:0") for shape in ((40, 30), (600, 50), (300, 40)))
    h = g.matmul(x, w)
    out = [g.mul(w, 0.99), g.softmax(b, 1), g.sum(g.mul(h, h), (0, 1))]
    leaves = [node for node in linearize(out)[0] if node.buffer is not None]
    made_of, values = program(*out)
    roles = Roles({leaves.index(w): 0, leaves.index(b): 1}, history=frozenset({2}))
    numbers = [np.full(steps, node.buffer) for node in leaves if node.signature.primitive is SCALAR]
    found, made = LaunchLoop(made_of, roles).run([*values], numbers, steps)
    assert made == steps and gpu.driver_graphs.launches > before
    executable, state, losses = Executable(made_of), [*values], []
    for _ in range(steps):
        results = executable.run([*state])
        losses.append(backend("cuda").to_numpy(results[2]))
        for place, after in roles.carried.items():
            state[place] = results[after]
    for got, want in zip(found, (*map(backend("cuda").to_numpy, results[:2]), np.stack(losses)), strict=True):
        assert np.array_equal(backend("cuda").to_numpy(got), want)


def test_without_graphs_launches_are_queued_one_by_one(gpu: VirtualGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> None:
        raise RuntimeError("this driver has none")
    monkeypatch.setattr(gpu.driver_graphs, "cuGraphInstantiateWithFlags", refused)
    graphs = gpu.driver_graphs.launches
    with pytest.warns(RuntimeWarning, match="kernel by kernel, not as a CUDA graph: cuGraphInst.*this driver has none"):
        compiled, x, y = settled(2 * fixed_run.GRAPH_RUNS + 8)
    before = gpu.library.launches
    compiled(x, y).item()
    assert gpu.library.launches > before + 2 and gpu.driver_graphs.launches == graphs
    del compiled
    gc.collect()
    assert not gpu.driver_graphs.graphs


def test_what_a_user_keeps_is_not_written_over(gpu: VirtualGpu) -> None:
    compiled, x, y = settled()
    losses = [compiled(x, y) for _ in range(4)]
    assert len({one.item() for one in losses}) == 4
    assert [one.item() for one in losses] == sorted([one.item() for one in losses], reverse=True)


def test_what_another_library_sees_is_not_written_over(gpu: VirtualGpu) -> None:
    """It holds memory in a way that Python knows nothing of."""
    compiled, x, y = settled()
    loss = compiled(x, y).detach()
    assert loss.__cuda_array_interface__["shape"] == ()
    value, seen = loss.item(), weakref.ref(loss.node.buffer)
    del loss
    compiled(x, y)
    held = seen()
    assert held is not None and float(held.cpu()) == value


def test_another_stream_has_memory_of_its_own(gpu: VirtualGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, x, y = settled()
    plain: list[Executable] = []
    queue = Executable.queue
    monkeypatch.setattr(Executable, "queue", lambda self, *given: plain.append(self) or queue(self, *given))
    monkeypatch.setattr(backend("cuda"), "stream", backend("cuda").stream)      # as it was, afterwards
    compiled(x, y)
    assert not plain
    with gpu.torch.cuda.stream(gpu.torch.cuda.Stream()):
        loss = compiled(x, y)
        assert len(plain) == 1 and np.isfinite(loss.item())
    gpu.synchronize()


def test_all_memory_goes_with_the_step(gpu: VirtualGpu) -> None:
    gc.collect()
    before = gpu.memory.used
    kept = settled()
    gc.collect()
    assert gpu.memory.used > before
    del kept
    gc.collect()
    assert gpu.memory.used == before
