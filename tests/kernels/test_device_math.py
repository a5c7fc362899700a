"""The accuracy of the device functions, and what they make of special values, in Triton's interpreter."""

import itertools

import mpmath
import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from microtrain.kernels import math as km
from microtrain.kernels import tiles
from tests.kernels.test_kernels import interpreted, silent_numpy  # noqa: F401

floats = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SPECIAL = (0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, np.inf, -np.inf, np.nan, -7.25, 2.5)


def largest_ulp(got, want):
    """The largest distance from the exact value in units of its last place; every special value must be equal."""
    rounded = want.astype(got.dtype)
    finite = np.isfinite(rounded) & np.isfinite(got)
    special = ~finite
    assert np.array_equal(got[special], rounded[special], equal_nan=True)
    distance = np.abs(got[finite].astype(want.dtype) - want[finite])
    return float(np.max(distance / np.spacing(np.abs(rounded[finite])).astype(want.dtype), initial=0))


@triton.jit
def unary_kernel(x_ptr, out_ptr, numel, FN: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out_ptr + i, FN(tl.load(x_ptr + i, mask=i < numel, other=1)), mask=i < numel)


@triton.jit
def binary_kernel(x_ptr, y_ptr, out_ptr, numel, FN: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < numel, other=1)
    tl.store(out_ptr + i, FN(x, tl.load(y_ptr + i, mask=i < numel, other=1)), mask=i < numel)


def evaluate(function, *operands):
    """`function` of 1-D NumPy arrays of one dtype, in the interpreter."""
    tensors = [torch.from_numpy(operand.copy()) for operand in operands]
    out = torch.empty_like(tensors[0])
    kernel = unary_kernel if len(operands) == 1 else binary_kernel
    kernel[(1,)](*tensors, out, len(out), function, tiles.next_power_of_2(len(out)))
    return out.numpy()


def in_pytorch(function, *operands):
    return function(*[torch.from_numpy(operand.copy()) for operand in operands]).numpy()


def stable_sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def multiprecise(name):
    """A function in longdouble, by mpmath (which PyTorch brings along), for what NumPy does not have."""

    def one(x):
        if not abs(x) < 100:
            return np.longdouble({"erf": np.sign(x), "erfc": 1 - np.sign(x)}[name])
        return np.longdouble(mpmath.nstr(getattr(mpmath, name)(mpmath.mpf(float(x))), 25))

    def function(x):
        with mpmath.workdps(30):
            return np.array([one(value) for value in x], np.longdouble).astype(x.dtype)

    return function


# name: exact function, domain, largest error in ulp for float32 and float64 (which the docstrings state)
ACCURACY = {
    "exp": (np.exp, "all", 1.25, 1),
    "expm1": (np.expm1, "all", 1.5, 2),
    "log": (np.log, "positive", 3, 1),
    "log1p": (np.log1p, "above -1", 4, 2.5),
    "sigmoid": (stable_sigmoid, "all", 2.5, 2.5),
    "softplus": (lambda x: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0), "all", 4, 3),
    "tanh": (np.tanh, "all", 3, 3),
    "sin": (np.sin, "angle", 0.51, 1),
    "cos": (np.cos, "angle", 0.51, 1),
    "tan": (np.tan, "angle", 0.51, 3),
    "log2": (np.log2, "positive", 0.51, 1),
    "log10": (np.log10, "positive", 0.51, 2),
    "erf": (multiprecise("erf"), "all", 1, 1),
    "erfc": (multiprecise("erfc"), "all", 0.51, 6),
    "sqrt": (np.sqrt, "positive", 0.5, 0.5),
    "rsqrt": (lambda x: 1 / np.sqrt(x), "positive", 1.5, 1.5),
    "reciprocal": (lambda x: 1 / x, "all", 0.5, 0.5),
    "floor": (np.floor, "all", 0, 0),
    "ceil": (np.ceil, "all", 0, 0),
    "trunc": (np.trunc, "all", 0, 0),
    "round": (np.rint, "all", 0, 0),
    "neg": (np.negative, "all", 0, 0),
    "relu": (lambda x: np.maximum(x, 0), "all", 0, 0),
}


def sample(dtype, domain, rng):
    """Numbers of every size that matters to a function on `domain`, with all the special ones."""
    info = np.finfo(dtype)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, info.tiny, info.max, -info.max, info.smallest_subnormal]
    special += [0.5, 1.5, 2.5, -0.5, -1.5, 2.0**23 + 1, 88.7, -87.5, -100, -103.9, 709.7, -745]
    spread = [rng.normal(size=4000) * scale for scale in (1e-6, 0.1, 1, 10, 50, 300)]
    if domain == "angle":
        return np.concatenate([*spread[:4], special[:7]]).astype(dtype)
    x = np.concatenate([*spread, special]).astype(dtype)
    if domain == "positive":
        return np.concatenate([np.abs(x), np.abs(x) * info.tiny, 1 + x[:8000] * 1e-3, [-1.0]]).astype(dtype)
    return x[~(x < -1)] if domain == "above -1" else x


@interpreted
@floats
@pytest.mark.parametrize("name", list(ACCURACY))
def test_accuracy_is_what_the_docstring_says(name, dtype, rng):
    exact, domain, *limits = ACCURACY[name]
    x = sample(dtype, domain, rng)
    with np.errstate(all="ignore"):
        want = exact(x.astype(np.float64 if dtype is np.float32 else np.longdouble))
    error = largest_ulp(evaluate(getattr(km, name), x), want)
    assert error <= limits[dtype is np.float64] + 0.01


SPREAD = np.repeat([0.1, 1, 3, 10], 2000)


@interpreted
@floats
def test_pow_on_positive_bases_and_atan2_in_every_direction(dtype, rng):
    wide = np.float64 if dtype is np.float32 else np.longdouble
    x, y = np.exp(rng.normal(size=8000) * SPREAD).astype(dtype), (rng.normal(size=8000) * 3).astype(dtype)
    limit = 0.51 if dtype is np.float32 else 2 + np.abs(y).max() / 2
    assert largest_ulp(evaluate(km.pow, x, y), x.astype(wide) ** y.astype(wide)) <= limit
    y, x = (rng.normal(size=(2, 8000)) * np.exp(rng.normal(size=(2, 8000)) * SPREAD)).astype(dtype)
    assert largest_ulp(evaluate(km.atan2, y, x), np.arctan2(y.astype(wide), x.astype(wide))) <= 2


@interpreted
@floats
def test_logarithms_are_exact_at_powers(dtype):
    twos = np.arange(np.finfo(dtype).minexp - 20, np.finfo(dtype).maxexp)
    tens = np.arange(0, 11 if dtype is np.float32 else 23)
    assert np.array_equal(evaluate(km.log2, np.exp2(twos.astype(np.float64)).astype(dtype)), twos)
    assert np.array_equal(evaluate(km.log10, np.array([10.0**n for n in tens], dtype)), tens)


@interpreted
@floats
def test_signbit_sees_zeros_and_nans(dtype):
    x = np.array([0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, np.copysign(np.nan, -1.0)], dtype)
    assert np.array_equal(evaluate(km.signbit, x).astype(bool), np.signbit(x))


@interpreted
@floats
@pytest.mark.parametrize("name", ["pow", "maximum", "minimum", "div", "atan2"])
def test_special_values_agree_with_pytorch(name, dtype):
    info = np.finfo(dtype)
    x, y = np.array(list(itertools.product([*SPECIAL, info.max, 2.0**23 + 1], repeat=2)), dtype).T
    got, want = evaluate(getattr(km, name), x, y), in_pytorch(getattr(torch, name), x, y)
    assert np.array_equal(np.isnan(got), np.isnan(want))
    if name in ("pow", "div", "atan2"):
        assert np.array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(want[~np.isnan(want)]))
    np.testing.assert_allclose(got, want, rtol=4 * info.eps)


@interpreted
@floats
@pytest.mark.parametrize("name", ["floor_divide", "remainder"])
def test_float_division_agrees_with_pytorch(name, dtype, rng):
    pairs = np.array(list(itertools.product([*SPECIAL, 1e4], repeat=2)))
    pairs = np.concatenate([pairs, rng.normal(size=(4000, 2)) * [20, 3], rng.integers(-50, 51, (4000, 2))])
    x, y = pairs.astype(dtype).T
    assert np.array_equal(evaluate(getattr(km, name), x, y), in_pytorch(getattr(torch, name), x, y), equal_nan=True)


@interpreted
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "pow", "maximum", "minimum"])
def test_integers_agree_with_pytorch(name, dtype):
    points = list(range(-9, 10)) if dtype is not np.uint8 else [*range(12), 200, 255]
    x, y = np.array(list(itertools.product(points, repeat=2)), dtype).T
    got = evaluate(getattr(km, name), x, y)
    divides = y != 0 if name in ("floor_divide", "remainder") else np.ones(y.shape, bool)
    assert np.array_equal(got[divides], in_pytorch(getattr(torch, name), x[divides], y[divides]))
    assert not got[~divides].any()


@interpreted
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_sign_agrees_with_pytorch(dtype):
    x = np.array([0, 1, 3, 250] if dtype is np.uint8 else [0, 1, -1, 7, -7], dtype)
    x = np.append(x, [np.nan, -0.0, np.inf]).astype(dtype) if dtype is np.float32 else x
    assert np.array_equal(evaluate(km.sign, x), in_pytorch(torch.sign, x))


@triton.jit
def scalar_operand_kernel(x_ptr, y_ptr, left_ptr, right_ptr, FN: tl.constexpr):
    i = tl.arange(0, 32)
    x, y = tl.load(x_ptr + i), tl.load(y_ptr)
    tl.store(left_ptr + i, FN(y, x))
    tl.store(right_ptr + i, FN(x, y))


@interpreted
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "pow", "maximum", "minimum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_a_scalar_operand_is_broadcast(name, dtype):
    x = torch.arange(-15, 49, 2).to(dtype)
    y = torch.tensor([3], dtype=dtype)
    left, right = torch.empty_like(x), torch.empty_like(x)
    scalar_operand_kernel[(1,)](x, y, left, right, getattr(km, name))
    function = getattr(torch, name)
    torch.testing.assert_close(left, function(y, x))
    torch.testing.assert_close(right, function(x, y))


@triton.jit
def clamp_to_unit(x):
    return km.clamp(x, -1.0, 1.0)


@interpreted
def test_clamp_passes_nan_and_its_bounds():
    x = np.array([-2, -1, 0.5, 1, 2, np.nan, np.inf], np.float32)
    assert np.array_equal(evaluate(clamp_to_unit, x), in_pytorch(lambda x: x.clamp(-1, 1), x), equal_nan=True)
