"""0-d values on the cpu device: functions of the C library, rounded once, where NumPy's cost ten times an operation."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from microtrain import ops as g
from microtrain.compiler.cpu.emit_numpy import NumpyExecutable
from microtrain.graph.node import Node
from microtrain.runtime.numerics import LONE
from tests.support.programs import program, tensor

SPECIAL = [0.0, -0.0, 1.0, -1.0, -0.3, 1e-30, 800.0, -800.0, math.inf, -math.inf, math.nan]
UNARY = [*LONE.split(), "sigmoid", "softplus", "relu", "sign", "abs", "rsqrt", "reciprocal"]


def computed(out: Node) -> np.generic:
    made, inputs = program(out)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return NumpyExecutable(made).run(inputs)[0]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", UNARY)
def test_a_function_of_a_number_is_that_of_an_array(name: str, dtype: str) -> None:
    """Within two units in the last place; infinities, NaN and signs of zeros alike."""
    for number in SPECIAL:
        alone, = np.array([number], dtype)
        have, want = computed(getattr(g, name)(tensor(alone))), computed(getattr(g, name)(tensor([alone])))
        assert have.dtype == want.dtype == dtype and have.shape == ()
        with np.errstate(all="ignore"):
            near = abs(have - want[0]) <= 2 * np.spacing(abs(want[0]))
        zero = name in ("rsqrt", "sign") and have == want[0]
        assert near or zero or str(have) == str(want[0]), (number, have, want)


@pytest.mark.parametrize("name", ["pow", "maximum", "minimum"])
def test_a_function_of_two_numbers_is_that_of_arrays(name: str) -> None:
    for x in SPECIAL:
        for y in [*SPECIAL, 2.0, 3.0, -3.0]:
            one, other = np.float32([x, y])
            have = computed(getattr(g, name)(tensor(one), tensor(other)))
            want, = computed(getattr(g, name)(tensor([one]), tensor([other])))
            assert have.dtype == np.float32
            assert str(have) == str(want) or abs(have - want) <= 2 * np.spacing(abs(want)), (x, y, have, want)
    assert computed(g.pow(tensor(np.int64(3)), tensor(np.int64(4)))) == 81


def test_a_number_is_limited_as_an_array_is() -> None:
    for x in SPECIAL:
        for low, high in ((-1.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (-1.0, math.nan)):
            limits = [tensor(np.float32(limit)) for limit in (low, high)]
            have = computed(g.clamp(tensor(np.float32(x)), *limits))
            assert str(have) == str(computed(g.clamp(tensor(np.float32([x])), *limits))[0]), (x, low, high)


def test_a_function_is_rounded_once() -> None:
    """To the nearest float32 of the value in float64, of which NumPy's own is a unit off now and then."""
    numbers = np.random.default_rng(0).normal(size=60).astype(np.float32)
    for name, exact in (("exp", math.exp), ("tanh", math.tanh), ("sigmoid", lambda x: 1 / (1 + math.exp(-x)))):
        for x in numbers:
            assert computed(getattr(g, name)(tensor(x))) == np.float32(exact(x))
