"""Derivatives of derivatives, against PyTorch and against themselves; and the checks that find a wrong one, checked."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import ops as g
from microtrain.testing.running import Library, listed
from tests.conftest import DEVICE
from tests.op_table import OPS, Op, Sample
from tests.operators.test_parity import OURS, THEIRS, check, samples
from tests.support.both import same
from tests.support.planted_rules import plant

EPSILON = 2.0**-23


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fifth_derivative(dtype: str) -> None:
    points = np.linspace(-3, 3, 25)

    def function(T: Any) -> list[Any]:
        x = T.tensor(points, dtype=getattr(T, dtype), requires_grad=True)
        results = [x**5 + T.sin(x)]
        for _ in range(5):
            results += T.autograd.grad(results[-1].sum(), x, create_graph=True)
        return [y.tolist() for y in results]

    x = points.astype(dtype).astype(np.float64)
    truth = [x**5 + np.sin(x), 5 * x**4 + np.cos(x), 20 * x**3 - np.sin(x), 60 * x**2 - np.cos(x),
             120 * x + np.sin(x), 120 + np.cos(x)]
    for mine, theirs, exact in zip(function(mt), function(torch), truth, strict=True):
        allowed = 8 * (EPSILON if dtype == "float32" else 2.0**-52) * (np.abs(exact) + 1)
        assert (np.abs(np.array(mine) - exact) <= allowed).all()
        assert (np.abs(np.array(theirs) - exact) <= allowed).all()


# Which derivatives there are: numbers, zeros, None or an error, order by order, as in PyTorch -------------------------

F = "nn.functional"
KINKS = np.array([[0.0, -0.0, 3.0, -3.0], [0.5, -0.5, 1.0, -1.0], [6.0, 2.0, -2.0, 0.25]])


def called(name: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
    """The function of that name in a library, applied to a tensor, arguments and options."""
    def apply(T: Any, x: Any, *more: Any) -> Any:
        function = T
        for part in name.split("."):
            function = getattr(function, part)
        return function(x, *more, *arguments, **options)
    return apply


def nll_loss(T: Any, x: Any, reduction: str) -> Any:
    return T.nn.functional.nll_loss(x, T.tensor([1, 3, 0]), reduction=reduction)


FLAT: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "relu": (called(f"{F}.relu"), ()),
    "leaky_relu": (called(f"{F}.leaky_relu"), ()),
    "leaky_relu of slope 0.3": (called(f"{F}.leaky_relu", negative_slope=0.3), ()),
    "prelu": (called(f"{F}.prelu"), (np.array([0.25]),)),
    "hardtanh": (called(f"{F}.hardtanh"), ()),
    "relu6": (called(f"{F}.relu6"), ()),
    "hardswish": (called(f"{F}.hardswish"), ()),
    "threshold": (called(f"{F}.threshold", 0.5, -7.0), ()),
    "hardshrink": (called(f"{F}.hardshrink"), ()),
    "softshrink": (called(f"{F}.softshrink"), ()),
    "clamp": (called("clamp", -1.0, 1.0), ()),
    "abs": (called("abs"), ()),
    "remainder": (called("remainder"), (np.array([2.0, 0.75, -1.5, 3.0]),)),
    "remainder of a number": (lambda T, x: x % 0.75, ()),
    "fmod": (called("fmod"), (np.array([2.0, 0.75, -1.5, 3.0]),)),
    "max_pool1d": (called(f"{F}.max_pool1d", 2), ()),
    "max_pool2d": (lambda T, x: T.nn.functional.max_pool2d(x.reshape(1, 3, 4), 2, 1, padding=1), ()),
    "avg_pool1d": (called(f"{F}.avg_pool1d", 2), ()),
    "avg_pool2d": (lambda T, x: T.nn.functional.avg_pool2d(x.reshape(1, 3, 4), 2, 1, padding=1), ()),
    "avg_pool1d of exponents": (lambda T, x: T.nn.functional.avg_pool1d(x.exp(), 2), ()),
    "max_pool1d of sigmoids": (lambda T, x: T.nn.functional.max_pool1d(x.sigmoid(), 2) ** 2, ()),
    "pad reflect": (called(f"{F}.pad", (1, 2), mode="reflect"), ()),
    "pad replicate": (called(f"{F}.pad", (1, 2), mode="replicate"), ()),
    "pad circular": (called(f"{F}.pad", (1, 2), mode="circular"), ()),
    "pad constant": (called(f"{F}.pad", (1, 2)), ()),
    **{f"nll_loss {reduction}": (partial(nll_loss, reduction=reduction), ()) for reduction in ("mean", "sum", "none")},
    **{f"to the power {n}": (lambda T, x, n=n: x**n, ()) for n in (0, 1, 2, 3, 5)},
    "square": (called("square"), ()),
    "leaky_relu of squares": (lambda T, x: T.nn.functional.leaky_relu(x**2 - 1), ()),
}  # fmt: skip
"""Functions that are linear, or a power, between their kinks: of KINKS and further arrays."""

Level = list[Any] | RuntimeError


def levels(library: Library, function: Callable[..., Any], arrays: Sequence[np.ndarray], wanted: Sequence[int],
           dtype: str, live: bool, orders: int = 3) -> list[Level]:
    """Value, gradient, and so on: of each its arrays (None where there is none) and which of them require grad.

    The tensors at the places `wanted` require grad, with `live` the cotangents of the first gradient too. A derivative
    is that of the inner products with random weights. An error ends the list.
    """
    T, rng = library.module, np.random.default_rng(3)
    tensors = [T.tensor(array.astype(np.float32).astype(dtype) if array.dtype.kind == "f" else array,
                        requires_grad=place in wanted) for place, array in enumerate(arrays)]
    sources, results = [tensors[place] for place in wanted], listed(function(T, *tensors))
    found: list[Level] = [results]
    while len(found) <= orders and any(result is not None and result.requires_grad for result in results):
        results = [result for result in results if result is not None and result.requires_grad]
        weights = [T.tensor((rng.uniform(0.25, 1.5, tuple(result.shape)) * rng.choice([-1, 1], tuple(result.shape)))
                            .astype(np.float32).astype(dtype), requires_grad=live and len(found) == 1)
                   for result in results]
        try:
            results = list(T.autograd.grad(results, sources, weights, create_graph=True, allow_unused=True))
        except RuntimeError as error:
            found.append(error)
            break
        sources += weights if live and len(found) == 1 else []
        found.append(results)
    return [level if isinstance(level, RuntimeError) else
            [None if tensor is None else (tensor.requires_grad, library.array(tensor)) for tensor in level]
            for level in found]


def kind_of(level: Level) -> Any:
    """An error's type, or for each derivative None or whether it requires grad."""
    return type(level) if isinstance(level, RuntimeError) else [None if part is None else part[0] for part in level]


def unlike(function: Callable[..., Any], arrays: Sequence[np.ndarray], wanted: Sequence[int], dtype: str, live: bool,
           orders: int = 3) -> str | None:
    """What is unlike PyTorch in the derivatives of a function, if anything is."""
    mine = levels(OURS, function, arrays, wanted, dtype, live, orders)
    rough, exact = (levels(THEIRS, function, arrays, wanted, precision, live, orders)
                    for precision in ("float32", "float64"))
    theirs = exact if dtype == "float64" else rough
    epsilon = EPSILON if dtype == "float32" else 2.0**-52
    for order, (ours, expected, truth, other) in enumerate(zip(mine, theirs, exact, rough, strict=False)):
        if kind_of(ours) != kind_of(expected):
            return f"order {order}: {kind_of(ours)}, PyTorch {kind_of(expected)}: {ours}, PyTorch {expected}"
        if isinstance(ours, RuntimeError):
            break
        for got, want, right, coarse in zip(ours, expected, truth, other, strict=True):
            if want is None or not want[1].size:
                continue
            scale = np.abs(right[1]).max()
            error = np.abs(coarse[1] - right[1]).max() * epsilon / EPSILON
            allowed = 32 * (error + epsilon * (scale + 1))
            if got[1].dtype != want[1].dtype or not np.allclose(got[1], want[1], rtol=0, atol=allowed, equal_nan=True):
                return f"order {order}: {got[1]}, PyTorch {want[1]}"
    return None if len(mine) == len(theirs) else f"{len(mine) - 1} orders, PyTorch {len(theirs) - 1}"


def normal(*shape: int, seed: int = 3, factor: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape) * factor


def perceptron(T: Any, w1: Any, b1: Any, w2: Any, b2: Any, inputs: Any, activation: str) -> Any:
    return ((getattr(T.nn.functional, activation)(inputs @ w1 + b1) @ w2 + b2) ** 2).mean()


SMALL = (normal(3, 4, seed=5), np.arange(1.0, 13.0).reshape(3, 4) / 8)
LAYERS = (normal(5, 7, factor=0.5), normal(7, factor=0.5), normal(7, 2, factor=0.5), normal(2), normal(11, 5, seed=4))
COMPOSED: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...], tuple[int, ...], int]] = {
    "softmax": (lambda T, x, weight: T.softmax(x, 1) * weight, SMALL, (0,), 3),
    "logsumexp": (lambda T, x, weight: T.logsumexp(x, 1) * weight[:, 0], SMALL, (0,), 3),
    "normalised": (lambda T, x, weight: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True) * weight, SMALL, (0,),
                   3),
    "matmul": (lambda T, x, weight: (x @ x.t()) ** 2 * weight[:, :3], SMALL, (0,), 3),
    "mixed": (lambda T, x, y: T.exp(x * y) * T.sin(x + y * y), (normal(2), normal(2, seed=4)), (0, 1), 3),
    **{f"perceptron {name}": (partial(perceptron, activation=name), LAYERS, (0, 1, 2, 3), 2)
       for name in ("tanh", "sigmoid", "softplus", "leaky_relu")}}
"""Expressions of several operations, their arrays, the places of those that require grad, and orders."""


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivatives_of_expressions(name: str, dtype: str) -> None:
    function, arrays, wanted, orders = COMPOSED[name]
    assert unlike(function, arrays, wanted, dtype, False, orders) is None


def choices(places: Sequence[int]) -> list[tuple[int, ...]]:
    """Who may require grad: all, or one alone."""
    return list(dict.fromkeys([tuple(places), *((place,) for place in places)]))


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("dtype", ["float32", "float64"] if DEVICE == "cpu" else ["float32"])
def test_zeros_and_no_derivative_are_told_apart_as_pytorch_does(name: str, dtype: str) -> None:
    function, more = FLAT[name]
    arrays = (KINKS, *more)
    orders = 3 if DEVICE == "cpu" else 2
    for wanted, live in product(choices(range(len(arrays))), (False, True)):
        assert unlike(function, arrays, wanted, dtype, live, orders) is None, (wanted, live)


FUSED = "PyTorch's gradients require grad where nothing can depend on them, and third derivatives are not those"
FLOORED = "PyTorch's second derivative adds 1e-12 to the probabilities"
NOT_COMPARED = {
    "layer_norm": FUSED, "batch_norm": FUSED, "batch_norm training": FUSED, "conv1d": FUSED, "conv2d": FUSED,
    **{f"binary_cross_entropy {{'reduction': '{reduction}'}}": FLOORED for reduction in ("mean", "sum", "none")},
    "logcumsumexp": "PyTorch's third derivative is NaN",
    "vector_norm 0": "PyTorch has None for the gradient, which is 0",
    "repeat nothing": "nothing depends on anything, which PyTorch knows",
    "through a transpose": "the gradient of what is overwritten is 0, on the tape in PyTorch",
}  # fmt: skip
"""Rows of the table of operations whose further derivatives are not PyTorch's, with the reason."""


@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in OPS
                                if DEVICE == "cpu" and op.order > 1 and op.name not in NOT_COMPARED])
def test_three_orders_of_every_operation(op: Op) -> None:
    """On cpu alone: it is of the rules, which are the same on every device."""
    small = [sample for sample in samples(op) if sample.differentiated
             and all(array.size for array in sample.arrays) and sum(array.size for array in sample.arrays) <= 64]
    problems = []
    for sample in sorted(small, key=lambda sample: -sum(array.size for array in sample.arrays))[:1]:
        for wanted, live in product(choices(sample.differentiated), (False, True)):
            wrong = unlike(partial(op.function, **sample.attributes), sample.arrays, wanted, "float64", live)
            problems += [f"{op.name}{sample.shapes} {sample.attributes} {wanted} {live}: {wrong}"] if wrong else []
    assert not problems, "\n".join(problems)


def composed(x: Any, weight: Any, dim: int) -> Any:
    deviation = x - x.mean(dim, keepdim=True)
    return deviation / (x.var(dim, unbiased=False, keepdim=True) + 1e-5).sqrt() * weight


@pytest.mark.parametrize(("function", "dim"), [
    (lambda T, x, weight: T.nn.functional.layer_norm(x, (3,), weight), 1),
    (lambda T, x, weight: T.nn.functional.batch_norm(x, None, None, weight, training=True), 0),
])  # fmt: skip
def test_third_derivatives_of_normalisation_are_those_of_its_formula(function: Any, dim: int) -> None:
    """PyTorch's own are not: its second derivative takes mean and deviation for constants."""
    rng = np.random.default_rng(8)
    arrays = (rng.standard_normal((4, 3)), rng.standard_normal(3))
    mine = levels(OURS, function, arrays, (0, 1), "float64", False)
    theirs = levels(THEIRS, lambda T, x, weight: composed(x, weight, dim), arrays, (0, 1), "float64", False)
    for order, (ours, expected) in enumerate(zip(mine, theirs, strict=True)):
        for (_, got), (_, want) in zip(ours, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-11 * np.abs(want).max(), err_msg=f"order {order}")


@pytest.mark.parametrize("function", [
    lambda T, x: x // 2 + x, lambda T, x: 3 // x + x, lambda T, x: T.heaviside(x, T.ones(1)) + x,
    lambda T, x: T.heaviside(T.ones(2), x)])
def test_what_pytorch_has_no_derivative_of_has_none(function: Any) -> None:
    words = same(lambda T: function(T, T.tensor([1.5, -2.5], requires_grad=True)).sum().backward())
    assert words.startswith("derivative for aten::") and words.endswith("is not implemented")


# The tester, tested: each of these faults is planted in a rule and must be found --------------------------------------


def problems(name: str) -> list[str]:
    """What the parity check says about an operation now."""
    (row,) = (row for row in OPS if row.name == name)
    return [problem for sample in samples(row) for problem in check(row, sample, "float32", row.order, "transposed")]


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


def test_a_wrong_value_is_found() -> None:
    """Off by a millionth where float32 resolves a tenth of that; and by one unit in an exact operation."""
    sine, floor = (next(row for row in OPS if row.name == name) for name in ("sin", "floor"))
    off = replace(sine, function=lambda T, x: T.sin(x) * (1 + 1e-6 * (T is mt)))
    nudged = replace(floor, function=lambda T, x: T.floor(x + 1e-3 * (T is mt)))
    boundary = Sample((np.array([1.9995, 0.5]),))
    assert check(off, samples(sine)[0], "float32", 0)
    assert check(nudged, boundary, "float32", 0) and not check(floor, boundary, "float32", 0)
