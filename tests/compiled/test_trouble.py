"""A loop that is interrupted, finds no memory or meets a loss that is not finite: what was trained is kept, no more and
no less, and it can go on from there."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import nn
from microtrain.compiled import loop as loops
from microtrain.compiled import running
from microtrain.compiled.looping import Batches
from microtrain.nn import functional as F
from microtrain.optim import Adam
from microtrain.optim.lr_scheduler import StepLR
from tests.compiled.support import by_default, same, seen, sums_in_one_order

ROWS, SIZE = 40, 4


class Run:
    """Adam with dropout and a schedule: numbers, counts, draws and a rate that each step changes on the host."""

    def __init__(self) -> None:
        by_default()
        rng = np.random.default_rng(0)
        model = self.model = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.2), nn.Linear(5, 1))
        opt = self.opt = Adam(model.parameters(), lr=0.01)
        scheduler = self.scheduler = StepLR(opt, 5, 0.9)
        self.data = tuple([mt.tensor(rng.standard_normal((ROWS, size)).astype("f4")) for size in (3, 1)])

        def step(x: Any, y: Any) -> Any:
            opt.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            opt.step()
            scheduler.step()
            return loss
        self.step = step
        self.compiled = mt.compile(step)

    def plainly(self, steps: int, first: int = 0) -> None:
        for index in Batches(ROWS, SIZE, 3).table(first, steps) if steps else ():
            self.step(*[one[mt.tensor(index)] for one in self.data])

    def looped(self, steps: int, **options: Any) -> Any:
        return self.compiled.loop(self.data, steps=steps, batch_size=SIZE, shuffle=3, **options)

    def state(self) -> Any:
        return seen([self.model, self.opt, self.scheduler, mt.get_rng_state()])


def after(steps: int) -> Any:
    """All that there is to see after so many plain steps."""
    run = Run()
    run.plainly(steps)
    return run.state()


@sums_in_one_order
def test_a_loop_that_progress_ends_keeps_the_steps_that_were_made() -> None:
    run, done = Run(), list[int]()

    def progress(made: int, of: int) -> None:
        assert of == 90
        done.append(made)
        if made > 20:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        run.looped(90, progress=progress)
    assert done == sorted(set(done)) and 20 < done[-1] < 90
    same(run.state(), after(done[-1]))


@sums_in_one_order
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no timers of signals")
@pytest.mark.parametrize("delay", [0.002, 0.01, 0.03])
def test_a_signal_leaves_whole_steps(delay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "FIRST", 3)
    run, done = Run(), [0]
    run.looped(4)                               # what is recorded and compiled is at hand

    class Heard(BaseException):         # as KeyboardInterrupt: Triton's interpreter has others in its own
        pass

    def hear(number: int, frame: object) -> None:
        raise Heard
    before = signal.signal(signal.SIGALRM, hear)
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        run.looped(10 ** 6, progress=lambda made, of: done.append(made))
    except Heard:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # It may come between the end of a chunk and its being told.
    count = run.opt.state[run.model[0].weight]["step"] - 4
    assert count >= done[-1]
    plain = Run()
    plain.plainly(4)
    plain.plainly(count)
    same(run.state(), plain.state())


@sums_in_one_order
def test_what_comes_when_all_is_left_undoes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "SECONDS", 60.0)         # many steps at once on any device
    run = Run()
    run.looped(4)

    @contextlib.contextmanager
    def interrupted(self: loops.Pace, steps: int) -> Iterator[None]:
        yield
        raise KeyboardInterrupt
    monkeypatch.setattr(loops.Pace, "timed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.looped(60)
    count = run.opt.state[run.model[0].weight]["step"] - 4
    assert count > 5, "the schedule has a step among them"
    plain = Run()
    plain.plainly(4)
    plain.plainly(count)
    same(run.state(), plain.state())


@pytest.mark.parametrize("looped", [False, pytest.param(True, marks=sums_in_one_order)])
def test_an_interrupt_while_others_are_told_of_a_change_comes_after_all_of_it(
        looped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    times = 2 if looped else 1
    rows = mt.tensor(Batches(ROWS, SIZE, None).table(0, 1)[0])

    def interrupted(compiled: bool) -> Any:
        run = Run()
        run.kept = run.model.state_dict()
        args = [one[rows] for one in run.data]
        for _ in range(2):
            run.step(*args)
        if not compiled:
            for _ in range(3 * times):
                run.step(*args)
            return run.state()
        step = (lambda: run.compiled.loop(args, steps=times)) if looped else (lambda: run.compiled(*args))
        step()
        step()
        fresh = running.fresh
        monkeypatch.setattr(running, "fresh", lambda node: signal.raise_signal(signal.SIGINT) or fresh(node))
        with pytest.raises(KeyboardInterrupt):
            step()
        if not looped:
            run.scheduler.step()                # a call of the user's own, after all else
        return run.state()
    same(interrupted(True), interrupted(False))


@sums_in_one_order
@pytest.mark.parametrize("error", [MemoryError, mt.OutOfMemoryError])
def test_a_chunk_that_finds_no_memory_has_changed_nothing(error: type[Exception],
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    run, made = Run(), [0]
    before: Callable[..., Any] = loops.StepLoop.runner

    def runner(self: Any, steps: int, *rest: Any) -> Any:
        def fail(values: list[Any]) -> Any:
            self.numbers(steps)
            raise error("no room")
        made[0] += 1
        return before(self, steps, *rest) if made[0] != 2 else fail
    monkeypatch.setattr(loops.StepLoop, "runner", runner)
    monkeypatch.setattr(loops.Pace, "timed", lambda self, steps: contextlib.nullcontext())
    done = [0]
    with pytest.raises(error, match="no room"):
        run.looped(90, progress=lambda count, of: done.append(count))
    same(run.state(), after(done[-1]))
    monkeypatch.undo()
    run.plainly(5, done[-1])
    same(run.state(), after(done[-1] + 5))


@pytest.mark.parametrize("bad", [0, 1, 7, 33])
def test_a_loss_that_is_not_finite_ends_the_loop_at_its_step(bad: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)).astype("f4"), rng.random((40, 1)).astype("f4")
    y[bad] = np.inf
    by_default()

    def made() -> tuple[Any, Any]:
        model = nn.Linear(3, 1)
        opt = Adam(model.parameters(), lr=0.01)

        def step(x: Any, y: Any) -> Any:
            opt.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            opt.step()
            return loss
        return model, step
    model, step = made()
    with pytest.raises(mt.NonFiniteLossError, match=rf"step {bad + 1}:") as told:
        mt.compile(step).loop((mt.tensor(x), mt.tensor(y)), steps=40, batch_size=1)
    assert told.value.step == bad + 1 and len(told.value.losses) == bad + 1
    by_default()
    plain, step = made()
    losses = [step(mt.tensor(x[k:k + 1]), mt.tensor(y[k:k + 1])) for k in range(bad + 1)]
    same(seen(model), seen(plain))
    same(seen(told.value.losses), seen(mt.stack(losses).detach()))
