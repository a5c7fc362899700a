"""The templates in Triton's interpreter against their NumPy references, and the device functions' accuracy.

The functions decorated here stand for what the compiler emits. Every output lies between guard values, which a missing
mask overwrites: the interpreter itself says nothing of a store out of bounds.
"""

import itertools
import math
import os
import subprocess
import sys

import mpmath
import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from microtrain.kernels import math as km
from microtrain.kernels import matmul_tiles, reductions, tiles
from microtrain.kernels.map import map_kernel
from microtrain.kernels.matmul import matmul_kernel
from microtrain.kernels.reduce import reduce_kernel
from microtrain.kernels.row import row_kernel
from tests.support import kernel_reference as reference

interpreted = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="runs in Triton's interpreter: MICROTRAIN_DEVICE=interpret"
)
GUARD = 64
SIZES = (0, 1, 2, 31, 32, 33, 127, 128, 129)


@pytest.fixture(autouse=True)
def silent_numpy():
    """The interpreter computes in NumPy, masked lanes too, whose overflows and NaNs mean nothing."""
    with np.errstate(all="ignore"):
        yield


class Guarded:
    """A torch buffer for `shape` elements between guards."""

    def __init__(self, shape, dtype):
        self.shape = shape
        self.count = int(np.prod(shape))
        self.memory = torch.full((self.count + 2 * GUARD,), 77, dtype=dtype)
        self.pointer = self.memory[GUARD:]

    def value(self):
        """The elements as NumPy, once the guards are found untouched."""
        ends = torch.cat([self.memory[:GUARD], self.memory[GUARD + self.count :]])
        assert bool((ends == 77).all()), "a kernel wrote outside its output"
        return self.memory[GUARD : GUARD + self.count].reshape(self.shape).numpy()


def largest_ulp(got, want):
    """The largest distance from the exact value in units of its last place; every special value must be equal."""
    rounded = want.astype(got.dtype)
    finite = np.isfinite(rounded) & np.isfinite(got)
    special = ~finite
    assert np.array_equal(got[special], rounded[special], equal_nan=True)
    distance = np.abs(got[finite].astype(want.dtype) - want[finite])
    return float(np.max(distance / np.spacing(np.abs(rounded[finite])).astype(want.dtype), initial=0))


# ------------------------------------------------------------------------------------------------------------- map


@triton.jit
def scaled_sigmoid(ptrs, scalars, i, mask):
    x = tl.load(ptrs[0] + i, mask=mask, other=0.0)
    y = km.sigmoid(x) * km.scalar_f32(scalars[0]) + km.scalar_i64(scalars[1]).to(tl.float32)
    tl.store(ptrs[1] + i, y, mask=mask)


@triton.jit
def unmasked_store(ptrs, scalars, i, mask):
    tl.store(ptrs[1] + i, tl.load(ptrs[0] + i, mask=mask, other=0.0))


@interpreted
@pytest.mark.parametrize("index", [tl.int32, tl.int64])
@pytest.mark.parametrize("numel", [*SIZES, 1009])
def test_map_equals_its_reference(numel, index, rng):
    x = rng.normal(size=numel).astype(np.float32)
    out = Guarded((numel,), torch.float32)
    scale = int(np.float64(-2.5).view(np.int64))
    map_kernel[(triton.cdiv(numel, 128),)](
        (torch.from_numpy(x), out.pointer), (scale, 1), numel, scaled_sigmoid, 128, index
    )
    want = reference.map_reference(lambda i: -2.5 / (1 + np.exp(-x[i].astype(np.float64))) + 1, numel)
    np.testing.assert_allclose(out.value(), want, rtol=2e-6, atol=1e-6)


@interpreted
def test_the_guards_catch_an_unmasked_store():
    out = Guarded((100,), torch.float32)
    map_kernel[(1,)]((torch.ones(100), out.pointer), (), 100, unmasked_store, 128, tl.int32)
    with pytest.raises(AssertionError, match="outside its output"):
        out.value()


@triton.jit
def load_scalars(ptrs, scalars, i, mask):
    tl.store(ptrs[0] + i, km.scalar_f64(scalars[0]), mask=mask & (i == 0))
    tl.store(ptrs[1] + i, km.scalar_i64(scalars[1]), mask=mask & (i == 0))


@interpreted
@pytest.mark.parametrize("number", [0.0, 1.0, -1.5, 5e-324, 1.7e308, float("inf"), np.pi])
@pytest.mark.parametrize("integer", [0, 1, -1, 16, 2**31, 2**62, -(2**63)])
def test_scalars_arrive_with_all_their_bits(number, integer):
    double, long = torch.empty(1, dtype=torch.float64), torch.empty(1, dtype=torch.int64)
    bits = int(np.float64(number).view(np.int64))
    map_kernel[(1,)]((double, long), (bits, integer), 1, load_scalars, 1, tl.int32)
    assert double.item() == number and long.item() == integer


# ------------------------------------------------------------------------------------------------------------- row


@triton.jit
def softmax_and_more(ptrs, scalars, r, c, row_mask, mask):
    cols = scalars[0]
    x = tl.load(ptrs[0] + r * cols + c, mask=mask, other=0.0)
    e = km.exp(x - reductions.row_max(x, mask))
    tl.store(ptrs[1] + r * cols + c, km.div(e, reductions.row_sum(e, mask)), mask=mask)
    tl.store(ptrs[2] + r, reductions.row_prod(x, mask), mask=row_mask)
    tl.store(ptrs[3] + r, reductions.row_min(x, mask), mask=row_mask)
    tl.store(ptrs[4] + r, reductions.row_argmax(x, c, mask), mask=row_mask)
    tl.store(ptrs[5] + r, reductions.row_argmin(x, c, mask), mask=row_mask)


def run_softmax(x, block_r):
    rows, cols = x.shape
    kinds = [torch.float32] * 3 + [torch.int64] * 2
    outs = [Guarded(shape, kind) for shape, kind in zip([x.shape] + [(rows,)] * 4, kinds, strict=True)]
    block_c = tiles.next_power_of_2(cols)
    row_kernel[(triton.cdiv(rows, block_r),)](
        (torch.from_numpy(x), *[out.pointer for out in outs]),
        (cols,), rows, softmax_and_more, cols, block_r, block_c, tl.int32,
    )  # fmt: skip
    return [out.value() for out in outs]


@interpreted
@pytest.mark.parametrize(("rows", "cols"), [(0, 5), (1, 1), (7, 1), (8, 31), (9, 32), (5, 33), (3, 127), (17, 128)])
def test_row_equals_its_reference(rows, cols, rng):
    # Near 1, so that the product of a row is a normal number.
    x = (rng.choice([-1.0, 1.0], (rows, cols)) * rng.uniform(0.5, 2, (rows, cols))).astype(np.float32)

    def softmax(r, c):
        e = np.exp(x[r, c].astype(np.float64) - x[r, c].max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    got, product, least, argmax, argmin = run_softmax(x, 8)
    np.testing.assert_allclose(got, reference.row_reference(softmax, rows, cols), rtol=1e-6)
    np.testing.assert_allclose(product, np.prod(x.astype(np.float64), axis=1), rtol=cols * 1e-7)
    assert np.array_equal(least, x.min(axis=1))
    assert np.array_equal(argmax, x.argmax(axis=1)) and np.array_equal(argmin, x.argmin(axis=1))


@interpreted
def test_rows_with_nan_infinities_and_ties_agree_with_pytorch():
    inf, nan = np.inf, np.nan
    x = np.array(
        [[1, nan, 3, 2, 0], [inf, 1, inf, -inf, 0], [-0.0, 0.0, -1, -1, 0], [-inf] * 5, [2, 2, 2, nan, nan]], np.float32
    )
    got, product, least, argmax, argmin = run_softmax(x, 4)
    t = torch.from_numpy(x)
    np.testing.assert_allclose(got, torch.softmax(t, 1).numpy(), rtol=1e-6)
    assert np.array_equal(product, t.prod(1).numpy(), equal_nan=True)
    assert np.array_equal(least, t.amin(1).numpy(), equal_nan=True)
    assert np.array_equal(argmax, t.argmax(1).numpy()) and np.array_equal(argmin, t.argmin(1).numpy())


# ---------------------------------------------------------------------------------------------------------- reduce


@triton.jit
def load_exp(ptrs, scalars, r, c, mask):
    return km.exp(tl.load(ptrs[0] + r * scalars[0] + c, mask=mask, other=0.0))


@triton.jit
def load_plain(ptrs, scalars, r, c, mask):
    return tl.load(ptrs[0] + r * scalars[0] + c, mask=mask, other=0)


@triton.jit
def store_row(ptrs, scalars, r, acc, row_mask):
    tl.store(ptrs[1] + r, acc, mask=row_mask)


REDUCTIONS = {
    "sum": (reductions.combine_sum, reductions.finish_sum, np.add),
    "max": (reductions.combine_max, reductions.finish_max, np.maximum),
    "min": (reductions.combine_min, reductions.finish_min, np.minimum),
    "prod": (reductions.combine_prod, reductions.finish_prod, np.multiply),
}


def run_reduce(x, name, load, identity, block_r=4, block_c=32):
    rows, cols = x.shape
    combine, finish, _ = REDUCTIONS[name]
    t = torch.from_numpy(x)
    out = Guarded((rows, 1), t.dtype)
    reduce_kernel[(triton.cdiv(rows, block_r),)](
        (t, out.pointer), (cols,), rows, cols, load, combine, finish, store_row,
        identity, getattr(tl, str(x.dtype)), block_r, block_c, tl.int64,
    )  # fmt: skip
    return out.value()


@interpreted
@pytest.mark.parametrize("cols", SIZES)
@pytest.mark.parametrize("name", list(REDUCTIONS))
def test_reduce_masks_the_value_not_the_operand(name, cols, rng):
    x = rng.normal(size=(5, cols)).astype(np.float32)
    identity = {"sum": 0.0, "max": -np.inf, "min": np.inf, "prod": 1.0}[name]
    got = run_reduce(x, name, load_exp, identity)
    want = reference.reduce_reference(
        lambda r, c: np.exp(x[r, c].astype(np.float64)), REDUCTIONS[name][2], identity, 5, cols, np.float64
    )
    np.testing.assert_allclose(got, want, rtol=(cols + 2) * 2e-7)


@interpreted
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("name", list(REDUCTIONS))
def test_reduce_in_every_accumulator(name, dtype, rng):
    x = rng.integers(-3, 4, size=(9, 67)).astype(dtype)
    info = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else None
    limits = (info.min, info.max) if info else (-np.inf, np.inf)
    identity = {"sum": 0, "max": limits[0], "min": limits[1], "prod": 1}[name]
    want = reference.reduce_reference(lambda r, c: x[r, c], REDUCTIONS[name][2], identity, 9, 67, dtype)
    assert np.array_equal(run_reduce(x, name, load_plain, identity), want)


@interpreted
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_propagate_nan(dtype):
    x = np.array([[1, np.nan, -2], [np.inf, -np.inf, 0], [-np.nan, -np.inf, -np.inf]], dtype)
    for name, want in (("max", x.max(axis=1)), ("min", x.min(axis=1))):
        identity = -np.inf if name == "max" else np.inf
        assert np.array_equal(run_reduce(x, name, load_plain, identity)[:, 0], want, equal_nan=True)


@interpreted
def test_the_order_of_additions_depends_on_the_tile_alone(rng):
    x = rng.normal(size=(3, 1009)).astype(np.float32)
    got = [run_reduce(x[:rows], "sum", load_plain, 0.0, block_r) for rows, block_r in ((3, 1), (3, 4), (1, 2))]
    assert np.array_equal(got[0], got[1]) and np.array_equal(got[0][:1], got[2])


# ---------------------------------------------------------------------------------------------------------- matmul


@triton.jit
def load_a_exp(ptrs, scalars, b, m, k, mask):
    x = tl.load(ptrs[0] + (b * scalars[0] + m) * scalars[2] + k, mask=mask, other=0.0)
    return tl.where(mask, km.exp(x.to(tl.float32)), 0)


@triton.jit
def load_a(ptrs, scalars, b, m, k, mask):
    return tl.load(ptrs[0] + (b * scalars[0] + m) * scalars[2] + k, mask=mask, other=0)


@triton.jit
def load_b(ptrs, scalars, b, k, n, mask):
    return tl.load(ptrs[1] + (b * scalars[2] + k) * scalars[1] + n, mask=mask, other=0)


@triton.jit
def store_relu_bias(ptrs, scalars, b, m, n, acc, sum_a, sum_b, mask, once_m, once_n):
    bias = tl.load(ptrs[3] + n, mask=n < scalars[1], other=0)
    tl.store(ptrs[2] + (b * scalars[0] + m) * scalars[1] + n, km.relu(acc + bias), mask=mask)


def run_matmul(a, b, bias, load, *, acc, operand, dot, blocks):
    batch, m, k = a.shape
    n = b.shape[2]
    out = Guarded((batch, m, n), bias.dtype)
    grid = (triton.cdiv(m, blocks[0]) * triton.cdiv(n, blocks[1]), batch)
    matmul_kernel[grid](
        (a, b, out.pointer, bias), (m, n, k), m, n, k, load, load_b, store_relu_bias,
        False, False, acc, dot, "ieee", *blocks, tl.int32, operand, *map(math.gcd, (m, n, k), blocks),
    )  # fmt: skip
    return out.value()


def matmul_want(a, b, bias, prologue):
    a, b, bias = (t.to(torch.float64).numpy() for t in (a, b, bias))
    return reference.matmul_reference(
        lambda batch, m, k: prologue(a[batch, m, k]),
        lambda batch, k, n: b[batch, k, n],
        lambda batch, m, n, acc: np.maximum(acc + bias[n], 0),
        (a.shape[0], a.shape[1], b.shape[2], a.shape[2]),
        np.float64,
    )


@interpreted
@pytest.mark.parametrize(
    ("m", "n", "k"), [(1, 1, 1), (16, 16, 16), (17, 15, 31), (33, 65, 1), (64, 1, 129), (1, 47, 33), (5, 7, 0)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_matmul_equals_its_reference(m, n, k, dtype):
    a, b = torch.randn(2, m, k).to(dtype), torch.randn(2, k, n).to(dtype)
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    acc = tl.float64 if dtype is torch.float64 else tl.float32
    bias = torch.randn(n).to(wide)
    load = load_a if dtype is torch.float64 else load_a_exp
    got = run_matmul(a, b, bias, load, acc=acc, operand=acc, dot=True, blocks=(32, 16, 16))
    want = matmul_want(a, b, bias, (lambda x: x) if dtype is torch.float64 else np.exp)
    eps = torch.finfo(wide).eps
    np.testing.assert_allclose(got, want, rtol=4 * (k + 2) * eps, atol=40 * (k + 2) * eps)


@interpreted
@pytest.mark.parametrize(
    ("dtype", "acc"), [(torch.int64, tl.int64), (torch.int32, tl.int32), (torch.float64, tl.float64)]
)
def test_matmul_without_dot(dtype, acc):
    a, b = torch.randint(-9, 9, (2, 17, 19)).to(dtype), torch.randint(-9, 9, (2, 19, 33)).to(dtype)
    bias = torch.randint(-9, 9, (33,)).to(dtype)
    got = run_matmul(a, b, bias, load_a, acc=acc, operand=acc, dot=False, blocks=(16, 16, 16))
    assert np.array_equal(got, matmul_want(a, b, bias, lambda x: x))


# ------------------------------------------------------------------------------------------------------------ math


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
    "exp": (np.exp, "all", 1, 1),
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
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(ACCURACY))
def test_accuracy_is_what_the_docstring_says(name, dtype, rng):
    exact, domain, *limits = ACCURACY[name]
    x = sample(dtype, domain, rng)
    with np.errstate(all="ignore"):
        want = exact(x.astype(np.float64 if dtype is np.float32 else np.longdouble))
    error = largest_ulp(evaluate(getattr(km, name), x), want)
    assert error <= limits[dtype is np.float64] + 0.01


@interpreted
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pow_on_positive_bases(dtype, rng):
    x = np.exp(rng.normal(size=8000) * np.repeat([0.1, 1, 3, 10], 2000)).astype(dtype)
    y = (rng.normal(size=8000) * 3).astype(dtype)
    wide = np.float64 if dtype is np.float32 else np.longdouble
    limit = 0.51 if dtype is np.float32 else 2 + np.abs(y).max() / 2
    assert largest_ulp(evaluate(km.pow, x, y), x.astype(wide) ** y.astype(wide)) <= limit


@interpreted
@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 2), (np.float64, 2)])
def test_atan2_in_every_direction(dtype, limit, rng):
    y, x = (rng.normal(size=(2, 8000)) * np.exp(rng.normal(size=(2, 8000)) * np.repeat([0.1, 1, 3, 10], 2000)))
    y, x = y.astype(dtype), x.astype(dtype)
    wide = np.float64 if dtype is np.float32 else np.longdouble
    assert largest_ulp(evaluate(km.atan2, y, x), np.arctan2(y.astype(wide), x.astype(wide))) <= limit


@interpreted
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logarithms_are_exact_at_powers(dtype):
    twos = np.arange(np.finfo(dtype).minexp - 20, np.finfo(dtype).maxexp)
    tens = np.arange(0, 11 if dtype is np.float32 else 23)
    assert np.array_equal(evaluate(km.log2, np.exp2(twos.astype(np.float64)).astype(dtype)), twos)
    assert np.array_equal(evaluate(km.log10, np.array([10.0**n for n in tens], dtype)), tens)


@interpreted
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_signbit_sees_zeros_and_nans(dtype):
    x = np.array([0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, np.copysign(np.nan, -1.0)], dtype)
    assert np.array_equal(evaluate(km.signbit, x).astype(bool), np.signbit(x))


@interpreted
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["pow", "maximum", "minimum", "div", "atan2"])
def test_special_values_agree_with_pytorch(name, dtype):
    info = np.finfo(dtype)
    points = [0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, np.inf, -np.inf, np.nan, info.max, -7.25, 2.5, 2.0**23 + 1]
    x, y = (np.array(side, dtype) for side in zip(*itertools.product(points, points), strict=True))
    got = evaluate(getattr(km, name), x, y)
    torch_function = {"div": torch.div}.get(name) or getattr(torch, name)
    want = torch_function(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    assert np.array_equal(np.isnan(got), np.isnan(want))
    if name in ("pow", "div", "atan2"):
        assert np.array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(want[~np.isnan(want)]))
    np.testing.assert_allclose(got, want, rtol=4 * info.eps)


@interpreted
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["floor_divide", "remainder"])
def test_float_division_agrees_with_pytorch(name, dtype, rng):
    points = [0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, np.inf, -np.inf, np.nan, -7.25, 2.5, 1e4]
    pairs = np.array(list(itertools.product(points, points)))
    pairs = np.concatenate([pairs, rng.normal(size=(4000, 2)) * [20, 3], rng.integers(-50, 51, (4000, 2))])
    x, y = pairs.astype(dtype).T
    want = getattr(torch, name)(torch.from_numpy(x.copy()), torch.from_numpy(y.copy())).numpy()
    assert np.array_equal(evaluate(getattr(km, name), x, y), want, equal_nan=True)


@interpreted
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "pow", "maximum", "minimum"])
def test_integers_agree_with_pytorch(name, dtype):
    points = list(range(-9, 10)) if dtype is not np.uint8 else [*range(12), 200, 255]
    x, y = (np.array(side, dtype) for side in zip(*itertools.product(points, points), strict=True))
    got = evaluate(getattr(km, name), x, y)
    divides = y != 0 if name in ("floor_divide", "remainder") else np.ones(y.shape, bool)
    want = getattr(torch, name)(torch.from_numpy(x[divides]), torch.from_numpy(y[divides])).numpy()
    assert np.array_equal(got[divides], want)
    assert not got[~divides].any()


@interpreted
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_sign_agrees_with_pytorch(dtype):
    x = np.array([0, 1, 3, 250] if dtype is np.uint8 else [0, 1, -1, 7, -7], dtype)
    x = np.append(x, [np.nan, -0.0, np.inf]).astype(dtype) if dtype is np.float32 else x
    assert np.array_equal(evaluate(km.sign, x), torch.sign(torch.from_numpy(x)).numpy())


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
    assert np.array_equal(evaluate(clamp_to_unit, x), torch.clamp(torch.from_numpy(x), -1, 1), equal_nan=True)


# ----------------------------------------------------------------------------------------------------------- tiles


@pytest.mark.parametrize("arch", ["sm_90", "interpret"])
@pytest.mark.parametrize("numel", [0, 1, 2, 1009, 2**16 + 1, 2**20 + 1, 2**33])
def test_map_tiles_cover_the_elements(numel, arch):
    tile = tiles.map_tile(numel, arch=arch)
    assert tile.block == tiles.next_power_of_2(tile.block) <= 2**20
    assert 0 <= tile.grid(numel)[0] * tile.block - numel < tile.block


@pytest.mark.parametrize("arch", ["sm_90", "interpret"])
@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("cols", [1, 31, 784, 4097, tiles.ROW_MAX])
def test_row_tiles_hold_whole_rows(rows, cols, arch):
    tile = tiles.row_tile(rows, cols, arch=arch)
    assert cols <= tile.block_c < 2 * cols and tile.grid(rows)[0] * tile.block_r >= rows
    assert tile.block_r * tile.block_c <= (tiles.INTERPRET_ELEMENTS if arch == "interpret" else tiles.ROW_MAX)


def test_a_row_too_long_is_refused_with_the_limit():
    with pytest.raises(ValueError, match=f"at most ROW_MAX = {tiles.ROW_MAX}"):
        tiles.row_tile(1, tiles.ROW_MAX + 1)


@pytest.mark.parametrize("arch", ["sm_90", "interpret"])
@pytest.mark.parametrize("numel", [1, 2, 16384, 16385, 10**6, 10**8 + 7])
def test_full_reductions_cover_the_elements_in_two_stages(numel, arch):
    chunks, length = tiles.full_reduction(numel, arch=arch)
    assert (chunks - 1) * length < numel <= chunks * length
    assert chunks <= tiles.ROW_MAX


@pytest.mark.parametrize("kind", ["half", "tf32", "float32", "float64", "integer"])
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "gfx942", "sm_75", "interpret"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (128, 10, 784), (4096, 4096, 4096), (3, 5000, 1)])
def test_matmul_tiles_are_what_dot_takes(shape, kind, arch):
    for tile in matmul_tiles.matmul_tiles(*shape, kind, arch=arch):
        blocks = (tile.block_m, tile.block_n, tile.block_k)
        assert all(block >= matmul_tiles.DOT_MIN and block == tiles.next_power_of_2(block) for block in blocks)
        assert tile.dot == (kind != "integer")
        assert tile.grid(shape[0], shape[1], 3) == (
            tiles.cdiv(shape[0], tile.block_m) * tiles.cdiv(shape[1], tile.block_n),
            3,
        )


@pytest.mark.parametrize("arch", tiles.ARCHITECTURES)
@pytest.mark.parametrize("kind", ["half", "tf32", "float32", "float64"])
def test_large_products_take_large_tiles_and_small_ones_spread(kind, arch):
    large, small = (matmul_tiles.matmul_tiles(n, n, n, kind, arch=arch)[0] for n in (8192, 256))
    assert (large.block_m, large.block_n) == matmul_tiles.TILES.get(arch, matmul_tiles.OTHER)[kind][0][:2]
    assert small.grid(256, 256)[0] >= min(256, matmul_tiles.BUSY * tiles.architecture(arch).processors)
    wasted = matmul_tiles.matmul_tiles(8192, 10, 512, kind, arch=arch)[0]
    assert wasted.block_n == 16


@pytest.mark.parametrize("arch", tiles.ARCHITECTURES)
def test_stages_fit_into_shared_memory_whatever_an_operand_is_made_of(arch):
    for loads in ((2, 2), (4, 2), (6, 6), (14, 14)):
        for tile in matmul_tiles.matmul_tiles(4096, 4096, 4096, "half", arch=arch, loads=loads):
            stage = tile.block_k * (tile.block_m * loads[0] + tile.block_n * loads[1])
            assert tile.num_stages * stage <= tiles.architecture(arch).shared_bytes
    assert matmul_tiles.matmul_tiles(64, 64, 64, "float64", arch="gfx942", loads=(400, 400))[0].num_stages == 1
    for arch in ("sm_80", "sm_90", "sm_100", "gfx942"):      # a product of two numbers, expanded, loads nothing
        assert (matmul_tiles.matmul_tiles(64, 64, 64, "float32", arch=arch, loads=(0, 0))
                == matmul_tiles.matmul_tiles(64, 64, 64, "float32", arch=arch, loads=(0, 4)))


def test_a_kind_without_tiles_is_refused_with_those_known():
    with pytest.raises(ValueError, match="kind 'half precision': tiles are known for half, tf32, float32, fused"):
        matmul_tiles.matmul_tiles(64, 64, 64, "half precision", arch="sm_90")


def test_index_width_follows_the_largest_offset():
    assert tiles.index_bits(2**31 - 2**20) == 32 and tiles.index_bits(2**31) == 64


def test_the_folder_is_refused_as_a_top_level_package():
    code = "import sys; sys.path.insert(0, '.'); import kernels"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "microtrain.kernels" in done.stderr.splitlines()[-1]
