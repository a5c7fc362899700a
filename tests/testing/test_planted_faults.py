"""The tester, tested: each fault is planted in a function or a kernel, and `microtrain.testing` must name it.

Faults of functions are planted in microtrain's own language or, where they are faults of memory that it does not let
one make, in functions of PyTorch's tensors. Faults of kernels are planted in bare Triton kernels.
"""

from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain.testing import ParityError, Sample, Tolerance, cases, check_parity
from tests.conftest import DEVICE

interpreted = pytest.mark.skipif(DEVICE != "interpret", reason="watching kernels needs Triton's interpreter; "
                                                               "the suite runs there too")
SMALL = cases.unary(shapes=((3, 5), (7,)))
PAIRS = cases.binary(shapes=(((3, 5), (3, 5)), ((4, 5), (5,))))
QUICK: dict[str, Any] = {"dtypes": ("float32",), "devices": (DEVICE,)}


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
