"""The activation modules beside PyTorch's: what they print, compute, learn and refuse; and `inplace`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt

MODULES = """CELU(0.5, True)|ELU(0.5, True)|Hardsigmoid()|Hardsigmoid(True)|Hardswish(True)|Hardtanh(-2, 2, True)
LeakyReLU(0.2, True)|Mish(True)|PReLU(3, 0.1)|ReLU6(True)|SELU(True)|SiLU(True)|Threshold(0.1, 20, True)|GELU("tanh")
Softplus(2, 3)|Hardshrink(0.3)|Softshrink(0.3)|GLU(0)""".replace("\n", "|").split("|")
"""What PyTorch's database (`test_module_db`) has not."""

INPLACE = ["leaky_relu", "elu", "selu", "celu", "silu", "mish", "hardtanh", "relu6", "hardsigmoid", "hardswish"]


@pytest.mark.parametrize("module", MODULES)
def test_modules_print_and_compute_as_pytorchs(module: str) -> None:
    mine, theirs = (eval(module, vars(T.nn).copy()) for T in (mt, torch))
    assert repr(mine) == repr(theirs)
    x = np.random.default_rng(2).normal(size=(4, 3, 2)).astype(np.float32) * 2
    got, want = mine(mt.tensor(x)), theirs(torch.from_numpy(x.copy()))
    assert tuple(got.shape) == tuple(want.shape)
    np.testing.assert_allclose(got.detach().cpu().numpy(), want.detach().cpu().numpy(), rtol=2e-6, atol=2e-7)


def test_prelu_learns_its_weight_and_keeps_it() -> None:
    module = mt.nn.PReLU(3)
    (module(mt.tensor([[1.0, -2.0, 3.0], [-1.0, 4.0, -6.0]])) ** 2).sum().backward()
    assert module.weight.grad.tolist() == [0.5, 2.0, 18.0]
    assert list(module.state_dict()) == ["weight"] and module.weight.tolist() == [0.25] * 3


@pytest.mark.parametrize("name", INPLACE)
def test_inplace_overwrites_and_is_still_differentiated(name: str) -> None:
    def run(T: Any) -> tuple[Any, Any]:
        leaf = T.tensor([-4.0, -1.5, -0.5, 0.25, 2.0, 7.0], requires_grad=True)
        x = leaf * 1.0
        y = getattr(T.nn.functional, name)(x, inplace=True)
        assert y is x
        y.sum().backward()
        return x.detach(), leaf.grad

    for got, want in zip(run(mt), run(torch), strict=True):
        np.testing.assert_allclose(got.cpu().numpy(), want.cpu().numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["silu", "leaky_relu", "hardtanh"])
def test_inplace_on_a_leaf_is_refused(name: str) -> None:
    leaf = mt.tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place"):
        getattr(mt.nn.functional, name)(leaf, inplace=True)


REFUSALS: dict[str, Callable[[Any], Any]] = {
    "celu by 0": lambda T: T.nn.functional.celu(T.ones(2), 0.0),
    "gelu": lambda T: T.nn.functional.gelu(T.ones(2), approximate="sinh"),
    "gelu of integers": lambda T: T.nn.functional.gelu(T.ones(2, dtype=T.int64)),
    "glu of a number": lambda T: T.nn.functional.glu(T.tensor(1.0)),
    "glu of an odd size": lambda T: T.nn.functional.glu(T.ones(2, 3)),
    "glu along a missing dim": lambda T: T.nn.functional.glu(T.ones(2, 4), 2),
    "glu of integers": lambda T: T.nn.functional.glu(T.ones(2, dtype=T.int64)),
    "hardtanh backwards": lambda T: T.nn.functional.hardtanh(T.ones(2), 2.0, 1.0),
    "hardtanh of bool": lambda T: T.nn.functional.hardtanh(T.tensor([True])),
    "hardtanh of unsigned": lambda T: T.nn.functional.hardtanh(T.ones(2, dtype=T.uint8)),
    "Hardtanh of nothing": lambda T: T.nn.Hardtanh(1.0, 1.0),
    "prelu by a number": lambda T: T.nn.functional.prelu(T.ones(2), 0.25),
    "prelu by a matrix": lambda T: T.nn.functional.prelu(T.ones(2, 2), T.ones(2, 2)),
    "prelu by too many": lambda T: T.nn.functional.prelu(T.ones(2, 3), T.ones(2)),
    "prelu of a number": lambda T: T.nn.functional.prelu(T.tensor(1.0), T.ones(2)),
    "prelu across dtypes": lambda T: T.nn.functional.prelu(T.ones(2), T.ones(1, dtype=T.float64)),
    "softshrink by less than 0": lambda T: T.nn.functional.softshrink(T.ones(2), -0.5),
    "silu of integers": lambda T: T.nn.functional.silu(T.ones(2, dtype=T.int32)),
    "threshold of bool": lambda T: T.nn.functional.threshold(T.tensor([True]), 0, 1),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_are_of_pytorchs_type(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        REFUSALS[name](torch)
    with pytest.raises(theirs.type):
        REFUSALS[name](mt)


@pytest.mark.parametrize(("dtype", "numbers"), [("int64", [-3, 0, 2, 9]), ("uint8", [0, 2, 7, 9])])
def test_integers_where_pytorch_takes_them(dtype: str, numbers: list[int]) -> None:
    for call in (
        lambda T, x: T.nn.functional.relu6(x),
        lambda T, x: T.nn.functional.threshold(x, 1.5, 20.7),
        lambda T, x: T.nn.functional.hardtanh(x, 0.5, 2.5),
    ):
        got, want = (call(T, T.tensor(numbers, dtype=getattr(T, dtype))) for T in (mt, torch))
        assert got.tolist() == want.tolist() and str(got.dtype) == str(want.dtype)
