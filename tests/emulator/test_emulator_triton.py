"""Triton kernels of a user's, compiled for sm_80 and sm_90 and run in the emulator: what ours do not use."""

from __future__ import annotations

import math
import os
from typing import Any

import ml_dtypes
import numpy as np
import pytest

if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("compiles kernels, which are interpreted in this process", allow_module_level=True)

import triton.language as tl

from tests.support.compiled_kernels import (
    assembled,
    bitwise,
    compiled,
    counts,
    dot,
    empty,
    extremes,
    filled,
    functions,
    histogram,
    launched,
    ordered,
    strided,
)
from tests.support.ptx_kernels import Buffer

TARGETS = pytest.mark.parametrize("target", [80, 90])
E4M3, E5M2 = ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2
DOTS: list[tuple[int, Any, int, int, int, str, Any]] = [
    # target, operands, BLOCK_K (which chooses the swizzle), transposed a, transposed b, instruction, accumulator
    (80, "f2", 32, 0, 0, "m16n8k16", tl.float32), (80, "f2", 32, 1, 1, "m16n8k16", tl.float16),
    (80, ml_dtypes.bfloat16, 64, 0, 1, "m16n8k16", tl.float32), (80, "f4", 32, 0, 0, "m16n8k8", tl.float32),
    (80, "i1", 64, 0, 1, "m16n8k32", tl.int32), (80, "f8", 16, 1, 0, "m8n8k4", tl.float64),
    (80, E5M2, 64, 0, 0, "m16n8k16", tl.float32),
    (90, "f2", 16, 0, 0, "wgmma", tl.float32), (90, "f2", 32, 1, 1, "wgmma", tl.float32),
    (90, "f2", 64, 0, 1, "wgmma", tl.float32), (90, "f2", 128, 1, 0, "wgmma", tl.float32),
    (90, "f2", 64, 0, 0, "wgmma", tl.float16), (90, ml_dtypes.bfloat16, 32, 0, 0, "wgmma", tl.float32),
    (90, "f4", 32, 0, 0, "wgmma", tl.float32), (90, "f4", 16, 0, 1, "wgmma", tl.float32),
    (90, "i1", 64, 0, 1, "wgmma", tl.int32), (90, E4M3, 64, 0, 1, "wgmma", tl.float32),
    (90, E5M2, 128, 0, 0, "wgmma", tl.float32), (90, "f8", 16, 0, 1, "f64.f64", tl.float64)]


@pytest.mark.parametrize(("target", "kind", "step", "ta", "tb", "instruction", "accumulator"), DOTS)
def test_products(target: int, kind: Any, step: int, ta: int, tb: int, instruction: str, accumulator: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-8, 9, (64, 128)).astype("f4") / (1 if kind == "i1" else 4) for _ in range(2))
    a, b = x.astype(kind), y.T.astype(kind)
    result = {tl.float32: "f4", tl.float16: "f2", tl.int32: "i4", tl.float64: "f8"}[accumulator]
    left, right = Buffer(a.T if ta else a, "a"), Buffer(b.T if tb else b, "b")
    c = empty((64, 64), "c", result)
    constants = {"M": 64, "N": 64, "K": 128, "BK": step, "TA": ta, "TB": tb, "PRECISION": "tf32", "ACC": accumulator}
    launched(dot, [left, right, c], 1, target, **constants)
    want = a.astype("f8") @ b.astype("f8")
    np.testing.assert_allclose(c.read().astype("f8"), want, atol=0 if result != "f2" else 0.2)
    from tests.support.compiled_kernels import POINTERS
    types = (POINTERS[a.dtype.name],) * 2 + (POINTERS[np.dtype(result).name],)
    assert instruction in compiled(dot, types, tuple(constants.items()), target, 4, 2).ptx


@pytest.mark.parametrize(("m", "n"), [(64, 64), (128, 64), (64, 32)])
def test_products_of_two_warp_groups(m: int, n: int) -> None:
    """Groups that share one operand's tile, or the other's."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-8, 9, shape).astype("f2") for shape in ((m, 64), (64, n)))
    c = empty((m, n), "c")
    launched(dot, [Buffer(a, "a"), Buffer(b, "b"), c], 1, 90, 8, M=m, N=n, K=64, BK=64, TA=0, TB=0, PRECISION="tf32",
             ACC=tl.float32)
    np.testing.assert_array_equal(c.read(), a.astype("f4") @ b.astype("f4"))


@TARGETS
def test_a_histogram_by_atomics(target: int) -> None:
    x = Buffer(np.random.default_rng(0).integers(0, 50, 1000).astype("i4"), "x")
    h = Buffer(np.zeros(50, "i4"), "h")
    launched(histogram, [x, h, 1000], 4, target, B=256)
    np.testing.assert_array_equal(h.read(), np.bincount(x.array, minlength=50))


@TARGETS
def test_extremes_and_bits_by_atomics(target: int) -> None:
    x, h = filled(256, "x"), Buffer(np.zeros(2, "f4"), "h")
    launched(extremes, [x, h], 1, target, B=256)
    assert h.read().tolist() == [x.array.max(), x.array.min()]
    x = Buffer(np.random.default_rng(0).integers(-99, 99, 256).astype("i4"), "x")
    h = Buffer(np.array([0, -1, 0], "i4"), "h")
    launched(bitwise, [x, h], 1, target, B=256)
    assert h.read().tolist() == [int(f.reduce(x.array)) for f in (np.bitwise_or, np.bitwise_and, np.bitwise_xor)]


@TARGETS
def test_sorts_scans_and_arguments(target: int) -> None:
    x, y, z, w = filled(512, "x"), empty(512, "y"), empty(512, "z"), empty(1, "w", "i4")
    launched(ordered, [x, y, z, w], 1, target, B=512)
    np.testing.assert_array_equal(y.read(), np.sort(x.array))
    np.testing.assert_allclose(z.read(), np.cumsum(x.array.astype("f8")), atol=1e-4)
    assert w.read().tolist() == [x.array.argmax()]


@TARGETS
def test_histograms_and_gathers_of_a_tile(target: int) -> None:
    rng = np.random.default_rng(0)
    x, at = Buffer(rng.integers(0, 32, 512).astype("i4"), "x"), Buffer(rng.permutation(512).astype("i4"), "at")
    y, z = empty(32, "y", "i4"), empty(512, "z", "i4")
    launched(counts, [x, at, y, z], 1, target, B=512)
    np.testing.assert_array_equal(y.read(), np.bincount(x.array, minlength=32))
    np.testing.assert_array_equal(z.read(), x.array[at.array])


@TARGETS
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_functions(target: int, kind: str) -> None:
    x, y = filled(256, "x", kind), empty(256, "y", kind)
    launched(functions, [x, y], 1, target, B=256)
    v = x.array.astype("f8")
    a = np.abs(v) + 1
    want = (np.sin(v) + np.cos(v) + np.exp(v) + np.log(a) + np.sqrt(a) + 1 / np.sqrt(a) + np.vectorize(math.erf)(v)
            + np.floor(v) + np.ceil(v) + 1 / (1 + np.exp(-v)) + np.exp2(v) + np.log2(a))
    close = 1e-5 if kind == "f4" else 1e-12
    np.testing.assert_allclose(y.read(), want, rtol=close, atol=close)


@TARGETS
def test_programs_with_loops_of_different_length(target: int) -> None:
    x, y = filled(128 * 10, "x"), empty(128 * 10, "y")
    launched(strided, [x, y, 10], 3, target, B=128)
    np.testing.assert_array_equal(y.read(), x.array * 2)


@TARGETS
def test_assembly_of_a_users_own(target: int) -> None:
    x, y = Buffer(np.random.default_rng(0).integers(0, 2**31, 256).astype("i4"), "x"), empty(256, "y", "i4")
    launched(assembled, [x, y], 1, target, B=256)
    assert y.read().tolist() == [(int(v) >> 3).bit_count() for v in x.array]
