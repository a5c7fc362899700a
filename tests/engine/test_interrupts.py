"""Interrupts and failures anywhere: what is left trains on, a step is taken whole or not at all, nothing is lost."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import nn, optim
from microtrain.engine import run
from microtrain.errors import OutOfMemoryError
from microtrain.runtime import kernel_backend
from tests.conftest import DEVICE
from tests.stress.interrupts import (
    ERRORS,
    SCENARIOS,
    STEPS,
    Injector,
    Reference,
    Training,
    check,
    quiet,
    spread,
    works_of,
)

pytestmark = pytest.mark.usefixtures("nothing_pending")
on_cpu = pytest.mark.skipif(DEVICE != "cpu", reason="many training steps: on the cpu device alone")
on_triton = pytest.mark.skipif(DEVICE == "cpu", reason="the cpu device launches no kernels")
SAMPLE = 4


WORK = {**{f"an interrupt in {name}": lambda name=name: works_of(name, SAMPLE, seed=SCENARIOS.index(name))
           for name in SCENARIOS},
        **{f"a {error.__name__}": lambda error=error: works_of("sgd saves", SAMPLE, 1, error=ERRORS[error.__name__])
           for error in (MemoryError, RuntimeError)},
        "a timer": lambda: [*works_of("sgd saves", 20, 0, signals=True), *works_of("adam", 20, 0, signals=True)]}


@on_cpu
@pytest.mark.parametrize("what", WORK)
def test_training_goes_on_after_it_came_at_any_point(what: str) -> None:
    for work in WORK[what]():
        work()


def interrupted(k: int | None, call: Any) -> Injector:
    """The call, interrupted at its k-th point."""
    injector = Injector(k)
    with suppress(KeyboardInterrupt), injector:
        call()
    return injector


def interrupted_in_step(k: int | None) -> tuple[Training, Injector]:
    """A training interrupted at the k-th point of its second step's `optimizer.step()`."""
    training = Training("adam")
    training.step()
    training.optimizer.zero_grad()
    mt.nn.functional.mse_loss(training.model(training.x), training.y).backward()
    return training, interrupted(k, training.optimizer.step)


@on_cpu
def test_an_optimizers_step_is_taken_whole_or_not_at_all() -> None:
    """The points inside `step`, of which a sample of whole trainings meets few; most of its end."""
    reference, taken = Reference("adam"), []
    count = interrupted_in_step(None)[1].count
    for k in sorted({*spread(12, count, 0), *range(count - 36, count + 1, 2)}):
        with quiet() as said:
            training, _ = interrupted_in_step(k)
            taken.append(check(training, reference, said))
    assert taken == sorted(taken) and set(taken) == {1, 2}


@on_cpu
def test_the_check_finds_a_step_that_is_half_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtrain.optim.optimizer.finish", lambda function, *arguments: function(*arguments))
    reference, wrong = Reference("adam"), 0
    count = interrupted_in_step(None)[1].count
    for k in range(count - 30, count + 1, 3):
        try:
            reference.steps_of(interrupted_in_step(k)[0].state())
        except AssertionError:
            wrong += 1
    assert wrong


@on_cpu
def test_a_grad_mode_ends_with_its_block() -> None:
    def block() -> None:
        with mt.no_grad(), mt.enable_grad(), mt.set_grad_enabled(False):
            pass

    Training.step, step = staticmethod(block), Training.step        # type: ignore[assignment, method-assign]
    try:
        with Injector(None) as injector:
            block()
        for k in range(1, injector.count + 1):
            with pytest.raises(KeyboardInterrupt), Injector(k):
                block()
            assert mt.is_grad_enabled(), k
    finally:
        Training.step = step                                        # type: ignore[method-assign]


MADE = {
    "backward with retained gradients": """
        x, y = leaf(), leaf(); h = x * 2; h.retain_grad(); k = h * y; k.retain_grad(); loss = (k * 3).sum()
        loss.backward(retain_graph=True); h.grad = None
        change = loss.backward; seen = lambda: [x.grad, y.grad, h.grad, k.grad]""",
    "backward to inputs": """
        x, y = leaf(), leaf(); h = x * 2; h.retain_grad(); loss = (h * y).sum()
        change = lambda: loss.backward(inputs=[h, y]); seen = lambda: [x.grad, y.grad, h.grad]""",
    "backward to a leaf at two places": """
        x = leaf(); y = (x * 2).sum(); x.data = mt.ones(2, dtype=mt.float64); y = y + (x * 3).sum()
        change = y.backward; seen = lambda: [x.grad]""",
    "a step of parameters that overlap": """
        x = mt.zeros(4); p, q = nn.Parameter(x[:2]), nn.Parameter(x[1:3]); p.grad = q.grad = mt.ones(2)
        o = optim.SGD([p, q], lr=1.0); change = o.step; seen = lambda: [x, p, q]""",
    "running statistics": """
        model = nn.BatchNorm1d(2); change = lambda: model(mt.tensor([[1.0, 2.0], [4.0, 7.0]]))
        seen = lambda: list(model.buffers())""",
    "data of another dtype": """
        p = nn.Parameter(mt.ones(2)); change = lambda: setattr(p, "data", mt.zeros(2, dtype=mt.float64))
        seen = lambda: [p, str(p.dtype), p.requires_grad, p.is_leaf]""",
    "a change of shared memory": """
        x = mt.arange(6.0); v = x[2:4]; d = x.detach(); w = d[1:]; e = x[:2].expand(3, 2)
        change = lambda: w.add_(3); seen = lambda: [x, v, d, w, e]""",
    "filling what was expanded": """
        x = mt.zeros(2); y = x.expand(3, 2); change = lambda: y.fill_(3); seen = lambda: [x, y]""",
    **{f"{change} of a module": f"""
        model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)); model(mt.ones(4, 2)).sum().backward()
        other = {{name: value + 1 for name, value in model.state_dict().items()}}
        change = lambda: model.{change}
        seen = lambda: [*model.buffers(), [(v.tolist(), str(v.dtype)) for p in model.parameters() for v in (p, p.grad)
                                           if v is not None]]"""
       for change in ("load_state_dict(other)", "double()", "zero_grad()")},
    "a scheduler's step": """
        groups = [{"params": [nn.Parameter(mt.ones(1))], "lr": lr} for lr in (1.0, mt.tensor(0.5))]
        o = optim.SGD(groups); s = optim.lr_scheduler.StepLR(o, 1); o.step(); change = s.step
        seen = lambda: [s.last_epoch, [float(g["lr"]) for g in o.param_groups], *map(float, s.get_last_lr())]""",
    **{f"{switch} of a module": f"""
        model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 2)); change = lambda: model.{switch}(False)
        seen = lambda: [m.training for m in model.modules()] + [p.requires_grad for p in model.parameters()]"""
       for switch in ("train", "requires_grad_")},
    **{f"gradients in {memory} memory": f"""
        a, b, flat = leaf(), leaf(), mt.zeros(4); a.grad, b.grad = flat[:2], {part}
        change = (a * 2 + b * 3).sum().backward; seen = lambda: [flat, a.grad, b.grad]"""
       for memory, part in (("one", "flat[2:]"), ("the same", "flat[:2]"))},
    "reading views of what was changed": """
        p = mt.arange(6.0, requires_grad=True); x = p * 1; v = x[2:4]; d = x.detach()[1:]; v.retain_grad(); v.mul_(3)
        change = lambda: [d.tolist(), (v * 2).tolist(), x.tolist()]; seen = lambda: [x, v, d]""",
}


@on_cpu
@pytest.mark.parametrize("what", MADE)
def test_what_has_several_parts_is_changed_whole_or_not_at_all(what: str) -> None:
    def made() -> dict[str, Any]:
        mt.manual_seed(0)
        space = {"mt": mt, "nn": nn, "optim": optim, "leaf": lambda: mt.ones(2, requires_grad=True)}
        exec("\n".join(line.strip() for line in MADE[what].strip().splitlines()), space)
        return space

    def seen(space: dict[str, Any]) -> list[Any]:
        return [part.tolist() if isinstance(part, mt.Tensor) else part for part in space["seen"]()]

    before, space = seen(made()), made()
    count = interrupted(None, space["change"]).count
    after = seen(space)
    assert before != after or "filling" in what or "reading" in what
    for k in spread(60, count, 0):
        space = made()
        with quiet() as said:
            injector = interrupted(k, space["change"])
        assert seen(space) in (before, after) and not said and mt.is_grad_enabled(), injector.where


@on_cpu
def test_what_was_pending_when_an_interrupt_came_is_computed_when_it_is_read() -> None:
    def graph() -> list[mt.Tensor]:
        x = mt.tensor([1.0, 2.0])
        return [x * 2, (x + 1).exp().log(), (x * 3).sum()]

    with Injector(None) as injector:
        graph()[0].tolist()
    for k in spread(40, injector.count, 0):
        values: list[mt.Tensor] = []
        with suppress(KeyboardInterrupt), Injector(k):
            values = graph()
            values[0].tolist()
        for value, wanted in zip(values, ([2, 4], [2, 3], 9), strict=bool(values)):
            np.testing.assert_allclose(value.tolist(), wanted, rtol=1e-6)
            assert value.node.buffer is not None


def test_an_error_in_a_value_that_nobody_asked_for_is_raised_when_it_is_read() -> None:
    if DEVICE != "cpu":
        pytest.skip("on a GPU integers are divided by zero without a word")
    bad, good = mt.tensor([1]) // mt.tensor([0]), mt.tensor([1.0]) + 1
    assert good.tolist() == [2]
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"(?i)zero"):
            bad.tolist()
    assert (mt.tensor([2.0]) + 1).tolist() == [3]


@on_cpu
def test_where_all_does_not_fit_memory_values_are_computed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compute, sizes = run.compute, []

    def short(roots: Any, device: Any) -> None:
        sizes.append(len(roots))
        if len(roots) > 1:
            raise MemoryError("no room for so much")
        compute(roots, device)

    x = mt.tensor([1.0, 2.0])
    values = [x * n for n in range(2, 5)]
    monkeypatch.setattr(run, "compute", short)
    assert values[0].tolist() == [2, 4]
    assert sizes == [3, 1, 1, 1] and all(value.node.buffer is not None for value in values)


@on_triton
@pytest.mark.parametrize("error", [OutOfMemoryError, KeyboardInterrupt])
def test_training_goes_on_where_memory_cannot_be_had(
        monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    device = mt.ones(1).device
    backend: Any = kernel_backend(device.type, device.index)
    reference = Reference("sgd")
    allocate = backend.allocate
    for k in (0, 1, 4, 7, 11, 14):
        training, left = Training("sgd"), [k]

        def limited(*arguments: Any, left: list[int] = left) -> Any:
            left[0] -= 1
            if left[0] == -1:
                raise error("no room")
            return allocate(*arguments)

        monkeypatch.setattr(backend, "allocate", limited)
        with suppress(error):
            for _ in range(STEPS):
                training.step()
                training.optimizer.state_dict()
                [p.tolist() for p in training.model.parameters()]
        monkeypatch.undo()
        with quiet() as said:
            check(training, reference, said)


HALF_MADE = {
    "tensor": lambda: mt.Tensor.__new__(mt.Tensor),
    "module": lambda: nn.Linear.__new__(nn.Linear),
    "optimizer": lambda: mt.optim.SGD.__new__(mt.optim.SGD),
    "optimizer of nothing": lambda: mt.optim.SGD([], lr=0.1),
    "tensor whose making fails": lambda: type("Unfinished", (mt.Tensor,), {"__init__": lambda *_: int("no")})([1.0]),
    "function": lambda: mt.autograd.Function.__new__(mt.autograd.Function),
    "generator": lambda: next(inside()),
}


def inside() -> Iterator[Any]:
    with mt.no_grad():
        yield mt.ones(2) * 2


def aliases(recorded: bool) -> list[Any]:
    """A tensor, views and detached aliases of it."""
    x = mt.ones(4, requires_grad=recorded) * 2
    x.retain_grad() if recorded else None
    return [x, x[:2], x.detach(), x.detach()[1:3], x[:2].view(2, 1), x.data]


@pytest.mark.parametrize("recorded", [False, True], ids=["", "recorded"])
def test_a_change_in_place_reaches_all_that_share_the_memory_or_none(recorded: bool) -> None:
    def change(k: int | None) -> tuple[list[Any], int]:
        shared = aliases(recorded)
        injector = interrupted(k, lambda: shared[1].mul_(3))
        x = shared[0]
        assert mt.is_grad_enabled()
        if recorded:
            (x * x).sum().backward()
        return [value.tolist() for value in [*shared, *([x.grad] if recorded else [])]], injector.count

    after, count = change(None)
    before = [value.tolist() for value in [*aliases(False), *([mt.full((4,), 4.0)] if recorded else [])]]
    seen = [change(k)[0] for k in spread(count // 2 if DEVICE == "cpu" else 5, count, 0)]
    assert all(one in (before, after) for one in seen)
    assert DEVICE != "cpu" or (before in seen and after in seen)


@pytest.mark.parametrize("make", HALF_MADE.values(), ids=HALF_MADE)
def test_what_is_half_made_goes_quietly(make: Any) -> None:
    with quiet() as said:
        with suppress(ValueError, TypeError, RuntimeError):
            make()
        gc.collect()
    assert not said


@on_cpu
def test_a_process_ends_quietly() -> None:
    program = """
import microtrain as mt, threading
model = mt.nn.Linear(2, 1)
kept = model(mt.ones(3, 2)), model.weight.detach(), mt.no_grad()
kept[0].sum().backward()
def left():
    with mt.no_grad():
        yield model(mt.ones(1, 2))
generator = left(); next(generator)
me = mt.ones(2) * 2; me.me = me
kept[2].__enter__()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
