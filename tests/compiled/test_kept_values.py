"""What a user kept of earlier calls of a compiled step has, and keeps, the values that it has after plain calls.

Nothing is looked at until the end, or all at once: what waits to be computed must not see what came later.
"""

from __future__ import annotations

import gc
import pickle
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import nn
from microtrain.nn import functional as F
from microtrain.optim import SGD, Adam
from tests.compiled.setups import accumulating
from tests.compiled.support import World, by_default, regression, same, told
from tests.conftest import DEVICE

KEPT: dict[str, tuple[Callable[[], World], Callable[[World], Any]]] = {}
CALLS = 5


def kept(build: Callable[[], World] = regression) -> Any:
    """What is kept after each call; it is looked at when all are made."""
    def add(keep: Callable[[Any], Any]) -> Any:
        KEPT[keep.__name__] = build, keep
        return keep
    return add


def adam() -> World:
    return regression(Adam, lr=0.05)


def momentum(w: Any) -> Any:
    return w.opt.state[w.model.weight].get("momentum_buffer")


@kept()
def loss(w: Any) -> Any:
    return w.results[-1]


@kept()
def loss_as_an_array(w: Any) -> Any:
    return w.results[-1].detach().cpu().numpy()


@kept()
def loss_made_into_something_else(w: Any) -> Any:
    return w.results[-1].detach() * 2 + 1


@kept()
def weight_detached(w: Any) -> Any:
    """Is the weight's memory."""
    return w.model.weight.detach()


@kept()
def weight_cloned(w: Any) -> Any:
    return w.model.weight.detach().clone()


@kept()
def weight_cloned_on_the_tape(w: Any) -> Any:
    return w.model.weight.clone()


@kept()
def weight_as_an_array(w: Any) -> Any:
    return w.model.weight.detach().cpu().numpy()


@kept()
def weight_as_a_copied_array(w: Any) -> Any:
    return np.array(w.model.weight.detach().cpu().numpy())


@kept()
def weight_read(w: Any) -> Any:
    return w.model.weight.tolist()


@kept()
def rows_of_the_weight(w: Any) -> Any:
    return w.model.weight.detach()[1:], w.model.weight.data.T, w.model.weight[0].detach()


@kept()
def norm_of_the_weight(w: Any) -> Any:
    return w.model.weight.detach().square().sum()


@kept()
def norm_of_the_weight_on_the_tape(w: Any) -> Any:
    return w.model.weight.square().sum()


@kept()
def prediction(w: Any) -> Any:
    with mt.no_grad():
        return w.model(w.args[0])


@kept()
def state_dict(w: Any) -> Any:
    return w.model.state_dict(), w.opt.state_dict()["state"]


@kept()
def state_dict_pickled(w: Any) -> Any:
    return pickle.loads(pickle.dumps((w.model.state_dict(), w.opt.state_dict())))


@kept()
def gradient(w: Any) -> Any:
    return w.model.weight.grad


@kept()
def gradient_made_into_something_else(w: Any) -> Any:
    return w.model.weight.grad * 2


@kept(accumulating)
def gradient_accumulated(w: Any) -> Any:
    return w.model.weight.grad, w.model.bias.grad.detach(), w.model.bias.grad * 1


@kept()
def optimizer_state(w: Any) -> Any:
    return momentum(w)


@kept()
def optimizer_state_made_into_something_else(w: Any) -> Any:
    return momentum(w) + 1, momentum(w).detach()[0]


@kept(adam)
def optimizer_states_of_adam(w: Any) -> Any:
    return dict(w.opt.state[w.model.weight]), dict(w.opt.state[w.model.bias])


@kept()
def data(w: Any) -> Any:
    return w.args[0] * 1, w.args[0].detach()


@kept()
def everything(w: Any) -> Any:
    return [keep(w) for name, (build, keep) in KEPT.items() if build is regression and name != "everything"]


def lived(build: Callable[[], World], keep: Callable[[World], Any], compiled: bool, watched: bool) -> World:
    by_default()
    world = build()
    world.watched = watched
    if compiled:
        world.call = mt.compile(world.step)
    for _ in range(CALLS):
        world.run()
        world.kept.append(keep(world))
    world.log.append(world.seen())
    return world


@pytest.mark.parametrize("watched", [False, True], ids=["read in the end", "read at once"])
@pytest.mark.parametrize("name", KEPT)
def test_keeps_its_value(name: str, watched: bool) -> None:
    build, keep = KEPT[name]
    same(told(lambda: lived(build, keep, True, watched))[0].log, lived(build, keep, False, watched).log)


def test_gradients_flow_from_what_was_kept() -> None:
    """What was recorded of the weights before a call is differentiated after it, or refused as after a plain one."""
    def run(compiled: bool) -> list[Any]:
        by_default()
        world = regression()
        call = mt.compile(world.step) if compiled else world.step
        found = []
        for _ in range(3):
            loss = F.mse_loss(world.model(world.args[0]), world.args[1])
            square = (world.model.weight * 2).square().sum()
            call(*world.args)
            for value in (loss, square):
                try:
                    found.append(mt.autograd.grad(value, world.model.weight)[0].tolist())
                except RuntimeError as error:
                    found.append(str(error))
        return found
    same(run(True), run(False))


def test_what_is_returned_is_on_the_tape_as_after_a_plain_call() -> None:
    def run(compiled: bool) -> list[Any]:
        by_default()
        model = nn.Linear(4, 3)

        def step(x: Any) -> Any:
            y = model(x)
            return y, y.detach(), y.sum()
        call = mt.compile(step) if compiled else step
        found = []
        for k in range(4):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")         # that it is run as it is
                y, off, total = call(mt.ones(2, 4) * k)
            found += [y.requires_grad, off.requires_grad, total.is_leaf, y.tolist()]
            (total * 2).backward()
            found += [model.weight.grad.tolist(), model.bias.grad.tolist()]
            try:
                total.backward()
            except RuntimeError as error:
                found.append(str(error))
        return found
    same(run(True), run(False))


def test_a_loss_that_was_differentiated_is_so_as_after_a_plain_call() -> None:
    def run(compiled: bool) -> list[Any]:
        by_default()
        world = regression()
        call = mt.compile(world.step) if compiled else world.step
        found = []
        for _ in range(4):
            loss = call(*world.args)
            try:
                loss.backward()
                found.append("differentiated again")
            except RuntimeError as error:
                found.append(str(error))
            found.append(loss.requires_grad)
        return found
    same(run(True), run(False))


def test_data_and_results_are_let_go_of() -> None:
    """Nothing keeps what a call was given and what it gave; compiled steps themselves go."""
    world = regression()
    compiled = mt.compile(world.step)
    for _ in range(4):
        x = mt.randn(6, 4)
        loss = compiled(x, world.args[1])
        loss.item()
    gone = [weakref.ref(thing) for thing in (x, loss, x.node)]
    del x, loss
    compiled(*world.args).item()
    compiled(*world.args).item()
    gc.collect()
    assert [ref() for ref in gone] == [None] * len(gone)
    model = weakref.ref(world.model)
    del compiled, world
    gc.collect()
    assert model() is None


@pytest.mark.skipif(DEVICE != "cpu", reason="of arrays that NumPy allocates")
def test_memory_does_not_grow() -> None:
    import tracemalloc
    by_default()
    model = nn.Linear(64, 64)
    opt = SGD(model.parameters(), lr=0.01, momentum=0.9)

    @mt.compile
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        opt.step()
        return loss
    x = mt.randn(32, 64)
    for _ in range(5):
        step(x)
    tracemalloc.start()
    try:
        for _ in range(5):
            step(x)
        first, _ = tracemalloc.get_traced_memory()
        for _ in range(100):
            step(x)
        last, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last - first < 64 * 64 * 4
