"""Threads beside one another: right values, bit for bit, no plan more, no deadlock."""

from __future__ import annotations

import copy
import gc
import io
import multiprocessing
import os
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import optim, settings
from microtrain.engine import session as session_module
from microtrain.engine.session import MAX_PENDING, pending, sessions
from microtrain.graph import constants as graph_constants
from tests.conftest import DEVICE
from tests.stress.threads import JOBS, check, data, loader_beside, mlp, one_model, repeated, sgd, switching, together

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


def test_what_another_thread_records_cuts_no_graph_in_two() -> None:
    x = mt.ones(3, requires_grad=True)

    def record(count: int) -> mt.Tensor:
        y = x
        for _ in range(count):
            y = y * 1.01
        return y

    half = record(MAX_PENDING // 2)
    together([lambda: record(MAX_PENDING).detach().cpu().numpy(), lambda: None])
    whole = half + record(MAX_PENDING // 4)
    assert half.node.buffer is None and whole.node.buffer is None


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
