"""What a loss and its gradient share on the cpu device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from microtrain import ops as g
from microtrain.compiler.emit_numpy import NumpyExecutable
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
