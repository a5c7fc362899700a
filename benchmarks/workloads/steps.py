"""Training steps: forward, backward and update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..draws import Draw, weight
from ..limits import Format, Limit, Product
from ..workload import Compile, Instance, Values, Workload, training
from .operation import ITEMSIZE

CHECKED_STEPS = 5

PERCEPTRON_LR = 0.01
EPSILON = 1e-8
LINEAR_LR = 0.1
MLP_LR, MOMENTUM = 0.1, 0.9
CONVOLUTION_LR = 0.01

LINEAR_KERNELS, MLP_KERNELS = 3, 7
"""Launches that a linear model's and a two-layer MLP's step need at most, counted by the suite's tests."""

SIDE, CLASSES = 28, 10
"""Of a convolution's images."""


def perceptron() -> Workload:
    """One weight and one bias; sigmoid; binary cross entropy by clamp and log; descent by hand."""
    def inputs(draw: Draw) -> Values:
        return {"x": 6.7 + 0.01 * draw.normal(), "y": draw.zeros(), "w": draw.zeros() + 1, "b": draw.zeros()}

    def by_hand(xp: Any, v: Values) -> tuple[Any, Values]:
        x, y = v["x"], v["y"]
        s = 1 / (1 + xp.exp(-(v["w"] * x + v["b"])))
        p = xp.minimum(xp.maximum(s, EPSILON), 1 - EPSILON)
        slope = xp.where(s == p, s * (1 - s) * ((1 - y) / (1 - p) - y / p), 0)
        loss = -(y * xp.log(p) + (1 - y) * xp.log(1 - p))
        return loss, {"w": v["w"] - PERCEPTRON_LR * slope * x, "b": v["b"] - PERCEPTRON_LR * slope}

    return _step("perceptron", "scalars w*x + b, sigmoid, clamp/log cross entropy, backward, update by hand",
                 inputs, _perceptron, by_hand, Limit(launches=1), ("w", "b"))


def logistic(rows: int, features: int) -> Workload:
    """A linear layer with binary cross entropy on its logits, and SGD."""
    def inputs(draw: Draw) -> Values:
        return {**_layer(draw, rows, features), "y": (draw.normal(rows, 1) > 0) * (draw.zeros() + 1)}

    def slope(xp: Any, z: Any, y: Any) -> tuple[Any, Any]:
        return ((1 - y) * z + xp.logaddexp(0, -z)).mean(), (1 / (1 + xp.exp(-z)) - y) / len(z)

    return _step(f"logistic {rows}x{features}", "nn.Linear, cross entropy with logits, backward, optim.SGD", inputs,
                 _linear_step(lambda T, z, y: T.nn.functional.binary_cross_entropy_with_logits(z, y)),
                 _linear_by_hand(slope), _linear_limit(rows, features), ("w", "b"))


def regression(rows: int, features: int) -> Workload:
    """A linear layer with the mean squared error, and SGD."""
    def inputs(draw: Draw) -> Values:
        layer = _layer(draw, rows, features)
        return {**layer, "y": layer["x"] @ draw.normal(features, 1) + draw.normal(rows, 1)}

    def slope(xp: Any, z: Any, y: Any) -> tuple[Any, Any]:
        return ((z - y) * (z - y)).mean(), (z - y) * (2 / len(z))

    return _step(f"regression {rows}x{features}", "nn.Linear, mean squared error, backward, optim.SGD", inputs,
                 _linear_step(lambda T, z, y: T.nn.functional.mse_loss(z, y)), _linear_by_hand(slope),
                 _linear_limit(rows, features), ("w", "b"))


def mlp(batch: int, sizes: tuple[int, ...], format: Format = "float32", momentum: bool = True) -> Workload:
    """Linear layers with a ReLU between them; cross entropy; SGD, with momentum or without."""
    layers = range(1, len(sizes))

    def inputs(draw: Draw) -> Values:
        found = {"x": draw.normal(batch, sizes[0]), "y": draw.classes(sizes[-1], batch)}
        for i in layers:
            # As wide layers are started in practice: signals keep their size through any number of them.
            found |= {f"w{i}": 2 * weight(draw, sizes[i], sizes[i - 1]), f"b{i}": weight(draw, sizes[i])}
            if momentum:
                found |= {f"vw{i}": draw.zeros(sizes[i], sizes[i - 1]), f"vb{i}": draw.zeros(sizes[i])}
        return found

    def by_hand(xp: Any, v: Values) -> tuple[Any, Values]:
        h = [v["x"]]
        for i in layers:
            z = h[-1] @ v[f"w{i}"].T + v[f"b{i}"]
            h.append(xp.maximum(z, 0))
        loss, dz = _cross_entropy(xp, z, v["y"])
        changed: Values = {}
        for i in reversed(layers):
            for name, found in ((f"w{i}", dz.T @ h[i - 1]), (f"b{i}", dz.sum(0))):
                if momentum:
                    found = MOMENTUM * v[f"v{name}"] + found
                    changed[f"v{name}"] = found
                changed[name] = v[name] - MLP_LR * found
            dz = (dz @ v[f"w{i}"]) * (h[i - 1] > 0)
        return loss, changed

    name = "-".join(map(str, sizes))
    parameters = sum(sizes[i] * (sizes[i - 1] + 1) for i in layers)
    products: list[Product] = [(batch, sizes[i - 1], sizes[i]) for i in layers]
    products += [(sizes[i], batch, sizes[i - 1]) for i in layers]
    products += [(batch, sizes[i], sizes[i - 1]) for i in layers[1:]]
    small = batch * max(sizes) <= 1 << 20
    limit = Limit(bytes=ITEMSIZE[format] * (batch * sizes[0] + 5 * parameters), products=tuple(products),
                  launches=MLP_KERNELS if small else 0)
    return _step(f"mlp {name} batch {batch}{' ' + format if format != 'float32' else ''}",
                 f"nn.Linear layers with ReLU between, cross entropy, backward, SGD{' with momentum' * momentum}",
                 inputs, _mlp(len(layers), momentum), by_hand, limit,
                 tuple(f"{kind}{i}" for i in layers for kind in "wb"), format)


def convolution(batch: int, channels: int) -> Workload:
    """A 3 x 3 convolution of images of one channel, ReLU, pooling of 2 x 2, a linear layer; cross entropy; SGD."""
    half = SIDE // 2

    def inputs(draw: Draw) -> Values:
        return {"x": draw.normal(batch, 1, SIDE, SIDE), "y": draw.classes(CLASSES, batch),
                "w1": 3 * weight(draw, channels, 1, 3, 3) / 3**0.5, "b1": weight(draw, channels),
                "w2": weight(draw, CLASSES, channels * half * half), "b2": weight(draw, CLASSES)}

    def by_hand(xp: Any, v: Values) -> tuple[Any, Values]:
        x = xp.pad(v["x"][:, 0], ((0, 0), (1, 1), (1, 1)))
        patches = xp.stack([x[:, i:i + SIDE, j:j + SIDE] for i in range(3) for j in range(3)], -1).reshape(-1, 9)
        z = patches @ v["w1"].reshape(channels, 9).T + v["b1"]
        z = z.reshape(batch, half, 2, half, 2, channels)
        pooled = xp.maximum(z.max((2, 4), keepdims=True), 0)
        h = xp.moveaxis(pooled.reshape(batch, half, half, channels), 3, 1).reshape(batch, -1)
        loss, dz = _cross_entropy(xp, h @ v["w2"].T + v["b2"], v["y"])
        dh = xp.moveaxis((dz @ v["w2"]).reshape(batch, channels, half, half), 1, 3)[:, :, None, :, None]
        dc = xp.where((z == pooled) & (z > 0), dh, 0).reshape(-1, channels)
        grads = {"w1": (dc.T @ patches).reshape(v["w1"].shape), "b1": dc.sum(0), "w2": dz.T @ h, "b2": dz.sum(0)}
        return loss, {name: v[name] - CONVOLUTION_LR * grad for name, grad in grads.items()}

    def build(T: Any, inputs: Mapping[str, Any], compiled: Compile) -> Instance:
        w, b = inputs["w1"], inputs["b1"]
        first = _started(T, T.nn.Conv2d(1, channels, 3, padding=1, device=w.device, dtype=w.dtype), w, b)
        last = _linear(T, inputs["w2"], inputs["b2"])
        model = T.nn.Sequential(first, T.nn.ReLU(), T.nn.MaxPool2d(2), T.nn.Flatten(), last)
        state = {"w1": first.weight, "b1": first.bias, "w2": last.weight, "b2": last.bias}
        return _optimized(lambda x, y: T.nn.functional.cross_entropy(model(x), y),
                          T.optim.SGD(model.parameters(), lr=CONVOLUTION_LR), state, compiled, inputs)

    weights = channels * 10 + CLASSES * (channels * half * half + 1)
    return _step(f"conv 1x{SIDE}x{SIDE}, {channels} channels, batch {batch}",
                 "nn.Conv2d, ReLU, MaxPool2d, nn.Linear, cross entropy, backward, optim.SGD", inputs, build, by_hand,
                 Limit(bytes=4 * (batch * SIDE * SIDE + 2 * weights)), ("w1", "b1", "w2", "b2"))


def _step(name: str, about: str, inputs: Callable[[Draw], Values], build: Any, by_hand: Any, limit: Limit,
          state: tuple[str, ...], format: Format = "float32") -> Workload:
    return Workload(family="step", name=name, about=about, inputs=inputs, build=build, by_hand=by_hand, limit=limit,
                    state=state, steps=CHECKED_STEPS, format=format, loop=True)


def _perceptron(T: Any, inputs: Mapping[str, Any], compiled: Compile) -> Instance:
    w, b = (inputs[name].clone().requires_grad_() for name in ("w", "b"))

    def forward(x: Any, y: Any) -> Any:
        p = T.clamp(T.sigmoid(w * x + b), EPSILON, 1 - EPSILON)
        return -(y * T.log(p) + (1 - y) * T.log(1 - p))

    forward = compiled(forward)

    def step(x: Any, y: Any) -> Any:
        loss = forward(x, y)
        loss.backward()
        with T.no_grad():
            w.sub_(PERCEPTRON_LR * w.grad)
            b.sub_(PERCEPTRON_LR * b.grad)
        w.grad = None
        b.grad = None
        return loss

    return training(step, (inputs["x"], inputs["y"]), {"w": w, "b": b})


def _layer(draw: Draw, rows: int, features: int) -> Values:
    return {"x": draw.normal(rows, features), "w": weight(draw, 1, features), "b": draw.uniform(features**-0.5, 1)}


def _linear(T: Any, weight: Any, bias: Any) -> Any:
    """An nn.Linear that starts at the given weights."""
    return _started(T, T.nn.Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype), weight,
                    bias)


def _started(T: Any, layer: Any, weight: Any, bias: Any) -> Any:
    """A layer at the given weights."""
    with T.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


def _optimized(forward: Any, optimizer: Any, state: Mapping[str, Any], compiled: Compile, inputs: Mapping[str, Any]
               ) -> Instance:
    """The step that every `optim` user writes."""
    forward, update = compiled(forward), compiled(optimizer.step)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = forward(x, y)
        loss.backward()
        update()
        return loss

    return training(step, (inputs["x"], inputs["y"]), state, optimizer)


def _cross_entropy(xp: Any, z: Any, y: Any) -> tuple[Any, Any]:
    """The mean cross entropy of logits and classes, and its derivative with respect to the logits."""
    z = z - z.max(1, keepdims=True)
    log_p = z - xp.log(xp.exp(z).sum(1, keepdims=True))
    chosen = y[:, None] == xp.arange(z.shape[1])
    return -xp.where(chosen, log_p, 0).sum() / len(z), (xp.exp(log_p) - chosen) / len(z)


def _linear_step(loss: Any) -> Any:
    def build(T: Any, inputs: Mapping[str, Any], compiled: Compile) -> Instance:
        layer = _linear(T, inputs["w"], inputs["b"])
        return _optimized(lambda x, y: loss(T, layer(x), y), T.optim.SGD(layer.parameters(), lr=LINEAR_LR),
                          {"w": layer.weight, "b": layer.bias}, compiled, inputs)
    return build


def _linear_by_hand(slope: Any) -> Any:
    def step(xp: Any, v: Values) -> tuple[Any, Values]:
        loss, dz = slope(xp, v["x"] @ v["w"].T + v["b"], v["y"])
        return loss, {"w": v["w"] - LINEAR_LR * (dz.T @ v["x"]), "b": v["b"] - LINEAR_LR * dz.sum(0)}
    return step


def _linear_limit(rows: int, features: int) -> Limit:
    """The data is read once: a program that holds a row's logit needs no second look."""
    small = rows * features <= 1 << 20
    return Limit(bytes=4 * (rows * (features + 1) + 2 * features), launches=LINEAR_KERNELS if small else 0,
                 arithmetic=4 * rows * features)


def _mlp(layers: int, momentum: bool) -> Any:
    def build(T: Any, inputs: Mapping[str, Any], compiled: Compile) -> Instance:
        linear = [_linear(T, inputs[f"w{i}"], inputs[f"b{i}"]) for i in range(1, layers + 1)]
        between = [part for layer in linear for part in (layer, T.nn.ReLU())][:-1]
        model = T.nn.Sequential(*between)
        optimizer = T.optim.SGD(model.parameters(), lr=MLP_LR, momentum=MOMENTUM if momentum else 0.0)
        state = {f"w{i}": layer.weight for i, layer in enumerate(linear, 1)}
        state |= {f"b{i}": layer.bias for i, layer in enumerate(linear, 1)}
        return _optimized(lambda x, y: T.nn.functional.cross_entropy(model(x), y), optimizer, state, compiled, inputs)
    return build
