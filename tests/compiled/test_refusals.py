"""What a replay could not do again is refused, at the line that does it, and nothing is half done; or it is run as
it is, with a warning."""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import logging
import operator
import random
import time
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from tests.compiled import effects, refused
from tests.compiled.effects import QUIETLY, Own, OwnWithIterators
from tests.compiled.refused import REFUSED
from tests.compiled.support import World, by_default, regression, same, seen


def world_of(function: Callable[..., Any]) -> World:
    by_default()
    np.random.seed(0)
    random.seed(0)
    refused.COUNT = effects.COUNT = 0
    refused.LOG.clear()
    w = regression()
    train = w.step
    own = OwnWithIterators() if "next_of" in function.__name__ else Own()
    held = SimpleNamespace(model=w.model, opt=w.opt)

    def step(x: Any, y: Any) -> Any:
        return function(train, held, x, y, own)
    world = World(step, *w.args, model=w.model, opt=w.opt)
    world.own = own
    return world


def state(world: World) -> Any:
    """What a refused call must not have changed."""
    own = {name: seen(value) for name, value in vars(world.own).items()
           if name in ("losses", "entries", "count", "mean", "members", "rates", "array")}
    return [world.seen()["held"], world.seen()["random"], own, len(refused.LOG), refused.COUNT]


def place_of(function: Callable[..., Any]) -> str:
    """The line that is at fault, as a pattern."""
    lines, first = inspect.getsourcelines(function)
    exact = [str(first + k) for k, line in enumerate(lines) if "# refused" in line]
    return rf"refused\.py:{exact[0] if exact else '[0-9]+'}\b"


@pytest.fixture(autouse=True)
def put_back_after() -> Any:
    yield
    by_default()


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    world = world_of(REFUSED[name])
    before = state(world)
    compiled = mt.compile(world.step)
    for _ in range(2):
        with pytest.raises(mt.CompileError, match=place_of(REFUSED[name])):
            compiled(*world.args)
        same(state(world), before)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", sorted({*REFUSED} - {"clock", "date", "secret", "unique_name", "input_asked_for"}))
def test_run_as_it_is_with_a_warning(name: str) -> None:
    """If that is asked for: what cannot be replayed has its effects, once a call."""
    logging.getLogger("a step").addHandler(logging.NullHandler())
    plain = world_of(REFUSED[name])
    plain.run(3)
    want = [plain.seen(), state(plain)]
    world = world_of(REFUSED[name])
    world.call = mt.compile(world.step, fallback=True)
    with pytest.warns(UserWarning, match=r"refused\.py:\d+"):
        world.run(1)
    world.run(2)
    same([world.seen(), state(world)], want)


@pytest.mark.parametrize("name", QUIETLY)
def test_done_or_refused(name: str) -> None:
    """A step whose effects are elsewhere has them, as a plain one has, or is refused, or run as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = world_of(QUIETLY[name])
        plain.run(5)
        want = [plain.seen(), effect(plain)]
        world = world_of(QUIETLY[name])
        world.call = mt.compile(world.step)
        with contextlib.suppress(mt.CompileError):
            world.run(5)
            same([world.seen(), effect(world)], want)


@pytest.mark.parametrize("clock", [
    time.perf_counter_ns, functools.partial(time.perf_counter_ns),
    lambda: next(map(operator.call, [time.perf_counter_ns]))], ids=["function", "partial", "map"])
def test_no_clock_stands_still(clock: Callable[[], int]) -> None:
    compiled = mt.compile(lambda: mt.tensor(clock() % 2 ** 40))
    with contextlib.suppress(mt.CompileError):
        times = [compiled().item() for _ in range(5)]
        assert len(set(times)) == 5


def effect(world: World) -> Any:
    own = {name: len(value) if name in ("deque", "user_list", "numbers", "losses") else value.qsize()
           if name == "queue" else vars(value) if name in ("namespace", "history") else list(value)
           if name in ("bytes", "counter") else value for name, value in vars(world.own).items()
           if name not in ("append", "random", "rng", "cached", "seen", "kind")}
    return [seen(own), effects.COUNT, mt.get_default_dtype(), mt.is_grad_enabled(),
            getattr(world.model.weight, "count", None), seen(getattr(world.model, "last", None))]


def test_a_step_is_recorded_again_once_what_was_refused_is_gone() -> None:
    plain = world_of(chosen_or_not)
    plain.run(3)
    want = plain.seen()
    world = world_of(chosen_or_not)
    world.call = mt.compile(world.step)
    world.own.count = 1
    with pytest.raises(mt.CompileError):
        world.call(*world.args)
    world.own.count = 0
    world.run(3)
    same(world.seen(), want)


def chosen_or_not(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    if own.count:
        loss.item()
    return loss


def test_an_error_of_the_step_is_the_steps() -> None:
    """And what was done before it stays done, as after a plain call."""
    def failing(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
        loss = train(x, y)
        if own.count:
            raise ValueError("no more")
        return loss
    worlds = [world_of(failing), world_of(failing)]
    worlds[0].call = mt.compile(worlds[0].step)
    for world in worlds:
        world.run(3)
        world.own.count = 1
        world.run(2)
        world.own.count = 0
        world.run(2)
    assert "no more" in worlds[0].results[3]
    same(worlds[0].seen(), worlds[1].seen())


def test_the_message_says_what_to_write_instead() -> None:
    world = world_of(refused.as_list)
    with pytest.raises(mt.CompileError) as caught:
        mt.compile(world.step)(*world.args)
    assert isinstance(caught.value, RuntimeError)
    assert len(str(caught.value).splitlines()) <= 3
    assert "return" in str(caught.value) or "outside" in str(caught.value)


def test_the_clock_of_who_watches_the_garbage_collector_is_none_of_the_steps() -> None:
    world, times = regression(), list[float]()

    def told(phase: str, info: dict[str, int]) -> None:
        times.append(time.perf_counter())

    def step(x: Any, y: Any) -> Any:
        gc.collect()
        return world.step(x, y)
    compiled = mt.compile(step)
    gc.callbacks.append(told)
    try:
        compiled(*world.args)
    finally:
        gc.callbacks.remove(told)
    assert times


def test_an_optimizer_that_nothing_leads_to_makes_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a place of the package's, which is not looked into."""
    def run(compiled: bool) -> Any:
        by_default()
        w = regression()
        model, opt = w.model, w.opt
        monkeypatch.setattr(mt, "an_optimizer", opt, raising=False)

        def step(x: Any, y: Any) -> Any:
            model.zero_grad()
            loss = mt.nn.functional.mse_loss(model(x), y)
            loss.backward()
            mt.an_optimizer.step()                                      # type: ignore[attr-defined]
            return loss
        call = mt.compile(step) if compiled else step
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            losses = [call(*w.args).item() for _ in range(4)]
        assert any("steps an optimizer that" in str(one.message) for one in said) == compiled
        return losses, seen(model)
    same([*run(True)], [*run(False)])
