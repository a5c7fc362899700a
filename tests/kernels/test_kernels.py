"""The templates in Triton's interpreter against their NumPy references.

The functions decorated here stand for what the compiler emits. Every output lies between guard values, which a missing
mask overwrites: the interpreter itself says nothing of a store out of bounds.
"""

import math
import os

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from microtrain.kernels import math as km
from microtrain.kernels import reductions, tiles
from microtrain.kernels.map import map_kernel
from microtrain.kernels.matmul import matmul_kernel
from microtrain.kernels.reduce import reduce_kernel
from microtrain.kernels.row import row_kernel
from tests.support import kernel_reference as reference

interpreted = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1",
                                 reason="runs in Triton's interpreter: MICROTRAIN_DEVICE=interpret")
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
    map_kernel[(triton.cdiv(numel, 128),)]((torch.from_numpy(x), out.pointer), (scale, 1), numel, scaled_sigmoid, 128,
                                           index)
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


def run_softmax(x, block_r):
    rows, cols = x.shape
    outs = [Guarded(shape, torch.float32) for shape in (x.shape, (rows,), (rows,))]
    block_c = tiles.next_power_of_2(cols)
    row_kernel[(triton.cdiv(rows, block_r),)]((torch.from_numpy(x), *[out.pointer for out in outs]), (cols,), rows,
                                              softmax_and_more, cols, block_r, block_c, tl.int32)
    return [out.value() for out in outs]


@interpreted
@pytest.mark.parametrize(("rows", "cols"), [(0, 5), (1, 1), (7, 1), (8, 31), (9, 32), (5, 33), (3, 127), (17, 128)])
def test_row_equals_its_reference(rows, cols, rng):
    # Near 1, so that the product of a row is a normal number.
    x = (rng.choice([-1.0, 1.0], (rows, cols)) * rng.uniform(0.5, 2, (rows, cols))).astype(np.float32)

    def softmax(r, c):
        e = np.exp(x[r, c].astype(np.float64) - x[r, c].max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    got, product, least = run_softmax(x, 8)
    np.testing.assert_allclose(got, reference.row_reference(softmax, rows, cols), rtol=1e-6)
    np.testing.assert_allclose(product, np.prod(x.astype(np.float64), axis=1), rtol=cols * 1e-7)
    assert np.array_equal(least, x.min(axis=1))


@interpreted
def test_rows_with_nan_infinities_and_ties_agree_with_pytorch():
    inf, nan = np.inf, np.nan
    x = np.array([[1, nan, 3, 2, 0], [inf, 1, inf, -inf, 0], [-0.0, 0.0, -1, -1, 0], [-inf] * 5, [2, 2, 2, nan, nan]],
                 np.float32)
    got, product, least = run_softmax(x, 4)
    t = torch.from_numpy(x)
    np.testing.assert_allclose(got, torch.softmax(t, 1).numpy(), rtol=1e-6)
    assert np.array_equal(product, t.prod(1).numpy(), equal_nan=True)
    assert np.array_equal(least, t.amin(1).numpy(), equal_nan=True)


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


REDUCTIONS = {"sum": (reductions.combine_sum, reductions.finish_sum, np.add),
              "max": (reductions.combine_max, reductions.finish_max, np.maximum),
              "min": (reductions.combine_min, reductions.finish_min, np.minimum),
              "prod": (reductions.combine_prod, reductions.finish_prod, np.multiply)}


def run_reduce(x, name, load, identity, block_r=4, block_c=32):
    rows, cols = x.shape
    combine, finish, _ = REDUCTIONS[name]
    t = torch.from_numpy(x)
    out = Guarded((rows, 1), t.dtype)
    reduce_kernel[(triton.cdiv(rows, block_r),)]((t, out.pointer), (cols,), rows, cols, load, combine, finish,
                                                 store_row, identity, getattr(tl, str(x.dtype)), block_r, block_c,
                                                 tl.int64)
    return out.value()


@interpreted
@pytest.mark.parametrize("cols", SIZES)
@pytest.mark.parametrize("name", list(REDUCTIONS))
def test_reduce_masks_the_value_not_the_operand(name, cols, rng):
    x = rng.normal(size=(5, cols)).astype(np.float32)
    identity = {"sum": 0.0, "max": -np.inf, "min": np.inf, "prod": 1.0}[name]
    got = run_reduce(x, name, load_exp, identity)
    want = reference.reduce_reference(lambda r, c: np.exp(x[r, c].astype(np.float64)), REDUCTIONS[name][2], identity, 5,
                                      cols, np.float64)
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
    matmul_kernel[grid]((a, b, out.pointer, bias), (m, n, k), m, n, k, load, load_b, store_relu_bias, False, False, acc,
                        dot, "ieee", *blocks, tl.int32, operand, *map(math.gcd, (m, n, k), blocks))
    return out.value()


def matmul_want(a, b, bias, prologue):
    a, b, bias = (t.to(torch.float64).numpy() for t in (a, b, bias))
    return reference.matmul_reference(lambda batch, m, k: prologue(a[batch, m, k]), lambda batch, k, n: b[batch, k, n],
                                      lambda batch, m, n, acc: np.maximum(acc + bias[n], 0),
                                      (a.shape[0], a.shape[1], b.shape[2], a.shape[2]), np.float64)


@interpreted
@pytest.mark.parametrize(("m", "n", "k"),
                         [(1, 1, 1), (16, 16, 16), (17, 15, 31), (33, 65, 1), (64, 1, 129), (1, 47, 33), (5, 7, 0)])
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
@pytest.mark.parametrize(("dtype", "acc"),
                         [(torch.int64, tl.int64), (torch.int32, tl.int32), (torch.float64, tl.float64)])
def test_matmul_without_dot(dtype, acc):
    a, b = torch.randint(-9, 9, (2, 17, 19)).to(dtype), torch.randint(-9, 9, (2, 19, 33)).to(dtype)
    bias = torch.randint(-9, 9, (33,)).to(dtype)
    got = run_matmul(a, b, bias, load_a, acc=acc, operand=acc, dot=False, blocks=(16, 16, 16))
    assert np.array_equal(got, matmul_want(a, b, bias, lambda x: x))
