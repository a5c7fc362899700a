"""The tester, tested: each fault is planted in a function or a kernel, and `microtrain.testing` must name it.

Faults of functions are planted in microtrain's own language or, where they are faults of memory that it does not let
one make, in functions of PyTorch's tensors. Faults of kernels are planted in bare Triton kernels.
"""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import triton
import triton.language as tl

import microtrain as mt
from microtrain import settings
from microtrain.testing import (
    KernelError,
    ParityError,
    ParityReport,
    Sample,
    Tolerance,
    cases,
    check_kernel,
    check_parity,
    checking,
    poison,
)
from microtrain.testing.closeness import EPSILON
from tests.conftest import DEVICE

interpreted = pytest.mark.skipif(DEVICE != "interpret", reason="watching kernels needs Triton's interpreter; "
                                                               "the suite runs there too")
SMALL = cases.unary(shapes=((3, 5), (7,)))
PAIRS = cases.binary(shapes=(((3, 5), (3, 5)), ((4, 5), (5,))))
QUICK: dict[str, Any] = {"dtypes": ("float32",), "devices": (DEVICE,)}


@pytest.fixture(autouse=True)
def report_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong on purpose is no part of the suite's own parity report."""
    monkeypatch.setattr(checking, "SESSION", ParityReport())


def told(*arguments: Any, **options: Any) -> str:
    """What is said of a function that is wrong."""
    with pytest.raises(ParityError) as caught:
        check_parity(*arguments, **{**QUICK, **options})
    return str(caught.value)


def differentiable(T: Any, forward: Any, backward: Any) -> Any:
    """An `autograd.Function` of a namespace that saves its inputs."""

    class Planted(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            ctx.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(ctx: Any, ct: Any) -> Any:
            return backward(ct, *ctx.saved_tensors)

    return Planted


# ------------------------------------------------------------------------------------------------ faults of functions

def test_a_wrong_derivative() -> None:
    wrong = differentiable(mt, lambda x: x * x, lambda ct, x: ct * x)
    said = told(wrong, torch.square, SMALL)
    assert "Planted: the gradient of input 0" in said
    assert "the value is right: the derivative is at fault" in said
    assert "is 0.5 times the oracle's everywhere" in said
    assert "float32[]" in said                                      # shrunk to a single number


def test_a_wrong_second_derivative_alone() -> None:
    class Once(mt.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return mt.sin(x)

        @staticmethod
        def backward(ctx: Any, ct: Any) -> Any:
            return ct * mt.cos(ctx.saved_tensors[0].detach())

    said = told(Once, torch.sin, SMALL)
    assert "Once: the second gradient of input 0" in said
    assert "value and gradient are right: the derivative of the backward is at fault" in said
    assert check_parity(Once, torch.sin, SMALL, order=1, **QUICK).text()


def test_swapped_operands() -> None:
    assert "agrees when inputs 0 and 1 are exchanged" in told(lambda x, y: y - x, torch.sub, PAIRS)


def test_swapped_gradients() -> None:
    wrong = differentiable(mt, lambda x, y: x * y, lambda ct, x, y: (ct * x, ct * y))
    assert "agrees when the gradients of inputs 0 and 1 are exchanged" in told(wrong, torch.mul, PAIRS)


def test_a_dropped_broadcast_reduction() -> None:
    """The gradient of a bias, of its first row alone."""
    wrong = differentiable(mt, lambda x, b: x + b, lambda ct, x, b: (ct, ct[0] if ct.shape != b.shape else ct))
    said = told(wrong, torch.add, PAIRS)
    assert "the gradient of input 1" in said
    assert "passes where no input is broadcast: input 1, [5], is broadcast to [4, 5]" in said
    assert "and its gradient must be summed over axes [0]" in said


def test_a_gradient_of_the_wrong_shape() -> None:
    wrong = differentiable(mt, lambda x: x.sum(), lambda ct, x: ct)
    said = told(wrong, torch.sum, SMALL)
    assert "the gradient: raised RuntimeError: Function PlantedBackward returned an invalid gradient at index 0" in said


def test_strides_ignored_in_the_backward() -> None:
    """The backward walks through the cotangent's memory as if it were contiguous."""
    def backward(ct: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return ct.detach().as_strided(ct.shape, torch.empty(ct.shape).stride()) * 2

    wrong = differentiable(torch, lambda x: x * 2, backward)
    said = told(wrong, lambda x: x * 2, SMALL, order=1, devices=("torch",), layouts=("contiguous", "transposed"))
    assert "fails only for cotangents that are transposed: strides are ignored" in said


def test_a_stale_weight() -> None:
    """A layer that packs its weight once for each tensor object."""
    packed: dict[int, Any] = {}

    def layer(x: Any, w: Any) -> Any:
        if id(w) not in packed:
            packed[id(w)] = (w, w.detach().clone())
        return x @ (packed[id(w)][1] + (w - w.detach()))

    said = told(layer, torch.matmul, cases.matrices((((3, 4), (4, 2)),)), order=1)
    assert "is stale: after the inputs were changed in place a second call on the same tensors gives" in said


def test_a_result_kept_by_shape() -> None:
    kept: dict[Any, Any] = {}

    def remembered(x: Any) -> Any:
        return kept.setdefault(tuple(x.shape), x.exp())

    said = told(remembered, torch.exp, cases.given(Sample((np.ones(3),)), Sample((np.full(3, 2.0),))), order=0)
    assert "remembered: the value: at [0]: 2.71828" in said


def running_sum(x: torch.Tensor) -> torch.Tensor:
    """A sum, one term after the other, rounded each time."""
    sum = torch.zeros((), dtype=x.dtype)
    for value in x.unbind():
        sum = sum + value
    return sum


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_wrong_accumulation_dtype(dtype: str) -> None:
    """A running sum kept in a half precision."""
    positive = [Sample((np.random.default_rng(0).uniform(0.5, 1.0, 256),))]
    said = told(running_sum, torch.sum, positive, order=0, dtypes=(dtype,), devices=("torch",))
    assert "the error grows with the length of the reduction: " in said
    assert " at 4096 (in ulps): accumulate in float32" in said
    assert "passes in float32" in said


def test_an_order_that_is_not_determined() -> None:
    """The terms of a sum in another order each time."""
    rng = np.random.default_rng(0)

    def total(x: Any) -> Any:
        return running_sum(x[torch.from_numpy(rng.permutation(len(x)))])

    said = told(total, torch.sum, [Sample((np.random.default_rng(1).standard_normal(301),))], order=0,
                devices=("torch",))
    assert "is not deterministic: a second call on equal inputs gives other bits" in said


def test_an_input_overwritten_in_place() -> None:
    """What is saved for the backward is overwritten behind the version counter's back, as a kernel would."""
    def forward(x: torch.Tensor) -> torch.Tensor:
        memory = x.detach().numpy()
        result = torch.from_numpy(np.exp(memory))
        memory *= 2
        return result

    wrong = differentiable(torch, forward, lambda ct, x: ct * torch.exp(x / 2))
    said = told(wrong, torch.exp, SMALL, order=1, devices=("torch",), layouts=("contiguous",))
    assert "input 0: is overwritten: after the call and its derivatives it holds" in said


def test_a_saved_value_overwritten_in_place() -> None:
    def wrong(x: Any) -> Any:
        y = x.exp()
        z = y * y
        y.add_(1)
        return z

    said = told(wrong, lambda x: torch.exp(x) ** 2, SMALL)
    assert "the gradient: raised RuntimeError: one of the variables needed for gradient computation has been" in said


def test_a_nan_at_a_boundary() -> None:
    def root(T: Any, x: Any, safe: Any) -> Any:
        return T.where(x > 0, T.sqrt(safe), 0.0)

    said = told(lambda x: root(mt, x, x), lambda x: root(torch, x, torch.where(x > 0, x, 1.0)),
                cases.given(Sample((np.array([1.0, 0.0, 2.0]),))), order=1)
    assert "gives NaN where the inputs are 0.0, and the oracle does not: a boundary" in said
    assert "input 0: float32[] 0.0" in said


def test_a_lost_sign_of_zero() -> None:
    said = told(lambda x: mt.floor(x) + 0.0, torch.floor, cases.special(), order=0, tolerance=Tolerance.EXACT)
    assert "got" not in said and "0.0, expected -0.0" in said


def test_what_is_right_passes_everything() -> None:
    right = differentiable(mt, lambda x: x * x, lambda ct, x: ct * x * 2)
    report = check_parity(right, torch.square, cases.unary(), dtypes=("float32",), devices=(DEVICE,))
    assert report.total().failed == 0 and report.total().tried >= 100


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
def test_strides_ignored_by_a_kernel_are_named() -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        out = torch.empty_like(x)
        doubled[(triton.cdiv(x.numel(), BLOCK),)](x, out, x.numel(), BLOCK=BLOCK)
        return out

    def backward(ct: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        out = torch.empty(ct.shape, dtype=ct.dtype)
        doubled[(triton.cdiv(ct.numel(), BLOCK),)](ct, out, ct.numel(), BLOCK=BLOCK)
        return out

    wrong = differentiable(torch, forward, backward)
    said = told(wrong, lambda x: x * 2, cases.unary(shapes=((3, 5),)), order=1, devices=("torch",),
                layouts=("contiguous", "transposed"))
    assert "fails only for cotangents that are transposed: strides are ignored" in said


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
    x = values(16).astype(ml_dtypes.bfloat16)
    check_kernel(copied_without_other, [x, np.empty_like(x), 16], 1, outputs=["out_ptr"], constants={"BLOCK": BLOCK})
    with pytest.raises(KernelError, match=r"masked lanes: "):
        check_kernel(copied_without_other, [x, np.empty_like(x), 9], 1, outputs=["out_ptr"], constants={"BLOCK": BLOCK})
    x = values(40)
    check_kernel(through_descriptors, [x, np.empty_like(x), 40], 3, outputs=["out_ptr"], constants={"BLOCK": BLOCK})
    with pytest.raises(KernelError, match=r"out of bounds: .* loads element 40 of x_ptr"):
        check_kernel(through_descriptors, [x, np.empty_like(x), 48], 3, outputs=["out_ptr"],
                     constants={"BLOCK": BLOCK})


@interpreted
def test_what_check_kernel_needs_to_know() -> None:
    x = values(4)
    with pytest.raises(ValueError, match=r"outputs=\['y_ptr'\] and updated=\[\] must name pointers .* x_ptr, out_ptr"):
        check_kernel(doubled, [x, x, 4], 1, outputs=["y_ptr"], constants={"BLOCK": BLOCK})
    with pytest.raises(ValueError, match=r"outputs=\[\] and updated=\[\] must name pointers"):
        check_kernel(doubled, [x, x, 4], 1, constants={"BLOCK": BLOCK})
    with pytest.raises(ValueError, match="doubled takes 3 arguments beside its constants, not 2"):
        check_kernel(doubled, [x, x], 1, outputs=["out_ptr"], constants={"BLOCK": BLOCK})


def test_a_compiled_kernel_cannot_be_watched() -> None:
    if DEVICE == "interpret":
        pytest.skip("this process interprets kernels")
    with pytest.raises(RuntimeError, match=r"doubled is compiled, .* set TRITON_INTERPRET=1"):
        check_kernel(doubled, [values(4), values(4), 4], 1, outputs=["out_ptr"], constants={"BLOCK": BLOCK})
