"""Optimizers and schedulers against torch: trajectories over configurations, state dicts and errors."""

import math

import numpy as np
import pytest
import torch
from test_nn import array, close

import microtrain as mt
from microtrain import optim
from microtrain.optim import lr_scheduler

STEPS = 12

SGD = {
    "plain": {},
    "weight decay": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.9},
    "dampening": {"momentum": 0.9, "dampening": 0.3},
    "nesterov": {"momentum": 0.8, "nesterov": True, "weight_decay": 0.05},
    "maximize": {"momentum": 0.5, "maximize": True},
}
ADAM = {
    "default": {},
    "betas": {"betas": (0.5, 0.9), "eps": 1e-3},
    "weight decay": {"weight_decay": 0.1},
    "amsgrad": {"amsgrad": True, "betas": (0.9, 0.5)},
    "maximize": {"maximize": True},
}
CASES = [("SGD", 0.05, o) for o in SGD.values()]
CASES += [(name, 0.02, o) for name in ("Adam", "AdamW") for o in ADAM.values()]
IDS = [f"SGD {k}" for k in SGD] + [f"{name} {k}" for name in ("Adam", "AdamW") for k in ADAM]


def problem(T, dtype):
    """A small regression with a matrix and a vector to fit; returns (parameters, loss)."""
    rng = np.random.default_rng(7)
    x, y = (T.tensor(rng.normal(size=s).astype(dtype)) for s in ((8, 3), (8, 2)))
    w, b = (T.tensor(rng.normal(size=s).astype(dtype), requires_grad=True) for s in ((3, 2), (2,)))
    return [w, b], lambda: ((T.tanh(x @ w + b) - y) ** 2).mean()


def train(T, module, name, lr, options, dtype=np.float32, steps=STEPS):
    params, loss = problem(T, dtype)
    optimizer = getattr(module, name)(params, lr=lr, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return params, optimizer, loss


@pytest.mark.parametrize(("name", "lr", "options"), CASES, ids=IDS)
def test_trajectories_are_torchs(name, lr, options):
    ours, _, _ = train(mt, optim, name, lr, options)
    single, _, _ = train(torch, torch.optim, name, lr, options)
    double, _, _ = train(torch, torch.optim, name, lr, options, np.float64)
    start, _ = problem(mt, np.float32)
    for p, q, r, s in zip(ours, single, double, start, strict=True):
        close(p, q, r, name)
        assert np.abs(array(p) - array(s)).max() > 0.01  # and it moved


def test_a_wrong_trajectory_is_caught():
    ours, _, _ = train(mt, optim, "SGD", 0.0501, {})
    single, _, _ = train(torch, torch.optim, "SGD", 0.05, {})
    double, _, _ = train(torch, torch.optim, "SGD", 0.05, {}, np.float64)
    with pytest.raises(AssertionError, match="is off by more than"):
        close(ours[0], single[0], double[0])


@pytest.mark.parametrize(("name", "lr", "options"), CASES, ids=IDS)
def test_resuming_from_a_state_dict_changes_nothing(name, lr, options):
    straight, _, _ = train(mt, optim, name, lr, options, steps=8)
    params, first, loss = train(mt, optim, name, lr, options, steps=4)
    second = getattr(optim, name)(params, lr=1.0)
    second.load_state_dict(first.state_dict())
    for _ in range(4):
        second.zero_grad()
        loss().backward()
        second.step()
    for p, q in zip(straight, params, strict=True):
        assert np.array_equal(array(p), array(q))


def test_state_dict_has_torchs_form():
    options = {"momentum": 0.9}
    ours = train(mt, optim, "SGD", 0.1, options)[1].state_dict()
    theirs = train(torch, torch.optim, "SGD", 0.1, options)[1].state_dict()
    assert ours["state"].keys() == theirs["state"].keys()
    assert ours["state"][0].keys() == theirs["state"][0].keys()
    assert ours["param_groups"][0]["params"] == theirs["param_groups"][0]["params"]
    assert ours["param_groups"][0].items() <= theirs["param_groups"][0].items()


def test_loaded_state_is_a_copy():
    _, first, _ = train(mt, optim, "SGD", 0.1, {"momentum": 0.9})
    params, _ = problem(mt, np.float32)
    second = optim.SGD(params, lr=0.1, momentum=0.9)
    state = first.state_dict()
    second.load_state_dict(state)
    before = array(state["state"][0]["momentum_buffer"]).copy()
    params[0].grad = mt.ones(3, 2)
    second.step()
    assert np.array_equal(array(state["state"][0]["momentum_buffer"]), before)


def test_a_bad_state_dict_changes_nothing():
    params, optimizer, _ = train(mt, optim, "SGD", 0.1, {"momentum": 0.9})
    before = array(optimizer.state[params[0]]["momentum_buffer"]).copy()
    bad = optimizer.state_dict()
    bad["param_groups"] = [dict(bad["param_groups"][0], params=[0], lr=7.0)]
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        optimizer.load_state_dict(bad)
    bad["param_groups"] = []
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optimizer.load_state_dict(bad)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert np.array_equal(array(optimizer.state[params[0]]["momentum_buffer"]), before)


def test_groups_have_their_own_options():
    for T, module in ((mt, optim), (torch, torch.optim)):
        a, b = (T.ones(2, requires_grad=True) for _ in range(2))
        optimizer = module.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
        (a.sum() + b.sum()).backward()
        optimizer.step()
        assert a.tolist() == pytest.approx([0.9, 0.9])
        assert b.tolist() == [0.5, 0.5]


def test_parameters_without_gradient_stay():
    a, b = mt.ones(2, requires_grad=True), mt.ones(2, requires_grad=True)
    optimizer = optim.SGD([a, b], lr=0.1, weight_decay=0.5)
    a.sum().backward()
    optimizer.step()
    assert b.tolist() == [1.0, 1.0]
    assert a.tolist() != [1.0, 1.0]


def test_zero_grad():
    a = mt.ones(2, requires_grad=True)
    optimizer = optim.SGD([a], lr=0.1)
    a.sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert a.grad is None


def test_first_gradient_is_not_the_momentum_itself():
    """Gradients that keep accumulating must not leak into the momentum buffer."""
    results = []
    for T, module in ((mt, optim), (torch, torch.optim)):
        a = T.ones(2, requires_grad=True)
        optimizer = module.SGD([a], lr=0.1, momentum=0.9)
        for _ in range(3):
            (a * a).sum().backward()
            optimizer.step()
        results.append(array(a))
    assert results[0] == pytest.approx(results[1], rel=1e-6)


def test_closure_is_called_with_gradients_on():
    params, loss = problem(mt, np.float32)
    optimizer = optim.SGD(params, lr=0.1)

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    with mt.no_grad():
        first = optimizer.step(closure)
    assert first.item() > optimizer.step(closure).item()


def test_updates_leave_no_tape():
    params, _, _ = train(mt, optim, "Adam", 0.1, {})
    assert all(p.is_leaf and p.requires_grad and p.grad_fn is None for p in params)


def parameter(T):
    return T.ones(2, requires_grad=True)


ERRORS = {
    "lr": lambda T, o: o.SGD([parameter(T)], lr=-1.0),
    "momentum": lambda T, o: o.SGD([parameter(T)], lr=0.1, momentum=-1),
    "weight decay": lambda T, o: o.SGD([parameter(T)], lr=0.1, weight_decay=-1),
    "nesterov": lambda T, o: o.SGD([parameter(T)], lr=0.1, nesterov=True),
    "eps": lambda T, o: o.Adam([parameter(T)], eps=-1),
    "beta 0": lambda T, o: o.Adam([parameter(T)], betas=(1.0, 0.9)),
    "beta 1": lambda T, o: o.AdamW([parameter(T)], betas=(0.9, -0.1)),
    "adam decay": lambda T, o: o.Adam([parameter(T)], weight_decay=-0.1),
    "empty": lambda T, o: o.SGD([], lr=0.1),
    "not a tensor": lambda T, o: o.SGD([3], lr=0.1),
    "not a leaf": lambda T, o: o.SGD([parameter(T) * 2], lr=0.1),
    "groups overlap": lambda T, o: (lambda p: o.SGD([{"params": [p]}, {"params": [p]}], lr=0.1))(parameter(T)),
    "not a group": lambda T, o: o.SGD([parameter(T)], lr=0.1).add_param_group([parameter(T)]),
    "scheduler": lambda T, o: o.lr_scheduler.StepLR(3, 1),
    "lambdas": lambda T, o: o.lr_scheduler.LambdaLR(o.SGD([parameter(T)], lr=0.1), [abs, abs]),
}


@pytest.mark.parametrize("action", ERRORS.values(), ids=ERRORS.keys())
def test_errors_are_torchs(action):
    caught = []
    for T, module in ((mt, optim), (torch, torch.optim)):
        with pytest.raises(Exception) as info:
            action(T, module)
        caught.append((info.type, str(info.value)))
    assert caught[0] == caught[1]


def test_resuming_without_initial_lr():
    optimizer = optim.SGD([parameter(mt)], lr=0.1)
    with pytest.raises(KeyError, match=r"'initial_lr.* is not specified in param_groups\[0\] when resuming"):
        lr_scheduler.StepLR(optimizer, 1, last_epoch=3)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_tensor_for_parameters():
    with pytest.raises(TypeError, match="should be an iterable of Tensors or dicts"):
        optim.SGD(mt.ones(2, requires_grad=True), lr=0.1)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize("shape", [(), (1,)], ids=str)
def test_a_tensor_for_lr_is_read_at_every_step(name, shape):
    """As a number it would be what it was when the optimizer was made."""
    trajectories = []
    for tensor in (False, True):
        params, loss = problem(mt, np.float32)
        rate = mt.full(shape, 0.05) if tensor else 0.05
        optimizer = getattr(optim, name)(params, lr=rate)
        for step in range(4):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
            if step == 1:
                if tensor:
                    rate.mul_(0.5)
                else:
                    optimizer.param_groups[0]["lr"] *= 0.5
        trajectories.append(np.concatenate([array(p).ravel() for p in params]))
    np.testing.assert_allclose(*trajectories, rtol=1e-5)
    with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
        getattr(optim, name)(params, lr=mt.ones(2))


def test_names_of_parameters_go_along():
    a, b = (mt.ones(2, requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([("a", a), ("b", b)], lr=0.1)
    assert optimizer.param_groups[0]["params"] == [a, b] and optimizer.param_groups[0]["param_names"] == ["a", "b"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["a", "b"]


def test_a_refused_group_is_not_added():
    optimizer = optim.SGD([mt.ones(2, requires_grad=True)], lr=0.1)
    with pytest.raises(TypeError, match="can only optimize Tensors"):
        optimizer.add_param_group({"params": [mt.ones(1, requires_grad=True), "x"]})
    assert len(optimizer.param_groups) == 1


SCHEDULES = {
    "StepLR": lambda s, o: s.StepLR(o, step_size=3, gamma=0.5),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, T_max=5, eta_min=0.01),
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda epoch: 0.9**epoch),
}


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_schedules_are_torchs(make):
    rates = []
    for T, module in ((mt, optim), (torch, torch.optim)):
        a, b = (T.ones(1, requires_grad=True) for _ in range(2))
        optimizer = module.SGD([{"params": [a]}, {"params": [b], "lr": 0.3}], lr=0.1)
        scheduler = make(module.lr_scheduler, optimizer)
        seen = [scheduler.get_last_lr()]
        for _ in range(14):
            optimizer.step()
            scheduler.step()
            seen.append([group["lr"] for group in optimizer.param_groups])
        rates.append(seen)
    assert np.array(rates[0]) == pytest.approx(np.array(rates[1]), rel=1e-12)
    assert len({round(r[0], 12) for r in rates[0]}) > 2  # and they change


def test_schedulers_resume():
    def optimizer():
        return optim.SGD([mt.ones(1, requires_grad=True)], lr=0.1)

    first = lr_scheduler.StepLR(optimizer(), 2, 0.1)
    for _ in range(3):
        first.step()
    second = lr_scheduler.StepLR(optimizer(), 7, 0.9)
    second.load_state_dict(first.state_dict())
    assert (second.last_epoch, second.step_size, second.gamma) == (3, 2, 0.1)
    assert second.get_last_lr() == first.get_last_lr()
    assert math.isclose(second.get_last_lr()[0], 0.01)
