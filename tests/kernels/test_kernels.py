"""The map template in Triton's interpreter, on functions that stand for what the compiler emits.

The output lies between guard values, which a missing mask overwrites: the interpreter itself says nothing of a store
out of bounds. What the compiler makes of all templates is run by `tests.compiler.test_emit`.
"""

import os

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from microtrain.kernels import math as km
from microtrain.kernels.map import map_kernel

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
    np.testing.assert_allclose(out.value(), -2.5 / (1 + np.exp(-x.astype(np.float64))) + 1, rtol=2e-6, atol=1e-6)


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
