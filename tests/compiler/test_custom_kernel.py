"""A user's own Triton kernel in the graph: values, derivatives, fusion around it, and what is refused."""

import math

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

import microtrain as mt
from microtrain import settings, testing
from microtrain.autograd import AnomalyError
from tests.conftest import DEVICE

pytestmark = pytest.mark.usefixtures("nothing_pending")

needs_kernels = pytest.mark.skipif(DEVICE == "cpu", reason="the cpu device runs no Triton kernels")
BLOCK = 64


@triton.jit
def scaled_product_kernel(x_ptr, y_ptr, out_ptr, n, factor, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n, other=0)
    y = tl.load(y_ptr + i, mask=i < n, other=0)
    tl.store(out_ptr + i, x * y * factor, mask=i < n)


@triton.jit
def scaled_product_bwd_kernel(ct_ptr, x_ptr, y_ptr, dx_ptr, dy_ptr, n, factor, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ct = tl.load(ct_ptr + i, mask=i < n, other=0) * factor
    x = tl.load(x_ptr + i, mask=i < n, other=0)
    y = tl.load(y_ptr + i, mask=i < n, other=0)
    tl.store(dx_ptr + i, ct * y, mask=i < n)
    tl.store(dy_ptr + i, ct * x, mask=i < n)


def programs(*tensors):
    return (triton.cdiv(tensors[0].numel(), BLOCK),)


CALL = {"grid": programs, "scalars": lambda *tensors: (tensors[0].numel(), 0.3), "constants": {"BLOCK": BLOCK}}
backward = mt.custom_kernel(scaled_product_bwd_kernel, outputs=lambda ct, x, y: [x, y], **CALL)
product = mt.custom_kernel(scaled_product_kernel, outputs=lambda x, y: x, backward=backward, **CALL)
written = mt.custom_kernel(scaled_product_kernel, outputs=lambda x, y: x, **CALL,
                           backward=lambda ct, x, y: (ct * y * 0.3, ct * x * 0.3))


def drawn(rng, *shape):
    values = rng.standard_normal(shape).astype(np.float32)
    return mt.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)


@needs_kernels
@pytest.mark.parametrize("shape", [(), (1,), (63,), (5, 13), (65,), (3, 64), (0, 4)])
@pytest.mark.parametrize("operation", [product, written], ids=["kernel", "tensors"])
def test_value_and_gradient(operation, shape, rng):
    (x, tx), (y, ty), (ct, tct) = (drawn(rng, *shape) for _ in range(3))
    out, want = operation(x, y), tx * ty * 0.3
    np.testing.assert_allclose(out.detach().cpu().numpy(), want.detach().cpu().numpy(), rtol=1e-6)
    out.backward(ct.detach())
    want.backward(tct.detach())
    np.testing.assert_allclose(x.grad.cpu().numpy(), tx.grad.cpu().numpy(), rtol=1e-6)
    np.testing.assert_allclose(y.grad.cpu().numpy(), ty.grad.cpu().numpy(), rtol=1e-6)


@needs_kernels
def test_second_derivative_of_a_backward_in_tensor_operations(rng):
    (x, _), (y, _), (ct, tct) = drawn(rng, 7), drawn(rng, 7), drawn(rng, 7)
    gradient, = mt.autograd.grad(written(x, y), x, ct.detach(), create_graph=True)
    second, = mt.autograd.grad(gradient.sum(), y)
    np.testing.assert_allclose(second.cpu().numpy(), 0.3 * tct.detach().cpu().numpy(), rtol=1e-6)
    gradient, = mt.autograd.grad(product(x, y), x, ct.detach(), create_graph=True)
    with pytest.raises(NotImplementedError, match="scaled_product_bwd_kernel is not implemented"):
        mt.autograd.grad(gradient.sum(), y)


@needs_kernels
def test_views_numbers_and_computed_values_reach_it_contiguous(rng):
    (x, tx), (y, ty) = drawn(rng, 6, 5), drawn(rng, 5, 12)
    out = product(x.t(), (y[:, ::2] * 2 + 1))
    want = tx.t() * (ty[:, ::2] * 2 + 1) * 0.3
    np.testing.assert_allclose(out.detach().cpu().numpy(), want.detach().cpu().numpy(), rtol=1e-5)
    out = product(mt.full((3, 2), 2.0), mt.tensor(5.0).expand(3, 2))
    np.testing.assert_allclose(out.cpu().numpy(), np.full((3, 2), 3.0), rtol=1e-6)
    np.testing.assert_allclose(product(mt.ones(()), mt.tensor(2.0)).item(), 0.6, rtol=1e-6)


@needs_kernels
def test_the_rest_of_the_graph_fuses_around_it(rng):
    (x, tx), (y, ty) = drawn(rng, 70), drawn(rng, 70)
    with testing.count_kernels(exactly=3) as counted:
        value = (product(x.exp() + 1, y).tanh() * 2).sum().item()       # before, itself, after
    assert counted.programs
    want = ((tx.exp() + 1) * ty * 0.3).tanh().mul(2).sum().item()
    assert value == pytest.approx(want, rel=1e-5)


@needs_kernels
def test_one_output_of_two_may_be_dropped(rng):
    (x, tx), (y, _), (ct, tct) = drawn(rng, 9), drawn(rng, 9), drawn(rng, 9)
    _, dy = backward(ct.detach(), x.detach(), y.detach())
    np.testing.assert_allclose(dy.cpu().numpy(), (tct * tx * 0.3).detach().cpu().numpy(), rtol=1e-6)
    (dx, dy) = backward(ct.detach(), x.detach(), y.detach())
    total = (dx + dy).sum()
    del dx, dy
    with testing.count_kernels(exactly=2):
        total.item()


@needs_kernels
@pytest.mark.parametrize("fuse", [True, False])
def test_unfused_and_poisoned_it_is_the_same(rng, fuse):
    (x, tx), (y, ty) = drawn(rng, 70), drawn(rng, 70)
    with settings.fuse(fuse), settings.poison(True), settings.validate(True), settings.cache(False):
        value = (product(x + 1, y) * 2).detach().cpu().numpy()
    np.testing.assert_allclose(value, ((tx + 1) * ty * 0.6).detach().cpu().numpy(), rtol=1e-5)


@needs_kernels
def test_an_overwritten_input_is_noticed(rng):
    x, _ = drawn(rng, 4)
    y = mt.ones(4)
    out = product(x, y)
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation.*\[4\].*version 1; expected version 0"):
        out.sum().backward()


@needs_kernels
def test_anomaly_mode_names_it_and_its_backward():
    x, y = mt.tensor([1.0, 3e38], requires_grad=True), mt.tensor([2.0, 3e38])
    with testing.detect_anomaly(), pytest.raises(AnomalyError) as caught:
        product(x, y)
    assert str(caught.value).startswith("scaled_product_kernel made infinity (forward)")
    broken = mt.custom_kernel(scaled_product_kernel, outputs=lambda x, y: x, **CALL, name="broken",
                              backward=lambda ct, x, y: (ct * math.nan, None))
    with testing.detect_anomaly():
        loss = broken(x, y.clamp(max=1.0)).sum()
        with pytest.raises(AnomalyError, match="in the derivative of brokenBackward"):
            loss.backward()
    assert x.grad is None


@needs_kernels
@pytest.mark.parametrize(("returned", "error", "words"), [
    (lambda ct, x, y: (ct, ct[:1]), RuntimeError, r"oddBackward .* index 1 - got \[1\] but expected shape .* \[4\]"),
    (lambda ct, x, y: (ct, 1.0), TypeError, r"oddBackward .* index 1 - .*\(got float\)"),
    (lambda ct, x, y: ct, RuntimeError, r"oddBackward returned an incorrect number of gradients \(expected 2, got 1\)"),
    (lambda ct, x, y: {"x": ct}, RuntimeError, r"incorrect number of gradients \(expected 2, got 1\)"),
    (lambda ct, x, y: [ct, ct.t().reshape(2, 2)], RuntimeError, r"index 1 - got \[2, 2\]"),
])
def test_gradients_of_a_backward_that_do_not_fit(returned, error, words, rng):
    odd = mt.custom_kernel(scaled_product_kernel, outputs=lambda x, y: x, **CALL, backward=returned, name="odd")
    (x, _), (y, _) = drawn(rng, 4), drawn(rng, 4)
    with pytest.raises((error, RuntimeError), match=words):
        odd(x, y).sum().backward()
    assert x.grad is None and y.grad is None


@needs_kernels
def test_explain_names_it(rng):
    x, _ = drawn(rng, 70)
    text = str(mt.explain(product(x, x)))
    assert "user kernel over a grid of 2: scaled_product_kernel" in text


@needs_kernels
def test_a_call_that_does_not_fit_is_refused(rng):
    x = mt.ones(4)
    with pytest.raises(TypeError, match=r"takes Tensors, .* not Tensor, float"):
        product(x, 2.0)
    with pytest.raises(TypeError, match="outputs= does not take 1 inputs"):
        product(x)
    with pytest.raises(TypeError, match=r"5 parameters \(x_ptr, y_ptr, out_ptr, n, factor\) are left for 2 input and 1 "
                                        "output pointers and 0 scalars"):
        mt.custom_kernel(scaled_product_kernel, outputs=lambda x, y: x, grid=1, constants={"BLOCK": 64})(x, x)
    wrong = mt.custom_kernel(scaled_product_kernel, outputs=lambda x, y: x, grid=1, constants={"WARP": 3})
    with pytest.raises(TypeError, match="it has no parameter WARP"):
        wrong(x, x)
    listless = mt.custom_kernel(scaled_product_kernel, outputs=lambda x, y: "x", **CALL)
    with pytest.raises(TypeError, match="outputs= gave 'x'"):
        listless(x, x)
    grid = mt.custom_kernel(scaled_product_kernel, outputs=lambda x, y: x, **{**CALL, "grid": (1, -2)})
    with pytest.raises(TypeError, match=r"grid= gave \(1, -2\)"):
        grid(x, x)
    with pytest.raises(TypeError, match=r"scalars= gave 4 of type int; it gives a list or tuple"):
        mt.custom_kernel(scaled_product_kernel, outputs=lambda x, y: x, **{**CALL, "scalars": lambda x, y: 4})(x, x)
    scalar = mt.custom_kernel(scaled_product_kernel, outputs=lambda x, y: x,
                              **{**CALL, "scalars": lambda x, y: ("a", 1)})
    with pytest.raises(TypeError, match="scalars= gave 'a' of type str"):
        scalar(x, x)


def test_without_a_derivative_it_says_so_where_it_is_needed(rng):
    with pytest.raises(TypeError, match=r"decorated with @triton.jit, not function"):
        mt.custom_kernel(lambda x: x, outputs=lambda x: x, grid=1)
    for wrong in ({"scalars": (1,)}, {"outputs": (3,)}, {"backward": 1}, {"saved": "x"}, {"constants": [64]}):
        (argument, value), = wrong.items()
        with pytest.raises(TypeError, match=rf"custom_kernel\(\): .*{argument}'? must be .*not {type(value).__name__}"):
            mt.custom_kernel(scaled_product_kernel, **{"outputs": lambda x, y: x, "grid": 1, **wrong})
    if DEVICE == "cpu":
        with pytest.raises(RuntimeError, match="scaled_product_kernel is a Triton kernel, which the cpu device cannot"):
            product(mt.ones(3), mt.ones(3))
        return
    plain = mt.custom_kernel(scaled_product_kernel, outputs=lambda x, y: x, **CALL)
    x = mt.ones(3, requires_grad=True)
    assert plain(x, x).tolist() == pytest.approx([0.3] * 3)
    with pytest.raises(NotImplementedError, match="give custom_kernel a backward="):
        plain(x, x).sum().backward()


def test_it_compiles_for_a_target_without_a_gpu():
    if DEVICE == "interpret":
        pytest.skip("this process interprets kernels; the cpu run compiles them")
    from microtrain.runtime import backend
    x = mt.ones(256, device="null:sm_90")
    out = (product(x, x + 1) * 2)
    with pytest.raises(RuntimeError, match="computes nothing"):
        out.cpu().numpy()
    compiled = [launch for launch in backend("null", "sm_90").resources if launch.function is scaled_product_kernel]
    assert len(compiled) == 1
    resources = backend("null", "sm_90").resources[compiled[0]]
    assert resources.spills == 0 and resources.load_bits >= 32
