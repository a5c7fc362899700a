"""How much memory a run takes, and that it does not grow."""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import ops as g
from microtrain.compiler.executable import Executable
from microtrain.compiler.memory import ALIGNMENT, arrange, lifetimes, nbytes
from microtrain.compiler.schedule import schedule
from microtrain.compiler.templates.template import Kernel
from microtrain.testing import count_kernels, needed_memory, peak_memory
from tests.conftest import DEVICE
from tests.support.hypotheses import given, st
from tests.support.programs import blank, program

pytestmark = pytest.mark.usefixtures("nothing_pending")

on_triton = pytest.mark.skipif(DEVICE == "cpu", reason="NumPy's memory is not counted by microtrain")
on_cpu = pytest.mark.skipif(DEVICE != "cpu", reason="ten thousand steps take seconds there alone")


# -------------------------------------------------------------------------------------------------------- the workspace

LIVES = st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=24)


@given(LIVES)
def test_values_that_live_at_the_same_time_lie_apart(drawn: list[tuple[int, int, int]]) -> None:
    lives = {blank(size): (first, first + more) for size, first, more in drawn}
    offsets, size = arrange(lives)
    assert offsets.keys() == lives.keys()
    placed = [(offsets[n], offsets[n] + nbytes(n.spec), *lives[n]) for n in lives]
    assert all(start % ALIGNMENT == 0 and stop <= size for start, stop, _, _ in placed)
    for i, (start, stop, first, last) in enumerate(placed):
        for other_start, other_stop, other_first, other_last in placed[:i]:
            if first <= other_last and other_first <= last:
                assert stop <= other_start or other_stop <= start
    most = max(sum(stop - start for start, stop, first, last in placed if first <= t <= last) for t in range(20))
    assert size <= 1.5 * most + ALIGNMENT * len(placed), "much more than what lives at any one time"


def test_temporaries_of_a_chain_take_turns() -> None:
    """Two lie in memory at a time: a product's operand lives until it is read, its result from then on."""
    x, weights = blank(32, 64), [blank(64, 64) for _ in range(6)]
    for weight in weights:
        x = g.relu(g.matmul(x, weight))
    made, _ = program(x)
    scheduled = schedule(made)
    kernels = [Kernel(group, scheduled) for group in scheduled]
    assert len(kernels) == 6
    lives = lifetimes(kernels, {*scheduled.program.inputs, *scheduled.program.outputs})
    assert sorted(lives.values()) == [(k, k + 1) for k in range(5)]
    assert arrange(lives)[1] == 2 * 32 * 64 * 4


# ------------------------------------------------------------------------------------------------------------ the peak

def sgd(parameters: Any) -> Any:
    return mt.optim.SGD(parameters, lr=0.1, momentum=0.9)


def adam(parameters: Any) -> Any:
    return mt.optim.Adam(parameters)


class Training:
    """The MLP of the digits, 784-128-10."""

    def __init__(self, optimizer: Callable[[Any], Any], read: bool) -> None:
        rng = np.random.default_rng(0)
        self.x = mt.tensor(rng.standard_normal((128, 784)).astype(np.float32))
        self.y = mt.tensor(rng.integers(0, 10, 128))
        self.model = mt.nn.Sequential(mt.nn.Linear(784, 128), mt.nn.ReLU(), mt.nn.Linear(128, 10))
        self.optimizer, self.read = optimizer(self.model.parameters()), read

    def step(self) -> None:
        self.optimizer.zero_grad()
        loss = mt.nn.functional.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        if self.read:
            loss.item()

    @property
    def state(self) -> list[Any]:
        states = [v for state in self.optimizer.state.values() for v in state.values()]
        return [*self.model.parameters(), *[v for v in states if isinstance(v, mt.Tensor)]]


def peak_and_need(optimizer: Callable[[Any], Any], read: bool, steps: int = 5) -> tuple[int, int]:
    """Bytes at the peak of a step, and what the step's program needs."""
    with peak_memory() as memory:
        training = Training(optimizer, read)
        for _ in range(steps):
            memory.reset()
            with count_kernels() as count:
                training.step()
        state = training.state
        return memory.peak, needed_memory(count.programs[-1], state)


@on_triton
@pytest.mark.parametrize(("optimizer", "read"), [(sgd, True), (adam, False)])
def test_a_step_takes_little_more_than_what_is_live(optimizer: Callable[[Any], Any], read: bool) -> None:
    peak, need = peak_and_need(optimizer, read)
    parameters = 4 * (784 * 128 + 128 + 128 * 10 + 10)
    assert need >= (2 if optimizer is sgd else 3) * parameters + 4 * 128 * (784 + 2 * 128)
    assert peak <= 1.1 * need, f"{peak} bytes, where {need} are needed"


@on_triton
def test_a_step_that_is_given_no_memory_takes_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Executable.run
    monkeypatch.setattr(Executable, "run", lambda executable, values, free=(): run(executable, values))
    peak, need = peak_and_need(sgd, True, 3)
    assert peak > 1.3 * need


def test_the_cpu_device_has_no_memory_of_its_own() -> None:
    with pytest.raises(RuntimeError, match="tracemalloc"), peak_memory("cpu"):
        pass


# ----------------------------------------------------------------------------------------------------------- no growth

def perceptron(keep: Callable[[Any], Any]) -> Callable[[], None]:
    """One step of it, which hands its loss to `keep`."""
    x, y = mt.tensor([[0.0, 1.0], [1.0, 0.0]]), mt.tensor([[1.0], [0.0]])
    w, b = mt.zeros(2, 1, requires_grad=True), mt.zeros(1, requires_grad=True)
    velocity = [mt.zeros(2, 1)]

    def step() -> None:
        w.grad = b.grad = None
        loss = (((x @ w + b).sigmoid() - y) ** 2).mean()
        loss.backward()
        with mt.no_grad():
            velocity[0] = velocity[0] * 0.9 + w.grad
            w.sub_(velocity[0] * 0.1)
            b.sub_(b.grad * 0.1)
        keep(loss)
    return step


def objects_after(steps: int, step: Callable[[], None]) -> int:
    """Blocks of memory that Python's objects take when so many steps have been taken."""
    for _ in range(steps):
        step()
    gc.collect()
    return sys.getallocatedblocks()


@on_cpu
def test_ten_thousand_steps_leave_nothing_behind() -> None:
    """Nodes, tape entries, plans and the headers of arrays are objects of Python's: a step that left one would show."""
    number = itertools.count()
    step = perceptron(lambda loss: loss.item() if next(number) % 3 == 0 else None)
    first = objects_after(1000, step)
    assert objects_after(9000, step) - first < 500


@on_cpu
def test_a_step_that_leaves_something_behind_is_noticed() -> None:
    kept: list[Any] = []
    step = perceptron(lambda loss: kept.append(loss.detach()))
    first = objects_after(200, step)
    assert objects_after(1000, step) - first > 1000


def live_after_each(steps: int, keep: Callable[[Any], Any]) -> list[int]:
    """Bytes on the device after each step, from the fifth on, once whatever is pending was computed."""
    with peak_memory() as memory:
        step, live = perceptron(keep), []
        for _ in range(steps):
            step()
            live.append(memory.live)
    return live[4:]


@on_triton
def test_a_device_holds_as_much_after_every_step() -> None:
    assert len({*live_after_each(30, lambda loss: loss.item())}) == 1
    kept: list[Any] = []
    leaking = live_after_each(10, lambda loss: kept.append(loss.detach()))
    assert leaking[-1] - leaking[0] == 4 * (len(leaking) - 1), "a number for each step"
