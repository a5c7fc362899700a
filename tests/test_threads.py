"""Threads beside one another: right values, bit for bit, no plan more, no deadlock."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from conftest import DEVICE
from stress_threads import JOBS, arrays, check, data, loader_beside, mlp, one_model, sgd, switching, together

import microtrain as mt
from microtrain.compiler import realize
from microtrain.compiler.session import sessions

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
    assert node() is None and not realize.pending()


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


def test_gradients_of_two_threads_add_up() -> None:
    for _ in range(5):
        w = mt.ones(3, requires_grad=True)

        def differentiate(w: mt.Tensor = w) -> None:
            for _ in range(10):
                (w * 2).sum().backward()

        with switching():
            together([differentiate] * 3)
        assert w.grad.tolist() == [60.0] * 3
