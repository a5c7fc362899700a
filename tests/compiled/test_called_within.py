"""A compiled function where it is used: in another one that is compiled, in the place of a model, in a trainer that is
copied or counts, with many shapes."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import microtrain as mt
from microtrain import nn
from microtrain.compiled import function
from tests.compiled.support import WITHIN, by_default, data, entries, regression, same, seen


@pytest.mark.parametrize("calls", [0, 1, 3])
def test_a_compiled_step_that_calls_one(calls: int) -> None:
    """However often that was replayed before."""
    def run(compiled: bool) -> Any:
        by_default()
        w = regression()
        inner = mt.compile(w.step) if compiled else w.step

        def outer(x: Any, y: Any) -> Any:
            return inner(x, y).detach() * 2
        losses = [inner(*w.args).detach() for _ in range(calls)]
        if compiled:
            step = mt.compile(outer)
            losses += [step(*w.args) for _ in range(3)] + [*step.loop(w.args, steps=4)]
        else:
            losses += [outer(*w.args) for _ in range(7)]
        losses.append(inner(*w.args).detach())
        return [seen(loss)["value"] for loss in losses], w.seen()["held"]
    same([*run(True)], [*run(False)], within=WITHIN)


def test_a_compiled_model_is_the_model() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    compiled: Any = mt.compile(model)
    assert [*compiled.parameters()] == [*model.parameters()]
    compiled.eval()
    assert not model.training and not compiled.training
    with mt.no_grad():
        x = mt.tensor(data(2, 4))
        for _ in range(3):
            same(seen(compiled(x)), seen(model(x)))
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = compiled.no_such_thing


def test_what_a_function_has_hides_nothing() -> None:
    class Step:
        loop = None

        def __init__(self) -> None:
            self.lines = self.explain = "another"

        def __call__(self, x: Any) -> Any:
            return (2 * x).sum()
    compiled = mt.compile(Step())
    assert compiled.loop(mt.ones(2), steps=3).tolist() == [4, 4, 4]
    assert "replayed" in compiled.explain()


class Trainer:
    """With a step that is compiled."""

    def __init__(self) -> None:
        self.model = nn.Linear(4, 3)
        self.step = mt.compile(self.plain)

    def plain(self, x: Any) -> Any:
        with mt.no_grad():
            self.model.weight.mul_(0.5)
            return self.model(x)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda trainer: pickle.loads(pickle.dumps(trainer))])
def test_a_copy_trains_the_copy(copied: Any) -> None:
    by_default()
    trainer, x = Trainer(), mt.tensor(data(2, 4))
    for _ in range(3):
        trainer.step(x)
    other, before = copied(trainer), seen(trainer.model)
    for _ in range(3):
        other.step(x)
    same(seen(trainer.model), before)
    same(seen(other.model.weight)["value"], seen(trainer.model.weight * 0.125)["value"])


class Counting:
    """What the step of a trainer leads to, and never uses, is another in each call."""

    def __init__(self) -> None:
        self.model, self.epoch, self.history = nn.Linear(4, 3), 0, list[float]()

    def step(self, x: Any, number: float) -> Any:
        return (self.model(x) * number).sum().detach()


@pytest.mark.parametrize("change, what", [
    (lambda trainer, k: trainer.history.append(0.5), r"\.history"),
    (lambda trainer, k: setattr(trainer, "epoch", k), r"\.epoch"),
    (lambda trainer, k: k + 0.5, "argument 1")])
def test_a_step_that_is_never_met_again_is_run_as_it_is(monkeypatch: pytest.MonkeyPatch, change: Any,
                                                        what: str) -> None:
    monkeypatch.setattr(function, "MAX_RECORDINGS", 6)
    trainer, x = Counting(), mt.tensor(data(2, 4))
    compiled = mt.compile(trainer.step)

    def go(calls: int) -> int:
        def run() -> None:
            for _ in range(calls):
                number = change(trainer, compiled.calls) or 1.0
                same(seen(compiled(x, number))["value"], seen(trainer.model(x).mul(number).sum())["value"])
        return entries(Counting.step.__code__, run)
    with pytest.warns(UserWarning, match=what + r" is another each time\)\. Hand it over") as told:
        go(8)
    assert told[0].filename == __file__
    assert go(4) == 4


def test_many_shapes_in_turn_are_replayed() -> None:
    x = mt.tensor(data(40, 4))
    step = Counting().step
    compiled = mt.compile(step)
    for rows in range(1, 41):
        compiled(x[:rows], 1.0)
    for _ in range(4):
        compiled(x, 1.0)

    def run() -> None:
        for rows in range(1, 41):
            compiled(x[:rows], 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "anew", None)
        assert entries(Counting.step.__code__, run) == 0


def test_a_loop_of_many_steps_is_no_call_that_is_never_met_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "MAX_RECORDINGS", 4)
    world = regression()
    trainer = Counting()
    compiled = mt.compile(lambda x, y: world.step(x, y).detach() * (1.0 if trainer.model else 0.0))
    for epoch in range(8):
        trainer.epoch = epoch
        compiled.loop(world.args, steps=20)
        assert compiled.last_loop.startswith(f"20 steps, {2 if epoch == 0 else 1} of them one by one")
