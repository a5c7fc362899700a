"""Modules against torch: values, gradients, names, reprs and errors."""

import copy
from collections import OrderedDict

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import nn
from tests.support.beside import array, close, raises_alike


def build(n):
    return n.Sequential(n.Linear(3, 4), n.ReLU(), n.Sequential(n.Linear(4, 4, bias=False), n.Tanh(), n.Identity()),
                        n.Linear(4, 2))


REPRS = {
    "nested": build,
    "module list": lambda n: n.ModuleList([n.Linear(2, 2), n.Linear(2, 2), n.ReLU(), n.ModuleList([n.Sigmoid()])]),
    "named": lambda n: n.Sequential(OrderedDict(a=n.Flatten(), b=n.Softmax(dim=1))),
    "empty": lambda n: n.Sequential(),
    "options": lambda n: n.Sequential(n.ReLU(inplace=True), n.Dropout(0.1), n.LogSoftmax(-1), n.Softplus(),
                                      n.Flatten(0, 1), n.Linear(1, 1, bias=False)),
}


@pytest.mark.parametrize("make", REPRS.values(), ids=REPRS.keys())
def test_reprs_are_torchs(make):
    assert repr(make(nn)) == repr(make(torch.nn))
    assert repr(nn.Parameter(mt.ones(2))) == repr(torch.nn.Parameter(torch.ones(2)))


def test_model_value_and_gradients():
    ours, single = build(nn), build(torch.nn)
    for (name, p), (torch_name, q) in zip(ours.named_parameters(), single.named_parameters(), strict=True):
        assert name == torch_name
        q.data = torch.tensor(array(p))
    double = copy.deepcopy(single).double()
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    outputs = [ours(mt.tensor(x)), single(torch.tensor(x)), double(torch.tensor(x).double())]
    close(*outputs, "output")
    for out in outputs:
        (out**2).sum().backward()
    for p, q, r in zip(ours.parameters(), single.parameters(), double.parameters(), strict=True):
        close(p.grad, q.grad, r.grad, "parameter gradient")


def test_names_are_torchs():
    ours, theirs = build(nn), build(torch.nn)
    for method in ("named_parameters", "named_modules", "named_children", "named_buffers"):
        assert [n for n, _ in getattr(ours, method)()] == [n for n, _ in getattr(theirs, method)()], method
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_parameters(prefix="m")] == [n for n, _ in theirs.named_parameters(prefix="m")]
    assert [n for n, _ in ours.named_parameters(recurse=False)] == []


def test_shared_parameters_come_once():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, layer)
    assert len(list(model.parameters())) == len(list(model.modules())) == 2
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert len(list(model.named_parameters(remove_duplicate=False))) == 4


def test_attribute_has_one_home():
    module = nn.Module()
    module.scale = nn.Parameter(mt.ones(2))
    module.scale = None
    assert list(module.parameters()) == []
    module.extra = 3
    module.extra = nn.Parameter(mt.ones(1))
    assert "extra" in module.state_dict() and "extra" not in module.__dict__


REGISTRATION_ERRORS = {
    "plain tensor": lambda T, n: setattr(n.Linear(3, 2), "weight", T.zeros(3)),
    "not a child": lambda T, n: setattr(n.Sequential(n.ReLU()), "0", 3),
    "no attribute": lambda T, n: n.Linear(3, 2).foo,
    "buffer taken": lambda T, n: n.Linear(3, 2).register_buffer("weight", T.zeros(3)),
    "buffer dot": lambda T, n: n.Linear(3, 2).register_buffer("a.b", T.zeros(3)),
    "buffer empty": lambda T, n: n.Linear(3, 2).register_buffer("", T.zeros(3)),
    "buffer type": lambda T, n: n.Linear(3, 2).register_buffer("q", 3),
    "parameter type": lambda T, n: n.Linear(3, 2).register_parameter("q", T.zeros(3)),
    "parameter name": lambda T, n: n.Linear(3, 2).register_parameter(3, None),
    "parameter taken": lambda T, n: n.Linear(3, 2).register_parameter("forward", None),
    "module type": lambda T, n: n.Linear(3, 2).add_module("q", 3),
    "sequential type": lambda T, n: n.Sequential(3),
    "index": lambda T, n: n.Sequential(n.ReLU())[3],
    "list index": lambda T, n: n.ModuleList([n.ReLU()])[-2],
    "no forward": lambda T, n: n.Module()(1),
    "mode": lambda T, n: n.ReLU().train(3),
    "to an integer": lambda T, n: n.Linear(3, 2).to(T.int32),
    "state type": lambda T, n: n.Linear(3, 2).load_state_dict([]),
    "state missing": lambda T, n: n.Linear(3, 2).load_state_dict({"weight": T.zeros(2, 3), "b": T.zeros(2)}),
    "state shape": lambda T, n: n.Linear(3, 2).load_state_dict({"weight": T.zeros(2), "bias": T.zeros(3)}),
    "state value": lambda T, n: n.Linear(3, 2).load_state_dict({"weight": 1, "bias": T.zeros(2)}),
}


@pytest.mark.parametrize("action", REGISTRATION_ERRORS.values(), ids=REGISTRATION_ERRORS.keys())
def test_module_errors_are_torchs(action):
    raises_alike(action)


def test_assignment_before_init():
    for value in (nn.Linear(1, 1), nn.Parameter(mt.ones(1))):
        class Early(nn.Module):
            def __init__(self, value=value):
                self.member = value

        with pytest.raises(AttributeError, match=r"cannot assign .* before Module.__init__\(\) call"):
            Early()


def test_modes_gradients_and_apply():
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Linear(2, 1)))
    assert all(not m.training for m in model.eval().modules())
    assert all(m.training for m in model.train().modules())
    model(mt.ones(1, 2)).sum().backward()
    assert model[1][0].weight.grad is not None
    model.zero_grad(set_to_none=False)
    assert array(model[1][0].weight.grad).tolist() == [[0.0, 0.0]]
    model.zero_grad()
    assert model[1][0].weight.grad is None
    names = []
    model.apply(lambda m: names.append(type(m).__name__))
    assert names == ["Dropout", "Linear", "Sequential", "Sequential"]
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.parameters())


def test_conversion_keeps_the_parameters():
    model = nn.Linear(2, 1)
    weight = model.weight
    model.double()
    assert model.weight is weight and weight.dtype == mt.float64 and weight.requires_grad and weight.is_leaf
    assert model(mt.ones(1, 2, dtype=mt.float64)).dtype == mt.float64
    assert model.to(mt.float32).bias.dtype == mt.float32
    assert model.to(str(weight.device), dtype=mt.float64).bias.dtype == mt.float64
    counter = nn.Module()
    counter.register_buffer("n", mt.zeros(1).long())
    assert counter.half().n.dtype == mt.int64


def test_parameter_shares_its_data():
    source = mt.ones(2)
    parameter = nn.Parameter(source)
    with mt.no_grad():
        parameter.mul_(3.0)
    assert source.tolist() == [3.0, 3.0] and not isinstance(parameter + 1, nn.Parameter)
    with pytest.raises(RuntimeError, match="floating point"):
        nn.Parameter(mt.tensor([1, 2]))
    assert not nn.Parameter(mt.tensor([1, 2]), requires_grad=False).requires_grad


def test_containers():
    layers = [nn.Linear(1, 1) for _ in range(4)]
    model = nn.Sequential(*layers)
    assert len(model) == 4 and list(model) == layers and model[-1] is layers[3] and list(model[1:3]) == layers[1:3]
    del model[0]
    assert list(model._modules) == ["0", "1", "2"]
    model[0] = nn.ReLU()
    model.append(nn.Tanh())
    assert [type(m).__name__ for m in model] == ["ReLU", "Linear", "Linear", "Tanh"]
    modules = nn.ModuleList(layers[:2])
    modules.insert(1, layers[2])
    assert list(modules) == [layers[0], layers[2], layers[1]] and len(list(modules.parameters())) == 6


def test_implicit_softmax_dim_flatten_and_inplace_relu():
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax has been deprecated"):
        assert nn.Softmax()(mt.zeros(2, 4)).tolist() == [[0.25] * 4] * 2
    assert tuple(nn.Flatten()(mt.zeros(2, 3, 4)).shape) == (2, 12)
    x = mt.tensor([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x) is x and x.tolist() == [0.0, 2.0]
