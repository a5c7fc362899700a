"""Derivatives against central differences: PyTorch's own checkers, through the bridge, and ours pass what is right and
catch a planted wrong one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.autograd.gradcheck import GradcheckError as PyTorchError

import microtrain as mt
from microtrain import ops as g
from microtrain.testing import GradcheckError, as_torch, gradcheck, gradgradcheck
from tests.support.planted_rules import plant

X = np.array([[0.25, 0.71, 0.43, 0.58], [0.62, 0.33, 0.79, 0.2], [0.37, 0.49, 0.29, 0.66]])
Y = X.T.reshape(3, 4) + 0.9
INDEX = np.array([2, 0, 2])


class Case(NamedTuple):
    """A function of tensors, and the arrays of those: the ones of floating point are differentiated."""

    function: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    options: Mapping[str, float] = MappingProxyType({})


RIGHT: dict[str, Case] = {
    "tanh": Case(lambda x: x.tanh(), (X,)),
    "sin": Case(lambda x: x.sin(), (X,)),
    "mul": Case(lambda x, y: x * y, (X, Y)),
    "div": Case(lambda x, y: x / y, (X, Y)),
    "flip": Case(lambda x: x.flip(0, 1), (X,)),
    "softmax": Case(lambda x: x.softmax(1), (X,)),
    "matmul, broadcast": Case(lambda x, y: x @ y.t() + y[0, 0], (X, Y)),
    "several results": Case(lambda x: (x.sum(0), x.amax(1)), (X,)),
    "an index": Case(lambda x, i: x[i] * x, (X, INDEX)),
    "no axis": Case(lambda x: x.prod(), (X,)),
    # On the way through float32 a millionth is lost; the function is linear, so larger steps are as good.
    "a cast": Case(lambda x: x.to(mt.float32).to(mt.float64), (X,), {"eps": 1e-2, "atol": 1e-4}),
}
"""Rules of every operation are held against PyTorch's by the table of operations; here it is the checkers."""


def inputs(T: Any, case: Case) -> list[Any]:
    return [T.tensor(array, requires_grad=True, device="cpu") if array.dtype.kind == "f" else
            T.tensor(array, device="cpu") for array in case.arrays]


@pytest.mark.parametrize("name", RIGHT)
def test_pytorchs_checkers_and_ours_pass_what_is_right(name: str) -> None:
    case = RIGHT[name]
    ours, theirs = inputs(mt, case), inputs(torch, case)
    assert gradcheck(case.function, ours, **case.options) and gradgradcheck(case.function, ours, **case.options)
    bridged = as_torch(case.function, "cpu")
    assert torch.autograd.gradcheck(bridged, theirs, **case.options)
    assert torch.autograd.gradgradcheck(bridged, theirs, **case.options)


# The checkers, checked -----------------------------------------------------------------------------------------------


PLANTED: dict[str, tuple[str, int, Callable[..., Any]]] = {
    "a wrong factor": ("tanh", 0, lambda right, ct, *rest: g.mul(right(ct, *rest), 1.01)),
    "a missing term": ("div", 1, lambda right, ct, o, x, y: g.neg(g.mul(ct, x))),
    "elements in the wrong order": ("flip", 0, lambda right, ct, o, x, dims: ct),
    "no mean taken off": ("softmax", 0, lambda right, ct, o, *rest: g.mul(o, ct)),
    "the other operand": ("mul", 0, lambda right, ct, o, x, y: g.mul(ct, x)),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_wrong_derivative_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, source, wrong = PLANTED[fault]
    case = RIGHT[name]
    plant(monkeypatch, name, wrong, source)
    with pytest.raises(PyTorchError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(as_torch(case.function, "cpu"), inputs(torch, case))
    with pytest.raises(GradcheckError, match=rf"mismatch for output 0 with respect to input {source}: d output"):
        gradcheck(case.function, inputs(mt, case))
    assert gradcheck(case.function, inputs(mt, case), raise_exception=False) is False


def test_a_planted_wrong_second_derivative_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    case = RIGHT["sin"]
    plant(monkeypatch, "cos", lambda right, ct, *rest: g.neg(right(ct, *rest)))
    bridged, ours = as_torch(case.function, "cpu"), inputs(mt, case)
    assert torch.autograd.gradcheck(bridged, inputs(torch, case)) and gradcheck(case.function, ours)
    with pytest.raises(PyTorchError, match="Jacobian mismatch"):
        torch.autograd.gradgradcheck(bridged, inputs(torch, case))
    with pytest.raises(GradcheckError, match="Jacobian mismatch second for output 0"):
        gradgradcheck(case.function, ours)
    assert gradgradcheck(case.function, ours, raise_exception=False) is False


def test_of_many_elements_projections_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    x = mt.tensor(np.random.default_rng(0).standard_normal((40, 50)), requires_grad=True, device="cpu")
    assert gradcheck(lambda x: (x * x).tanh(), x) and gradgradcheck(lambda x: (x * x).tanh(), x)
    plant(monkeypatch, "tanh", lambda right, ct, *rest: g.mul(right(ct, *rest), 1.01))
    with pytest.raises(GradcheckError, match="along random directions: numerical"):
        gradcheck(lambda x: x.tanh(), x)


def test_what_changes_from_call_to_call_is_caught() -> None:
    class Drawn(mt.autograd.Function):
        @staticmethod
        def forward(ctx, x):                                    # type: ignore[no-untyped-def]
            return x * 1

        @staticmethod
        def backward(ctx, g):                                   # type: ignore[no-untyped-def]
            return g * (1 + mt.rand_like(g) * 1e-9)

    x = mt.tensor([0.3, 0.7], dtype=mt.float64, requires_grad=True)
    with pytest.raises(GradcheckError, match="Backward is not reentrant, for output 0 with respect to input 0"):
        gradcheck(lambda x: Drawn.apply(x * x), x)
    assert gradcheck(lambda x: Drawn.apply(x * x), x, nondet_tol=1e-6)
    assert not gradgradcheck(lambda x: Drawn.apply(x * x), x, raise_exception=False)
    one = mt.ones(1, dtype=mt.float64, requires_grad=True)
    with pytest.raises(GradcheckError, match=r"same shape when inputs are perturbed.*\[\(2,\)\].*\[\(1,\)\]"):
        gradcheck(lambda x: mt.cat([x, x]) if bool((x >= 1).all()) else x, one)


def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(mt.sin, mt.ones(2, dtype=mt.float64, device="cpu"))
    with pytest.raises(ValueError, match="input 0 is float32: central differences need float64"):
        gradcheck(mt.sin, mt.ones(2, requires_grad=True, device="cpu"))


# The bridge ----------------------------------------------------------------------------------------------------------


def test_a_pytorch_training_loop_runs_a_microtrain_layer() -> None:
    def layer(x: Any, w: Any, b: Any) -> Any:
        return mt.tanh(x @ w + b)

    bridged = as_torch(layer, "cpu")
    rng = np.random.default_rng(0)
    x, target = (torch.tensor(rng.standard_normal(shape), dtype=torch.float32) for shape in ((8, 3), (8, 2)))

    def trained(function: Callable[..., Any]) -> list[torch.Tensor]:
        torch.manual_seed(0)
        parameters = [torch.randn(3, 2, requires_grad=True), torch.zeros(2, requires_grad=True)]
        optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        for _ in range(5):
            optimizer.zero_grad()
            ((function(x, *parameters) - target) ** 2).mean().backward()
            optimizer.step()
        return parameters

    for mine, theirs in zip(trained(bridged), trained(lambda x, w, b: torch.tanh(x @ w + b)), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_cross_the_bridge(dtype: torch.dtype) -> None:
    x = torch.tensor([0.5, -1.5, 3.0], dtype=dtype, requires_grad=True)
    y = as_torch(lambda x: x * x, "cpu")(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype and y.tolist() == [0.25, 2.25, 9.0] and x.grad.tolist() == [1.0, -3.0, 6.0]


def test_integers_and_plain_arguments_cross_the_bridge() -> None:
    bridged = as_torch(lambda x, k, dim: (x.sort(dim).values if hasattr(x.sort(dim), "values") else x.sort(dim)[0],
                                          x.argmax(dim), x[k]), "cpu")
    x = torch.tensor([3.0, 1.0, 2.0], requires_grad=True)
    ordered, best, taken = bridged(x, torch.tensor([1, 1]), 0)
    assert ordered.tolist() == [1.0, 2.0, 3.0] and best.item() == 0 and taken.tolist() == [1.0, 1.0]
    assert not best.requires_grad and best.dtype == torch.int64
    (ordered * torch.tensor([1.0, 2.0, 4.0])).sum().add(taken.sum()).backward()
    assert x.grad.tolist() == [4.0, 3.0, 2.0]


def test_an_input_that_nothing_depends_on_has_a_zero_gradient() -> None:
    x, y = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    as_torch(lambda x, y: x * 2, "cpu")(x, y).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0] and y.grad.tolist() == [0.0, 0.0]
