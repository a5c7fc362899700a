"""Threads beside one another: right values, bit for bit, no plan more, no deadlock."""

from __future__ import annotations

import copy
import gc
import io
import multiprocessing
import os
import pickle
import threading
import time
import weakref
from functools import partial
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import nn, optim, settings
from microtrain.engine import session as session_module
from microtrain.engine.session import pending, sessions
from microtrain.graph import constants as graph_constants
from microtrain.nn import functional as F
from tests.conftest import DEVICE
from tests.stress.threads import (
    JOBS,
    aliases,
    arrays,
    at_each_point,
    check,
    data,
    loader_beside,
    mlp,
    one_model,
    sgd,
    switching,
    together,
)

pytestmark = pytest.mark.usefixtures("nothing_pending")
on_cpu = pytest.mark.skipif(DEVICE != "cpu", reason="many small programs: on the cpu device alone")


@pytest.mark.parametrize("name", JOBS if DEVICE == "cpu" else ["sgd"])
def test_work_in_four_threads_gives_what_it_gives_alone(name: str) -> None:
    assert check([JOBS[name]], threads=4 if DEVICE == "cpu" else 2, rounds=1) >= 2


@on_cpu
def test_one_model_is_read_by_four_threads() -> None:
    assert one_model(threads=4, rounds=10) == 40


@on_cpu
def test_a_loader_works_in_a_thread_of_its_own() -> None:
    assert loader_beside(2) == 2


@on_cpu
def test_one_model_is_evaluated_beside_the_training_of_another() -> None:
    model, x = mlp(5), data(5)[0]
    with mt.no_grad():
        expected = np.array(model(x).numpy())
    trained = sgd(7)

    def evaluate() -> None:
        for _ in range(50):
            with mt.no_grad():
                np.testing.assert_array_equal(model(x).numpy(), expected)

    with switching():
        found = together([lambda: sgd(7), evaluate, evaluate])[0]
    for a, b in zip(found, trained, strict=True):
        np.testing.assert_array_equal(a, b)


def test_grad_mode_is_a_threads_own() -> None:
    with mt.no_grad():
        assert together([mt.is_grad_enabled]) == [True]
        assert not mt.is_grad_enabled()


def test_anomaly_detection_is_a_threads_own() -> None:
    def divide() -> Any:
        assert not mt.autograd.is_anomaly_enabled()
        mt.autograd.set_detect_anomaly(False)
        return (mt.tensor([1.0]) / 0).tolist()

    mt.autograd.set_detect_anomaly(True)
    try:
        assert together([divide]) == [[float("inf")]]
        assert mt.autograd.is_anomaly_enabled()
        with pytest.raises(RuntimeError, match="infinity"):
            mt.tensor([1.0]) / 0
    finally:
        mt.autograd.set_detect_anomaly(False)


def test_what_one_thread_has_half_recorded_another_leaves_alone() -> None:
    x = mt.tensor([1.0, 2.0])
    half = x * 3
    assert together([lambda: (x + 1).tolist()]) == [[2, 3]]
    assert half.node.buffer is None and half.tolist() == [3, 6]


def test_what_another_thread_recorded_is_computed_once_for_both() -> None:
    x = mt.tensor([1.0, 2.0])
    shared = x * 3
    assert together([lambda: (shared + 1).tolist()]) == [[4, 7]]
    assert shared.node.buffer is not None


def test_a_thread_that_has_ended_leaves_values_to_be_computed() -> None:
    x = mt.tensor([1.0, 2.0])
    made, other = together([lambda: (x * 2, x * 5)])[0]
    doubled = made * 2
    gc.collect()
    assert (doubled + made).tolist() == [6, 12]
    assert made.node.buffer is not None and other.tolist() == [5, 10]
    (x + 1).tolist()
    assert len(sessions) == 1, "the thread's session is gone once all is computed"


def test_a_tensor_dropped_in_another_thread_is_pending_no_more() -> None:
    box = [mt.tensor([1.0]) * 2]
    node = weakref.ref(box[0].node)
    together([box.clear])
    assert node() is None and not pending()


def test_a_draw_of_the_default_generator_is_one_threads_alone() -> None:
    mt.manual_seed(3)
    expected = sorted(tuple(mt.rand(3).tolist()) for _ in range(80))
    mt.manual_seed(3)
    with switching():
        found = together([lambda: [tuple(mt.rand(3).tolist()) for _ in range(20)]] * 4)
    assert sorted(one for each in found for one in each) == expected


def test_specs_and_signatures_are_one_in_every_thread() -> None:
    def record(k: int) -> list[Any]:
        found = []
        for n in range(1, 40):
            x = mt.tensor(np.zeros((n, 61), np.float32))
            y = (x * 2.25 + n / 7).sum(0)
            found.append((x.node.spec, y.node.spec, y.node.signature))
        return found

    with switching():
        results = together([lambda k=k: record(k) for k in range(4)])       # type: ignore[misc]
    for found in zip(*results, strict=True):
        assert len({tuple(map(id, one)) for one in found}) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@on_cpu
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_forked_while_another_thread_computes_goes_on() -> None:
    stop = threading.Event()

    def busy() -> None:
        x = mt.ones(64, 64)
        while not stop.is_set():
            (x @ x).sum().item()

    threads = [threading.Thread(target=busy, daemon=True) for _ in range(2)]
    pending = mt.ones(3) * 2
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            with multiprocessing.get_context("fork").Pool(1) as pool:
                assert pool.apply_async(child, (pending,)).get(timeout=30) == [4.0, 4.0, 4.0]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def child(tensor: mt.Tensor) -> Any:
    return (tensor * 2).tolist()


def test_values_of_threads_are_copied_whole() -> None:
    """Each reader sees the value before an update or after it, never a part of either."""
    for _ in range(20 if DEVICE == "cpu" else 2):
        x, wrong = mt.zeros(512), []
        stop = threading.Event()

        def read(x: mt.Tensor = x, wrong: list[Any] = wrong, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                values = arrays([x])[0]
                if len(set(values.tolist())) != 1:
                    wrong.append(values)

        def write(x: mt.Tensor = x, stop: threading.Event = stop) -> None:
            try:
                for _ in range(60):
                    x.add_(1)
            finally:
                stop.set()

        with switching():
            together([write, read, read])
        assert not wrong and x[0].item() == 60


def counted(x: mt.Tensor) -> None:
    x += 1


SHARED = [lambda x: x[:2], lambda x: x.detach(), lambda x: x.data, lambda x: x.view(2, 2), copy.copy, copy.deepcopy,
          lambda x: x.requires_grad_(False), lambda x: x.detach_(), lambda x: setattr(x, "data", x.data)]
"""Ways to enter a memory, or to hold another node of the same value."""


@pytest.mark.parametrize("enter", SHARED, ids=range(len(SHARED)))
@pytest.mark.parametrize("change", [lambda x: x.add_(1), counted, lambda x: x.add_(1, alpha=1),
                                    lambda x: x[:].add_(1)], ids=["update", "operator", "method", "view"])
def test_no_change_is_lost_while_other_threads_share_the_memory(change: Any, enter: Any) -> None:
    kept: list[Any] = []
    x = mt.zeros(4)

    def changing() -> None:
        for _ in range(30):
            change(x)

    def entering() -> None:
        for _ in range(30):
            kept.append(enter(x))
            del kept[:-3]

    with switching():
        together([changing, entering, changing])
    assert x.tolist() == [60.0] * 4
    x.add_(1)
    assert x.tolist() == x.detach().tolist() == [61.0] * 4


def changed(x: mt.Tensor) -> None:
    with mt.no_grad():
        x.add_(mt.ones(4))


@on_cpu
@pytest.mark.parametrize("work", [changed, lambda x: x.detach().add_(1)], ids=["change", "alias"])
@pytest.mark.parametrize("other", [changed, pickle.dumps, lambda x: setattr(x, "data", x.data)],
                         ids=["change", "pickle", "data"])
def test_wherever_threads_are_switched_no_change_of_a_memory_is_lost(work: Any, other: Any) -> None:
    for first, second in ((work, other), (other, work)):
        for x in at_each_point(lambda: nn.Parameter(mt.zeros(4)), first, second):
            assert x.tolist() == x.detach().tolist() == [2.0 if other is changed else 1.0] * 4


@on_cpu
def test_wherever_threads_are_switched_two_backwards_add_up() -> None:
    def graph() -> tuple[mt.Tensor, mt.Tensor]:
        w = mt.ones(2, requires_grad=True)
        h = w * 2
        h.retain_grad()
        return w, h

    for w, h in at_each_point(graph, lambda made: (made[1] * 3).sum().backward(retain_graph=True),
                              lambda made: (made[1] * 4).sum().backward(retain_graph=True)):
        assert h.grad.tolist() == [7.0] * 2 and w.grad.tolist() == [14.0] * 2


@on_cpu
@pytest.mark.parametrize("work", [lambda m: list(m.parameters()), repr, lambda m: m.float(), lambda m: m.zero_grad()],
                         ids=["parameters", "repr", "float", "zero"])
def test_wherever_threads_are_switched_a_module_is_walked_while_it_grows(work: Any) -> None:
    def grow(module: nn.Module) -> None:
        module.child = nn.Module()
        module[0].weight = nn.Parameter(mt.ones(1))
        module.register_buffer("buffer", mt.ones(1))

    for module in at_each_point(lambda: nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1)), work, grow):
        assert len(list(module.parameters())) == 4 and len(list(module.modules())) == 4


@pytest.mark.parametrize("seed", range(5 if DEVICE == "cpu" else 1))
def test_tensors_of_one_memory_are_made_changed_and_copied_by_four_threads(seed: int) -> None:
    with switching():
        assert aliases(seed, threads=4) > 30


def test_gradients_of_two_threads_add_up() -> None:
    for _ in range(5):
        w = mt.ones(3, requires_grad=True)

        def differentiate(w: mt.Tensor = w) -> None:
            for _ in range(10):
                (w * 2).sum().backward()

        with switching():
            together([differentiate] * 3)
        assert w.grad.tolist() == [60.0] * 3


def repeated(count: int, work: Any) -> Any:
    """Some work done so many times."""
    def several() -> None:
        for _ in range(count):
            work()
    return several


@on_cpu
@pytest.mark.parametrize("change", [F.relu, partial(F.hardtanh, min_val=-9.0, max_val=99.0),
                                    partial(F.dropout, p=1e-12)], ids=["relu", "hardtanh", "dropout"])
def test_an_activation_in_place_loses_no_change(change: Any) -> None:
    for _ in range(3):
        x = mt.zeros(4)
        with switching():
            together([repeated(20, lambda x=x: x.add_(1)), *[repeated(20, partial(change, x, inplace=True))] * 2])
        assert x.tolist() == [20.0] * 4


def test_hooks_that_several_threads_register_are_all_called() -> None:
    for _ in range(5):
        w, called = mt.ones(3, requires_grad=True), list[int]()
        y = w * 2

        def hook(grad: mt.Tensor, called: list[int] = called) -> None:
            called.append(1)

        with switching():
            together([lambda w=w, y=y, hook=hook: (w.register_hook(hook), y.register_hook(hook))] * 4)
        y.sum().backward()
        assert len(called) == 8


def test_gradients_that_are_retained_by_two_threads_add_up() -> None:
    for _ in range(15):
        w = mt.ones(3, requires_grad=True)
        h = w * 2
        h.retain_grad()
        losses = [(h * k).sum() for k in (1, 2, 3)]
        with switching():
            together([repeated(5, lambda loss=loss: loss.backward(retain_graph=True)) for loss in losses])
        assert h.grad.tolist() == [30.0] * 3 and w.grad.tolist() == [60.0] * 3


def test_a_gradient_that_comes_where_it_is_retained_no_more_is_not() -> None:
    """Another thread has changed the tensor in place since the walk found out who retains."""
    h = mt.ones(3, requires_grad=True) * 2
    h.retain_grad()
    place = h.grad_fn
    h.add_(1)
    h.retain(mt.ones(3).node, place)
    assert h.grad is None
    (h * 3).sum().backward()
    assert h.grad.tolist() == [3.0] * 3


class Interrupted(BaseException):
    """As KeyboardInterrupt."""


def test_a_backward_that_is_interrupted_beside_another_adds_to_all_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on where it stopped, whatever the other has added meanwhile."""
    leaves = [mt.zeros(1, requires_grad=True) for _ in range(2)]
    for leaf in leaves:
        leaf.grad = mt.zeros(1)
        leaf.node.tape.tensor = lambda leaf=leaf: (time.sleep(1e-4), leaf)[1]        # another thread's turn
    accumulate, stop = mt.Tensor.accumulate, threading.Event()
    due: list[threading.Thread] = []

    def interrupted(self: mt.Tensor, *arguments: Any) -> None:
        if threading.current_thread() in due:
            due.clear()
            raise Interrupted
        accumulate(self, *arguments)

    monkeypatch.setattr(mt.Tensor, "accumulate", interrupted)

    def victim() -> None:
        try:
            for _ in range(20):
                loss = sum((1000 * leaf).sum() for leaf in leaves)
                due.append(threading.current_thread())
                with pytest.raises(Interrupted):
                    loss.backward()
        finally:
            stop.set()

    def other() -> int:
        count = 0
        while not stop.is_set():
            sum(leaf.sum() for leaf in leaves).backward()
            count += 1
        return count

    with switching():
        counts = together([victim, other, other])[1:]
    assert [leaf.grad.item() for leaf in leaves] == [20000 + sum(counts)] * 2


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_of_batches_in_several_threads_are_those_of_as_many_in_one(momentum: float | None) -> None:
    x = data(1)[0]
    alone = nn.BatchNorm1d(6, momentum=momentum)
    repeated(24, lambda: alone(x))()
    expected = arrays(alone.buffers())
    for _ in range(8 if DEVICE == "cpu" else 1):
        layer = nn.BatchNorm1d(6, momentum=momentum)
        with switching():
            together([repeated(8, lambda layer=layer: layer(x))] * 3)
        for found, wanted in zip(arrays(layer.buffers()), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_module_is_walked_while_another_thread_adds_to_it() -> None:
    module = nn.Module()

    def add() -> None:
        for n in range(60):
            setattr(module, f"child{n}", nn.Module())
            module.register_parameter(f"weight{n}", nn.Parameter(mt.ones(1)))
            module.register_buffer(f"buffer{n}", mt.ones(1))

    def walk() -> None:
        for _ in range(40):
            assert all(isinstance(tensor, mt.Tensor) for tensor in (*module.parameters(), *module.buffers()))
            module.state_dict()
            module.zero_grad()
            list(module.children())
            repr(module)

    with switching():
        together([add, walk, walk])
    assert len(module.state_dict()) == 120 and len(list(module.modules())) == 61


def test_an_optimizers_state_is_that_before_a_step_or_after_it() -> None:
    parameters = [mt.zeros(2, requires_grad=True) for _ in range(12)]
    for parameter in parameters:
        parameter.grad = mt.ones(2)
    optimizer, steps = optim.Adam(parameters), 8
    seen: list[set[int]] = []

    def read() -> None:
        while not seen or seen[-1] != {steps}:
            seen.append({state["step"] for state in optimizer.state_dict()["state"].values()})

    with switching():
        together([repeated(steps, optimizer.step), read, read])
    assert all(len(one) <= 1 for one in seen)


def test_a_graph_is_explained_while_another_thread_computes_it() -> None:
    for _ in range(3):
        y = mt.ones(3)
        for _ in range(40):
            y = (y * 2 + 1).tanh()
        with switching():
            explained, _, _ = together([lambda y=y: mt.explain(y, file=io.StringIO()), lambda y=y: y.tolist(),
                                        lambda y=y: mt.explain(y, file=io.StringIO())])
        assert "graph of" in str(explained) or "at hand" in str(explained)


def test_threads_that_compute_nothing_leave_nothing() -> None:
    for _ in range(50):
        together([lambda: mt.ones(3) * 2])
    assert len(sessions) <= 3


def test_what_is_recorded_while_a_thread_gets_its_session_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """To make an object may run the `__del__` of another."""
    found: list[Any] = []

    made = session_module.Session

    def make() -> session_module.Session:
        found.append((mt.ones(2) * 2).tolist())
        return made()

    monkeypatch.setattr(session_module, "Session", make)
    assert together([lambda: (mt.ones(2) * 3).tolist()]) == [[3.0, 3.0]] and found == [[2.0, 2.0]]


def test_a_number_stays_one_node_of_a_graph_while_others_forget_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    x = mt.tensor([1.0, 2.0])
    half = x * 0.7
    dropped = mt.Tensor.from_node(x.node) * 0.6
    del dropped
    monkeypatch.setattr(graph_constants, "MAX_CONSTANTS", 0)
    together([lambda: (mt.ones(3) + 1).tolist()])
    assert 0.6 not in x.node.spec.constants
    assert (half + 0.7).node.sources[1] is half.node.sources[1]


class Waits:
    """What a user added to a tensor: to copy it takes another thread."""

    def __deepcopy__(self, memo: Any) -> Waits:
        together([lambda: (mt.ones(2) * 3).tolist()], patience=20)
        return self


def test_a_users_own_code_may_wait_for_another_thread() -> None:
    x = mt.ones(3)
    x.note = Waits()
    assert copy.deepcopy(x).note is x.note


def test_a_switch_is_as_before_once_the_blocks_of_all_threads_have_ended() -> None:
    first, second = settings.fuse(False), settings.fuse(False)
    first.__enter__()
    together([second.__enter__])
    first.__exit__()
    assert settings.fuse.value is False, "the other thread's block goes on"
    together([second.__exit__])
    assert settings.fuse.value is True
