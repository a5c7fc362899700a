"""Modules, functions and initial values, against torch: values, gradients, names, reprs and errors."""

import copy
import math
import re
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as torch_functional

import microtrain as mt
from microtrain import nn
from microtrain.nn import functional
from microtrain.nn import init as nn_init

PAIRS = [(mt, nn), (torch, torch.nn)]


def array(t):
    return np.asarray(t.detach().cpu().numpy())


def close(got, single, double, what=""):
    """`got` is as near to the float64 oracle as torch's float32 is: four times its error, and a few ulps."""
    got, single, double = array(got), array(single), array(double)
    assert got.shape == double.shape, (what, got.shape, double.shape)
    error = np.abs(single - double)
    bound = 4 * np.nanmax(error, initial=0.0) + 16 * np.finfo(np.float32).eps * np.maximum(np.abs(double), 1e-6)
    same = (got == double) | (np.isnan(got) & np.isnan(double)) | (np.abs(got - double) <= bound)
    bad = np.argmin(same) if same.size else 0
    assert same.all(), (
        f"{what}: {got.flat[bad]} is off by more than {np.broadcast_to(bound, got.shape).flat[bad]} "
        f"from {double.flat[bad]} (torch: {single.flat[bad]})"
    )


def compare(fn, inputs, constants=(), differentiable=None):
    """fn(T, F, *tensors): value and gradients (random cotangent) on microtrain and on torch in two precisions."""
    rng = np.random.default_rng(5)
    results = []
    cotangent = None
    for T, F, dtype in ((mt, functional, np.float32), (torch, torch_functional, np.float32),
                        (torch, torch_functional, np.float64)):
        tensors = []
        for x in inputs:
            cast = x.astype(dtype) if x.dtype.kind == "f" else x
            tensors.append(T.tensor(cast, requires_grad=cast.dtype.kind == "f"))
        fixed = [T.tensor(c.astype(dtype) if c.dtype.kind == "f" else c) for c in constants]
        out = fn(T, F, *tensors, *fixed)
        if cotangent is None:
            cotangent = rng.uniform(0.5, 2.0, tuple(out.shape)).astype(np.float32)
        leaves = [t for t in tensors if t.requires_grad]
        grads = T.autograd.grad(out, leaves, T.tensor(cotangent.astype(dtype)))
        results.append([out, *grads])
    for number, (got, single, double) in enumerate(zip(*results, strict=True)):
        close(got, single, double, "value" if number == 0 else f"gradient {number - 1}")


REWORDED = {"expected scalar type Long but found Float": "expected target dtype to be Long or Byte, but got Float"}
"""What PyTorch said before 2.13, in today's words."""


def raises_alike(action):
    """Both packages raise the same type with the same text; `action` takes (T, nn)."""
    caught = []
    for T, n in PAIRS:
        with pytest.raises(Exception) as info:
            action(T, n)
        caught.append((info.type, REWORDED.get(str(info.value), str(info.value))))
    assert caught[0] == caught[1]


# -- losses ---------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(11)
LOGITS = RNG.normal(0, 3, (6, 4))
PROBABILITIES = RNG.uniform(0.02, 0.98, (6, 4))
TARGETS = RNG.uniform(0, 1, (6, 4))
WEIGHT = RNG.uniform(0.5, 2, (6, 4))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
class TestElementwiseLosses:
    def test_mse_and_l1(self, reduction):
        compare(lambda T, F, x, y: F.mse_loss(x, y, reduction=reduction), [LOGITS, TARGETS])
        compare(lambda T, F, x, y: F.l1_loss(x, y, reduction=reduction), [LOGITS, TARGETS])

    def test_weighted_mse(self, reduction):
        compare(lambda T, F, x, y, w: F.mse_loss(x, y, reduction=reduction, weight=w), [LOGITS, TARGETS], [WEIGHT])

    def test_binary_cross_entropy(self, reduction):
        compare(lambda T, F, x, y: F.binary_cross_entropy(x, y, reduction=reduction), [PROBABILITIES, TARGETS])
        compare(
            lambda T, F, x, y, w: F.binary_cross_entropy(x, y, w, reduction=reduction),
            [PROBABILITIES], [TARGETS, WEIGHT[:1]],
        )

    def test_binary_cross_entropy_with_logits(self, reduction):
        compare(lambda T, F, x, y: F.binary_cross_entropy_with_logits(x, y, reduction=reduction), [LOGITS, TARGETS])
        compare(
            lambda T, F, x, y, w, p: F.binary_cross_entropy_with_logits(x, y, w, pos_weight=p, reduction=reduction),
            [LOGITS], [TARGETS, WEIGHT, WEIGHT[0]],
        )


def test_binary_cross_entropy_at_its_bounds():
    """The logarithm is floored at -100, and the gradient is PyTorch's, large but finite."""
    p = np.array([0.0, 1.0, 0.0, 1.0, 1e-30])
    y = np.array([1.0, 0.0, 0.0, 1.0, 0.5])
    compare(lambda T, F, x, t: F.binary_cross_entropy(x, t, reduction="none"), [p], [y])
    x = mt.tensor([0.0, 1.0], requires_grad=True)
    loss = functional.binary_cross_entropy(x, mt.tensor([1.0, 0.0]), reduction="none")
    assert loss.tolist() == [100.0, 100.0]
    (grad,) = mt.autograd.grad(loss.sum(), [x])
    assert np.isfinite(array(grad)).all()


def test_logits_loss_does_not_overflow():
    x = np.array([-1000.0, -50.0, 0.0, 50.0, 1000.0])
    for y in (np.zeros(5), np.ones(5)):
        compare(lambda T, F, a, b: F.binary_cross_entropy_with_logits(a, b, reduction="none"), [x], [y])


def test_second_derivatives_of_the_binary_losses():
    for loss, values in (("binary_cross_entropy", PROBABILITIES), ("binary_cross_entropy_with_logits", LOGITS)):
        def gradient(T, F, x, y, loss=loss):
            (g,) = T.autograd.grad(getattr(F, loss)(x, y), [x], create_graph=True)
            return g

        compare(gradient, [values], [TARGETS])


SHAPES = {
    "(N, C)": ((6, 4), (6,)),
    "(C,)": ((4,), ()),
    "(N, C, d)": ((3, 4, 5), (3, 5)),
    "(N, C, d, e)": ((2, 3, 2, 2), (2, 2, 2)),
    "one row": ((1, 4), (1,)),
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
class TestClassLosses:
    def classes(self, shapes, ignore=None):
        rng = np.random.default_rng(3)
        shape, target_shape = shapes
        count = shape[0] if len(shape) == 1 else shape[1]
        target = rng.integers(0, count, target_shape)
        if ignore is not None and target.size > 1:
            target.flat[0] = ignore
        return rng.normal(0, 2, shape), np.asarray(target), rng.uniform(0.5, 2, count)

    @pytest.mark.parametrize("smoothing", [0.0, 0.3])
    @pytest.mark.parametrize("ignore", [-100, 1])
    def test_cross_entropy(self, shapes, reduction, weighted, smoothing, ignore):
        x, y, w = self.classes(shapes, ignore)

        def loss(T, F, x, y, w):
            return F.cross_entropy(x, y, w if weighted else None, reduction=reduction, ignore_index=ignore,
                                   label_smoothing=smoothing)

        compare(loss, [x], [y, w])

    @pytest.mark.parametrize("smoothing", [0.0, 0.3])
    def test_cross_entropy_of_probabilities(self, shapes, reduction, weighted, smoothing):
        x, _, w = self.classes(shapes)
        y = np.random.default_rng(4).dirichlet(np.ones(len(w)), x.size // len(w)).reshape(
            x.shape if x.ndim == 1 else (x.shape[0], *x.shape[2:], len(w)))
        y = y if x.ndim == 1 else np.moveaxis(y, -1, 1)

        def loss(T, F, x, y, w):
            return F.cross_entropy(x, y, w if weighted else None, reduction=reduction, label_smoothing=smoothing)

        compare(loss, [x, np.ascontiguousarray(y)], [w])

    def test_nll(self, shapes, reduction, weighted):
        x, y, w = self.classes(shapes, -100)
        compare(
            lambda T, F, x, y, w: F.nll_loss(F.log_softmax(x, 0 if x.dim() == 1 else 1), y,
                                             w if weighted else None, reduction=reduction),
            [x], [y, w],
        )


def test_cross_entropy_of_large_logits():
    x = np.array([[1000.0, -1000.0, 0.0], [88.0, 89.0, 90.0]])
    compare(lambda T, F, x, y: F.cross_entropy(x, y, reduction="none"), [x], [np.array([1, 2])])


def test_all_ignored_is_nan_as_in_torch():
    values = [F.cross_entropy(T.zeros(2, 3), T.full((2,), -100)).item()
              for T, F in ((mt, functional), (torch, torch_functional))]
    assert all(math.isnan(v) for v in values)


def test_class_index_out_of_range():
    target = mt.tensor([0, 5])
    if target.device.type == "cpu":
        with pytest.raises(IndexError, match=r"^Target 5 is out of bounds\.$"):
            functional.cross_entropy(mt.zeros(2, 3), target)
    else:
        losses = functional.cross_entropy(mt.zeros(2, 3), target, reduction="none").tolist()
        assert losses[0] == pytest.approx(math.log(3))
        assert math.isnan(losses[1])


LOSS_ERRORS = {
    "reduction": lambda T, n: n.functional.mse_loss(T.zeros(2), T.zeros(2), reduction="avg"),
    "bce shape": lambda T, n: n.functional.binary_cross_entropy(T.zeros(3), T.zeros(3, 1)),
    "logits shape": lambda T, n: n.functional.binary_cross_entropy_with_logits(T.zeros(3), T.zeros(3, 1)),
    "batch": lambda T, n: n.functional.cross_entropy(T.zeros(4, 3), T.tensor([0, 1])),
    "multi-target": lambda T, n: n.functional.cross_entropy(T.zeros(4, 3), T.zeros(4, 2).long()),
    "target size": lambda T, n: n.functional.cross_entropy(T.zeros(4, 3, 2), T.zeros(4, 3).long()),
    "target dtype": lambda T, n: n.functional.cross_entropy(T.zeros(4, 3), T.zeros(4)),
    "smoothing": lambda T, n: n.functional.cross_entropy(T.zeros(1, 3), T.tensor([0]), label_smoothing=1.5),
    "class weight": lambda T, n: n.functional.cross_entropy(T.zeros(1, 3), T.tensor([0]), T.ones(2)),
    "soft integers": lambda T, n: n.functional.cross_entropy(T.zeros(1, 3), T.zeros(1, 3).long()),
    "soft ignore": lambda T, n: n.functional.cross_entropy(T.zeros(1, 3), T.zeros(1, 3), ignore_index=1),
    "one_hot dtype": lambda T, n: n.functional.one_hot(T.zeros(2)),
    "one_hot negative": lambda T, n: n.functional.one_hot(T.tensor([-1]), 2),
    "one_hot too large": lambda T, n: n.functional.one_hot(T.tensor([2]), 2),
    "dropout p": lambda T, n: n.functional.dropout(T.zeros(2), 1.5),
    "Dropout p": lambda T, n: n.Dropout(-0.1),
    "linear": lambda T, n: n.Linear(3, 2)(T.zeros(4, 5)),
}


@pytest.mark.parametrize("action", LOSS_ERRORS.values(), ids=LOSS_ERRORS.keys())
def test_function_errors_are_torchs(action):
    raises_alike(action)


def test_broadcasting_target_warns_as_torch_does():
    messages = []
    for T, n in PAIRS:
        with pytest.warns(UserWarning) as caught:
            n.functional.mse_loss(T.zeros(3, 1), T.zeros(3))
        messages.append(str(caught[0].message))
    assert messages[0] == messages[1]


def test_bce_refuses_another_dtype():
    with pytest.raises(RuntimeError, match=r"binary_cross_entropy.*torch\.int64"):
        functional.binary_cross_entropy(mt.zeros(3) + 0.5, mt.zeros(3).long())


def test_one_hot():
    for T, F in ((mt, functional), (torch, torch_functional)):
        out = F.one_hot(T.tensor([[0, 2], [1, 1]]))
        assert out.tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 0]]]
        assert str(out.dtype) == "torch.int64"
        assert tuple(F.one_hot(T.tensor([0]), 5).shape) == (1, 5)


# -- activations ----------------------------------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": lambda T, F, x: F.relu(x),
    "sigmoid": lambda T, F, x: F.sigmoid(x),
    "tanh": lambda T, F, x: F.tanh(x),
    "softplus": lambda T, F, x: F.softplus(x),
    "softplus(2, 3)": lambda T, F, x: F.softplus(x, 2, 3),
    "softmax": lambda T, F, x: F.softmax(x, 1),
    "log_softmax": lambda T, F, x: F.log_softmax(x, dim=0),
    "softmax in float64": lambda T, F, x: F.softmax(x, 1, dtype=T.float64).float(),
}


@pytest.mark.parametrize("fn", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
def test_activations(fn):
    if fn is ACTIVATIONS["softmax in float64"]:
        results = [array(fn(T, F, T.tensor(LOGITS.astype(np.float32)))) for T, F in
                   ((mt, functional), (torch, torch_functional))]
        assert np.array_equal(*results)
        return
    compare(fn, [np.concatenate([LOGITS, [[0.0, -30.0, 30.0, 12.0]]])])


def test_linear_function():
    rng = np.random.default_rng(0)
    for shape in ((5, 3), (3,), (2, 4, 3), (0, 3)):
        x, w, b = rng.normal(size=shape), rng.normal(size=(2, 3)), rng.normal(size=2)
        compare(lambda T, F, x, w, b: F.linear(x, w, b), [x, w, b])
        compare(lambda T, F, x, w: F.linear(x, w), [x, w])


def test_dropout():
    mt.manual_seed(0)
    x = mt.ones(10_000)
    layer = nn.Dropout(0.25)
    out = array(layer(x))
    kept = out != 0
    assert abs(kept.mean() - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 10_000)
    assert np.unique(out[kept]) == pytest.approx(1 / 0.75)
    assert np.array_equal(array(layer.eval()(x)), np.ones(10_000))
    assert np.array_equal(array(functional.dropout(x, 1.0)), np.zeros(10_000))


def test_dropout_gradient_is_its_own_mask():
    x = mt.ones(1000, requires_grad=True)
    out = functional.dropout(x, 0.5)
    out.sum().backward()
    assert np.array_equal(array(x.grad), array(out))


# -- modules --------------------------------------------------------------------------------------------------------


def build(n):
    return n.Sequential(
        n.Linear(3, 4), n.ReLU(), n.Sequential(n.Linear(4, 4, bias=False), n.Tanh(), n.Identity()), n.Linear(4, 2)
    )


REPRS = {
    "nested": build,
    "module list": lambda n: n.ModuleList([n.Linear(2, 2), n.Linear(2, 2), n.ReLU(), n.ModuleList([n.Sigmoid()])]),
    "named": lambda n: n.Sequential({"a": n.Flatten(), "b": n.Softmax(dim=1)}),
    "empty": lambda n: n.Sequential(),
    "options": lambda n: n.Sequential(n.ReLU(inplace=True), n.Dropout(0.1), n.LogSoftmax(-1), n.Softplus(),
                                      n.Flatten(0, 1), n.Linear(1, 1, bias=False)),
    "losses": lambda n: n.ModuleList([n.MSELoss(), n.L1Loss(), n.BCELoss(), n.BCEWithLogitsLoss(),
                                      n.CrossEntropyLoss(), n.NLLLoss()]),
}


@pytest.mark.parametrize("make", REPRS.values(), ids=REPRS.keys())
def test_reprs_are_torchs(make):
    assert repr(make(nn)) == repr(make(torch.nn) if make is not REPRS["named"] else _named_torch())


def _named_torch():
    from collections import OrderedDict

    return torch.nn.Sequential(OrderedDict(a=torch.nn.Flatten(), b=torch.nn.Softmax(dim=1)))


def test_parameter_repr():
    assert repr(nn.Parameter(mt.ones(2))) == repr(torch.nn.Parameter(torch.ones(2)))


def twin(make):
    """A microtrain model, and torch's in two precisions with the same parameters."""
    ours, single = make(nn), make(torch.nn)
    for (name, p), (torch_name, q) in zip(ours.named_parameters(), single.named_parameters(), strict=True):
        assert name == torch_name
        q.data = torch.tensor(array(p))
    return ours, single, copy.deepcopy(single).double()


def test_model_value_and_gradients():
    ours, single, double = twin(build)
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    outputs = [ours(mt.tensor(x)), single(torch.tensor(x)), double(torch.tensor(x).double())]
    close(*outputs, "output")
    for out in outputs:
        (out**2).sum().backward()
    for p, q, r in zip(ours.parameters(), single.parameters(), double.parameters(), strict=True):
        close(p.grad, q.grad, r.grad, "parameter gradient")


LOSS_MODULES = {
    "MSELoss": lambda n, w: n.MSELoss(reduction="sum"),
    "L1Loss": lambda n, w: n.L1Loss(),
    "BCEWithLogitsLoss": lambda n, w: n.BCEWithLogitsLoss(weight=w, pos_weight=w),
}


@pytest.mark.parametrize("make", LOSS_MODULES.values(), ids=LOSS_MODULES.keys())
def test_loss_modules(make):
    compare(lambda T, F, x, y, w: make(nn if T is mt else torch.nn, w)(x, y), [LOGITS], [TARGETS, WEIGHT[0]])


def test_class_loss_modules():
    y = np.array([0, 1, 3, 2, -100, 0])
    for name, options in (("CrossEntropyLoss", {"label_smoothing": 0.1}), ("NLLLoss", {"reduction": "sum"})):
        compare(
            lambda T, F, x, y, w, name=name, options=options:
                getattr(nn if T is mt else torch.nn, name)(weight=w, **options)(x, y),
            [LOGITS], [y, WEIGHT[0]],
        )


def test_bce_module():
    compare(lambda T, F, x, y, w: (nn if T is mt else torch.nn).BCELoss(weight=w)(x, y), [PROBABILITIES],
            [TARGETS, WEIGHT])


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
    assert len(list(model.parameters())) == 2
    assert len(list(model.modules())) == 2
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert len(list(model.named_parameters(remove_duplicate=False))) == 4


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", mt.zeros(1))
        self.register_buffer("scratch", mt.zeros(1), persistent=False)
        self.scale = nn.Parameter(mt.ones(2))


def test_buffers():
    module = Counter()
    assert [name for name, _ in module.named_buffers()] == ["count", "scratch"]
    assert sorted(module.state_dict()) == ["count", "scale"]
    module.count = mt.ones(1)
    assert module.state_dict()["count"].tolist() == [1.0]
    del module.scratch
    assert not hasattr(module, "scratch")


def test_attribute_has_one_home():
    module = Counter()
    module.scale = None
    assert list(module.parameters()) == []
    module.extra = 3
    module.extra = nn.Parameter(mt.ones(1))
    assert "extra" in module.state_dict()
    assert "extra" not in module.__dict__


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


def test_integer_parameter():
    with pytest.raises(RuntimeError, match="floating point"):
        nn.Parameter(mt.tensor([1, 2]))
    assert not nn.Parameter(mt.tensor([1, 2]), requires_grad=False).requires_grad


def test_state_dict_round_trip():
    source, target = build(nn), build(nn)
    assert repr(target.load_state_dict(source.state_dict())) == "<All keys matched successfully>"
    x = mt.ones(2, 3)
    assert np.array_equal(array(source(x)), array(target(x)))
    source[0].weight.data.zero_()
    assert np.abs(array(target[0].weight)).max() > 0


def test_bad_state_changes_nothing():
    model = build(nn)
    before = {name: array(value).copy() for name, value in model.state_dict().items()}
    bad = {name: mt.zeros(*value.shape) for name, value in model.state_dict().items()} | {"3.bias": mt.zeros(7)}
    with pytest.raises(RuntimeError, match=r"size mismatch for 3\.bias"):
        model.load_state_dict(bad)
    for name, value in model.state_dict().items():
        assert np.array_equal(array(value), before[name])


def test_loose_loading_says_what_differs():
    result = nn.Linear(3, 2).load_state_dict({"weight": mt.zeros(2, 3), "other": mt.zeros(1)}, strict=False)
    assert result.missing_keys == ["bias"]
    assert result.unexpected_keys == ["other"]


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
    assert model.weight is weight
    assert weight.dtype == mt.float64
    assert weight.requires_grad
    assert weight.is_leaf
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
    assert source.tolist() == [3.0, 3.0]
    assert isinstance(parameter, mt.Tensor)
    assert not isinstance(parameter + 1, nn.Parameter)


def test_containers():
    layers = [nn.Linear(1, 1) for _ in range(4)]
    model = nn.Sequential(*layers)
    assert len(model) == 4
    assert list(model) == layers
    assert model[-1] is layers[3]
    assert list(model[1:3]) == layers[1:3]
    del model[0]
    assert list(model._modules) == ["0", "1", "2"]
    model[0] = nn.ReLU()
    model.append(nn.Tanh())
    assert [type(m).__name__ for m in model] == ["ReLU", "Linear", "Linear", "Tanh"]
    modules = nn.ModuleList(layers[:2])
    modules.insert(1, layers[2])
    assert list(modules) == [layers[0], layers[2], layers[1]]
    assert len(list(modules.parameters())) == 6


def test_implicit_softmax_dim_warns():
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax has been deprecated"):
        out = nn.Softmax()(mt.zeros(2, 4))
    assert array(out).tolist() == [[0.25] * 4] * 2


def test_flatten_and_inplace_relu():
    assert tuple(nn.Flatten()(mt.zeros(2, 3, 4)).shape) == (2, 12)
    x = mt.tensor([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x) is x
    assert x.tolist() == [0.0, 2.0]


# -- initial values -------------------------------------------------------------------------------------------------


def test_linear_starts_as_torchs():
    mt.manual_seed(0)
    layer = nn.Linear(64, 500)
    for values in (array(layer.weight), array(layer.bias)):
        bound = 1 / math.sqrt(64)
        assert np.abs(values).max() <= bound
        # uniform: the standard deviation is bound / sqrt(3), known to within a few standard errors
        assert values.std() == pytest.approx(bound / math.sqrt(3), rel=5 / math.sqrt(values.size))


INITIALISERS = {
    "uniform_": ({"a": -2.0, "b": 4.0}, 1.0, 6 / math.sqrt(12)),
    "normal_": ({"mean": 2.0, "std": 3.0}, 2.0, 3.0),
    "xavier_uniform_": ({"gain": 2.0}, 0.0, 2 * math.sqrt(2 / 200)),
    "xavier_normal_": ({}, 0.0, math.sqrt(2 / 200)),
    "kaiming_uniform_": ({"nonlinearity": "relu"}, 0.0, math.sqrt(2 / 120)),
    "kaiming_normal_": ({"mode": "fan_out", "nonlinearity": "relu"}, 0.0, math.sqrt(2 / 80)),
}


@pytest.mark.parametrize("name", INITIALISERS)
def test_initial_distributions(name):
    options, mean, std = INITIALISERS[name]
    mt.manual_seed(1)
    tensor = mt.empty(80, 120)
    assert getattr(nn_init, name)(tensor, **options) is tensor
    values = array(tensor).astype(np.float64)
    assert values.mean() == pytest.approx(mean, abs=5 * std / math.sqrt(values.size))
    assert values.std() == pytest.approx(std, rel=5 / math.sqrt(values.size))


def test_constants_and_gains():
    t = mt.empty(3)
    assert nn_init.ones_(t).tolist() == [1.0] * 3
    assert nn_init.zeros_(t).tolist() == [0.0] * 3
    assert nn_init.constant_(t, 2.5).tolist() == [2.5] * 3
    for name, param in (("relu", None), ("tanh", None), ("linear", None), ("leaky_relu", 0.2), ("leaky_relu", None),
                        ("sigmoid", None), ("selu", None)):
        assert nn_init.calculate_gain(name, param) == torch.nn.init.calculate_gain(name, param)


INIT_ERRORS = {
    "fan": lambda T, n: n.init.xavier_uniform_(T.zeros(3)),
    "mode": lambda T, n: n.init.kaiming_normal_(T.zeros(3, 3), mode="fan"),
    "gain": lambda T, n: n.init.calculate_gain("elu"),
    "slope of a list": lambda T, n: n.init.calculate_gain("leaky_relu", [1]),
    "true slope": lambda T, n: n.init.calculate_gain("leaky_relu", True),
}


@pytest.mark.parametrize("action", INIT_ERRORS.values(), ids=INIT_ERRORS.keys())
def test_init_errors_are_torchs(action):
    raises_alike(action)


def test_a_planted_wrong_loss_is_caught(monkeypatch):
    """The comparison above is not blind: a loss with a slope slightly off fails it."""
    monkeypatch.setattr(functional, "mse_loss", lambda x, y: ((x - y) ** 2).mean() + 1e-4 * x.sum())
    with warnings.catch_warnings(), pytest.raises(AssertionError, match="is off by more than"):
        warnings.simplefilter("error")
        compare(lambda T, F, x, y: F.mse_loss(x, y), [LOGITS], [TARGETS])


DTYPES = ("float16", "bfloat16", "float32", "float64")


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("call", [
    lambda T, x, v: T.nn.functional.batch_norm(x, v, v + 1, training=True),
    lambda T, x, v: T.nn.functional.batch_norm(x, v, v + 1),
    lambda T, x, v: T.nn.functional.batch_norm(x, None, None, v, None, training=True),
    lambda T, x, v: T.nn.functional.batch_norm(x, None, None, None, v, training=True),
    lambda T, x, v: T.nn.functional.rms_norm(x, (3,), v)])
def test_norms_of_mixed_dtypes(call, dtype):
    for other in DTYPES:
        found = []
        for T in (mt, torch):
            try:
                x, v = T.arange(6.0).reshape(2, 3).to(getattr(T, dtype)), T.ones(3, dtype=getattr(T, other))
                found.append(str(call(T, x, v).dtype))
            except RuntimeError as error:
                found.append(re.search("mixed dtype", str(error))[0])
        assert found[0] == found[1], other


@pytest.mark.parametrize("T", [mt, torch])
def test_nothing_to_initialise(T):
    for fill in (T.nn.init.kaiming_uniform_, T.nn.init.kaiming_normal_):
        empty = T.empty(2, 0)
        with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
            assert fill(empty) is empty
    assert T.nn.init.calculate_gain("conv_transpose2d") == 1


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss", "huber_loss"])
def test_weights_of_elements(loss, reduction):
    rng = np.random.default_rng(2)
    x, y, w = (rng.normal(size=(4, 3)).astype(np.float32) for _ in range(3))
    weight = np.abs(w) + 0.1
    found = []
    for T in (mt, torch):
        input = T.tensor(x, requires_grad=True)
        value = getattr(T.nn.functional, loss)(input, T.tensor(y), weight=T.tensor(weight), reduction=reduction)
        value.sum().backward()
        found.append((array(value), array(input.grad)))
        with pytest.raises(ValueError, match="must have the same size"):
            getattr(T.nn.functional, loss)(input, T.tensor(y), weight=T.ones(3))
    for got, expected in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)


def test_scores_of_other_shapes_than_their_targets():
    shapes = ((), (1,), (3,), (3, 1), (2, 3), (0, 3))
    for a in shapes:
        for b in shapes:
            found = []
            for T in (mt, torch):
                try:
                    value = T.nn.functional.soft_margin_loss(T.ones(a), T.ones(b), reduction="none")
                    found.append((tuple(value.shape), np.round(array(value), 4).tolist()))
                except RuntimeError:
                    found.append("refused")
            assert found[0] == found[1], (a, b, found)


@pytest.mark.parametrize("place", range(4))
def test_vectors_of_a_batch_norm_have_one_dimension(place):
    for T in (mt, torch):
        vectors = [T.zeros(3), T.ones(3), T.ones(3), T.zeros(3)]
        vectors[place] = T.ones(3, 1).requires_grad_(place > 1)         # as wide as the batch, which it would scale
        with pytest.raises(RuntimeError, match=r"3 elements in one dimension|expected 1 dims|compatible with \[3, 1\]"):
            T.nn.functional.batch_norm(T.arange(9.0).reshape(3, 3), *vectors, training=place > 1).sum().backward()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("T", [mt, torch])
def test_running_statistics_have_no_gradient(T, training):
    x, statistics = T.arange(6.0).reshape(3, 2), [T.zeros(2), T.ones(2)]
    for place, name in enumerate(("running_mean", "running_var")):
        given = [vector.clone().requires_grad_(i == place) for i, vector in enumerate(statistics)]
        with pytest.raises(RuntimeError, match=f"is not differentiable with respect to argument '{name}'"):
            T.nn.functional.batch_norm(x, *given, training=training)
        with T.no_grad():
            T.nn.functional.batch_norm(x, *given, training=training)
