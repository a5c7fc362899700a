"""Emitted kernels on every dtype, on numbers of every kind, and under the settings that check them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from microtrain import ops as g
from microtrain import settings
from microtrain.compiler.validate import largest
from microtrain.graph import dtypes
from tests.compiler.test_emit import HERE, check, computed, t


@pytest.mark.parametrize("name", ["float64", "float16", "bfloat16"])
def test_other_floats(name: str, rng: np.random.Generator) -> None:
    dtype = dtypes.from_name(name).numpy
    x, y = t(rng.standard_normal((6, 8)), dtype), t(rng.standard_normal((6, 8)), dtype)
    w = t(rng.standard_normal((8, 5)), dtype)
    check(g.mul(g.add(x, y), g.exp(x)), g.softmax(x, 1), g.sum(x, (0, 1)), g.amax(x, (0,)))
    check(g.add(g.matmul(x, w), 0.3), g.matmul(x, t(rng.standard_normal((8, 1)), dtype)))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_a_fused_kernel_rounds_as_separate_ones_do(name: str, rng: np.random.Generator) -> None:
    dtype = dtypes.from_name(name).numpy
    x, y = t(rng.standard_normal(500), dtype), t(rng.standard_normal(500), dtype)
    out = g.sub(g.mul(g.add(x, y), 1.7), g.mul(x, y))
    _, (fused,), (numpy,) = computed(out)
    with settings.fuse(False):
        executable, (separate,), _ = computed(out)
    assert executable.kernels == 4
    assert fused.tobytes() == separate.tobytes() == numpy.tobytes()


@pytest.mark.parametrize("name", ["uint8", "int8", "int16", "int32", "int64"])
def test_integers(name: str, rng: np.random.Generator) -> None:
    dtype = np.dtype(name)
    x, y = t(rng.integers(0, 11, (5, 7)), dtype), t(rng.integers(1, 5, (5, 7)), dtype)
    check(g.add(x, y), g.mul(x, 3), g.maximum(x, y), g.floor_divide(x, y), g.remainder(x, y), g.lt(x, y),
          g.sum(x, (0,)), g.amax(x, (1,)), g.amin(x, (0, 1)), g.matmul(x, g.transpose(y)), g.cast(x, dtypes.float32),
          g.bitwise_xor(x, y), g.pow(y, g.cast(g.full(3, (5, 7), dtypes.int64, HERE), x.dtype)))


def test_booleans(rng: np.random.Generator) -> None:
    x, y = t(rng.random((5, 7)) > 0.5, np.bool_), t(rng.random((5, 7)) > 0.5, np.bool_)
    check(g.bitwise_and(x, y), g.bitwise_or(x, y), g.bitwise_xor(x, y), g.bitwise_not(x), g.logical_not(y), g.mul(x, y),
          g.add(x, y), g.maximum(x, y), g.lt(x, y), g.ge(x, y), g.eq(x, y), g.amax(x, (1,)), g.amin(x, (0,)),
          g.sum(g.cast(x, dtypes.int64), (0, 1)), g.where(x, y, True), g.cast(x, dtypes.float16))


@pytest.mark.parametrize("dtype", [dtype for dtype in dtypes.DTYPES.values() if dtype is not dtypes.float32])
def test_casts(dtype: dtypes.DType) -> None:
    x = t([0.0, 1.0, -1.0, 3.7, -3.7, 100.2])
    check(g.cast(x, dtype), g.cast(g.cast(x, dtypes.int32), dtype), g.cast(g.cast(x, dtype), dtypes.float32))


def test_bfloat16_rounds_to_even_and_keeps_what_is_not_a_number() -> None:
    bits = np.array([0x3F808000, 0x3F818000, 0x3F80C000, 0x3F807FFF, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000,
                     0x00000001, 0x80008000, 0x80018000], np.uint32)
    _, (have,), (want,) = computed(g.cast(t(bits.view(np.float32)), dtypes.bfloat16))
    nan = np.isnan(want.astype(np.float32))
    assert np.array_equal(have.view(np.uint16)[~nan], want.view(np.uint16)[~nan])
    assert nan.sum() == 1 and np.isnan(have[nan].astype(np.float32)).all()
    _, (wide,), _ = computed(g.cast(t(want, want.dtype), dtypes.float32))
    assert np.array_equal(wide, want.astype(np.float32), equal_nan=True)


def test_numbers_of_every_kind_arrive() -> None:
    x = t([1.0, 2.0], np.float64)
    numbers = [g.mul(x, value) for value in (0.1, -1e300, 7.25, 1e-310)]
    i = t([1, 2], np.int64)
    check(*numbers, g.add(i, 2 ** 40), g.add(i, -(2 ** 62)), g.mul(t([1, 2], np.int32), -77),
          g.mul(t([1.0], np.float16), 0.1))


def test_scalars_and_nothing(rng: np.random.Generator) -> None:
    x = t(1.5)
    check(g.exp(x), g.lt(x, 2.0), g.where(g.ne(x, x), x, 3.25), g.sum(x, ()), g.expand(g.mul(x, x), (2, 3)))
    empty = t(np.zeros((0, 3)))
    check(g.add(empty, 1.0), g.sum(empty, (0,)), g.prod(empty, (0, 1)), g.cat((empty, t(np.ones((2, 3)))), 0),
          g.matmul(t(np.zeros((2, 0))), t(np.zeros((0, 4)))), g.pad(empty, (2, 0), (4, 3), (1, 1)))


def test_random_words_are_numpys() -> None:
    words = [g.random_bits(seed, 3, (3, 5), word, HERE) for seed in (1, 12345678901) for word in (0, 3)]
    check(*words, g.random_bits(7, 8, (), 1, HERE), g.transpose(g.random_bits(7, 9, (4, 6), 2, HERE)))


def test_taking_rows(rng: np.random.Generator) -> None:
    table, index = t(rng.standard_normal((7, 4))), t([[0, 6, 3], [3, 3, 1]], np.int64)
    rows = g.take(table, index)
    check(rows, g.sum(rows, (1,)), g.take(g.exp(table), index), g.take(g.transpose(table), t(2, np.int64)),
          g.index_add(rows, index, 7))


def test_no_element_is_left_unwritten(rng: np.random.Generator) -> None:
    x = t(rng.standard_normal((7, 5)))
    with settings.poison(True):
        check(g.softmax(x, 1), g.pad(x, (1, 2), (9, 8), (1, 1)), g.cast(g.gt(x, 0.0), dtypes.int64))


def test_validation_passes_what_is_right_and_catches_what_is_not(rng: np.random.Generator,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = t(rng.standard_normal((7, 5))), t(rng.standard_normal((5, 4)))
    outputs = g.softmax(x, 1), g.relu(g.matmul(x, y)), g.sum(x, (0,)), g.lt(x, 0.5)
    with settings.validate(True):
        check(*outputs)
        monkeypatch.setattr(g.SIN, "triton", "tl.cos({0})")
        with pytest.raises(RuntimeError, match=r"sin.*where NumPy computes"):
            check(g.sin(x))


def test_equal_groups_share_one_function(rng: np.random.Generator) -> None:
    def kernel() -> Any:
        executable = check(g.mul(g.add(t(rng.standard_normal((4, 4))), 1.25), 3.5))
        return executable.launches[0].constexprs["EXPR"]
    assert kernel() is kernel()


def test_describe_shows_each_kernel(rng: np.random.Generator) -> None:
    text = check(g.softmax(t(rng.standard_normal((4, 6))), 1)).describe()
    assert "Row(rows=4, cols=6)" in text and "amax" in text and "@triton.jit" in text and "row_sum" in text


def test_what_an_error_is_small_beside_is_a_finite_float() -> None:
    read = [np.float32([1, -3, np.inf]), np.int64([1000]), np.float64([np.nan, 2]), np.array([True])]
    assert largest(read) == 3 and largest(read[1:2]) == 0
