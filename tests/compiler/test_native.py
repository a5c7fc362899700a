"""What a loss and its gradient share on the cpu device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from microtrain import ops as g
from microtrain.compiler.cpu.emit_numpy import NumpyExecutable
from microtrain.compiler.lower import lower
from microtrain.graph.node import Kind
from tests.support.programs import program, tensor


def exact(x: np.ndarray, target: np.ndarray, ignored: int, reduction: str) -> tuple[Any, np.ndarray]:
    """Cross entropy and its gradient in float64, row by row."""
    x, counts = x.astype("f8"), target != ignored
    over = np.exp(x - x.max(1, keepdims=True))
    share = over / over.sum(1, keepdims=True)
    classes = np.where(counts, target, 0)
    losses = np.where(counts, -np.log(share[np.arange(len(x)), classes]), 0)
    slopes = np.where(counts[:, None], share - np.eye(x.shape[1])[classes], 0)
    by = counts.sum() if reduction == "mean" else 1
    return (losses if reduction == "none" else losses.sum() / by), slopes / by


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("ignored", [-100, 2])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_loss_and_its_gradient_share_their_powers(reduction: str, ignored: int, order: Any) -> None:
    rng = np.random.default_rng(0)
    x, target = np.asarray(rng.normal(size=(12, 5)).astype("f4") * 20, order=order), rng.integers(0, 5, 12)
    target[3] = ignored if ignored < 0 else target[3]
    source, classes = tensor(target), tensor(x)
    classes.buffer = x                              # as it lies
    ct = tensor(np.ones(12 if reduction == "none" else (), "f4"))
    made, inputs = program(g.cross_entropy(classes, source, ignored, reduction),
                           g.cross_entropy_backward(ct, classes, source, ignored, reduction))
    place = next(k for k, one in enumerate(inputs) if one.dtype == np.int64)
    executable = NumpyExecutable(made, fixed={place})
    text = executable.source.split("def plan")[1]
    assert text.count("softmax_parts(") == 1 and "class_rows(" not in text
    assert [one.primitive for one in lower(made).values if one.primitive.kind is Kind.COMPOSITE] == []
    for have, want in zip(executable.run(inputs), exact(x, target, ignored, reduction), strict=True):
        assert have.dtype == np.float32 and have.shape == np.shape(want)
        assert np.allclose(have, want, rtol=1e-6, atol=1e-6)


def test_what_is_infinite_stays_so() -> None:
    x = np.array([[np.inf, 0, 1], [-np.inf, -np.inf, -np.inf], [0, -np.inf, 1], [np.nan, 0, 0]], np.float32)
    made, inputs = program(g.cross_entropy(tensor(x), tensor(np.array([1, 0, 0, 0])), -100, "none"))
    have, = NumpyExecutable(made).run(inputs)
    assert have[0] == np.inf and np.isnan(have[[1, 3]]).all() and np.isclose(have[2], 1.3132617)


@pytest.mark.parametrize("wrong", [-1, 5, 2 ** 40])
def test_a_class_out_of_range_is_named(wrong: int) -> None:
    x, target = tensor(np.zeros((4, 5), np.float32)), tensor(np.array([0, wrong, 4, -100]))
    made, inputs = program(g.cross_entropy(x, target, -100, "mean"))
    with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds"):
        NumpyExecutable(made).run(inputs)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(64, 10), (3, 200), (0, 4), (4, 0), (7, 1), (1, 7), (70000, 2), (2, 70000)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_sum_along_an_axis_is_a_product_with_ones_where_that_takes_less(shape: tuple[int, int], axis: int,
                                                                         dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    for lying in (x, np.asfortranarray(x)):
        source = tensor(x)
        source.buffer = lying
        made, inputs = program(g.sum(source, (axis,)))
        executable = NumpyExecutable(made)
        have, = executable.run(inputs)
        assert (".dot(" in executable.source) == (shape[axis] <= (1 << 16, 64)[axis] and shape[axis] != 1)
        assert have.dtype == dtype and have.shape == x.sum(axis).shape
        assert np.allclose(have, x.astype("f8").sum(axis), rtol=1e-5, atol=1e-5 * max(shape) ** 0.5)


def test_a_sum_of_what_is_infinite_is_infinite_there_alone() -> None:
    x = np.array([[np.inf, np.inf, 1, np.nan], [1, -np.inf, 2, 0]], np.float32)
    for axis, want in ((0, [np.inf, np.nan, 3, np.nan]), (1, [np.nan, -np.inf])):
        made, inputs = program(g.sum(tensor(x), (axis,)))
        assert np.array_equal(NumpyExecutable(made).run(inputs)[0], want, equal_nan=True)


@pytest.mark.parametrize("shape", [(3,), (64, 10), (300, 100), (30000, 3), (0, 5)])
def test_relu_beside_zeros_is_relu(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype("f4")
    if x.size:
        x.flat[:3] = np.nan, np.inf, -np.inf
    for out in (g.relu(tensor(x)), g.relu(g.mul(tensor(x), tensor(np.float32(1))))):      # the latter in its memory
        made, inputs = program(out)
        assert np.array_equal(NumpyExecutable(made).run(inputs)[0], np.where(x <= 0, 0, x), equal_nan=True)


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
def test_two_truths_are_numpys(name: str) -> None:
    for x in (np.True_, np.False_):
        for y in (np.True_, np.False_):
            made, inputs = program(getattr(g, name)(tensor(x), tensor(y)))
            have, = NumpyExecutable(made).run(inputs)
            assert type(have) is np.bool_ and have == getattr(np, name)(x, y)
