"""Optimizers and schedulers against torch: trajectories over configurations, state dicts and errors."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import optim
from tests.conftest import DEVICE
from tests.support.beside import array, close

STEPS = 12
BOTH = pytest.mark.parametrize("T", [mt, torch], ids=["microtrain", "torch"])

SGD = [{}, {"weight_decay": 0.1}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.3},
       {"momentum": 0.8, "nesterov": True, "weight_decay": 0.05}, {"momentum": 0.5, "maximize": True}]
ADAM = [{}, {"betas": (0.5, 0.9), "eps": 1e-3}, {"weight_decay": 0.1}, {"amsgrad": True, "betas": (0.9, 0.5)},
        {"maximize": True}]
CASES = pytest.mark.parametrize(("name", "lr", "options"), [("SGD", 0.05, o) for o in SGD] + [
    (name, 0.02, o) for name in ("Adam", "AdamW") for o in ADAM], ids=str)


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


@CASES
def test_trajectories_are_torchs(name, lr, options):
    ours, _, _ = train(mt, optim, name, lr, options)
    single, _, _ = train(torch, torch.optim, name, lr, options)
    double, _, _ = train(torch, torch.optim, name, lr, options, np.float64)
    start, _ = problem(mt, np.float32)
    for p, q, r, s in zip(ours, single, double, start, strict=True):
        close(p, q, r, name)
        assert np.abs(array(p) - array(s)).max() > 0.01  # and it moved


@CASES
def test_resuming_from_a_state_dict_changes_nothing(name, lr, options):
    half = 4 if DEVICE == "cpu" else 2          # what is kept is the same on every device
    straight, _, _ = train(mt, optim, name, lr, options, steps=2 * half)
    params, first, loss = train(mt, optim, name, lr, options, steps=half)
    second = getattr(optim, name)(params, lr=1.0)
    second.load_state_dict(first.state_dict())
    for _ in range(half):
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


@BOTH
def test_groups_have_their_own_options_and_parameters_without_gradient_stay(T):
    a, b, c = (T.ones(2, requires_grad=True) for _ in range(3))
    optimizer = T.optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}, {"params": c, "weight_decay": 0.5}], lr=0.1)
    (a.sum() + b.sum()).backward()
    optimizer.step()
    assert a.tolist() == pytest.approx([0.9, 0.9]) and b.tolist() == [0.5, 0.5] and c.tolist() == [1, 1]


def test_first_gradient_is_not_the_momentum_itself():
    """Gradients that keep accumulating must not leak into the momentum buffer."""
    results = []
    for T in (mt, torch):
        a = T.ones(2, requires_grad=True)
        optimizer = T.optim.SGD([a], lr=0.1, momentum=0.9)
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


def test_the_state_of_another_optimizer():
    p = mt.nn.Parameter(mt.ones(2))
    sgd, adam = optim.SGD([p], lr=0.1, momentum=0.9), optim.Adam([p], lr=0.2)
    advance(sgd), advance(adam)
    with pytest.raises(ValueError, match=r"the state of parameter 0 has no 'step', only \['momentum_buffer'\]"):
        adam.load_state_dict(sgd.state_dict())
    assert adam.param_groups[0]["lr"] == 0.2
    advance(adam)


@BOTH
def test_a_state_without_names_leaves_those_that_are(T):
    layer = T.nn.Linear(2, 1)
    named = T.optim.SGD(layer.named_parameters(), lr=0.1)
    named.load_state_dict(T.optim.SGD(layer.parameters(), lr=0.2).state_dict())
    assert named.param_groups[0]["param_names"] == ["weight", "bias"] and named.param_groups[0]["lr"] == 0.2
    assert all(a is b for a, b in zip(named.param_groups[0]["params"], (layer.weight, layer.bias), strict=True))
    assert named.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    named.add_param_group({"params": [("other", T.nn.Parameter(T.ones(1)))]})


@pytest.mark.parametrize(("state", "error"), [
    ({}, ValueError), ({"state": {}}, ValueError), ({"state": {}, "param_groups": None}, TypeError),
    ({"state": {}, "param_groups": [None]}, TypeError), ({"state": {}, "param_groups": [{"lr": 1.0}]}, ValueError),
    ({"state": None, "param_groups": [{"params": [0]}]}, TypeError)])
def test_what_is_no_state_of_an_optimizer(state, error):
    optimizer = optim.SGD([mt.ones(2, requires_grad=True)], lr=0.1)
    with pytest.raises(error, match="loaded state dict"):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("params", [[(1,)], [("a", mt.ones(1), 2)], [{"params": None}], [{"params": 3}],
                                    mt.ones(2, requires_grad=True)])
def test_what_is_no_parameter(params):
    with pytest.raises(TypeError, match=r"must be Tensors|should be an iterable of Tensors or dicts"):
        optim.SGD(params, lr=0.1)


def test_a_refused_group_is_not_added():
    optimizer = optim.SGD([mt.ones(2, requires_grad=True)], lr=0.1)
    with pytest.raises(TypeError, match="can only optimize Tensors"):
        optimizer.add_param_group({"params": [mt.ones(1, requires_grad=True), "x"]})
    with pytest.raises(ValueError, match="must have 'params', but has only"):
        optimizer.add_param_group({"lr": 1.0})
    assert len(optimizer.param_groups) == 1


EVERY = pytest.mark.parametrize("make", [
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.1),
    lambda p: optim.AdamW(p, lr=0.1, amsgrad=True)], ids=["SGD", "Adam", "AdamW"])


def advance(optimizer, steps=2):
    for _ in range(steps):
        for group in optimizer.param_groups:
            for param in group["params"]:
                param.grad = param.detach() * 0.5 + 1
        optimizer.step()
    return [param.tolist() for group in optimizer.param_groups for param in group["params"]]


@EVERY
@pytest.mark.parametrize("copied", [lambda o: pickle.loads(pickle.dumps(o)), copy.deepcopy], ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("dtype", [mt.float32, mt.float16], ids=str)
def test_a_copied_state_goes_on_alike(make, copied, dtype):
    def fresh():
        return make([mt.nn.Parameter(mt.ones(3, dtype=dtype)), mt.nn.Parameter(mt.zeros(2, dtype=dtype))])

    first = fresh()
    advance(first)
    second, third = fresh(), copied(first)
    for param, other in zip(second.param_groups[0]["params"], first.param_groups[0]["params"], strict=True):
        param.data = other.detach().clone()
    second.load_state_dict(copied(first.state_dict()))
    assert all(v.dtype is dtype for state in second.state.values() for v in state.values() if isinstance(v, mt.Tensor))
    expected = advance(first)
    assert advance(second) == advance(third) == expected


@EVERY
@pytest.mark.parametrize("spoil", [
    lambda d: d.pop("state"), lambda d: d.pop("param_groups"), lambda d: d["param_groups"].append(d["param_groups"][0]),
    lambda d: d["param_groups"][0]["params"].pop(), lambda d: d["state"].update({7: {"x": 1}}),
    lambda d: d["param_groups"][0].pop("params"), lambda d: d["state"].update({0: None}),
    lambda d: d["param_groups"][0]["params"].reverse(),             # states of shapes (2,) and (3,), exchanged
    lambda d: d["state"][1].update({k: v[:1] for k, v in d["state"][1].items() if isinstance(v, mt.Tensor)})])
def test_a_state_that_does_not_fit_changes_nothing(make, spoil):
    optimizer = make([mt.nn.Parameter(mt.ones(3)), mt.nn.Parameter(mt.zeros(2))])
    advance(optimizer)
    before = copy.deepcopy(optimizer)
    wrong = copy.deepcopy(optimizer.state_dict())
    wrong["param_groups"][0]["lr"] = 99.0
    spoil(wrong)
    with pytest.raises(TypeError if None in wrong.get("state", {}).values() else ValueError, match="loaded state dict"):
        optimizer.load_state_dict(wrong)
    assert optimizer.param_groups[0]["lr"] == 0.1 and advance(optimizer) == advance(before)


def test_an_option_missing_from_a_saved_group_is_the_default():
    optimizer = optim.SGD([mt.nn.Parameter(mt.ones(3))], lr=0.1, momentum=0.9)
    saved = optimizer.state_dict()
    del saved["param_groups"][0]["maximize"], saved["param_groups"][0]["nesterov"]
    optimizer.load_state_dict(saved)
    advance(optimizer)
    assert optimizer.param_groups[0]["maximize"] is optimizer.param_groups[0]["nesterov"] is False


def test_a_step_count_saved_by_pytorch_is_a_number():
    theirs = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    ours = optim.Adam([mt.nn.Parameter(mt.ones(3))], lr=0.1)
    advance(theirs)
    param = ours.param_groups[0]["params"][0]
    param.data = mt.tensor(theirs.param_groups[0]["params"][0].detach().numpy())
    saved = theirs.state_dict()
    saved["state"] = {i: {key: mt.tensor(value.numpy()) for key, value in state.items()}
                      for i, state in saved["state"].items()}
    ours.load_state_dict(saved)
    assert ours.state[param]["step"] == 2
    np.testing.assert_allclose(advance(ours), advance(theirs), rtol=1e-6)


@pytest.mark.parametrize("betas", [(0.9,), (0.9, 0.99, 0.999), 0.9, (float("nan"), 0.9), (0.9, 1.0), None])
def test_betas_that_are_no_pair_of_rates(betas):
    with pytest.raises(ValueError, match=r"Invalid beta"):
        optim.Adam([parameter(mt)], betas=betas)


@BOTH
def test_gradients_are_filled_with_zeros_off_the_tape(T):
    a = T.ones(2, requires_grad=True)
    optimizer = T.optim.SGD([a], lr=0.1)
    (gradient,) = T.autograd.grad((a * a).sum(), a, create_graph=True)
    a.grad = gradient
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0, 0] and not a.grad.requires_grad
    optimizer.zero_grad()
    assert a.grad is None and optimizer.state[a] == {}


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize("choice", [{"foreach": True}, {"fused": True}, {"foreach": False, "fused": None},
                                    {"foreach": True, "fused": True}, {"differentiable": False}, {"nonsense": 1}])
def test_choices_of_an_implementation(name, choice):
    found = []
    for T in (mt, torch):
        p = T.nn.Parameter(T.ones(2))
        try:
            optimizer = getattr(T.optim, name)([p], lr=0.1, **choice)
            found.append((advance(optimizer), {key: optimizer.param_groups[0][key] for key in choice}))
        except (TypeError, RuntimeError) as error:
            found.append((type(error), re.findall("cannot be `True` together|unexpected keyword", str(error))))
    assert found[0][1] == found[1][1]
    assert found[0][0] == found[1][0] if isinstance(found[0][0], type) else np.allclose(found[0][0], found[1][0], 1e-6)
