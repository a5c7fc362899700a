"""Learning-rate schedulers against PyTorch's: rates, resuming by epoch and by state, what is saved, and what warns."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch

import microtrain as mt
from microtrain.optim import lr_scheduler

BOTH = pytest.mark.parametrize("T", [mt, torch], ids=["microtrain", "torch"])
SCHEDULES: dict[str, Any] = {
    "step": lambda T, o, **k: T.optim.lr_scheduler.StepLR(o, 4, 0.5, **k),
    "cosine": lambda T, o, **k: T.optim.lr_scheduler.CosineAnnealingLR(o, 7, 0.01, **k),
    "lambda": lambda T, o, **k: T.optim.lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch, **k),
    "lambdas": lambda T, o, **k: T.optim.lr_scheduler.LambdaLR(
        o, [lambda epoch: 0.9**epoch, lambda epoch: 1 / (epoch + 1)], **k),
}


def after_a_step(make: Any) -> Any:
    """The optimizer has stepped once when the scheduler does: PyTorch's asks for a step after it was made."""
    def made(*args: Any, **options: Any) -> Any:
        scheduler = make(*args, **options)
        scheduler.optimizer.step()
        return scheduler
    return made


EVERY = pytest.mark.parametrize("make", [after_a_step(make) for make in SCHEDULES.values()], ids=SCHEDULES.keys())


def optimizer(T: Any, lr: Any = 1.0) -> Any:
    def parameter() -> Any:
        return T.nn.Parameter(T.zeros(1))

    return T.optim.SGD([{"params": [parameter()]}, {"params": [parameter()], "lr": 0.3}], lr=lr)


def rates(scheduler: Any, epochs: int) -> list[Any]:
    """The groups' rates over some epochs, as told and as set."""
    found = []
    for _ in range(epochs):
        found.append((scheduler.last_epoch, scheduler.get_last_lr(),
                      [(group["lr"], group["initial_lr"]) for group in scheduler.optimizer.param_groups]))
        scheduler.step()
    return found


def alike(run: Any) -> Any:
    """What is found in both packages, which is the same."""
    ours, theirs = run(mt), run(torch)
    assert ours == theirs
    return ours


@EVERY
def test_rates_of_fifty_epochs(make: Any) -> None:
    found = alike(lambda T: rates(make(T, optimizer(T)), 50))
    assert len({tuple(told) for _, told, _ in found}) > 5           # and they change


@EVERY
@pytest.mark.parametrize("before", [0, 1], ids=["the last epoch", "the epoch before"])
def test_resumed_after_each_of_fifty(make: Any, before: int) -> None:
    def run(T: Any) -> Any:
        trained, seen = optimizer(T), []
        scheduler = make(T, trained)
        for _ in range(50):
            trained.step()
            scheduler.step()
            other = optimizer(T)
            other.load_state_dict(copy.deepcopy(trained.state_dict()))
            by_epoch = make(T, other, last_epoch=scheduler.last_epoch - before)
            by_state = make(T, optimizer(T))
            by_state.load_state_dict(pickle.loads(pickle.dumps(scheduler.state_dict())))
            seen.append((rates(by_epoch, 3), by_state.get_last_lr(), rates(by_state, 2)))
        return seen, sorted(scheduler.state_dict())

    alike(run)


@EVERY
def test_a_given_epoch_takes_the_closed_form(make: Any) -> None:
    def run(T: Any) -> Any:
        scheduler, seen = make(T, optimizer(T)), []
        for epoch in (3, 9, 0, 30):
            with pytest.warns(UserWarning, match=r"epoch parameter in `scheduler.step\(\)` was not necessary"):
                scheduler.step(epoch)
            seen.append((scheduler.last_epoch, scheduler.get_last_lr()))
        return seen, rates(scheduler, 3)

    alike(run)


@EVERY
@BOTH
def test_a_rate_that_is_a_tensor_is_changed_in_place(T: Any, make: Any) -> None:
    lr = T.tensor(0.5)
    scheduler = make(T, optimizer(T, lr))
    plain = make(T, optimizer(T, 0.5))
    for _ in range(12):
        scheduler.step()
        plain.step()
        assert scheduler.optimizer.param_groups[0]["lr"] is lr
        assert lr.item() == pytest.approx(plain.get_last_lr()[0], rel=1e-4)
    assert scheduler.base_lrs[0].item() == 0.5 and scheduler.get_last_lr()[0] is not lr


class Decay:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, epoch: int) -> float:
        return self.factor**epoch


@BOTH
def test_functions_are_not_saved_and_callable_objects_are_by_their_attributes(T: Any) -> None:
    make = after_a_step(T.optim.lr_scheduler.LambdaLR)
    first = make(optimizer(T), [lambda epoch: 0.5**epoch, Decay(0.5)])
    first.step()
    saved = first.state_dict()
    assert saved["lr_lambdas"] == [None, {"factor": 0.5}] and "optimizer" not in saved
    second = make(optimizer(T), [lambda epoch: 0.1**epoch, Decay(0.1)])
    second.load_state_dict(pickle.loads(pickle.dumps(saved)))
    second.step()
    assert second.get_last_lr() == pytest.approx([0.01, 0.3 * 0.25]) and second.last_epoch == 2


def test_a_state_of_another_number_of_functions_changes_nothing() -> None:
    first = after_a_step(lr_scheduler.LambdaLR)(optimizer(mt), abs)
    second = lr_scheduler.LambdaLR(mt.optim.SGD([mt.nn.Parameter(mt.zeros(1))], lr=1.0), abs)
    first.step()
    with pytest.raises(ValueError, match="Expected 1 lr_lambdas, but got 2"):
        second.load_state_dict(first.state_dict())
    assert second.last_epoch == 0


@BOTH
def test_resuming_without_the_first_rate(T: Any) -> None:
    made = optimizer(T)
    with pytest.raises(KeyError, match=r"param 'initial_lr' is not specified in param_groups\[0\] when resuming"):
        T.optim.lr_scheduler.StepLR(made, 1, last_epoch=3)
    assert made.param_groups[0]["lr"] == 1.0


@BOTH
def test_the_scheduler_before_the_optimizer_warns(T: Any) -> None:
    made = T.optim.SGD([T.nn.Parameter(T.zeros(1))], lr=1.0)
    scheduler = T.optim.lr_scheduler.StepLR(made, 2)
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        scheduler.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()                # once is enough
    made = optimizer(T)
    scheduler = T.optim.lr_scheduler.StepLR(made, 2)
    step = made.step
    made.step = lambda: step()          # somebody's own, of which the scheduler cannot know whether it is called
    made.step()
    with pytest.warns(UserWarning, match=r"`optimizer.step\(\)` has been overridden .*#how-to-adjust-learning-rate"):
        scheduler.step()
    assert not any(callable(value) for value in scheduler.state_dict().values())
    late = T.optim.lr_scheduler.StepLR(optimizer(T), 2)
    late.optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        late.step()


@BOTH
def test_a_step_of_the_users_own_counts(T: Any) -> None:
    class Own(T.optim.Optimizer):       # type: ignore[misc, name-defined]
        def step(self, closure: Any = None) -> Any:
            return "stepped"

    made = Own([T.nn.Parameter(T.zeros(1))], {"lr": 1.0})
    scheduler = T.optim.lr_scheduler.StepLR(made, 2)
    assert made.step() == "stepped"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()


@BOTH
def test_asking_for_the_next_rate_by_hand_warns(T: Any) -> None:
    scheduler = T.optim.lr_scheduler.StepLR(optimizer(T), 2)
    with pytest.warns(UserWarning, match=r"please use `get_last_lr\(\)`"):
        scheduler.get_lr()


@EVERY
def test_a_scheduler_is_copied_with_its_optimizer(make: Any) -> None:
    scheduler = make(mt, optimizer(mt))
    scheduler.step()
    other = copy.deepcopy(scheduler)
    assert other.optimizer is not scheduler.optimizer and rates(other, 9) == rates(scheduler, 9)
    scheduler = after_a_step(lr_scheduler.LambdaLR)(optimizer(mt), Decay(0.5))
    scheduler.step()
    assert rates(pickle.loads(pickle.dumps(scheduler)), 9) == rates(scheduler, 9)


@pytest.mark.parametrize(("make", "words"), [
    (lambda o: lr_scheduler.StepLR(o, 0), "Invalid step_size: 0"),
    (lambda o: lr_scheduler.CosineAnnealingLR(o, 0), "Invalid T_max: 0"),
    (lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 1).load_state_dict({"last_epoch": 1}),
     r"must have 'lr_lambdas', but has only \['last_epoch'\]")])
def test_what_no_rate_can_be_made_of(make: Any, words: str) -> None:
    optimizer = mt.optim.SGD([mt.nn.Parameter(mt.zeros(1))], lr=0.5)
    with pytest.raises(ValueError, match=words):
        make(optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_group_that_came_after_the_scheduler() -> None:
    optimizer = mt.optim.SGD([mt.nn.Parameter(mt.zeros(1))], lr=0.5)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.1 ** epoch)
    optimizer.add_param_group({"params": [mt.nn.Parameter(mt.zeros(1))]})
    optimizer.step()
    with pytest.raises(ValueError, match="LambdaLR was made for 1 parameter groups, the optimizer has 2: make it"):
        scheduler.step()
    assert scheduler.last_epoch == 0 and [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
