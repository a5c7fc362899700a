"""A compiled function among others: called by another one that is compiled, in the place of a model, copied."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import microtrain as mt
from microtrain import nn
from tests.compiled.support import by_default, data, regression, same, seen


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
    same([*run(True)], [*run(False)])


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
