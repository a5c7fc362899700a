"""What orders the accesses of programs: locks and grid barriers of users', right ones and nearly right ones."""

from __future__ import annotations

import os

import numpy as np
import pytest

if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("compiles kernels, which are interpreted in this process", allow_module_level=True)

import triton
import triton.language as tl

from microtrain.emulator.floats import fma_bf16, to_bf16
from tests.emulator.test_emulator_faults import found
from tests.support.compiled_kernels import empty, filled, launched
from tests.support.ptx_kernels import Buffer, kernel, run

TARGETS = pytest.mark.parametrize("target", [80, 90])


@triton.jit
def turned(x_ptr, y_ptr, arrived_ptr, BARRIER: tl.constexpr, N: tl.constexpr, B: tl.constexpr):
    """Each program stores a block, and after a barrier of the grid loads the next program's."""
    program, i = tl.program_id(0), tl.arange(0, B)
    tl.store(y_ptr + program * B + i, tl.load(x_ptr + program * B + i))
    if BARRIER:
        tl.debug_barrier()
    tl.atomic_add(arrived_ptr, 1, sem="release")
    while tl.atomic_add(arrived_ptr, 0, sem="acquire") < N:
        pass
    tl.debug_barrier()
    tl.store(x_ptr + program * B + i, tl.load(y_ptr + (program + 1) % N * B + i))


@TARGETS
def test_a_release_speaks_for_other_threads_only_after_a_barrier(target: int) -> None:
    """Triton puts none before the atomic: while one thread counts, others may not have stored yet."""
    def run(barrier: bool, warps: int = 4) -> None:
        x = filled((5, 128), "x")
        launched(turned, [x, empty((5, 128), "y"), Buffer(np.zeros(1, "i4"), "arrived")], 5, target, warps=warps,
                 BARRIER=barrier, N=5, B=128)
        np.testing.assert_array_equal(x.read(), np.roll(x.array, -1, 0))

    run(True)
    run(True, warps=1)
    error = found(r"race: reads \d+ bytes .* y_ptr\[\d+\].*written by thread \d+ of program", lambda: run(False))
    assert "test_emulator_orders.py" in error.findings[0].source


@triton.jit
def summed(x_ptr, sum_ptr, lock_ptr, used_ptr, B: tl.constexpr):
    """Rows are added up under a lock; all lanes read whether they are the first, one says that they were."""
    i = tl.arange(0, B)
    value = tl.load(x_ptr + tl.program_id(0) * B + i)
    while tl.atomic_cas(lock_ptr, 0, 1) == 1:
        pass
    if tl.load(used_ptr) == 0:
        tl.atomic_xchg(used_ptr, 1)
    else:
        value += tl.load(sum_ptr + i)
    tl.store(sum_ptr + i, value)
    tl.debug_barrier()
    tl.atomic_xchg(lock_ptr, 0)


@TARGETS
def test_sums_under_a_lock(target: int) -> None:
    """As in the tutorial on layer norm: right with one warp; with more, another may read too late that it is first."""
    def run(warps: int) -> None:
        x, total = filled((7, 128), "x"), empty(128, "total")
        launched(summed, [x, total, Buffer(np.zeros(1, "i4"), "lock"), Buffer(np.zeros(1, "i4"), "used")], 7, target,
                 warps=warps, B=128)
        np.testing.assert_allclose(total.read(), x.array.sum(0, dtype="f8"), atol=1e-5)

    run(1)
    found(r"race: updates 4 bytes .* used_ptr\[0\].*read by thread \d+ of program \(0, 0, 0\)", lambda: run(4))


def test_a_product_of_bfloat16_below_all_numbers_is_zero() -> None:
    """For sm_80 Triton multiplies by fma with -0; an exact result that float32 takes for 0 keeps its sign."""
    a = np.array([2.0 ** -79, -2.0 ** -79, 2.0 ** -79, 3 * 2.0 ** -70], "f4")
    b = np.array([2.0 ** -97, 2.0 ** -97, -2.0 ** -97, 2.0 ** -65], "f4")
    bits = to_bf16(fma_bf16(a, b, np.full(4, -0.0, "f4")))
    assert bits.tolist() == [0x0000, 0x8000, 0x8000, 1]     # the last is three quarters of the least bfloat16


def test_all_warps_that_read_at_once_are_remembered() -> None:
    """The last of them then writes: the others may not have read yet."""
    body = "ld.global.b32 %r1, [%d0]; mov.u32 %r0, %tid.x; setp.eq.u32 %p0, %r0, 127; @%p0 st.global.b32 [%d0], 7;"
    found(r"race: writes 4 bytes .* y\[0\].*read by", lambda: run(kernel(body, 1), [filled(1, "y")], block=128))
    run(kernel(body.replace("127", "31"), 1), [filled(1, "y")], block=32)       # one warp is in order
