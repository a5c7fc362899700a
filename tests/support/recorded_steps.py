"""Steps of training, recorded and not computed, as programs with their roles in a loop: for the tests of loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import microtrain as mt
from microtrain import nn, optim
from microtrain.compiler.loop import Roles
from microtrain.compiler.program import Program
from microtrain.engine.plans import plans
from microtrain.engine.run import flush


@dataclass
class Recorded:
    """A step's program.

    Attributes:
        values: of each input a buffer, of a number the number.
        data: places of the inputs that are the step's arguments; the labels come last.
    """

    program: Program
    roles: Roles
    values: list[Any]
    data: list[int]


class Model(NamedTuple):
    """What trains: the loss of arguments, tensors that change (made anew by each step), and the update."""

    arguments: list[mt.Tensor]
    loss: Callable[..., mt.Tensor]
    changing: Callable[[], list[mt.Tensor]]
    update: Callable[[], None]


def recorded(model: Model, before: int = 1) -> Recorded:
    """A step of a model, after some that gave the optimizer its state."""
    def step() -> mt.Tensor:
        loss = model.loss(*model.arguments)
        loss.backward()
        model.update()
        return loss

    for _ in range(before):
        step()
        flush(model.arguments[0].node.device)
    old = [tensor.node for tensor in model.changing()]
    loss = step()
    new = [tensor.node for tensor in model.changing()]
    found, order = plans.find([loss.node, *new], loss.node.device)
    assert found is not None
    plan = found.of(order, {str(k): pair for k, pair in enumerate(zip(old, new, strict=True))})
    leaves = [order[place].buffer for place in plan.inputs]
    carried = {k: port.becomes for k, port in enumerate(plan.ports[:len(plan.inputs)]) if port.becomes is not None}
    history = [k for k, place in enumerate(plan.outputs) if order[place] is loss.node]
    given = [plan.inputs.index(order.index(tensor.node)) for tensor in model.arguments]
    assert len(carried) == len(old) and len(history) == 1
    return Recorded(plan.program, Roles(carried, frozenset(), frozenset(history)), leaves, given)


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def by_hand(parameters: list[mt.Tensor], rate: float) -> Callable[[], None]:
    def update() -> None:
        with mt.no_grad():
            for parameter in parameters:
                parameter -= rate * parameter.grad
                parameter.grad = None
    return update


def perceptron(rng: np.random.Generator, device: str, features: int = 32) -> Model:
    """One row a step."""
    x, y = mt.tensor(numbers(rng, 1, features), device=device), mt.ones(1, device=device)
    w, b = (mt.tensor(numbers(rng, *shape), device=device, requires_grad=True) for shape in ((features,), ()))
    return Model([x, y], lambda x, y: (((x @ w + b).sigmoid() - y) ** 2).mean(), lambda: [w, b], by_hand([w, b], 0.1))


def logistic(rng: np.random.Generator, device: str, rows: int = 256, features: int = 64) -> Model:
    """Cross entropy by hand."""
    x = mt.tensor(numbers(rng, rows, features), device=device)
    y = mt.tensor((rng.random(rows) > 0.5).astype(np.float32), device=device)
    w, b = (mt.tensor(numbers(rng, *shape), device=device, requires_grad=True) for shape in ((features,), ()))

    def loss(x: mt.Tensor, y: mt.Tensor) -> mt.Tensor:
        p = (x @ w + b).sigmoid().clamp(1e-6, 1 - 1e-6)
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    return Model([x, y], loss, lambda: [w, b], by_hand([w, b], 0.1))


def logits(rng: np.random.Generator, device: str, rows: int = 256, features: int = 64) -> Model:
    """Cross entropy as one function of a linear layer."""
    x = mt.tensor(numbers(rng, rows, features), device=device)
    y = mt.tensor((rng.random((rows, 1)) > 0.5).astype(np.float32), device=device)
    net = nn.Linear(features, 1, device=device)
    opt = optim.SGD(net.parameters(), lr=0.1)

    def update() -> None:
        opt.step()
        opt.zero_grad()
    return Model([x, y], lambda x, y: nn.functional.binary_cross_entropy_with_logits(net(x), y),
                 lambda: list(net.parameters()), update)


def mlp(rng: np.random.Generator, device: str, sizes: tuple[int, int, int] = (64, 64, 10), rows: int = 64,
        optimizer: Callable[[Any], Any] = lambda of: optim.SGD(of, lr=0.1)) -> Model:
    """Two layers and a cross entropy."""
    features, hidden, classes = sizes
    x = mt.tensor(numbers(rng, rows, features), device=device)
    y = mt.tensor(rng.integers(0, classes, rows), device=device)
    net = nn.Sequential(nn.Linear(features, hidden, device=device), nn.ReLU(),
                        nn.Linear(hidden, classes, device=device))
    opt = optimizer(net.parameters())

    def update() -> None:
        opt.step()
        opt.zero_grad()

    def changing() -> list[mt.Tensor]:
        states = [value for state in opt.state.values() for value in state.values() if isinstance(value, mt.Tensor)]
        return [*net.parameters(), *states]
    return Model([x, y], lambda x, y: nn.functional.cross_entropy(net(x), y), changing, update)


MODELS: dict[str, Callable[[np.random.Generator, str], Model]] = {
    "perceptron": perceptron,
    "logistic": logistic,
    "logits": logits,
    "mlp": mlp,
    "momentum": lambda rng, device: mlp(rng, device, (32, 32, 10), 32, lambda of: optim.SGD(of, lr=0.1, momentum=0.9)),
    "adam": lambda rng, device: mlp(rng, device, (16, 16, 3), 16, lambda of: optim.Adam(of, lr=0.01)),
}
