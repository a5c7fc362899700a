"""The NumPy functions that stand beside the kernels', against the truth."""

import math

import mpmath
import numpy as np
import pytest

from microtrain.runtime.numerics import NAMESPACE

SPECIALS = [0.0, -0.0, 1e-30, -1e-30, 3.9, 4.0, 4.1, -4.1, 27.0, 300.0, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 0.55), (np.float64, 2)])
@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_the_error_functions_err_by_what_they_say(name: str, dtype: type, limit: float) -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=300) * scale for scale in (1e-6, 0.1, 1, 3)] + [SPECIALS]).astype(dtype)
    got = NAMESPACE[name](x)
    want = np.array([float(getattr(mpmath, name)(float(value))) for value in x])
    assert got.dtype == dtype and np.array_equal(np.isnan(got), np.isnan(x))
    known = ~np.isnan(x)
    spacing = np.spacing(np.abs(want[known]).astype(dtype)).astype(np.float64)
    assert np.max(np.abs(got[known] - want[known]) / spacing) <= limit


@pytest.mark.parametrize("name", ["erf", "erfc"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_the_error_functions_take_every_shape(name: str, shape: tuple[int, ...]) -> None:
    x = np.full(shape, 0.5, np.float32)[()]
    assert np.shape(NAMESPACE[name](x)) == shape and NAMESPACE[name](x).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_error_function_is_odd_at_zero_too(dtype: type) -> None:
    assert np.signbit(NAMESPACE["erf"](np.array([-0.0, 0.0], dtype))).tolist() == [True, False]
