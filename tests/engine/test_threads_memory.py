"""Threads that change the same memory, leaves, modules: no change is lost, none is seen by halves."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from functools import partial
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import nn
from microtrain.nn import functional as F
from tests.conftest import DEVICE
from tests.stress.threads import aliases, arrays, at_each_point, data, repeated, switching, together

pytestmark = pytest.mark.usefixtures("nothing_pending")
on_cpu = pytest.mark.skipif(DEVICE != "cpu", reason="many small programs: on the cpu device alone")


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
