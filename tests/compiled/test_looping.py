"""What `loop` takes, and what it says of what it does not take."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from tests.compiled.support import WITHIN, by_default, data, regression, same, seen

ROWS = 6


def test_a_step_without_arguments_is_looped() -> None:
    def run(looped: bool) -> Any:
        by_default()
        x, w = mt.tensor(data(4)), mt.tensor(data(4, seed=1), requires_grad=True)

        @mt.compile
        def step() -> Any:
            loss = (w * x - 1).square().sum()
            loss.backward()
            with mt.no_grad():
                w.sub_(0.01 * w.grad)
            w.grad = None
            return loss.detach()
        losses = step.loop(steps=9) if looped else mt.stack([step.function() for _ in range(9)])
        assert not looped or step.steps_alone == ""
        return seen((losses, w))
    same(run(True), run(False), within=WITHIN)


@pytest.mark.parametrize("error, says, arguments", [
    (TypeError, "must be a tensor or a tuple of tensors", {"data": [1.0, 2.0], "steps": 3}),
    (TypeError, "a tuple of tensors, the step's arguments, not float", {"data": 1.0, "steps": 3}),
    (ValueError, "give steps or epochs, one of them, not None and None", {}),
    (ValueError, "give steps or epochs, one of them, not 3 and 4", {"steps": 3, "epochs": 4}),
    (ValueError, "at least one step, not 0", {"steps": 0}),
    (ValueError, "at least one step, not -2", {"epochs": -2}),
    (TypeError, "argument 'steps' must be int, not float", {"steps": 2.5}),
    (TypeError, "argument 'epochs' must be int, not str", {"epochs": "2"}),
    (TypeError, "argument 'batch_size' must be int, not float", {"steps": 3, "batch_size": 2.0}),
    (TypeError, "a seed, an int (or None, for no shuffling), not bool",
     {"steps": 3, "batch_size": 2, "shuffle": False}),
    (TypeError, "argument 'shuffle' must be int, not str", {"steps": 3, "batch_size": 2, "shuffle": "yes"}),
    (TypeError, "argument 'progress' must be callable, not bool", {"steps": 3, "progress": True}),
    (ValueError, "shuffle goes with a batch_size", {"steps": 3, "shuffle": 0}),
    (ValueError, "from 1 to the number of rows, 6, not 7", {"steps": 3, "batch_size": 7}),
    (ValueError, "from 1 to the number of rows, 6, not 0", {"steps": 3, "batch_size": 0}),
    (ValueError, "batch_size goes with data", {"data": (), "steps": 3, "batch_size": 2}),
    (ValueError, "as many of each, not of shapes [6, 4], [5, 3]",
     {"data": (mt.ones(6, 4), mt.ones(5, 3)), "steps": 3, "batch_size": 2}),
])
def test_mistakes(error: type[Exception], says: str, arguments: dict[str, Any]) -> None:
    world = regression()
    before = world.seen()
    with pytest.raises(error, match=re.escape(says)):
        mt.compile(world.step).loop(**{"data": world.args, **arguments})
    same(world.seen(), before)


@pytest.mark.parametrize("gives, told", [(lambda loss: None, "NoneType"), (lambda loss: 0.5, "float"),
                                         (lambda loss: loss.reshape(1), "one of shape [1]"),
                                         (lambda loss: (loss, loss), "tuple")])
def test_a_step_has_to_return_its_loss(gives: Any, told: str) -> None:
    x = mt.tensor(data(ROWS))
    with pytest.raises(TypeError, match=re.escape(f"a tensor without axes, not {told}")):
        mt.compile(lambda x: gives(x.sum())).loop(x, steps=3)


def test_counts_may_be_numpys() -> None:
    world = regression()
    assert mt.compile(world.step).loop(world.args, np.int64(4), np.int32(2)).shape == (4,)


def test_what_changes_between_loops_is_seen() -> None:
    """Other data, as many rows or fewer; another rate; a layer that is frozen."""
    def run(looped: bool) -> Any:
        by_default()
        world = regression()
        step = mt.compile(world.step)
        losses: list[float] = []

        def go(steps: int) -> None:
            losses.extend(step.loop(world.args, steps=steps).tolist() if looped else
                          [world.step(*world.args).item() for _ in range(steps)])
        go(4)
        world.args = tuple(one * 0.5 for one in world.args)
        go(4)
        world.args = tuple(one[:3] for one in world.args)
        go(4)
        world.opt.param_groups[0]["lr"] = 0.01
        go(4)
        world.model.bias.requires_grad_(False)
        go(4)
        return seen(np.array(losses, "f4")), world.seen()
    same([*run(True)], [*run(False)], within=WITHIN)


@pytest.mark.parametrize("batches", [{}, {"batch_size": 2}])
def test_progress_may_run_another_loop_of_the_step(batches: dict[str, Any]) -> None:
    def run(nested: bool) -> Any:
        by_default()
        world = regression()
        compiled = mt.compile(world.step)
        other = tuple(one * 0.5 for one in world.args)

        def tell(done: int, total: int) -> None:
            if done == 1:
                compiled.loop(other, steps=4, **batches)
        if nested:
            losses = compiled.loop(world.args, steps=6, progress=tell, **batches)
        else:
            rows = [tuple(one[k % 3 * 2:k % 3 * 2 + 2] if batches else one for one in world.args) for k in range(6)]
            losses = [world.step(*rows[0]).detach()]
            for k in range(4):
                world.step(*[one[k % 3 * 2:k % 3 * 2 + 2] if batches else one for one in other])
            losses = mt.stack(losses + [world.step(*row).detach() for row in rows[1:]])
        return seen(losses), world.seen()["held"]
    same([*run(True)], [*run(False)], within=WITHIN)


def test_a_loop_in_a_compiled_step_is_refused() -> None:
    world = regression()
    inner = mt.compile(world.step)
    inner.loop(world.args, steps=3)
    before = world.seen()["held"]
    with pytest.raises(mt.CompileError, match=r"test_looping\.py:\d+: the compiled step runs a loop"):
        mt.compile(lambda x, y: inner.loop((x, y), steps=3).sum())(*world.args)
    same(world.seen()["held"], before)
