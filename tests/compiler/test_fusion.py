"""What fuses computes what separate kernels do, and PyTorch: the programs whose kernel counts are tests, on the device
under test, three steps long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import settings
from microtrain.testing import count_kernels
from microtrain.testing.closeness import Tolerance, allowance, difference, gap
from tests.conftest import DEVICE

pytestmark = pytest.mark.usefixtures("nothing_pending")

STEPS = 3
Make = Callable[[str, Any], Any]
"""Gives the tensor of a name from a NumPy array, of the package and dtype under test."""

Program = Callable[[Any, Make], dict[str, Any]]
RNG = np.random.default_rng(11)
ARRAYS: dict[str, np.ndarray] = {}


def array(name: str, *shape: int, scale: float = 1.0) -> np.ndarray:
    """The same numbers for the same name and shape, whichever package asks."""
    key = f"{name} {shape}"
    if key not in ARRAYS:
        ARRAYS[key] = scale * RNG.standard_normal(shape)
    return ARRAYS[key]


def logistic(rows: int) -> Program:
    def run(T: Any, make: Make) -> dict[str, Any]:
        x, y = make("x", array("x", rows, 64)), make("y", (array("y", rows, 1) > 0).astype(np.float64))
        w, b = (make("w", array("w", 64, 1, scale=0.1)).requires_grad_(), make("b", array("b", 1)).requires_grad_())
        optimizer = T.optim.SGD([w, b], lr=0.1)
        for _ in range(STEPS):
            optimizer.zero_grad()
            p = T.clamp(T.sigmoid(x @ w + b), 1e-6, 1 - 1e-6)
            loss = -(y * T.log(p) + (1 - y) * T.log(1 - p)).mean()
            loss.backward()
            optimizer.step()
        return {"loss": loss, "w": w, "b": b, "dw": w.grad, "db": b.grad}
    return run


def mlp(name: str, batch: int, by_hand: bool = False, **options: Any) -> Program:
    """By hand, the weight is on the right and the bias is added, so that its gradient is recorded first."""
    def run(T: Any, make: Make) -> dict[str, Any]:
        x, y = make("x", array("x", batch, 40)), make("classes", np.arange(batch) * 7 % 10)
        shapes = {"w1": (24, 40), "b1": (24,), "w2": (10, 24), "b2": (10,)}
        p = {k: make(k, array(k, *shape, scale=0.3)).requires_grad_() for k, shape in shapes.items()}
        optimizer = getattr(T.optim, name)(list(p.values()), **options)
        for _ in range(STEPS):
            optimizer.zero_grad()
            if by_hand:
                z = T.relu(x @ p["w1"].T + p["b1"]) @ p["w2"].T + p["b2"]
            else:
                z = T.nn.functional.linear(T.relu(T.nn.functional.linear(x, p["w1"], p["b1"])), p["w2"], p["b2"])
            loss = T.nn.functional.cross_entropy(z, y)
            loss.backward()
            optimizer.step()
        return {"loss": loss, **p, **{f"d{k}": v.grad for k, v in p.items()}}
    return run


def layer_norm(T: Any, make: Make) -> dict[str, Any]:
    x, w, b = (make(k, array(k, *shape)).requires_grad_() for k, shape in (("x", (96, 48)), ("w", (48,)), ("b", (48,))))
    out = T.nn.functional.layer_norm(x, (48,), w, b)
    out.backward(make("ct", array("ct", 96, 48)))
    return {"out": out, "dx": x.grad, "dw": w.grad, "db": b.grad}


def attention(T: Any, make: Make) -> dict[str, Any]:
    q, k, v = (make(name, array(name, 2, 3, 12, 8)).requires_grad_() for name in "qkv")
    out = T.softmax(q @ k.transpose(-1, -2) / 8 ** 0.5, -1) @ v
    out.backward(make("ct", array("ct", 2, 3, 12, 8)))
    return {"out": out, "dq": q.grad, "dk": k.grad, "dv": v.grad}


def updates(name: str, **options: Any) -> Program:
    """Gradients are at hand, and parameters have every shape."""
    def run(T: Any, make: Make) -> dict[str, Any]:
        shapes = {"a": (17, 9), "b": (64,), "c": (), "d": (3, 1, 5)}
        p = {k: make(k, array(k, *shape)).requires_grad_() for k, shape in shapes.items()}
        optimizer = getattr(T.optim, name)(list(p.values()), **options)
        for step in range(STEPS):
            for k, v in p.items():
                v.grad = make(f"d{k}", array(f"d{k}{step}", *shapes[k]))
            optimizer.step()
        return dict(p)
    return run


PROGRAMS: dict[str, Program] = {
    "logistic, one program": logistic(256), "logistic": logistic(600),
    "MLP, momentum": mlp("SGD", 32, lr=0.1, momentum=0.9), "MLP, Adam": mlp("Adam", 32, lr=0.01),
    "MLP by hand, momentum": mlp("SGD", 32, by_hand=True, lr=0.1, momentum=0.9),
    "MLP, large batch": mlp("SGD", 1500, lr=0.1, momentum=0.9), "layer norm": layer_norm, "attention": attention,
    "updates, momentum": updates("SGD", lr=0.1, momentum=0.9), "updates, Adam": updates("Adam", lr=0.01)}


def results(program: Program, T: Any, dtype: str, device: str) -> dict[str, np.ndarray]:
    def make(name: str, values: np.ndarray) -> Any:
        given = T.tensor(values)
        return given.to(device) if name == "classes" else given.to(getattr(T, dtype)).to(device)

    return {name: np.array(value.detach().cpu().numpy()) for name, value in program(T, make).items()}


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "separate"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_computes_what_pytorch_does(name: str, fused: bool) -> None:
    truth = results(PROGRAMS[name], torch, "float64", "cpu")
    measured = results(PROGRAMS[name], torch, "float32", "cpu")
    with settings.fuse(fused), count_kernels() as count:
        got = results(PROGRAMS[name], mt, "float32", DEVICE)
    for key, value in got.items():
        allowed = allowance(truth[key], gap(measured[key], truth[key]), "float32", Tolerance.REDUCTION, terms=64)
        wrong = difference(value, measured[key], truth[key], allowed, "float32")
        assert wrong is None, f"{name}: {key} {wrong}"
    if not fused:
        with count_kernels() as together:
            results(PROGRAMS[name], mt, "float32", DEVICE)
        assert together.kernels < count.kernels, "without fusion there are more kernels"
