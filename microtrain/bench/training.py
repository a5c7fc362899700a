"""Training steps, each written once against PyTorch's API and once by hand in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .workload import Compile, Inputs, Instance, Workload

CHECKED_STEPS = 5

PERCEPTRON_LR = 0.01
EPSILON = 1e-8
LINEAR_LR = 0.1
MLP_LR, MOMENTUM = 0.1, 0.9


def perceptron() -> Workload:
    """One weight and one bias; sigmoid; binary cross entropy by clamp and log; descent by hand."""
    return Workload("perceptron", "", "scalars w*x + b, sigmoid, clamp/log cross entropy, backward, update by hand",
                    _perceptron_inputs, _perceptron, _perceptron_by_hand, CHECKED_STEPS)


def logistic(rows: int, features: int) -> Workload:
    """A linear layer with binary cross entropy on its logits, and SGD."""
    def inputs(rng: np.random.Generator) -> Inputs:
        return {**_layer(rng, rows, features), "y": (rng.random((rows, 1)) > 0.5).astype(np.float32)}

    def loss(T: Any, z: Any, y: Any) -> Any:
        return T.nn.functional.binary_cross_entropy_with_logits(z, y)

    def slope(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.mean((1 - y) * z + np.logaddexp(0, -z)), (1 / (1 + np.exp(-z)) - y) / len(z)

    return Workload("logistic", f"{rows}x{features}", "nn.Linear, cross entropy with logits, backward, optim.SGD",
                    inputs, _linear_step(loss), _linear_by_hand(slope), CHECKED_STEPS)


def regression(rows: int, features: int) -> Workload:
    """A linear layer with the mean squared error, and SGD."""
    def inputs(rng: np.random.Generator) -> Inputs:
        layer = _layer(rng, rows, features)
        noise = rng.standard_normal((rows, 1)).astype(np.float32)
        return {**layer, "y": layer["x"] @ rng.standard_normal((features, 1)).astype(np.float32) + noise}

    def loss(T: Any, z: Any, y: Any) -> Any:
        return T.nn.functional.mse_loss(z, y)

    def slope(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        error = z - y
        return np.mean(error * error), error * (2 / len(z))

    return Workload("regression", f"{rows}x{features}", "nn.Linear, mean squared error, backward, optim.SGD",
                    inputs, _linear_step(loss), _linear_by_hand(slope), CHECKED_STEPS)


def mlp(batch: int, sizes: tuple[int, int, int]) -> Workload:
    """Two linear layers with a ReLU between them; cross entropy; SGD with momentum."""
    def inputs(rng: np.random.Generator) -> Inputs:
        return {"x": rng.standard_normal((batch, sizes[0])).astype(np.float32), "y": rng.integers(0, sizes[2], batch),
                "w1": _weight(rng, sizes[1], sizes[0]), "b1": _weight(rng, sizes[1]),
                "w2": _weight(rng, sizes[2], sizes[1]), "b2": _weight(rng, sizes[2])}

    name = "-".join(map(str, sizes))
    return Workload("mlp", f"{name} batch {batch}", "two nn.Linear, ReLU, cross entropy, backward, SGD with momentum",
                    inputs, _mlp, _mlp_by_hand, CHECKED_STEPS)


def _perceptron_inputs(rng: np.random.Generator) -> Inputs:
    x = 6.7 + 0.01 * rng.standard_normal()
    return {name: np.array(value, np.float32) for name, value in {"x": x, "y": 0.0, "w": 1.0, "b": 0.0}.items()}


def _perceptron(T: Any, inputs: Mapping[str, Any], compiled: Compile) -> Instance:
    x, y = inputs["x"], inputs["y"]
    w, b = (inputs[name].clone().requires_grad_() for name in ("w", "b"))

    def forward() -> Any:
        p = T.clamp(T.sigmoid(w * x + b), EPSILON, 1 - EPSILON)
        return -(y * T.log(p) + (1 - y) * T.log(1 - p))

    forward = compiled(forward)

    def step() -> Any:
        loss = forward()
        loss.backward()
        with T.no_grad():
            w.sub_(PERCEPTRON_LR * w.grad)
            b.sub_(PERCEPTRON_LR * b.grad)
        w.grad = None
        b.grad = None
        return loss

    return Instance(step, {"w": w, "b": b})


def _perceptron_by_hand(inputs: Inputs) -> Instance:
    x, y = inputs["x"][()], inputs["y"][()]
    state = {name: inputs[name].copy() for name in ("w", "b")}
    low, high = x.dtype.type(EPSILON), x.dtype.type(1 - EPSILON)
    lr = x.dtype.type(PERCEPTRON_LR)

    def step() -> Any:
        s = 1 / (1 + np.exp(-(state["w"] * x + state["b"])))
        p = min(max(s, low), high)
        slope = s * (1 - s) * ((1 - y) / (1 - p) - y / p) if low <= s <= high else x.dtype.type(0)
        loss = -(y * np.log(p) + (1 - y) * np.log(1 - p))
        state["w"] -= lr * slope * x
        state["b"] -= lr * slope
        return loss

    return Instance(step, state)


def _weight(rng: np.random.Generator, *shape: int) -> np.ndarray:
    bound = shape[-1] ** -0.5
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def _layer(rng: np.random.Generator, rows: int, features: int) -> Inputs:
    return {"x": rng.standard_normal((rows, features)).astype(np.float32), "w": _weight(rng, 1, features),
            "b": np.zeros(1, np.float32)}


def _linear(T: Any, weight: Any, bias: Any) -> Any:
    """An nn.Linear that starts at the given weights."""
    layer = T.nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
    with T.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


def _optimized(forward: Any, optimizer: Any, state: Mapping[str, Any], compiled: Compile) -> Instance:
    """The step that every `optim` user writes."""
    forward, update = compiled(forward), compiled(optimizer.step)

    def step() -> Any:
        optimizer.zero_grad()
        loss = forward()
        loss.backward()
        update()
        return loss

    return Instance(step, state, optimizer)


def _linear_step(loss: Any) -> Any:
    def build(T: Any, inputs: Mapping[str, Any], compiled: Compile) -> Instance:
        layer = _linear(T, inputs["w"], inputs["b"])
        x, y = inputs["x"], inputs["y"]
        return _optimized(lambda: loss(T, layer(x), y), T.optim.SGD(layer.parameters(), lr=LINEAR_LR),
                          {"w": layer.weight, "b": layer.bias}, compiled)
    return build


def _linear_by_hand(slope: Any) -> Any:
    def build(inputs: Inputs) -> Instance:
        x, y = inputs["x"], inputs["y"]
        w, b = inputs["w"].copy(), inputs["b"].copy()

        def step() -> Any:
            loss, dz = slope(x @ w.T + b, y)
            w[...] -= LINEAR_LR * (dz.T @ x)
            b[...] -= LINEAR_LR * dz.sum(0)
            return loss

        return Instance(step, {"w": w, "b": b})
    return build


def _mlp(T: Any, inputs: Mapping[str, Any], compiled: Compile) -> Instance:
    first = _linear(T, inputs["w1"], inputs["b1"])
    second = _linear(T, inputs["w2"], inputs["b2"])
    model = T.nn.Sequential(first, T.nn.ReLU(), second)
    x, y = inputs["x"], inputs["y"]
    optimizer = T.optim.SGD(model.parameters(), lr=MLP_LR, momentum=MOMENTUM)
    state = {"w1": first.weight, "b1": first.bias, "w2": second.weight, "b2": second.bias}
    return _optimized(lambda: T.nn.functional.cross_entropy(model(x), y), optimizer, state, compiled)


def _mlp_by_hand(inputs: Inputs) -> Instance:
    x, y = inputs["x"], inputs["y"]
    w1, b1, w2, b2 = weights = [inputs[name].copy() for name in ("w1", "b1", "w2", "b2")]
    velocities = [np.zeros_like(weight) for weight in weights]
    rows = np.arange(len(x))

    def step() -> Any:
        h = np.maximum(x @ w1.T + b1, 0)
        z = h @ w2.T + b2
        z -= z.max(1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
        loss = -log_p[rows, y].mean()
        dz = np.exp(log_p)
        dz[rows, y] -= 1
        dz /= len(x)
        dh = (dz @ w2) * (h > 0)
        gradients = (dh.T @ x, dh.sum(0), dz.T @ h, dz.sum(0))
        for weight, velocity, gradient in zip(weights, velocities, gradients, strict=True):
            velocity *= MOMENTUM
            velocity += gradient
            weight -= MLP_LR * velocity
        return loss

    return Instance(step, {"w1": w1, "b1": b1, "w2": w2, "b2": b2})
