"""Faults of kernels, planted: masks, races, grids, strides and poison are named by the checks that watch a launch."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import triton
import triton.language as tl

import microtrain as mt
from microtrain import settings
from microtrain.testing import KernelError, Sample, cases, check_kernel, poison
from microtrain.testing.closeness import EPSILON
from tests.conftest import DEVICE
from tests.testing.test_planted_faults import interpreted, told

# -------------------------------------------------------------------------------------------------- faults of kernels
BLOCK = 16


@triton.jit
def doubled(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + i, tl.load(x_ptr + i, mask=i < n, other=0) * 2, mask=i < n)


@triton.jit
def total_without_other(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    i = tl.arange(0, BLOCK)
    tl.store(out_ptr + row, tl.sum(tl.load(x_ptr + row * n + i, mask=i < n)))


@triton.jit
def copied_without_other(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out_ptr + i, tl.load(x_ptr + i, mask=i < n))


@triton.jit
def doubled_without_mask(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + i, tl.load(x_ptr + i) * 2)


@triton.jit
def racing_total(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    part = tl.sum(tl.load(x_ptr + i, mask=i < n, other=0))
    before = tl.load(out_ptr)
    tl.store(out_ptr, before + part)


@triton.jit
def last_one_wins(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr, tl.sum(tl.load(x_ptr + i, mask=i < n, other=0)))


@triton.jit
def atomic_total(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out_ptr, tl.sum(tl.load(x_ptr + i, mask=i < n, other=0)))


@triton.jit
def colliding_lanes(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + i // 2, tl.load(x_ptr + i, mask=i < n, other=0), mask=i < n)


@triton.jit
def doubled_in_place(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n, other=0) * 2
    tl.store(x_ptr + i, x, mask=i < n)
    tl.store(out_ptr + i, x, mask=i < n)


@triton.jit
def through_descriptors(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    start = tl.program_id(0) * BLOCK
    x = tl.make_tensor_descriptor(x_ptr, (n,), (1,), (BLOCK,))
    out = tl.make_tensor_descriptor(out_ptr, (n,), (1,), (BLOCK,))
    out.store((start,), x.load((start,)) * 2)


def values(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(count).astype(np.float32)


KERNELS: dict[str, tuple[Any, int, int, int, dict[str, Any], str]] = {
    "a grid too small": (doubled, 40, 40, 2, {}, "elements that are never written: 8 of 40 of out_ptr, the first is "
                                                 r"out_ptr\[32\]: the grid is too small"),
    "a mask that is missing": (doubled_without_mask, 40, 40, 3, {}, r"out of bounds: program \(2, 0, 0\) stores to "
                                                                    "element 40 of out_ptr, which has 40"),
    "a grid too large": (doubled_without_mask, 32, 32, 3, {}, r"out of bounds: program \(2, 0, 0\) loads element 32 of "
                                                              "x_ptr, which has 32"),
    "a mask without other": (total_without_other, 39, 3, 3, {"n": 13}, r"masked lanes: .* tl.load\(\.\.\., mask=\.\.\.,"
                                                                       r" other=\.\.\.\) says what"),
    "a race of reads and writes": (racing_total, 40, 1, 3, {"updated": ("out_ptr",)},
                                   r"race between programs: program \(1, 0, 0\) loads out_ptr\[0\], which another"),
    "a race of writes": (last_one_wins, 40, 1, 3, {}, r"race between programs: program \(1, 0, 0\) stores to "
                                                      r"out_ptr\[0\], as another program did"),
    "a race of lanes": (colliding_lanes, 40, 20, 3, {}, r"race between lanes: two lanes of program \(0, 0, 0\) store "
                                                        r"to out_ptr\[0\] at once"),
    "an order that is not determined": (atomic_total, 400, 1, 25, {"updated": ("out_ptr",)},
                                        r"order that is not determined: floats are added atomically to out_ptr\[0\]"),
    "an output that is not cleared": (atomic_total, 40, 1, 3, {}, "reads its output before it is written"),
    "an input overwritten": (doubled_in_place, 40, 40, 3, {}, r"overwrites its input: program \(0, 0, 0\) stores to "
                                                              r"x_ptr\[0\]"),
}


@interpreted
@pytest.mark.parametrize("fault", KERNELS)
def test_a_fault_of_a_kernel(fault: str) -> None:
    kernel, count, results, grid, options, said = KERNELS[fault]
    n = options.get("n", count)
    outputs = {key: value for key, value in options.items() if key != "n"} or {"outputs": ("out_ptr",)}
    out = np.zeros(results, np.float32)
    with pytest.raises(KernelError, match=said):
        check_kernel(kernel, [values(count), out, n], grid, constants={"BLOCK": BLOCK}, **outputs)
    assert not out.any()                        # the caller's arrays are left alone


@interpreted
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 40])
def test_a_right_kernel_is_right(count: int) -> None:
    grid = triton.cdiv(count, BLOCK)
    out = np.zeros(count, np.float32)
    check_kernel(doubled, [values(count), out, count], grid, outputs=["out_ptr"], constants={"BLOCK": BLOCK})
    check_kernel(doubled, [values(count).astype(np.float16), out.astype(np.float16), count], grid, outputs=["out_ptr"],
                 constants={"BLOCK": BLOCK})


def custom(kernel: Any, programs: Any, **options: Any) -> Any:
    return mt.custom_kernel(kernel, outputs=lambda x: x, scalars=lambda x: (x.numel(),), grid=programs,
                            constants={"BLOCK": BLOCK}, **options)


@interpreted
def test_a_custom_kernel_is_watched_as_it_is_called() -> None:
    right = custom(doubled, lambda x: (triton.cdiv(x.numel(), BLOCK),))
    short = custom(doubled, lambda x: (x.numel() // BLOCK,))
    check_kernel(right, [values(40)])
    check_kernel(right, [mt.tensor(values(40))])
    with pytest.raises(KernelError, match="elements that are never written: 8 of 40"):
        check_kernel(short, [values(40)])


@interpreted
def test_a_grid_that_is_not_rounded_up_is_named() -> None:
    short = custom(doubled, lambda x: (x.numel() // BLOCK,), backward=lambda ct, x: ct * 2)
    said = told(short, lambda x: x * 2, cases.unary(shapes=((40,),)), order=1)
    assert "doubled: the value: at []: nan" in said             # shrunk to a number, for which the grid is empty
    assert "is the grid rounded up?" in said


@interpreted
def test_masked_lanes_of_a_custom_kernel_are_named() -> None:
    wrong = mt.custom_kernel(total_without_other, outputs=lambda x: [(x.shape[:1], x.dtype)],
                             grid=lambda x: x.shape[:1], scalars=lambda x: (x.shape[1],), constants={"BLOCK": BLOCK},
                             backward=lambda ct, x: ct[:, None].expand(*x.shape))
    said = told(wrong, lambda x: x.sum(1), cases.rows(((3, 13),)), order=1)
    assert "the value: depends on masked lanes: a tl.load(..., mask=...) without other=" in said


@interpreted
def test_a_race_of_a_torch_function_is_named() -> None:
    """A kernel that is called from PyTorch: each program adds to what it finds."""
    def total(x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(1, dtype=x.dtype)
        atomic_total[(triton.cdiv(x.numel(), BLOCK),)](x, out, x.numel(), BLOCK=BLOCK)
        return out[0]

    said = told(total, torch.sum, [Sample((values(400),))], order=0, devices=("torch",),
                layouts=("contiguous",))
    assert "depends on the order of the programs" in said


@interpreted
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "int64"])
def test_poison_fills_fresh_memory_and_masked_lanes(dtype: str) -> None:
    """Of sixteen lanes three are loaded and all stored; and a kernel without programs stores nothing."""
    x = mt.ones(3, dtype=getattr(mt, dtype))
    call: dict[str, Any] = {"scalars": lambda x: (3,), "constants": {"BLOCK": BLOCK}}
    whole = mt.custom_kernel(copied_without_other, outputs=lambda x: [((BLOCK,), x.dtype)], grid=1, **call)
    never = mt.custom_kernel(copied_without_other, outputs=lambda x: [((BLOCK,), x.dtype)], grid=0, **call)

    def conspicuous(value: Any) -> bool:
        return value != value if dtype in EPSILON else value == np.iinfo(dtype).max

    with settings.poison(False):
        assert whole(x).tolist() == [1] * 3 + [0] * 13
    with poison():
        with pytest.raises(RuntimeError, match="planted"), poison():
            raise RuntimeError("planted")
        assert whole(x).tolist()[:3] == [1] * 3
        assert all(map(conspicuous, whole(x).tolist()[3:])) and all(map(conspicuous, never(x).tolist()))
    with settings.poison(False):
        assert whole(x).tolist() == [1] * 3 + [0] * 13          # what was hooked is as it was


@interpreted
def test_a_kernel_on_bfloat16_and_on_descriptors_is_watched() -> None:
    for kernel, x, grid, wrong, said in (
            (copied_without_other, values(16).astype(ml_dtypes.bfloat16), 1, 9, "masked lanes: "),
            (through_descriptors, values(40), 3, 48, "out of bounds: .* loads element 40 of x_ptr")):
        options: dict[str, Any] = {"outputs": ["out_ptr"], "constants": {"BLOCK": BLOCK}}
        check_kernel(kernel, [x, np.empty_like(x), x.size], grid, **options)
        with pytest.raises(KernelError, match=said):
            check_kernel(kernel, [x, np.empty_like(x), wrong], grid, **options)


@interpreted
def test_what_check_kernel_needs_to_know() -> None:
    x = values(4)
    for arguments, outputs, said in (
            ([x, x, 4], ["y_ptr"], r"outputs=\['y_ptr'\] and updated=\[\] must name pointers .* x_ptr, out_ptr"),
            ([x, x, 4], [], r"outputs=\[\] and updated=\[\] must name pointers"),
            ([x, x], ["out_ptr"], "doubled takes 3 arguments beside its constants, not 2")):
        with pytest.raises(ValueError, match=said):
            check_kernel(doubled, arguments, 1, outputs=outputs, constants={"BLOCK": BLOCK})


def test_a_compiled_kernel_cannot_be_watched() -> None:
    if DEVICE == "interpret":
        pytest.skip("this process interprets kernels")
    with pytest.raises(RuntimeError, match=r"doubled is compiled, .* set TRITON_INTERPRET=1"):
        check_kernel(doubled, [values(4), values(4), 4], 1, outputs=["out_ptr"], constants={"BLOCK": BLOCK})
