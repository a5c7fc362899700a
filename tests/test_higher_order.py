"""Derivatives of derivatives, against PyTorch and against themselves; and the checks that find a wrong one, checked."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from op_table import OPS, Sample
from test_parity import check, samples

import microtrain as mt
from microtrain.graph import ops as g
from microtrain.graph.vjps import VJPS

EPSILON = 2.0**-23


def nth_derivatives(T: Any, function: Callable[[Any], Any], x: Any, order: int) -> list[Any]:
    """f, f', f'', ... of a function applied to each element."""
    results = [function(x)]
    for _ in range(order):
        (derivative,) = T.autograd.grad(results[-1].sum(), x, create_graph=True)
        results.append(derivative)
    return results


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fifth_derivative(dtype: str) -> None:
    points = np.linspace(-3, 3, 25)

    def function(T: Any) -> list[Any]:
        x = T.tensor(points, dtype=getattr(T, dtype), requires_grad=True)
        return [y.tolist() for y in nth_derivatives(T, lambda x: x**5 + T.sin(x), x, 5)]

    x = points.astype(dtype).astype(np.float64)
    truth = [
        x**5 + np.sin(x), 5 * x**4 + np.cos(x), 20 * x**3 - np.sin(x),
        60 * x**2 - np.cos(x), 120 * x + np.sin(x), 120 + np.cos(x),
    ]  # fmt: skip
    for mine, theirs, exact in zip(function(mt), function(torch), truth, strict=True):
        allowed = 8 * (EPSILON if dtype == "float32" else 2.0**-52) * (np.abs(exact) + 1)
        assert (np.abs(np.array(mine) - exact) <= allowed).all()
        assert (np.abs(np.array(theirs) - exact) <= allowed).all()


def test_derivatives_of_a_function_that_has_all_of_them() -> None:
    """exp is its own derivative, however often: eight times."""
    x = mt.tensor([0.5, -1.0], requires_grad=True)
    results = nth_derivatives(mt, mt.exp, x, 8)
    for derivative in results[1:]:
        np.testing.assert_allclose(derivative.tolist(), results[0].tolist(), rtol=4 * EPSILON)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus"])
def test_hessian_vector_product_of_a_small_mlp(activation: str) -> None:
    rng = np.random.default_rng(3)
    shapes = ((5, 7), (7,), (7, 2), (2,))
    weights = [rng.standard_normal(shape) * 0.5 for shape in shapes]
    vectors = [rng.standard_normal(shape) for shape in shapes]
    inputs, targets = rng.standard_normal((11, 5)), rng.standard_normal((11, 2))

    def product(T: Any, dtype: str) -> list[np.ndarray]:
        def made(values: np.ndarray, **kw: Any) -> Any:
            return T.tensor(values.astype(np.float32).astype(np.float64), dtype=getattr(T, dtype), **kw)

        w1, b1, w2, b2 = parameters = [made(w, requires_grad=True) for w in weights]
        squash = T.nn.functional.softplus if activation == "softplus" else getattr(T, activation)
        hidden = squash(made(inputs) @ w1 + b1)
        loss = ((hidden @ w2 + b2 - made(targets)) ** 2).mean()
        gradients = T.autograd.grad(loss, parameters, create_graph=True)
        along = sum((g * made(v)).sum() for g, v in zip(gradients, vectors, strict=True))
        return [np.array(h.tolist()) for h in T.autograd.grad(along, parameters)]

    exact = product(torch, "float64")
    rounded = product(torch, "float32")
    for mine, theirs, truth in zip(product(mt, "float32"), rounded, exact, strict=True):
        error = np.abs(theirs - truth).max() + EPSILON * np.abs(truth).max()
        assert np.abs(mine - truth).max() <= 8 * error
    for mine, truth in zip(product(mt, "float64"), exact, strict=True):
        np.testing.assert_allclose(mine, truth, rtol=1e-11, atol=1e-11 * np.abs(truth).max())


def test_mixed_derivatives_commute() -> None:
    x = mt.tensor([0.7, 1.3], requires_grad=True)
    y = mt.tensor([0.2, -0.4], requires_grad=True)
    f = (mt.exp(x * y) * mt.sin(x + y * y)).sum()
    by_x, by_y = mt.autograd.grad(f, [x, y], create_graph=True)
    (xy,) = mt.autograd.grad(by_x.sum(), y, retain_graph=True)
    (yx,) = mt.autograd.grad(by_y.sum(), x)
    np.testing.assert_allclose(xy.tolist(), yx.tolist(), rtol=16 * EPSILON)


@pytest.mark.parametrize("expression", ["softmax", "logsumexp", "normalised", "matmul"])
def test_third_derivatives_of_reductions(expression: str) -> None:
    values = np.random.default_rng(5).standard_normal((3, 4))

    def third(T: Any, dtype: str) -> np.ndarray:
        x = T.tensor(values.astype(np.float32).astype(np.float64), dtype=getattr(T, dtype), requires_grad=True)
        weight = T.tensor(np.arange(1.0, 13.0).reshape(3, 4) / 8, dtype=getattr(T, dtype))
        y = {
            "softmax": lambda: T.softmax(x, 1) * weight,
            "logsumexp": lambda: T.logsumexp(x, 1) * weight[:, 0],
            "normalised": lambda: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True) * weight,
            "matmul": lambda: (x @ x.t()) ** 2 * weight[:, :3],
        }[expression]().sum()
        for _ in range(3):
            (g,) = T.autograd.grad(y, x, create_graph=True)
            y = (g * weight).sum()
        return np.array(g.tolist())

    truth = third(torch, "float64")
    error = np.abs(third(torch, "float32") - truth).max() + EPSILON * np.abs(truth).max()
    assert np.abs(third(mt, "float32") - truth).max() <= 8 * error
    assert np.abs(third(mt, "float64") - truth).max() <= 1e-11 * np.abs(truth).max()


# The tester, tested: each of these faults is planted in a rule and must be found --------------------------------------


def problems(name: str) -> list[str]:
    """What the parity check says about an operation now."""
    (row,) = (row for row in OPS if row.name == name)
    return [problem for sample in samples(row) for problem in check(row, sample, "float32", row.order, "transposed")]


def plant(monkeypatch: pytest.MonkeyPatch, primitive: str, wrong: Callable[..., Any], source: int = 0) -> None:
    """Put `wrong(right, ct, out, *sources)` in the place of the rule's function `right` for one source."""
    rule = VJPS[primitive]
    right = rule.functions[source]
    functions = list(rule.functions)
    functions[source] = lambda *arguments: wrong(right, *arguments)
    monkeypatch.setattr(rule, "functions", tuple(functions))


FAULTS: dict[str, tuple[str, str, Callable[..., Any], int]] = {
    "a wrong sign": ("sin", "sin", lambda right, ct, *rest: g.neg(right(ct, *rest)), 0),
    "a wrong factor": ("tanh", "tanh", lambda right, ct, *rest: g.mul(right(ct, *rest), 1.001), 0),
    "a forgotten factor": ("exp", "exp", lambda right, ct, *rest: ct, 0),
    "the other operand": ("mul", "mul", lambda right, ct, o, x, y: g.mul(ct, x), 0),
    "a missing term": ("div", "div", lambda right, ct, o, x, y: g.neg(g.mul(ct, x)), 1),
    "no mean taken off": ("softmax", "softmax", lambda right, ct, o, *rest: g.mul(o, ct), 0),
    "all of the cotangent to one place": ("sum", "sum", lambda right, ct, *rest: g.mul(right(ct, *rest), 0), 0),
    "elements in the wrong order": ("flip", "flip", lambda right, ct, o, x, dims: ct, 0),
    "a second derivative alone": ("sin", "cos", lambda right, ct, *rest: g.neg(right(ct, *rest)), 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_wrong_derivative_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operation, primitive, wrong, source = FAULTS[fault]
    assert problems(operation) == []
    plant(monkeypatch, primitive, wrong, source)
    found = problems(operation)
    assert found and all("gradient" in problem for problem in found)
    if fault == "a second derivative alone":
        assert all("second" in problem for problem in found)


def test_the_plant_itself_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "sin", lambda right, *arguments: right(*arguments))
    assert problems("sin") == []


def test_a_wrong_value_is_found() -> None:
    """Off by a millionth where float32 resolves a tenth of that; and by one unit in an exact operation."""
    (sine,) = (row for row in OPS if row.name == "sin")
    (floor,) = (row for row in OPS if row.name == "floor")

    def off(T: Any, x: Any) -> Any:
        return T.sin(x) * (1 + 1e-6) if T is mt else T.sin(x)

    def nudged(T: Any, x: Any) -> Any:
        return T.floor(x + 1e-3) if T is mt else T.floor(x)

    (sample, *_) = samples(sine)
    assert check(replace(sine, function=off), sample, "float32", 0)
    boundary = Sample((np.array([1.9995, 0.5]),))
    assert check(replace(floor, function=nudged), boundary, "float32", 0)
    assert not check(floor, boundary, "float32", 0)
