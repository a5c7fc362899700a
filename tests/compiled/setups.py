"""Set-ups: what people train, each a step with its data of 8 rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

import microtrain as mt
from microtrain import nn
from microtrain.nn import functional as F
from microtrain.optim import SGD, Adam, AdamW
from microtrain.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, StepLR
from tests.compiled.support import World, data, training

ROWS = 8
SETUPS: dict[str, Callable[[], World]] = {}

X = data(ROWS, 4)
Y = data(ROWS, 3, seed=1)
YES = (data(ROWS, 1, seed=2) > 0).astype(np.float32)
CLASSES = np.random.default_rng(3).integers(0, 3, ROWS)
IMAGES = data(ROWS, 1, 6, 6, seed=4)
WORDS = np.random.default_rng(5).integers(0, 7, (ROWS, 3))


def setup(build: Callable[[], World]) -> Callable[[], World]:
    SETUPS[build.__name__] = build
    return build


def leaf(*shape: int, seed: int = 9) -> mt.Tensor:
    return mt.tensor(data(*shape, seed=seed), requires_grad=True)


def mlp(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), *(between or [nn.ReLU()]), nn.Linear(5, 3))


def classifier(model: nn.Module, make: Callable[..., Any], *arrays: Any, **options: Any) -> World:
    arrays = arrays or (X, CLASSES)
    return training(model, make(model.parameters(), **options), F.cross_entropy, *arrays)


def scheduled(make: Callable[..., Any], schedule: Callable[[Any], Any], **options: Any) -> World:
    """An epoch a step."""
    model = nn.Linear(4, 3)
    opt = make(model.parameters(), **options)
    scheduler = schedule(opt)

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        scheduler.step()
        return loss
    return World(step, mt.tensor(X), mt.tensor(Y), model=model, opt=opt, scheduler=scheduler)


# ------------------------------------------------- by hand
@setup
def perceptron() -> World:
    w, b = mt.tensor(1.0, requires_grad=True), mt.tensor(0.0, requires_grad=True)

    def step(x: Any, y: Any) -> Any:
        p = mt.clamp(mt.sigmoid(w * x + b), 1e-8, 1 - 1e-8)
        loss = -(y * mt.log(p) + (1 - y) * mt.log(1 - p)).mean()
        loss.backward()
        with mt.no_grad():
            w.sub_(0.01 * w.grad)
            b.sub_(0.01 * b.grad)
        w.grad = None
        b.grad = None
        return loss
    return World(step, mt.tensor(X[:, 0] * 6.7), mt.tensor(YES[:, 0]), w=w, b=b)


@setup
def linear_by_hand() -> World:
    w, b = leaf(4, 3), leaf(3)

    def step(x: Any, y: Any) -> Any:
        loss = ((x @ w + b - y) ** 2).mean()
        gw, gb = mt.autograd.grad(loss, (w, b))
        with mt.no_grad():
            w.add_(gw, alpha=-0.1)
            b.copy_(b - 0.1 * gb)
        return loss
    return World(step, mt.tensor(X), mt.tensor(Y), w=w, b=b)


@setup
def gradients_left_and_zeroed() -> World:
    w = leaf(4, 3)

    def step(x: Any, y: Any) -> Any:
        if w.grad is not None:
            w.grad.zero_()
        loss = ((x @ w - y) ** 2).mean()
        loss.backward()
        w.data -= 0.1 * w.grad
        return loss
    return World(step, mt.tensor(X), mt.tensor(Y), w=w)


@setup
def momentum_by_hand() -> World:
    w, m = leaf(4, 3), mt.zeros(4, 3)

    def step(x: Any, y: Any) -> Any:
        loss = ((x @ w - y) ** 2).mean()
        loss.backward()
        with mt.no_grad():
            m.mul_(0.9).add_(w.grad)
            w.sub_(0.1 * m)
        w.grad = None
        return loss
    return World(step, mt.tensor(X), mt.tensor(Y), w=w, m=m)


@setup
def rate_counted_in_a_tensor() -> World:
    w, t = leaf(4, 3), mt.zeros(())

    def step(x: Any, y: Any) -> Any:
        loss = ((x @ w - y) ** 2).mean()
        loss.backward()
        with mt.no_grad():
            t.add_(1)
            w.sub_(0.3 / t.sqrt() * w.grad)
        w.grad = None
        return loss
    return World(step, mt.tensor(X), mt.tensor(Y), w=w, t=t)


@setup
def clipped_gradients() -> World:
    w, b = leaf(4, 3), leaf(3)

    def step(x: Any, y: Any) -> Any:
        loss = ((x @ w + b - y) ** 2).mean() + 0.01 * (w * w).sum()
        loss.backward()
        norm = mt.sqrt((w.grad ** 2).sum() + (b.grad ** 2).sum())
        scale = mt.clamp(1.0 / (norm + 1e-6), max=1.0)
        with mt.no_grad():
            for p in (w, b):
                p -= 0.1 * scale * p.grad
                p.grad = None
        return loss
    return World(step, mt.tensor(X), mt.tensor(Y), w=w, b=b)


@setup
def logistic_by_hand() -> World:
    model = nn.Linear(4, 1)
    opt = SGD(model.parameters(), lr=0.5)

    def bce(logits: Any, y: Any) -> Any:
        p = mt.sigmoid(logits).clamp(1e-7, 1 - 1e-7)
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    return training(model, opt, bce, X, YES)


# ------------------------------------------------- models and losses of nn, and optimizers
@setup
def linear_sgd() -> World:
    model = nn.Linear(4, 3)
    return training(model, SGD(model.parameters(), lr=0.1), nn.MSELoss(), X, Y)


@setup
def logistic_momentum() -> World:
    model = nn.Linear(4, 1)
    return training(model, SGD(model.parameters(), lr=0.1, momentum=0.9), F.binary_cross_entropy_with_logits, X, YES)


@setup
def logistic_nesterov() -> World:
    model = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
    opt = SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    return training(model, opt, nn.BCELoss(), X, YES)


@setup
def mlp_sgd() -> World:
    return classifier(mlp(), SGD, lr=0.1)


@setup
def mlp_momentum_with_decay() -> World:
    return classifier(mlp(nn.Tanh()), SGD, lr=0.1, momentum=0.9, weight_decay=0.01, dampening=0.1)


@setup
def mlp_adam() -> World:
    return classifier(mlp(), Adam, lr=0.05)


@setup
def mlp_adamw() -> World:
    return classifier(mlp(nn.GELU(), nn.LayerNorm(5)), AdamW, lr=0.05, amsgrad=True)


@setup
def mlp_float64() -> World:
    return classifier(mlp().double(), Adam, X.astype(np.float64), CLASSES, lr=0.05, maximize=True)


@setup
def groups_with_options_of_their_own() -> World:
    model = mlp()
    first, last = list(model[0].parameters()), list(model[2].parameters())
    opt = SGD([{"params": first, "lr": 0.2}, {"params": last, "momentum": 0.5}], lr=0.1)
    return training(model, opt, F.cross_entropy, X, CLASSES)


@setup
def rate_as_a_tensor() -> World:
    return classifier(mlp(), SGD, lr=mt.tensor(0.1), momentum=0.9)


@setup
def two_optimizers() -> World:
    model = mlp()
    one, two = SGD(model[0].parameters(), lr=0.1), Adam(model[2].parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        one.zero_grad()
        two.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        one.step()
        two.step()
        return loss
    return World(step, mt.tensor(X), mt.tensor(CLASSES), model=model, one=one, two=two)


@setup
def convolution() -> World:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    return classifier(model, SGD, IMAGES, CLASSES, lr=0.1, momentum=0.9)


@setup
def embedding() -> World:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 3))
    return classifier(model, Adam, WORDS, CLASSES, lr=0.05)


@setup
def dropout() -> World:
    return classifier(mlp(nn.ReLU(), nn.Dropout(0.3)), SGD, lr=0.1)


@setup
def dropout_twice_with_adam() -> World:
    return classifier(nn.Sequential(nn.Dropout(0.2), *mlp(nn.ReLU(), nn.Dropout(0.5))), Adam, lr=0.05)


@setup
def batch_norm() -> World:
    return classifier(mlp(nn.BatchNorm1d(5), nn.ReLU()), SGD, lr=0.1, momentum=0.9)


@setup
def convolution_with_batch_norm() -> World:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2, momentum=0.3), nn.ReLU(),
                          nn.AvgPool2d(3), nn.Flatten(), nn.Dropout(0.1), nn.Linear(8, 3))
    return classifier(model, AdamW, IMAGES, CLASSES, lr=0.05)


@setup
def batch_norm_over_all_batches() -> World:
    return classifier(mlp(nn.BatchNorm1d(5, momentum=None), nn.ReLU()), SGD, lr=0.1)


@setup
def values_picked_by_their_classes() -> World:
    model = mlp()
    opt = SGD(model.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        values = model(x)
        picked = values.gather(1, y[:, None]) + values[mt.arange(len(x)), y][:, None]
        loss = F.mse_loss(picked.expand(-1, 3), F.one_hot(y, 3).float())
        loss.backward()
        opt.step()
        return loss
    return World(step, mt.tensor(X), mt.tensor(CLASSES), model=model, opt=opt)


@setup
def noise_on_the_data() -> World:
    model = nn.Linear(4, 3)
    opt = SGD(model.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.mse_loss(model(x + 0.1 * mt.randn_like(x)), y * mt.rand(3))
        loss.backward()
        opt.step()
        return loss
    return World(step, mt.tensor(X), mt.tensor(Y), model=model, opt=opt)


@setup
def two_halves_of_a_batch() -> World:
    model = mlp()
    opt = SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad(set_to_none=False)
        half = len(x) // 2
        losses = []
        for k in range(2):
            loss = F.cross_entropy(model(x[k * half:(k + 1) * half]), y[k * half:(k + 1) * half]) / 2
            loss.backward()
            losses.append(loss.detach())
        opt.step()
        return losses[0] + losses[1]
    return World(step, mt.tensor(X), mt.tensor(CLASSES), model=model, opt=opt)


@setup
def gradient_penalty() -> World:
    w = leaf(4, 3)

    def step(x: Any, y: Any) -> Any:
        loss = (mt.tanh(x @ w) - y).square().mean()
        g, = mt.autograd.grad(loss, w, create_graph=True)
        (loss + 0.1 * (g * g).sum()).backward()
        with mt.no_grad():
            w.sub_(0.1 * w.grad)
        w.grad = None
        return loss.detach()
    return World(step, mt.tensor(X), mt.tensor(Y), w=w)


@setup
def two_models_held_by_an_object() -> World:
    """With a running mean beside them, written in place."""
    held = SimpleNamespace(a=nn.Linear(4, 3), b=nn.Linear(3, 3, bias=False), mean=mt.zeros(3))
    opt = Adam([*held.a.parameters(), *held.b.parameters()], lr=0.01)

    def step(x: Any, y: Any) -> Any:
        h = held.a(x).sigmoid()
        with mt.no_grad():
            held.mean.mul_(0.9).add_(h.mean(0), alpha=0.1)
        loss = F.smooth_l1_loss(held.b(h - held.mean), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss
    return World(step, mt.tensor(X), mt.tensor(Y), a=held.a, b=held.b, mean=held.mean, opt=opt)


@setup
def accumulating() -> World:
    """Gradients are left, and added to."""
    model = nn.Linear(4, 3)
    opt = SGD(model.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss
    return World(step, mt.tensor(X), mt.tensor(Y), model=model, opt=opt)


# ------------------------------------------------- schedules
@setup
def rate_by_steps() -> World:
    return scheduled(SGD, lambda opt: StepLR(opt, 2, 0.5), lr=0.1, momentum=0.9)


@setup
def rate_by_cosine() -> World:
    return scheduled(Adam, lambda opt: CosineAnnealingLR(opt, 10), lr=0.1)


@setup
def rate_by_a_function() -> World:
    return scheduled(SGD, lambda opt: LambdaLR(opt, lambda epoch: 1 / math.sqrt(1 + epoch)), lr=0.1)
