"""Steps of training whose kernels are judged: each is run twice, since the first step of an optimizer is another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import microtrain as mt
from microtrain import nn, optim
from microtrain.nn import functional as F
from microtrain.tensor import Tensor

Made = tuple[nn.Module, Callable[[], Tensor]]
"""A model and the loss of one batch."""


class Maker:
    """Makes the tensors of a step in one dtype."""

    def __init__(self, dtype: str) -> None:
        self.random = np.random.default_rng(5)
        self.dtype = getattr(mt, dtype)

    def floats(self, *shape: int) -> Tensor:
        """Normal numbers."""
        return mt.tensor(self.random.standard_normal(shape).astype(np.float32)).to(self.dtype)

    def classes(self, count: int, *shape: int) -> Tensor:
        """Integers below `count`."""
        return mt.tensor(self.random.integers(0, count, shape))


def perceptron(of: Maker, batch: int, sizes: tuple[int, ...], activation: Callable[[], nn.Module]) -> Made:
    """Linear layers with an activation between them, and cross entropy."""
    layers = [layer for sides in itertools.pairwise(sizes) for layer in (nn.Linear(*sides), activation())]
    model = nn.Sequential(*layers[:-1])
    x, y = of.floats(batch, sizes[0]), of.classes(sizes[-1], batch)
    return model, lambda: F.cross_entropy(model(x), y)


def regression(of: Maker, batch: int, features: int, loss: Callable[[Tensor, Tensor], Tensor]) -> Made:
    """A linear layer with one output."""
    model = nn.Linear(features, 1)
    x, y = of.floats(batch, features), of.floats(batch, 1).sigmoid()
    return model, lambda: loss(model(x), y)


def normalised(of: Maker, batch: int, width: int, norm: Callable[[int], nn.Module]) -> Made:
    """A normalisation between two layers, with dropout."""
    model = nn.Sequential(nn.Linear(width, width), norm(width), nn.GELU(), nn.Dropout(0.25), nn.Linear(width, 16))
    x, y = of.floats(batch, width), of.floats(batch, 16)
    return model, lambda: F.mse_loss(model(x), y)


def attention(of: Maker, batch: int, length: int, width: int) -> Made:
    """Self-attention of one head over short sequences."""
    project, out = nn.Linear(width, 3 * width), nn.Linear(width, width)
    x, y = of.floats(batch, length, width), of.floats(batch, length, width)

    def loss() -> Tensor:
        q, k, v = project(x).chunk(3, -1)
        weights = (q @ k.mT * width**-0.5).softmax(-1)
        return F.mse_loss(out(weights @ v), y)
    return nn.ModuleList([project, out]), loss


def convolutional(of: Maker, batch: int, side: int, channels: int) -> Made:
    """Convolution, batch normalisation, pooling, a linear layer."""
    model = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
                          nn.MaxPool2d(2), nn.Flatten(), nn.Linear(channels * (side // 2) ** 2, 10))
    x, y = of.floats(batch, 3, side, side), of.classes(10, batch)
    return model, lambda: F.cross_entropy(model(x), y)


def embedded(of: Maker, batch: int, length: int, words: int, width: int) -> Made:
    """Embeddings summed over a sequence, and a linear layer over the words."""
    table, out = nn.Embedding(words, width), nn.Linear(width, words)
    x, y = of.classes(words, batch, length), of.classes(words, batch)
    return nn.ModuleList([table, out]), lambda: F.cross_entropy(out(table(x).mean(1)), y)


MODELS: dict[str, tuple[Any, ...]] = {
    "perceptron 64-64-10, batch 64": (perceptron, 64, (64, 64, 10), nn.ReLU),
    "perceptron 784-128-10, batch 128": (perceptron, 128, (784, 128, 10), nn.ReLU),
    "perceptron 100-50-7, batch 33": (perceptron, 33, (100, 50, 7), nn.Tanh),
    "perceptron 256-512-512-16, batch 512": (perceptron, 512, (256, 512, 512, 16), nn.SiLU),
    "perceptron 30-24-3, batch 1": (perceptron, 1, (30, 24, 3), nn.LeakyReLU),
    "logistic regression 256 x 64": (regression, 256, 64, F.binary_cross_entropy_with_logits),
    "logistic regression 33 x 30": (regression, 33, 30, F.binary_cross_entropy_with_logits),
    "logistic regression 32768 x 32": (regression, 1 << 15, 32, F.binary_cross_entropy_with_logits),
    "linear regression 128 x 10": (regression, 128, 10, F.mse_loss),
    "linear regression 1024 x 256": (regression, 1024, 256, F.smooth_l1_loss),
    "layer norm, batch 64": (normalised, 64, 256, nn.LayerNorm),
    "layer norm, batch 5": (normalised, 5, 33, nn.LayerNorm),
    "batch norm, batch 256": (normalised, 256, 64, nn.BatchNorm1d),
    "attention of 16 x 64": (attention, 8, 16, 64),
    "attention of 13 x 20": (attention, 3, 13, 20),
    "convolution of 8 x 16 x 16": (convolutional, 8, 16, 16),
    "convolution of 3 x 10 x 10": (convolutional, 3, 10, 5),
    "embedding of 1000 words": (embedded, 32, 8, 1000, 64),
    "embedding of 33 words": (embedded, 7, 5, 33, 12),
}
"""What makes each, and with what."""

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4),
    "Adam": lambda parameters: optim.Adam(parameters, lr=1e-3),
}


def steps() -> Iterator[tuple[str, Callable[[], None]]]:
    """Every model in float32 with every optimizer, and in the other dtypes with Adam; with the text that makes each."""
    for model in MODELS:
        for dtype, optimizer in [*[("float32", key) for key in OPTIMIZERS], ("bfloat16", "Adam"), ("float64", "Adam")]:
            yield f"training.step({model!r}, {optimizer!r}, {dtype!r})", partial(step, model, optimizer, dtype)


def step(model: str, optimizer: str, dtype: str) -> None:
    """Run two steps."""
    of = Maker(dtype)
    make, *given = MODELS[model]
    network, loss = make(of, *given)
    network.to(of.dtype)
    chosen = OPTIMIZERS[optimizer](network.parameters())
    for _ in range(2):
        chosen.zero_grad()
        value = loss()
        value.backward()
        chosen.step()
        value.item()


FOLDS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda x: x.sum(1),
    "maximum less the mean": lambda x: x.amax(1) - x.mean(1),
    "variance": lambda x: x.var(1, correction=0),
    "logarithm of the sum of exponentials": lambda x: x.logsumexp(1),
    "how many are positive": lambda x: (x > 0).sum(1),
    "product of logistic functions": lambda x: (x.sigmoid() + 0.5).prod(1),
    "every other column": lambda x: x[:, ::2].sum(1),
    "softmax": lambda x: x.softmax(1),
}

LONG = ((128, 1 << 15), (130, 33001))
"""Rows too long for the chip, and enough of them that each is folded by one program."""


def folds() -> Iterator[tuple[str, Callable[[], object]]]:
    """Every reduction in every size, dtypes by turns; with the text that makes each."""
    dtypes = itertools.cycle(("float32", "bfloat16", "float64"))
    for (rows, cols), name in itertools.product(LONG, FOLDS):
        dtype = next(dtypes)
        yield f"training.fold({name!r}, {rows}, {cols}, {dtype!r})", partial(fold, name, rows, cols, dtype)


def fold(name: str, rows: int, cols: int, dtype: str) -> object:
    """Run one reduction."""
    return FOLDS[name](Maker(dtype).floats(rows, cols)).cpu().numpy()
