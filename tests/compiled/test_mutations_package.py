"""The package's own objects, and what is asked of arguments, changed between calls: nothing is stale."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import nn
from microtrain.optim import SGD, Adam
from microtrain.optim.lr_scheduler import LRScheduler, StepLR
from tests.compiled.support import Mutations, World, data, regression
from tests.conftest import DEVICE

mutations = Mutations()


SGD_UPDATE, LINEAR_FORWARD = SGD._update, nn.Linear.forward


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    yield
    SGD._update, nn.Linear.forward = SGD_UPDATE, LINEAR_FORWARD


# ------------------------------------------------- the package's own objects
def told(read: Callable[[World], Any]) -> Callable[[], World]:
    """A step that reads something of an optimizer or a scheduler as a number."""
    def build() -> World:
        model = nn.Linear(4, 3)
        opt = Adam(model.parameters(), lr=0.05)
        scheduler = StepLR(opt, 2, 0.5)
        held = SimpleNamespace(model=model, opt=opt, scheduler=scheduler, generator=mt.Generator())

        def step(x: Any) -> Any:
            opt.zero_grad()
            loss = model(x).square().mean() * (1 + read(held))
            loss.backward()
            opt.step()
            return loss
        return World(step, mt.tensor(data(6, 4)), model=model, opt=opt, scheduler=scheduler)
    return build


@mutations(told(lambda held: held.opt.param_groups[0]["lr"]), refusable="")
def rate_read_by_the_step(w: Any) -> None:
    w.opt.param_groups[0]["lr"] = 0.5


@mutations(told(lambda held: held.opt.defaults["lr"]), refusable="")
def default_read_by_the_step(w: Any) -> None:
    w.opt.defaults["lr"] = 0.5


@mutations(told(lambda held: held.opt.state[held.model.weight].get("step", 0)), refusable="")
def count_read_by_the_step(w: Any) -> None:
    w.run()


@mutations(told(lambda held: held.scheduler.last_epoch), refusable="")
def epoch_read_by_the_step(w: Any) -> None:
    w.scheduler.step()


@mutations(told(lambda held: held.scheduler.get_last_lr()[0]), refusable="")
def last_rate_read_by_the_step(w: Any) -> None:
    w.scheduler.step()
    w.scheduler.step()


@mutations(told(lambda held: mt.initial_seed() % 7), refusable="")
def seed_read_by_the_step(w: Any) -> None:
    mt.manual_seed(3)


@mutations(told(lambda held: mt.rand(1, generator=held.generator)), quiet=True)
def generator_of_its_own(w: Any) -> None:
    w.run(2)


@mutations(told(lambda held: 0.5 if mt.is_grad_enabled() else 0.1), quiet=True)
def mode_read_by_the_step(w: Any) -> None:
    with mt.no_grad():
        w.run()


def scheduled_before() -> World:
    """The rate changes before the update, which a user's class of schedulers says how."""
    class Halving(LRScheduler):
        factor = 0.5

        def get_lr(self) -> list[Any]:
            return [base * self.factor ** self.last_epoch for base in self.base_lrs]
    model = nn.Linear(4, 3)
    opt = SGD(model.parameters(), lr=0.5)
    scheduler = Halving(opt)
    opt.step()

    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        scheduler.step()
        opt.step()
        return loss
    return World(step, mt.tensor(data(6, 4)), model=model, opt=opt, scheduler=scheduler)


@mutations(scheduled_before)
def schedule_of_a_users_class(w: Any) -> None:
    type(w.scheduler).factor = 0.7
    w.run(2)
    w.scheduler.factor = 0.8


@mutations(scheduled_before, refusable="changes")
def schedule_with_a_step_of_its_own(w: Any) -> None:
    w.scheduler.step = lambda: w.opt.param_groups[0].update(lr=0.01)


@mutations(scheduled_before)
def schedule_replaced(w: Any) -> None:
    w.set(scheduler=StepLR(w.opt, 1, 0.9))


def scheduled_and_by_hand() -> World:
    model = nn.Linear(4, 3)
    opt = SGD(model.parameters(), lr=0.5)
    scheduler = StepLR(opt, 2, 0.5)

    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        opt.step()
        scheduler.step()
        opt.param_groups[0]["lr"] *= 0.9
        return loss
    return World(step, mt.tensor(data(6, 4)), model=model, opt=opt)


@mutations(scheduled_and_by_hand, quiet=True, refusable="")
def rate_changed_by_the_step(w: Any) -> None:
    w.run(2)


@mutations()
def optimizer_with_a_step_in_the_object(w: Any) -> None:
    own = w.opt.step

    def halved() -> None:
        w.model.weight.grad.mul_(0.5)
        own()
    w.opt.step = halved


@mutations()
def optimizer_that_zeroes_nothing(w: Any) -> None:
    w.opt.zero_grad = lambda: None


def of_the_package() -> World:
    SGD._update, nn.Linear.forward = SGD_UPDATE, LINEAR_FORWARD
    return regression()


@mutations(of_the_package)
def optimizer_with_another_update(w: Any) -> None:
    SGD._update = lambda self, param, grad, group, state: (param - grad * 0.01, state)


@mutations(of_the_package)
def forward_of_the_packages_class(w: Any) -> None:
    nn.Linear.forward = lambda self, x: x @ self.weight.T


@mutations()
def rate_of_a_numpy_kind(w: Any) -> None:
    for rate in (np.float32(0.05), np.float32(0.5), np.float64(0.25), np.array(0.1)):
        w.opt.param_groups[0]["lr"] = rate
        w.run()


@mutations()
def rate_in_an_array(w: Any) -> None:
    w.opt.param_groups[0]["lr"] = rate = np.array(0.05)
    w.run(2)
    rate[...] = 0.5


@mutations(lambda: regression(Adam, lr=0.05))
def step_counter_of_another_kind(w: Any) -> None:
    for state in w.opt.state.values():
        state["step"] = 50.0
    w.run(2)
    w.opt.state[w.model.weight]["step"] = 3


@mutations()
def order_of_the_parameters(w: Any) -> None:
    w.opt.param_groups[0]["params"].reverse()
    w.run(2)
    w.opt.param_groups[0]["params"] = [w.model.weight]


# ------------------------------------------------- arguments
def named() -> World:
    w = mt.tensor(data(3), requires_grad=True)

    def step(held: Any = None, **more: Any) -> Any:
        found = list((held or more).values())
        loss = (found[0] * w).sum() - (found[1] * w * w).sum()
        w.grad = None
        loss.backward()
        with mt.no_grad():
            w.sub_(0.1 * w.grad)
        return loss
    world = World(step, w=w)
    world.kwargs = {"a": mt.ones(3), "b": mt.tensor(data(3, seed=3))}
    return world


@mutations(named)
def order_of_keywords(w: Any) -> None:
    w.kwargs = dict(reversed(w.kwargs.items()))


@mutations(named)
def order_of_an_argument_that_is_a_dict(w: Any) -> None:
    held, w.kwargs = w.kwargs, {}
    w.args = (held,)
    w.run(3)
    w.args = (dict(reversed(held.items())),)


def asking() -> World:
    """What an argument is, beside its values."""
    def step(x: Any, y: Any) -> Any:
        z = x * 2 if x.is_contiguous() else x * 3
        z = z + 1 if x is y else z
        z = z * 2 if x.requires_grad else z
        z = z * x.stride()[0]
        z = z + 5 if x.is_leaf else z
        return z.detach()
    return World(step, mt.tensor(data(4, 4)), mt.tensor(data(4, 4)))


@mutations(asking, refusable="")
def strides_of_an_argument(w: Any) -> None:
    x, y = w.args
    for args in ((x.T, y), (x[:, :], y), (x, x), (x.clone().requires_grad_(), y), (x.expand(2, 4, 4)[0], y),
                 (x.clone().requires_grad_() * 2, y), (mt.ones(4, 8)[:, ::2], y)):
        w.args = args
        w.run()


def labelled() -> World:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 3))
    opt = SGD(model.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss
    rng = np.random.default_rng(0)
    return World(step, mt.tensor(rng.integers(0, 7, (6, 3))), mt.tensor(rng.integers(0, 3, 6)), model=model, opt=opt)


@mutations(labelled)
def labels_of_which_one_is_ignored(w: Any) -> None:
    w.args = (w.args[0], mt.tensor([0, 1, -100, 2, -100, 0]))


def masked() -> World:
    def step(x: Any, mask: Any, places: Any) -> Any:
        return x[mask].sum(), x[places]
    return World(step, mt.tensor(data(6)), mt.tensor([True, False, True, False, True, False]), mt.tensor([0, 2, 4]))


@mutations(masked, refusable="")
def mask_of_another_count(w: Any) -> None:
    w.args = (w.args[0], mt.tensor([True] * 5 + [False]), w.args[2])


@mutations(masked, refusable="")
def places_that_there_are_not(w: Any) -> None:
    w.args = (*w.args[:2], mt.tensor([0, 2, 9]))


@mutations(masked, refusable="")
def mask_changed_in_place(w: Any) -> None:
    w.args[1].fill_(True)


def queued() -> World:
    held: queue.Queue[Any] = queue.Queue()
    held.put(mt.ones(3))

    def step(x: Any) -> Any:
        return x * held.queue[0]
    world = World(step, mt.tensor(data(3)))
    world.value = held
    return world


@mutations(queued, refusable="")
def tensor_in_an_object_of_a_library(w: Any) -> None:
    w.value.queue[0] = mt.ones(3) * 5
    w.run(2)
    w.value.queue[0].mul_(0.5)


test_mutation = mutations.test()


def probable() -> World:
    def step(x: Any, y: Any) -> Any:
        return nn.functional.binary_cross_entropy(x, y)
    return World(step, mt.tensor([0.1, 0.5, 0.7]), mt.tensor([0.0, 1.0, 1.0]))


@pytest.mark.skipif(DEVICE != "cpu", reason="a kernel does not look at its values, in a plain step either")
@pytest.mark.parametrize(("build", "place", "by", "error"), [
    (labelled, 1, 5, IndexError), (labelled, 0, 5, IndexError), (probable, 0, 3.0, RuntimeError)],
    ids=["label", "word", "probability"])
def test_values_that_a_program_refuses(build: Callable[[], World], place: int, by: float, error: type) -> None:
    """An error as after a plain call, there or where the loss is read; and with good values it goes on."""
    for compiled in (False, True):
        world = build()
        world.call = mt.compile(world.step) if compiled else world.step
        good = world.args
        for _ in range(3):
            world.call(*good).tolist()
        spoilt = (*good[:place], good[place] + by, *good[place + 1:])
        with pytest.raises(error, match=r"out of (bounds|range)|between 0 and 1"):
            world.call(*spoilt).tolist()


@pytest.mark.skipif(DEVICE != "cpu", reason="a kernel does not look at its indices")
def test_values_that_a_program_refuses_in_memory_that_a_compiled_step_changes() -> None:
    world = labelled()
    words = world.args[0]
    count, step = mt.compile(lambda: words.add_(1)), mt.compile(world.step)
    with pytest.raises(IndexError, match="out of range"):
        for _ in range(12):
            count()
            step(*world.args).tolist()
