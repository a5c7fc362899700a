"""How many kernels the programs people write become: fusion that is lost fails here, with or without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain.testing import count_kernels

pytestmark = pytest.mark.usefixtures("nothing_pending")

RNG = np.random.default_rng(7)


def data(*shape: int) -> Any:
    """A computed tensor, so that making it is not counted."""
    return mt.tensor(RNG.standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize(("expression", "shapes"), [
    (lambda x, y: x * y + x.exp() - y.sin() / 2, [(33, 7)] * 2),
    (lambda x, y: mt.where(x > y, x.sigmoid(), y.tanh()).clamp(-0.5, 0.5), [(33, 7)] * 2),
    (lambda x, y: ((x - y) ** 2 + 1).sqrt().log1p() * x.relu(), [(33, 7)] * 2),
    (lambda x: x.softmax(-1), [(16, 40)]), (lambda x: mt.nn.functional.max_pool2d(x, 3, 2, 1), [(2, 3, 8, 8)]),
    (lambda x: mt.nn.functional.avg_pool2d(x, 3, 2, 1), [(2, 3, 8, 8)])],
    ids=["arithmetic", "selection", "powers", "softmax", "maximum pool", "mean pool"])
def test_maps_rows_and_pools_are_one_kernel_and_so_is_their_backward(expression: Callable[..., Any],
                                                                     shapes: Sequence[tuple[int, ...]]) -> None:
    operands = [data(*shape).requires_grad_() for shape in shapes]
    out = expression(*operands)
    ct = data(*out.shape)
    with count_kernels(exactly=1):
        out.detach().cpu().numpy()
    out.backward(ct)
    with count_kernels(exactly=1):
        for x in operands:
            x.grad.cpu().numpy()


@pytest.mark.parametrize(("name", "shapes", "forward", "backward"), [
    ("layer_norm", ((32, 64), (64,), (64,)), 1, 2),
    ("layer_norm", ((2048, 1024), (1024,), (1024,)), 1, 2),
    ("rms_norm", ((32, 64), (64,)), 1, 2),
    ("batch_norm", ((32, 8), (8,), (8,)), 1, 1),
])
def test_a_normalisation_is_one_kernel(name: str, shapes: tuple[Any, ...], forward: int, backward: int) -> None:
    """PyTorch's own has one and two."""
    x, *parameters = [data(*shape).requires_grad_() for shape in shapes]
    function = getattr(mt.nn.functional, name)
    if name == "batch_norm":
        out = function(x, None, None, *parameters, training=True)
    else:
        out = function(x, (x.shape[1],), *parameters)
    with count_kernels(exactly=forward):
        out.detach().cpu().numpy()
    out.backward(data(*out.shape))
    with count_kernels(at_most=backward):
        for tensor in (x, *parameters):
            tensor.grad.cpu().numpy()


def bce_by_hand(prediction: Any, target: Any) -> Any:
    """Binary cross entropy as the notebooks write it."""
    prediction = mt.clamp(prediction, 1e-8, 1 - 1e-8)
    return -(target * mt.log(prediction) + (1 - target) * mt.log(1 - prediction)).mean()


@pytest.mark.parametrize(("rows", "kernels"), [(256, 1), (2048, 3)])
def test_a_logistic_regression_step_with_hand_written_loss(rows: int, kernels: int) -> None:
    """PyTorch launches 32 for the same lines. What fits one program is one kernel: forward, loss, backward, update."""
    x, y = data(rows, 64), mt.tensor((RNG.random((rows, 1)) > 0.5).astype(np.float32))
    model = mt.nn.Linear(64, 1)
    optimizer = mt.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):                      # the first step also draws the parameters
        with count_kernels() as count:
            optimizer.zero_grad()
            loss = bce_by_hand(mt.sigmoid(model(x)), y)
            loss.backward()
            optimizer.step()
            loss.item()
    assert count.kernels == kernels, count.describe()


@pytest.mark.parametrize("optimizer", [
    lambda parameters: mt.optim.SGD(parameters, lr=0.1),
    lambda parameters: mt.optim.SGD(parameters, lr=0.1, momentum=0.9),
    lambda parameters: mt.optim.Adam(parameters, lr=0.1),
    lambda parameters: mt.optim.AdamW(parameters, lr=0.1),
], ids=["SGD", "momentum", "Adam", "AdamW"])
@pytest.mark.parametrize(("batch", "kernels"), [(32, 6), (128, 6), (2048, 8)])
def test_an_mlp_step(batch: int, kernels: int, optimizer: Callable[[Any], Any]) -> None:
    """PyTorch launches 15 with SGD, 22 with Adam. Two products forward, the loss with its gradient, three products
    backward, in which biases and updates come along; a large batch adds up its losses apart."""
    x, y = data(batch, 784), mt.tensor(RNG.integers(0, 10, batch))
    model = mt.nn.Sequential(mt.nn.Linear(784, 128), mt.nn.ReLU(), mt.nn.Linear(128, 10))
    update = optimizer(model.parameters())
    for _ in range(3):
        with count_kernels() as count:
            update.zero_grad()
            loss = mt.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            update.step()
            loss.item()
    assert count.kernels <= kernels, count.describe()


@pytest.mark.parametrize("optimizer", [
    lambda parameters: mt.optim.SGD(parameters, lr=0.1, momentum=0.9),
    lambda parameters: mt.optim.Adam(parameters, lr=0.1),
], ids=["momentum", "Adam"])
def test_the_updates_of_all_parameters_are_one_kernel(optimizer: Callable[[Any], Any]) -> None:
    """Gradients are at hand, as after clipping: parameters of every shape are updated in one launch."""
    model = mt.nn.Sequential(mt.nn.Linear(30, 20), mt.nn.Linear(20, 20), mt.nn.Linear(20, 3))
    update = optimizer(model.parameters())
    for _ in range(2):                      # the first step makes the state
        for parameter in model.parameters():
            parameter.grad = data(*parameter.shape)
        with count_kernels() as count:
            update.step()
            for parameter in model.parameters():
                parameter.detach().cpu().numpy()
    assert count.kernels == 1, count.describe()


def test_a_step_whose_loss_is_not_read_is_computed_when_the_next_begins() -> None:
    x, y = data(64, 8), data(64, 1)
    model = mt.nn.Linear(8, 1)
    optimizer = mt.optim.SGD(model.parameters(), lr=0.1)
    counts = []
    for _ in range(4):
        with count_kernels() as count:
            optimizer.zero_grad()
            ((model(x) - y) ** 2).mean().backward()
            optimizer.step()
        counts.append(count.kernels)
    assert counts[2] == counts[3] and 0 < counts[3] <= 6, counts


def test_the_counter_catches_a_kernel_too_many() -> None:
    x = data(4, 4)
    with pytest.raises(AssertionError, match="kernels were launched, at most 0"), count_kernels(at_most=0):
        (x + 1).cpu().numpy()
    out = (x + 1) * 2
    with mt.settings.fuse(False), count_kernels() as count:
        out.cpu().numpy()
    assert count.kernels == 2


def test_a_loss_that_is_dropped_unread_is_not_computed_and_one_that_is_kept_is_right() -> None:
    x, y = data(64, 8), data(64, 1)
    w = mt.zeros(8, 1, requires_grad=True)
    losses, expected, by_hand = [], [], np.zeros((8, 1), np.float64)
    for step in range(6):
        loss = ((x @ w - y) ** 2).mean()
        loss.backward()
        with mt.no_grad():
            w -= 0.1 * w.grad
        w.grad = None
        if step >= 3:
            losses.append(loss.detach() if step == 3 else loss)
        error = x.cpu().numpy().astype(np.float64) @ by_hand - y.cpu().numpy()
        expected.append(np.mean(error ** 2))
        by_hand -= 0.1 * 2 * x.cpu().numpy().T.astype(np.float64) @ error / len(error)
        if step == 1:
            first = loss
        if step == 3:
            assert first.node.buffer is not None, "a loss still held a step later is computed"
            assert loss.node.buffer is None, "this step's loss waits"
    np.testing.assert_allclose([value.item() for value in losses], expected[3:], rtol=1e-5)


@pytest.mark.parametrize(("expression", "shapes", "kernels"), [
    (lambda x: x / x.norm(dim=1, keepdim=True), ((16, 40),), 1),
    (lambda x: x.tril().softmax(-1), ((16, 16),), 1),
    (lambda x: x.roll(3, 1).diagonal().sum(), ((16, 16),), 1),
    (lambda x: x.repeat(3, 2) * 2, ((16, 16),), 1),
    (bce_by_hand, ((256, 1), (256, 1)), 1),
    (lambda bias, x, y: mt.addmm(bias, x, y).relu(), ((24,), (16, 32), (32, 24)), 1),
    (lambda x, weight, bias: mt.nn.functional.conv2d(x, weight, bias, padding=1).relu(),       # which stores no columns
     ((2, 3, 8, 8), (4, 3, 3, 3), (4,)), 1),
    (lambda q, k: mt.einsum("bqhd,bkhd->bhqk", q, k) * 0.5, ((2, 16, 4, 8), (2, 16, 4, 8)), 1),
    (lambda q, k, v: mt.softmax(q @ k.transpose(-1, -2) / 4, -1) @ v, ((2, 4, 32, 16),) * 3, 3),
])
def test_views_triangles_norms_losses_and_products_fuse(expression: Callable[..., Any],
                                                        shapes: tuple[tuple[int, ...], ...], kernels: int) -> None:
    out = expression(*(data(*shape) for shape in shapes))
    with count_kernels(exactly=kernels):
        out.cpu().numpy()
