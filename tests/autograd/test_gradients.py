"""Gradients that a user's own code hands to a backward: returned by a function or a hook, given, assigned."""

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from tests.support.both import Programs, doubling, made, refused, same, six

pytestmark = pytest.mark.usefixtures("nothing_pending")
program = Programs()

RESULTS: dict[str, Callable[[Any, Any], Any]] = {
    "transposed": lambda T, g: g.t(), "too few": lambda T, g: g[:, :1], "0-d": lambda T, g: g.sum(),
    "a row": lambda T, g: g[0], "flat": lambda T, g: g.reshape(-1), "empty": lambda T, g: g[:0],
    "too many": lambda T, g: T.cat([g, g], 1), "more axes": lambda T, g: g.expand(4, 2, 3),
    "an axis of 1": lambda T, g: g[None], "double": lambda T, g: g.double(), "half": lambda T, g: g.half(),
    "int64": lambda T, g: g.long(), "bool": lambda T, g: g > 0, "bools": lambda T, g: (g > 0).expand(4, 2, 3),
    "None": lambda T, g: None, "float": lambda T, g: 1.0,
    "int": lambda T, g: 2, "truth": lambda T, g: True, "numpy": lambda T, g: np.ones((2, 3), np.float32),
    "numpy number": lambda T, g: np.float32(1), "list": lambda T, g: [g], "string": lambda T, g: "g",
    "dict": lambda T, g: {"g": g}, "generator": lambda T, g: (x for x in [g]), "class": lambda T, g: int,
    "two": lambda T, g: (g, g), "and None": lambda T, g: (g, None), "none": lambda T, g: (),
    "namedtuple": lambda T, g: namedtuple("N", "a")(g), "parameter": lambda T, g: T.nn.Parameter(g.detach() * 2),
}


@pytest.mark.parametrize("result", RESULTS)
def test_what_a_backward_returns(result: str) -> None:
    returned = RESULTS[result]

    def of_a_leaf(T: Any) -> Any:
        x = six(T)
        doubling(T, lambda ctx, g: returned(T, g)).apply(x).sum().backward()
        return x.grad

    def second_of_a_product(T: Any) -> Any:
        x, y = six(T), six(T)
        F = made(T, forward=lambda ctx, x, y: x * y, backward=lambda ctx, g: (g, returned(T, g)))
        F.apply(x, y * 1).sum().backward()
        return x.grad, y.grad

    def broadcast_with_a_graph(T: Any) -> Any:
        x = T.tensor([2.0], requires_grad=True)
        F = doubling(T, lambda ctx, g: returned(T, g * ctx.saved_tensors[0]))
        return T.autograd.grad(F.apply(x * T.ones(2, 3)).sum(), x, create_graph=True)

    for run in (of_a_leaf, second_of_a_product, broadcast_with_a_graph):
        same(run)


@program
def an_error_names_the_function_the_index_and_both_shapes(T: Any) -> Any:
    Transposed = type("Transposed", (made(T, forward=lambda ctx, a, b: a * b, backward=lambda ctx, g: (g, g.t())),), {})
    refused(Transposed.apply(six(T), six(T)).sum().backward,
            "Function TransposedBackward returned an invalid gradient at index 1 - got [3, 2] but expected shape "
            "compatible with [2, 3]")


def test_what_is_no_tensor_is_a_type_error_that_names_the_function() -> None:
    for value, name in ((1.0, "float"), (np.ones(2), "numpy.ndarray"), (torch.ones(2, 3), "torch.Tensor")):
        F = doubling(mt, lambda ctx, g, value=value: value)
        with pytest.raises(TypeError, match=rf"FBackward .* index 0 .*\(got {name}\).*\[2, 3\]"):
            F.apply(six(mt)).sum().backward()


def test_a_gradient_on_another_device() -> None:
    elsewhere = "cpu" if mt.default_device().type != "cpu" else "null:sm_90"
    x = six(mt)
    with pytest.raises(RuntimeError, match=r"FBackward .* index 0 - expected device .* but got"):
        doubling(mt, lambda ctx, g: mt.ones(2, 3, device=elsewhere)).apply(x).sum().backward()
    with pytest.raises(RuntimeError, match="hook '<lambda>' has changed the type of value"):
        x.register_hook(lambda g: mt.ones(2, 3, device=elsewhere))
        (x * 2).sum().backward()
    with pytest.raises(RuntimeError, match="assign a gradient with device type"):
        x.grad = mt.ones(2, 3, device=elsewhere)
    with pytest.raises(RuntimeError, match="invalid gradient at index 0 - expected device"):
        (x * 2).backward(mt.ones(2, 3, device=elsewhere))
    if elsewhere == "cpu":              # a 0-d gradient goes along, as in PyTorch
        point = mt.tensor(2.0, requires_grad=True)
        doubling(mt, lambda ctx, g: mt.tensor(5.0, device="cpu")).apply(point).backward(mt.tensor(1.0, device="cpu"))
        assert point.grad.item() == 5.0 and point.grad.device == point.device


def test_the_data_of_a_result_keeps_its_shape() -> None:
    x = mt.ones(2, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match=r"expected float32\[2\].*, got float32\[3\].*write x = x.detach\(\) first"):
        x.data = mt.ones(3)
    x = x.detach()
    x.data = mt.ones(3)
    assert x.tolist() == [1.0] * 3


@pytest.mark.parametrize("result", [name for name in RESULTS if name not in ("two", "and None", "none")])
def test_what_a_hook_returns(result: str) -> None:
    returned = RESULTS[result]

    def of(T: Any, make: Any, differentiate: Any) -> Any:
        x = six(T)
        h = make(x)

        def mine(g: Any) -> Any:
            return returned(T, g)
        h.register_hook(mine)
        return differentiate(T, h, x)

    def accumulated(T: Any, h: Any, x: Any) -> Any:
        (h * 3).sum().backward()
        return x.grad

    words = "hook 'mine' has changed the type of value (was torch.FloatTensor got" * (result in ("bool", "bools"))
    for make in (lambda x: x, lambda x: x * 2):
        same(lambda T, make=make: of(T, make, accumulated), words)
        same(lambda T, make=make: of(T, make, lambda T, h, x: T.autograd.grad((h * 3).sum(), x)), words)


@program
def hook_that_is_an_object(T: Any) -> Any:
    x = six(T)
    x.register_hook(type("Hook", (), {"__call__": lambda self, g: g[:1]})())
    (x * 2).sum().backward()


GIVEN: dict[str, Callable[[Any], Any]] = {
    "shape": lambda T: T.ones(3), "expandable": lambda T: T.ones(1, 3), "0-d": lambda T: T.tensor(1.0),
    "numpy": lambda T: np.ones((2, 3), np.float32), "string": lambda T: "x", "None": lambda T: None,
    "double": lambda T: T.ones(2, 3, dtype=T.float64), "int64": lambda T: T.ones(2, 3, dtype=T.int64),
    "recorded": lambda T: T.ones(2, 3, requires_grad=True) * 2, "listed": lambda T: [T.ones(2, 3)],
    "numbers": lambda T: [1.0], "nothing": lambda T: [], "iterator": lambda T: iter([T.ones(2, 3)]),
    "parameter": lambda T: T.nn.Parameter(T.ones(2, 3)), "more axes": lambda T: T.ones(1, 2, 3),
}


@pytest.mark.parametrize("given", GIVEN)
def test_a_gradient_that_is_handed_in(given: str) -> None:
    def assigned(T: Any) -> Any:
        x = six(T)
        x.grad = GIVEN[given](T)
        (x * 2).sum().backward()
        return x.grad, x.grad.requires_grad

    def to_backward(T: Any) -> Any:
        x = six(T)
        (x + 1).backward(GIVEN[given](T))
        return x.grad, x.grad.requires_grad

    def to_grad(T: Any) -> Any:
        x = six(T)
        return T.autograd.grad(x + 1, x, GIVEN[given](T))

    dtype = "attempting to assign a gradient with dtype"
    word = {"double": dtype, "int64": dtype,
            "iterator": "assigned grad expected to be a Tensor or None but got grad of type"}
    same(assigned, word.get(given, ""))
    same(to_backward)
    same(to_grad)


@program
def its_own_gradient(T: Any) -> Any:
    x = six(T)
    x.grad = x


@program
def a_leaf_returned_as_its_gradient(T: Any) -> Any:
    x = six(T)
    doubling(T, lambda ctx, g: ctx.saved_tensors[0]).apply(x).sum().backward()
    x.grad.mul_(5)
    return x.grad, x.detach(), x.grad.requires_grad


@pytest.mark.parametrize("wrong", [1.0, "x", np.ones(2), [1.0], [None]])
def test_what_is_no_tensor_is_not_differentiated(wrong: Any) -> None:
    x = six(mt)
    y = (x * 2).sum()
    for call, what in ((lambda: mt.autograd.backward(wrong), "tensors"),
                       (lambda: mt.autograd.grad(wrong, x), "outputs"),
                       (lambda: mt.autograd.grad(y, wrong), "inputs"), (lambda: y.backward(inputs=wrong), "inputs")):
        with pytest.raises(TypeError, match=rf"(backward|grad)\(\): {what}.* has to be a Tensor, but got"):
            call()
    with pytest.raises(TypeError, match="outputs has to be a Tensor, but got NoneType"):
        mt.autograd.grad(None, x)
    assert x.grad is None


@pytest.mark.parametrize("name", program)
def test_as_in_pytorch(name: str) -> None:
    same(program[name])
