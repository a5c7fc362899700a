"""Losses with weights, classes to ignore and their errors, and initial values, beside PyTorch.

Without weights they are rows of `tests/op_table/losses.py`, with second derivatives and extreme values.
"""

import math
import re
import warnings

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import nn
from microtrain.nn import functional
from microtrain.nn import init as nn_init
from tests.support.beside import PAIRS, array, compare, raises_alike

RNG = np.random.default_rng(11)
LOGITS, PROBABILITIES = RNG.normal(0, 3, (6, 4)), RNG.uniform(0.02, 0.98, (6, 4))
TARGETS, WEIGHT = RNG.uniform(0, 1, (6, 4)), RNG.uniform(0.5, 2, (6, 4))
REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


@REDUCTIONS
@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss", "huber_loss"])
def test_weights_of_elements(loss, reduction):
    compare(lambda T, F, x, y, w: getattr(F, loss)(x, y, reduction=reduction, weight=w), [LOGITS, TARGETS], [WEIGHT])
    for T, n in PAIRS:
        with pytest.raises(ValueError, match="must have the same size"):
            getattr(n.functional, loss)(T.ones(4, 3), T.ones(4, 3), weight=T.ones(3))


@REDUCTIONS
def test_weights_of_binary_losses(reduction):
    compare(lambda T, F, x, y, w: F.binary_cross_entropy(x, y, w, reduction=reduction), [PROBABILITIES],
            [TARGETS, WEIGHT[:1]])
    compare(lambda T, F, x, y, w, p: T.nn.BCEWithLogitsLoss(w, pos_weight=p, reduction=reduction)(x, y), [LOGITS],
            [TARGETS, WEIGHT, WEIGHT[0]])


@REDUCTIONS
@pytest.mark.parametrize(("shape", "target"), [((6, 4), (6,)), ((4,), ()), ((2, 3, 2, 2), (2, 2, 2))], ids=str)
def test_weights_smoothing_and_classes_to_ignore_together(shape, target, reduction):
    """Apart they are in PyTorch's database (`test_module_db`)."""
    rng, classes = np.random.default_rng(3), shape[0] if len(shape) == 1 else shape[1]
    x, y, w = rng.normal(0, 2, shape), np.asarray(rng.integers(0, classes, target)), rng.uniform(0.5, 2, classes)
    if y.size > 1:
        y.flat[0] = 1
    compare(lambda T, F, x, y, w: F.cross_entropy(x, y, w, reduction=reduction, ignore_index=1, label_smoothing=0.3)
            + F.nll_loss(F.log_softmax(x, 0 if x.dim() == 1 else 1), y, w, reduction=reduction), [x], [y, w])


def test_cross_entropy_of_large_logits():
    x = np.array([[1000.0, -1000.0, 0.0], [88.0, 89.0, 90.0]])
    compare(lambda T, F, x, y: F.cross_entropy(x, y, reduction="none"), [x], [np.array([1, 2])])


def test_all_ignored_is_nan_as_in_torch():
    assert all(math.isnan(n.functional.cross_entropy(T.zeros(2, 3), T.full((2,), -100)).item()) for T, n in PAIRS)


def test_class_index_out_of_range():
    target = mt.tensor([0, 5])
    if target.device.type == "cpu":
        with pytest.raises(IndexError, match=r"^Target 5 is out of bounds\.$"):
            functional.cross_entropy(mt.zeros(2, 3), target)
    else:
        losses = functional.cross_entropy(mt.zeros(2, 3), target, reduction="none").tolist()
        assert losses[0] == pytest.approx(math.log(3)) and math.isnan(losses[1])


ERRORS = {
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
    "fan": lambda T, n: n.init.xavier_uniform_(T.zeros(3)),
    "mode": lambda T, n: n.init.kaiming_normal_(T.zeros(3, 3), mode="fan"),
    "gain": lambda T, n: n.init.calculate_gain("elu"),
    "slope of a list": lambda T, n: n.init.calculate_gain("leaky_relu", [1]),
    "true slope": lambda T, n: n.init.calculate_gain("leaky_relu", True),
}


@pytest.mark.parametrize("action", ERRORS.values(), ids=ERRORS.keys())
def test_errors_are_torchs(action):
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


@pytest.mark.parametrize(("T", "n"), PAIRS)
def test_one_hot(T, n):
    out = n.functional.one_hot(T.tensor([[0, 2], [1, 1]]))
    assert out.tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 0]]] and str(out.dtype) == "torch.int64"
    assert tuple(n.functional.one_hot(T.tensor([0]), 5).shape) == (1, 5)


def test_scores_of_other_shapes_than_their_targets():
    shapes = ((), (1,), (3,), (3, 1), (2, 3), (0, 3))
    for a in shapes:
        for b in shapes:
            found = []
            for T, n in PAIRS:
                try:
                    value = n.functional.soft_margin_loss(T.ones(a), T.ones(b), reduction="none")
                    found.append((tuple(value.shape), np.round(array(value), 4).tolist()))
                except RuntimeError:
                    found.append("refused")
            assert found[0] == found[1], (a, b, found)


def test_a_planted_wrong_loss_is_caught(monkeypatch):
    """The comparison is not blind: a loss with a slope slightly off fails it."""
    monkeypatch.setattr(functional, "mse_loss", lambda x, y: ((x - y) ** 2).mean() + 1e-4 * x.sum())
    with warnings.catch_warnings(), pytest.raises(AssertionError, match="is off by more than"):
        warnings.simplefilter("error")
        compare(lambda T, F, x, y: F.mse_loss(x, y), [LOGITS], [TARGETS])


# Dropout, and norms of what does not fit


def test_dropout():
    x, layer = mt.ones(10_000), nn.Dropout(0.25)
    out = array(layer(x))
    kept = out != 0
    assert abs(kept.mean() - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 10_000)
    assert np.unique(out[kept]) == pytest.approx(1 / 0.75)
    assert (array(layer.eval()(x)) == 1).all() and (array(functional.dropout(x, 1.0)) == 0).all()
    x.requires_grad_()
    out = functional.dropout(x, 0.5)
    out.sum().backward()
    assert np.array_equal(array(x.grad), array(out)), "the gradient has the mask of its own"


DTYPES = ("float16", "bfloat16", "float32", "float64")


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("call", [
    lambda F, x, v: F.batch_norm(x, v, v + 1, training=True),
    lambda F, x, v: F.batch_norm(x, v, v + 1),
    lambda F, x, v: F.batch_norm(x, None, None, v, None, training=True),
    lambda F, x, v: F.batch_norm(x, None, None, None, v, training=True),
    lambda F, x, v: F.rms_norm(x, (3,), v)])
def test_norms_of_mixed_dtypes(call, dtype):
    for other in DTYPES:
        found = []
        for T, n in PAIRS:
            try:
                x, v = T.arange(6.0).reshape(2, 3).to(getattr(T, dtype)), T.ones(3, dtype=getattr(T, other))
                found.append(str(call(n.functional, x, v).dtype))
            except RuntimeError as error:
                found.append(re.search("mixed dtype", str(error))[0])
        assert found[0] == found[1], other


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize(("T", "n"), PAIRS)
def test_vectors_of_a_batch_norm_have_one_dimension(T, n, place):
    vectors = [T.zeros(3), T.ones(3), T.ones(3), T.zeros(3)]
    vectors[place] = T.ones(3, 1).requires_grad_(place > 1)         # as wide as the batch, which it would scale
    with pytest.raises(RuntimeError, match=r"3 elements in one dimension|expected 1 dims|compatible with \[3, 1\]"):
        n.functional.batch_norm(T.arange(9.0).reshape(3, 3), *vectors, training=place > 1).sum().backward()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("T", "n"), PAIRS)
def test_running_statistics_have_no_gradient(T, n, training):
    x, statistics = T.arange(6.0).reshape(3, 2), [T.zeros(2), T.ones(2)]
    for place, name in enumerate(("running_mean", "running_var")):
        given = [vector.clone().requires_grad_(i == place) for i, vector in enumerate(statistics)]
        with pytest.raises(RuntimeError, match=f"is not differentiable with respect to argument '{name}'"):
            n.functional.batch_norm(x, *given, training=training)
        with T.no_grad():
            n.functional.batch_norm(x, *given, training=training)


# Initial values


UNIFORM = 1 / 8 / math.sqrt(3)          # of Linear's 64 features
INITIALISERS = {
    "uniform_": ({"a": -2.0, "b": 4.0}, 1.0, 6 / math.sqrt(12)),
    "normal_": ({"mean": 2.0, "std": 3.0}, 2.0, 3.0),
    "xavier_uniform_": ({"gain": 2.0}, 0.0, 2 * math.sqrt(2 / 200)),
    "xavier_normal_": ({}, 0.0, math.sqrt(2 / 200)),
    "kaiming_uniform_": ({"nonlinearity": "relu"}, 0.0, math.sqrt(2 / 120)),
    "kaiming_normal_": ({"mode": "fan_out", "nonlinearity": "relu"}, 0.0, math.sqrt(2 / 80)),
}


def distributed(values, mean, std):
    """Known to within a few standard errors."""
    values = array(values).astype(np.float64)
    assert values.mean() == pytest.approx(mean, abs=5 * std / math.sqrt(values.size))
    assert values.std() == pytest.approx(std, rel=5 / math.sqrt(values.size))


@pytest.mark.parametrize("name", INITIALISERS)
def test_initial_distributions(name):
    options, mean, std = INITIALISERS[name]
    tensor = mt.empty(80, 120)
    assert getattr(nn_init, name)(tensor, **options) is tensor
    distributed(tensor, mean, std)


def test_linear_starts_as_torchs():
    layer = nn.Linear(64, 500)
    for values in (layer.weight, layer.bias):
        assert np.abs(array(values)).max() <= 1 / 8
        distributed(values, 0, UNIFORM)


def test_constants_and_gains():
    t = mt.empty(3)
    assert [fill(t).tolist() for fill in (nn_init.ones_, nn_init.zeros_)] == [[1.0] * 3, [0.0] * 3]
    assert nn_init.constant_(t, 2.5).tolist() == [2.5] * 3
    for given in ("relu", "tanh", "linear", ("leaky_relu", 0.2), "leaky_relu", "sigmoid", "selu", "conv_transpose2d"):
        given = (given,) if isinstance(given, str) else given
        assert nn_init.calculate_gain(*given) == torch.nn.init.calculate_gain(*given)


@pytest.mark.parametrize(("T", "n"), PAIRS)
def test_nothing_to_initialise(T, n):
    for fill in (n.init.kaiming_uniform_, n.init.kaiming_normal_):
        empty = T.empty(2, 0)
        with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
            assert fill(empty) is empty
