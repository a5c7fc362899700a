"""Derivatives against central differences: PyTorch's own checkers over every rule, through the bridge; ours; and both
must catch a planted wrong one."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.autograd.gradcheck import GradcheckError as PyTorchError

import microtrain as mt
from microtrain import ops as g
from microtrain.graph.dtypes import float32
from microtrain.graph.node import record
from microtrain.ops import PRIMITIVES
from microtrain.testing import GradcheckError, as_torch, gradcheck, gradgradcheck
from tests.support.planted_rules import plant

RULES = {name: primitive.rule for name, primitive in PRIMITIVES.items() if primitive.rule is not None}


def spread(shape: Sequence[int], low: float = 0.2, high: float = 0.8) -> np.ndarray:
    """Different numbers from a range, none of them near a tie or a half, in no order."""
    count = int(np.prod(shape))
    order = np.random.default_rng(5).permutation(count)
    return (low + (high - low) * (order + 0.37) / max(1, count)).reshape(shape)


def number(value: float) -> np.ndarray:
    """A number that an operation takes beside its operand."""
    return np.full((), value)


class Case(NamedTuple):
    """A primitive's sources, its attributes, and how many of the floats among the sources are differentiated."""

    sources: tuple[np.ndarray, ...]
    attrs: tuple[Any, ...] = ()
    count: int | None = None

    @property
    def floats(self) -> list[int]:
        """The positions of the sources that are differentiated."""
        return [i for i, array in enumerate(self.sources) if array.dtype.kind == "f"][:self.count]


X, Y, Z = spread((3, 4)), spread((3, 4), 0.9, 1.7), spread((3, 4), 2.1, 2.9)
ROW = spread((4,), 0.9, 1.7)
SIGNS = np.where(np.arange(12).reshape(3, 4) % 2, -1.0, 1.0)
INDEX = np.array([2, 0, 2, 1])
ALONG = np.array([[3, 0, 0], [1, 1, 2], [0, 3, 2]])
CLASSES = np.array([1, 3, 0])
PLACE = ((0, 1), (2, 1))                        # where a slice begins, and its steps

CASES: dict[str, tuple[Case, ...]] = {
    "where": (Case((X > 0.5, X, ROW)),),
    "clamp": (Case((X, np.full((3, 4), 0.35), np.full((4,), 0.65))),),
    "cast": (Case((X,), (float32,)),),
    "pow": (Case((X, Y)), Case((-X, np.full((), 3.0)), (), 1)),
    "remainder": (Case((Z, X)), Case((-Z, X))),
    "fmod": (Case((Z, X)), Case((-Z, X))),
    "acosh": (Case((Z,)),),
    "sum": (Case((X,), ((0,),)), Case((X,), ((0, 1),))),
    "amax": (Case((X,), ((0,),)), Case((X,), ((0, 1),))),
    "amin": (Case((X,), ((1,),)),),
    "prod": (Case((X,), ((0,),)), Case((X * (X > 0.3),), ((1,),))),
    "matmul": (Case((X, Y.T)), Case((spread((2, 3, 4)), Y.T))),
    "reshape": (Case((X,), ((2, 6),)),),
    "permute": (Case((spread((2, 3, 4)),), ((2, 0, 1),)),),
    "expand": (Case((ROW,), ((3, 4),)),),
    "slice": (Case((X,), (PLACE[0], (2, 3), PLACE[1])),),
    "pad": (Case((X,), (PLACE[0], (6, 5), PLACE[1])),),
    "flip": (Case((X,), ((0, 1),)),),
    "cat": (Case((X, Y, Z), (1,)),),
    "windows": (Case((spread((3, 7)),), (1, 3, 2, 1)), Case((spread((7, 2)),), (0, 2, 1, 2))),
    "fold_windows": (Case((spread((3, 3, 3)),), (1, 7, 2, 1)),),
    "convolution": (Case((spread((2, 2, 5)), spread((4, 1, 3))), ((2,), ((1, 1),), (1,), 2)),),
    "take": (Case((X, INDEX[:3])),),
    "index_add": (Case((spread((4, 2)), INDEX), (5,)),),
    "index_put": (Case((X, np.array([2, 0]), Y[:2])),),
    "slice_update": (Case((X, spread((2, 3), 0.9, 1.7)), PLACE),),
    "gather": (Case((X, ALONG), (1,)),),
    "scatter_add": (Case((spread((3, 3)), ALONG), (1, 4)),),
    "scatter": (Case((X, np.array([[3, 0], [1, 2], [0, 3]]), Y[:, :2]), (1,)),),
    "mean": (Case((X,), ((0,),)), Case((X,), ((0, 1),))),
    "var": (Case((X,), ((1,), 1)),),
    "std": (Case((X,), ((1,), 0)),),
    "norm": tuple(Case((X * SIGNS,), ((1,), p)) for p in (0.0, 0.5, 1.0, 2.0, 3.0)),
    "logsumexp": (Case((X,), ((0, 1),)),),
    "normalised": (Case((X,), ((1,), 1e-3)),),
    "rms_normalised": (Case((X,), ((1,), 1e-3)),),
    "linear": (Case((X, spread((2, 4)), spread((2,)))), Case((X, spread((2, 4))))),
    "cross_entropy": (Case((X, CLASSES), (3, "mean")), Case((X, CLASSES), (-100, "none"))),
    "cross_entropy_backward": (Case((np.full((), 0.7), X, CLASSES), (3, "mean")),
                               Case((spread((3,)), X, CLASSES), (-100, "none"))),
    "huber": (Case((X * SIGNS, number(0.5)), (), 1),),
    "smooth_l1": (Case((X * SIGNS, number(0.5)), (), 1),),
    "logit": (Case((X,), (None,)), Case((X,), (0.3,))),
    "binary_cross_entropy": (Case((X, 1 - X)),),
    "leaky_relu": (Case((X * SIGNS, number(0.1)), (), 1),),
    "elu": (Case((X * SIGNS, number(1.3), number(1.1), number(0.9)), (), 1),),
    "hardtanh": (Case((X * SIGNS, number(-0.4), number(0.5)), (), 1),),
    "hardtanh_backward": (Case((Y, X * SIGNS, number(-0.4), number(0.5)), (), 2),),
    "threshold_backward": (Case((Y, X, number(0.5), number(0.1)), (), 2),),
    "threshold": (Case((X, number(0.5), number(0.1)), (), 1),),
    "hardshrink": (Case((X * SIGNS, number(0.5)), (), 1),),
    "softshrink": (Case((X * SIGNS, number(0.5)), (), 1),),
    "relu": (Case((X * SIGNS,)),),
    "abs": (Case((X * SIGNS,)),),
    "prelu": (Case((X * SIGNS, ROW)),),
    "atan2": (Case((X * SIGNS, -Y)),),
    "copysign": (Case((X * SIGNS, -Y)),),
}
for along in ("softmax", "log_softmax", "cumsum", "cumprod", "logcumsumexp"):
    CASES[along] = (Case((X,), (1,)), Case((X,), (0,)))
CASES["cumprod"] += (Case((X * (X > 0.3),), (1,)),)
CASES["cumprod_backward"] = (Case((Y, X), (1,)), Case((Y, X * (X > 0.3)), (1,)))
for middle in ("median", "nanmedian"):
    CASES[middle] = (Case((X,), ((0, 1),)),)


def cases(name: str) -> tuple[Case, ...]:
    """A primitive's cases; without a row of its own it is an elementwise function, without attributes, of as many
    operands as its rule has functions, defined on (0, 1), (0.9, 1.7) and (2.1, 2.9)."""
    return CASES.get(name) or (Case((X, Y, Z)[:len(RULES[name].functions)]),)


def function(name: str, case: Case) -> Callable[..., Any]:
    """A primitive as a function of those of its sources that are differentiated; the result is float64."""
    def call(*given: Any) -> Any:
        moving = dict(zip(case.floats, given, strict=True))
        tensors = [moving[i] if i in moving else mt.tensor(array, device="cpu") for i, array in enumerate(case.sources)]
        node = record(PRIMITIVES[name], tuple(tensor.node for tensor in tensors), case.attrs)
        return mt.Tensor.from_node(node).to(mt.float64)
    return call


def inputs(T: Any, case: Case) -> list[Any]:
    return [T.tensor(case.sources[i], dtype=T.float64, requires_grad=True, device="cpu") for i in case.floats]


WITH_DERIVATIVE = [name for name in RULES if name != "floor_divide"]       # whose rule says that it has none

ROUNDED: dict[str, dict[str, float]] = {"cast": {"eps": 1e-2, "atol": 1e-4}}
"""On the way through float32 a millionth is lost; the function is linear, so larger steps are as good."""


@pytest.mark.parametrize("name", WITH_DERIVATIVE)
def test_pytorchs_checkers_and_ours_pass_for_every_rule(name: str) -> None:
    """A primitive that is not elementwise, or takes attributes, and has no case fails here, by its name."""
    for case in cases(name):
        ours, options = function(name, case), ROUNDED.get(name, {})
        assert gradcheck(ours, inputs(mt, case), **options) and gradgradcheck(ours, inputs(mt, case), **options)
        bridged, given = as_torch(ours, "cpu"), inputs(torch, case)
        assert torch.autograd.gradcheck(bridged, given, **options)
        assert torch.autograd.gradgradcheck(bridged, given, **options)


def test_every_case_is_of_a_rule() -> None:
    assert set(CASES) <= set(RULES)


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
    case = cases(name)[0]
    plant(monkeypatch, name, wrong, source)
    with pytest.raises(PyTorchError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(as_torch(function(name, case), "cpu"), inputs(torch, case))
    with pytest.raises(GradcheckError, match=rf"mismatch for output 0 with respect to input {source}: d output"):
        gradcheck(function(name, case), inputs(mt, case))
    assert gradcheck(function(name, case), inputs(mt, case), raise_exception=False) is False


def test_a_planted_wrong_second_derivative_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases("sin")[0]
    plant(monkeypatch, "cos", lambda right, ct, *rest: g.neg(right(ct, *rest)))
    bridged = as_torch(function("sin", case), "cpu")
    assert torch.autograd.gradcheck(bridged, inputs(torch, case)) and gradcheck(function("sin", case), inputs(mt, case))
    with pytest.raises(PyTorchError, match="Jacobian mismatch"):
        torch.autograd.gradgradcheck(bridged, inputs(torch, case))
    with pytest.raises(GradcheckError, match="Jacobian mismatch second for output 0"):
        gradgradcheck(function("sin", case), inputs(mt, case))
    assert gradgradcheck(function("sin", case), inputs(mt, case), raise_exception=False) is False


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
