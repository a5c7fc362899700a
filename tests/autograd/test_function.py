"""What a user's own code hands to a backward: autograd.Function, hooks, gradients given and assigned.

Each program runs in microtrain and in PyTorch: the same values, the same flags, the same errors in the same words
(ours may say more).
"""

import warnings
from collections import namedtuple
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from tests.autograd.random_functions import differing
from tests.conftest import DEVICE

pytestmark = pytest.mark.usefixtures("nothing_pending")
both = pytest.mark.parametrize("T", [pytest.param(mt, id="microtrain"), pytest.param(torch, id="torch")])
Program = Callable[[Any], Any]
PROGRAMS: dict[str, Program] = {}


def program(function: Program) -> Program:
    PROGRAMS[function.__name__] = function
    return function


def made(T: Any, **methods: Any) -> Any:
    """A class F(autograd.Function) of static methods."""
    return type("F", (T.autograd.Function,), {name: staticmethod(method) for name, method in methods.items()})


def doubling(T: Any, backward: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * 2
    return made(T, forward=forward, backward=backward)


def six(T: Any, **options: Any) -> Any:
    return T.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True, **options)


def plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(plain, value)]
    if hasattr(value, "tolist"):
        return str(getattr(value, "dtype", "")).rpartition(".")[2], np.asarray(value.tolist(), float).round(4).tolist()
    return value


def outcome(T: Any, run: Program) -> tuple[Any, str]:
    """What a program gives, or the error's type and words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(run(T)), ""
        except (RuntimeError, TypeError, NotImplementedError, AttributeError, IndexError) as error:
            said = str(error).splitlines()[0]
            for device in ("cuda", "interpret"):
                said = said.replace(f"torch.{device}.", "torch.")
            return type(error), said


def same(run: Program, words: str = "") -> None:
    (want, said), (got, says) = outcome(torch, run), outcome(mt, run)
    if not said:
        assert (got, says) == (want, "")
        return
    assert isinstance(got, type) and issubclass(got, want), (got, says, "where PyTorch says", said)
    for part in (words or said.rstrip()).split("..."):
        assert part in says and part in said, (part, says, said)


# ---------------------------------------------------------------------------------------------- what a backward returns

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


@both
def test_an_error_names_the_function_the_index_and_both_shapes(T: Any) -> None:
    class Transposed(T.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            return a * b

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g, g.t()

    with pytest.raises(RuntimeError, match=r"Function TransposedBackward returned an invalid gradient at index 1 - got "
                                           r"\[3, 2\] but expected shape compatible with \[2, 3\]"):
        Transposed.apply(six(T), six(T)).sum().backward()


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


# ---------------------------------------------------------------------------------------------------------------- hooks

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


# ------------------------------------------------------------------------------------- gradients assigned and handed in

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


# ------------------------------------------------------------------------------------------------- outputs and contexts

OUTPUTS: dict[str, Callable[[Any, Any], Any]] = {
    "number": lambda T, x: 3.0, "None": lambda T, x: None, "list": lambda T, x: [x * 2], "dict": lambda T, x: {"a": 1},
    "tuple": lambda T, x: (x * 2,), "no output": lambda T, x: (), "tensor, number": lambda T, x: (x * 2, 3),
    "None, tensor": lambda T, x: (None, x * 2), "int64": lambda T, x: (x * 2).long(), "bool": lambda T, x: x > 0,
    "twice": lambda T, x: (lambda y: (y, y))(x * 2), "input": lambda T, x: x, "input, tensor": lambda T, x: (x, x * 2),
    "input twice": lambda T, x: (x, x), "view": lambda T, x: x.view(-1), "view, tensor": lambda T, x: (x[0], x * 2),
    "detached": lambda T, x: x.detach(), "constant": lambda T, x: T.ones(2), "double": lambda T, x: x.double() * 2,
    "namedtuple": lambda T, x: namedtuple("N", "a b")(x * 2, x * 3),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_a_forward_returns(output: str) -> None:
    def run(T: Any, make: Any) -> Any:
        seen = []

        def backward(ctx: Any, *gs: Any) -> Any:
            seen.append([None if g is None else (tuple(g.shape), g) for g in gs])
            return T.ones(2, 3)
        x = make(six(T))
        y = made(T, forward=lambda ctx, x: OUTPUTS[output](T, x), backward=backward).apply(x)
        outputs = y if isinstance(y, tuple | list) else (y,)
        told = [(type(t).__name__, t is x, getattr(t, "requires_grad", None), getattr(t, "is_leaf", None))
                for t in outputs]
        tracked = [t for t in outputs if getattr(t, "requires_grad", False)]
        if tracked:
            tracked[-1].sum().backward()
        return type(y).__name__, told, seen, x.is_leaf and x.grad

    def without_grad(T: Any) -> Any:
        x = six(T)
        with T.no_grad():
            y = made(T, forward=lambda ctx, x: OUTPUTS[output](T, x), backward=lambda ctx, g: g).apply(x)
        return [(type(t).__name__, t is x) for t in (y if isinstance(y, tuple | list) else (y,))]

    same(lambda T: run(T, lambda x: x))
    same(lambda T: run(T, lambda x: x * 1))
    same(lambda T: run(T, lambda x: x.detach()))
    same(without_grad)


@program
def context_set_up_apart(T: Any) -> Any:
    seen = []

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        seen.append((type(inputs).__name__, len(inputs), output.requires_grad, T.is_grad_enabled()))
        ctx.save_for_backward(inputs[0], output)
        ctx.k = inputs[1]
    F = made(T, forward=lambda x, k=2.0: x * k, setup_context=setup_context,
             backward=lambda ctx, g: (g * ctx.saved_tensors[1] * ctx.k, None))
    x = six(T)
    first, = T.autograd.grad((F.apply(x) * F.apply(x, k=3.0)).sum(), x, create_graph=True)
    second, = T.autograd.grad(first.sum(), x)
    return seen, first.detach(), second


PROGRAMS |= {
    "no forward": lambda T: made(T).apply(six(T)),
    "no backward": lambda T: made(T, forward=lambda ctx, x: x * 2).apply(six(T)).sum().backward(),
    "backward and vjp": lambda T: made(T, forward=lambda ctx, x: x * 2, vjp=lambda ctx, g: g,
                                       backward=lambda ctx, g: g).apply(six(T)).sum().backward(),
    "vjp": lambda T: T.autograd.grad(
        made(T, forward=lambda ctx, x: x * 2, vjp=lambda ctx, g: g * 5).apply(x := six(T)).sum(), x),
    "keywords are inputs": lambda T: made(T, forward=lambda ctx, x, k=2: x * k,
                                          backward=lambda ctx, g: g).apply(six(T), k=3.0).sum().backward(),
    "no argument": lambda T: made(T, forward=lambda ctx: T.ones(2), backward=lambda ctx, g: g).apply(),
    "no tensor": lambda T: made(T, forward=lambda ctx, k: k, backward=lambda ctx, g: g).apply(3.0),
    "tensors in a list": lambda T: made(T, forward=lambda ctx, ts: ts[0] * 2,
                                        backward=lambda ctx, g: g).apply([six(T)]).requires_grad,
    "a gradient of a number": lambda T: made(T, forward=lambda ctx, x, k: x * k,
                                             backward=lambda ctx, g: (g, 7)).apply(six(T), 3).sum().backward(),
    "a gradient of integers": lambda T: made(T, forward=lambda ctx, x, i: x * i, backward=lambda ctx, g: (g, g)
                                             ).apply(six(T), T.tensor(3)).sum().backward(),
}


@pytest.mark.parametrize("kept", [3.0, "a", np.ones(2), [1], None])
def test_what_is_saved_for_backward(kept: Any) -> None:
    def run(T: Any) -> Any:
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, kept)
            return x * len(ctx.saved_tensors)

        def backward(ctx: Any, g: Any) -> Any:
            return g * 3 if ctx.saved_tensors[1] is None else g
        x = six(T)
        made(T, forward=forward, backward=backward).apply(x).sum().backward()
        return x.grad
    same(run)


def exponential(T: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y)
        ctx.label = "e"
        return y
    return made(T, forward=forward, backward=lambda ctx, g: g * ctx.saved_tensors[0])


@program
def a_saved_output_and_the_output_itself(T: Any) -> Any:
    x = T.tensor([0.5, 1.0], requires_grad=True)
    y = exponential(T).apply(x)
    first, = T.autograd.grad(y.sum(), x, create_graph=True)
    return T.autograd.grad((first * first + y).sum(), [x, y])


@program
def the_context_is_the_grad_fn(T: Any) -> Any:
    x = T.tensor([0.5], requires_grad=True)
    y = exponential(T).apply(x)
    entry = y.grad_fn
    told = (entry.label, entry.needs_input_grad, type(entry).__name__, entry.saved_tensors[0], y.grad_fn is entry,
            entry.next_functions[0][0].variable is x, (y * 2).grad_fn.next_functions[0][0] is entry)
    y.backward()
    return told, entry.saved_tensors


OVERWRITTEN = "one of the variables needed for gradient computation has been modified by an inplace operation: "


@pytest.mark.parametrize("which", ["input", "output", "output through a view", "leaf"])
def test_a_saved_value_that_was_overwritten(which: str) -> None:
    def run(T: Any) -> Any:
        x = six(T)
        if which in ("input", "leaf"):
            h = x * 1 if which == "input" else x
            y = doubling(T, lambda ctx, g: g * ctx.saved_tensors[0]).apply(h)
            with T.set_grad_enabled(which == "input"):
                h.add_(1)
        else:
            y = exponential(T).apply(x)
            (y[0] if "view" in which else y).add_(1)
        (y * 2).sum().backward()
    same(run, OVERWRITTEN + "[torch.FloatTensor [2, 3]]... is at version 1; expected version 0 instead")


@program
def a_saved_value_behind_data(T: Any) -> Any:
    x = six(T)
    y = doubling(T, lambda ctx, g: g * ctx.saved_tensors[0]).apply(x * 1)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    return x.grad


@program
def freed(T: Any) -> Any:
    y = exponential(T).apply(six(T)).sum()
    y.backward()
    y.backward()


@pytest.mark.parametrize("flag", [True, False, 0, None])
def test_a_missing_cotangent(flag: Any) -> None:
    def run(T: Any) -> Any:
        seen = []

        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(flag)
            fixed = x * 4
            ctx.mark_non_differentiable(fixed)
            return x * 2, x * 3, x > 0, fixed

        def backward(ctx: Any, *gs: Any) -> Any:
            seen.append(gs)
            return gs[0]
        x = six(T)
        outputs = made(T, forward=forward, backward=backward).apply(x)
        outputs[0].sum().backward()
        return seen, x.grad, [t.requires_grad for t in outputs]
    same(run, "set_materialize_grads received an invalid combination of arguments - got ..., but expected (bool)")


@program
def marked_twice(T: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        a, b = x * 2, x * 3
        ctx.mark_non_differentiable(a)
        ctx.mark_non_differentiable(b)
        return a, b
    return [t.requires_grad for t in made(T, forward=forward, backward=lambda ctx, g, h: g).apply(six(T))]


@pytest.mark.parametrize("between", ["nothing", "operations", "another way"])
@pytest.mark.parametrize("flag", [True, False])
def test_a_gradient_that_a_backward_does_not_give_reaches_functions_as_zeros(between: str, flag: bool) -> None:
    def run(T: Any) -> Any:
        seen: list[Any] = []

        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(flag)
            return x * 3

        def backward(ctx: Any, g: Any) -> Any:
            seen.append(g)
            return g
        x = six(T)
        h = made(T, forward=forward, backward=backward).apply(x)
        y = made(T, forward=lambda ctx, x: x * 2, backward=lambda ctx, g: None).apply(
            h.exp() * 2 if between == "operations" else h)
        loss = (y + h if between == "another way" else y).sum()
        loss.backward(retain_graph=True)
        return x.grad, T.autograd.grad(loss, x, retain_graph=True), T.autograd.grad(loss, [h], allow_unused=True), seen
    same(run)


PROGRAMS |= {
    "non-differentiable input": lambda T: [t.requires_grad for t in made(
        T, forward=lambda ctx, x: (ctx.mark_non_differentiable(x), (x * 2, x))[1], backward=lambda ctx, g, h: g
        ).apply(six(T))],
    "non-differentiable number": lambda T: made(T, forward=lambda ctx, x: ctx.mark_non_differentiable(3),
                                                backward=lambda ctx, g: g).apply(six(T)),
}


# ----------------------------------------------------------------------------------------------------------- mark_dirty

def doubled_in_place(T: Any, save: bool = False) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        x.mul_(2)
        ctx.mark_dirty(x)
        if save:
            ctx.save_for_backward(x)
        return x
    return made(T, forward=forward, backward=lambda ctx, g: g * 2 * (ctx.saved_tensors[0] if save else 1))


IN_PLACE: dict[str, Program] = {
    "result": lambda T: changed(T, lambda x: x * 1, lambda h: h),
    "view": lambda T: changed(T, lambda x: x * 1, lambda h: h[0]),
    "view of a view": lambda T: changed(T, lambda x: x * 1, lambda h: h.t()[1:]),
    "leaf": lambda T: changed(T, lambda x: x, lambda h: h),
    "view of a leaf": lambda T: changed(T, lambda x: x, lambda h: h[0]),
    "detached": lambda T: changed(T, lambda x: x.detach(), lambda h: h),
    "saved": lambda T: changed(T, lambda x: x * 1, lambda h: h, save=True),
}


def changed(T: Any, make: Any, view: Any, save: bool = False) -> Any:
    x = six(T)
    h = make(x)
    seen = h.view(-1)
    v = view(h)
    y = doubled_in_place(T, save).apply(v)
    told = y is v, y.requires_grad, h._version
    if h.requires_grad:
        (h.sum() + 3 * seen.sum() + 5 * y.sum()).backward()
    return told, h.detach(), seen.detach(), x.grad, x.detach()


@pytest.mark.parametrize("case", IN_PLACE)
def test_an_input_changed_in_place(case: str) -> None:
    same(IN_PLACE[case])


@program
def changed_by_what_requires_grad(T: Any) -> Any:
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        a.mul_(b)
        ctx.mark_dirty(a)
        ctx.save_for_backward(b)
        return a, a * 3
    F = made(T, forward=forward, backward=lambda ctx, g, h: (None, (g + 3 * h) * ctx.saved_tensors[0]))
    a, b = T.ones(2, 3), six(T)
    y, z = F.apply(a, b)
    (a.sum() + z.sum()).backward()
    return y is a, a.is_leaf, a.detach(), b.grad


@program
def changed_without_grad(T: Any) -> Any:
    x, w = six(T), T.ones(2)
    with T.no_grad():
        y = doubled_in_place(T).apply(x)
    z = doubled_in_place(T).apply(w)
    return x.detach(), y is x, y.requires_grad, x.is_leaf, z is w, w, w._version


@program
def changed_what_was_saved_before(T: Any) -> Any:
    h = six(T) * 1
    z = h * h
    doubled_in_place(T).apply(h)
    z.sum().backward()


PROGRAMS |= {
    "dirty view of two outputs": lambda T: made(
        T, forward=lambda ctx, x: (ctx.mark_dirty(x.mul_(2)), (x, x * 3))[1], backward=lambda ctx, g, h: g
        ).apply((six(T) * 1)[0]),
    "dirty, not returned": lambda T: made(T, forward=lambda ctx, x: (ctx.mark_dirty(x), x * 2)[1],
                                          backward=lambda ctx, g: g).apply(six(T) * 1),
    "dirty number": lambda T: made(T, forward=lambda ctx, x: ctx.mark_dirty(3), backward=lambda ctx, g: g
                                   ).apply(six(T)),
}

VIEWS: dict[str, Any] = {"input": (lambda x: x, lambda g: g),
                         "reshaped": (lambda x: x.view(-1), lambda g: g.view(2, 3)),
                         "transposed": (lambda x: x.t(), lambda g: g.t())}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("change", ["itself", "base", "view of it", "nothing", "base, unrecorded"])
def test_an_output_that_is_a_view_of_an_input(view: str, change: str) -> None:
    """Its own backward is used, and a change in place that would go round it is refused."""
    forward, back = VIEWS[view]

    def run(T: Any) -> Any:
        x = six(T)
        h = x * 1
        y = made(T, forward=lambda ctx, x: forward(x), backward=lambda ctx, g: back(g) * 5).apply(h)
        if change == "itself":
            y.mul_(3)
        elif change == "view of it":
            y[0].mul_(3)
        elif "base" in change:
            with T.set_grad_enabled(change == "base"):
                h.mul_(2)
        assert y.tolist() == forward(h).tolist()
        y.sum().backward()
        return x.grad
    same(run, "" if change == "nothing" else "... is a view and ... modified inplace. This view was created inside a "
                                             "custom Function")


RETURNED: dict[str, Program] = {
    "view": lambda x: x.view_as(x), "part": lambda x: x[0], "input": lambda x: x, "input twice": lambda x: (x, x),
    "new": lambda x: x * 2, "view of its own": lambda x: (x * 2)[:], "views": lambda x: (x[:], x[0], 1),
    "detached": lambda x: x.detach()}


@pytest.mark.parametrize("returned", RETURNED)
@pytest.mark.parametrize("mode", ["recorded", "under no_grad", "not differentiable"])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_memory_that_a_function_returns(returned: str, mode: str, requires_grad: bool) -> None:
    """Who shares it, and which changes of it would be lost to the tape and are refused."""
    def run(T: Any, change: str) -> Any:
        def forward(ctx: Any, x: Any) -> Any:
            out = RETURNED[returned](x)
            if mode == "not differentiable":
                outputs = out if isinstance(out, tuple) else (out,)
                ctx.mark_non_differentiable(*(t for t in outputs if hasattr(t, "dtype")))
            return out
        x = T.ones(2, requires_grad=requires_grad) * 1
        with T.set_grad_enabled(mode != "under no_grad"):
            y = made(T, forward=forward, backward=lambda ctx, *g: g[0].expand(2)).apply(x)
        first = y[0] if isinstance(y, tuple) else y
        told = first.requires_grad, first.is_leaf, first is x, first._is_view(), isinstance(y, tuple) and first is y[1]
        if change == "recorded":
            first.add_(T.ones((), requires_grad=True))
        elif change == "of the input":
            x.mul_(T.ones((), requires_grad=True) * 3)
        else:
            first.mul_(3)
        return told, first.tolist(), x.tolist(), first.requires_grad, x.requires_grad
    for change in ("of numbers", "recorded", "of the input"):
        same(lambda T, change=change: run(T, change))


@program
def a_tensor_returned_twice(T: Any) -> Any:
    x, seen = six(T), []
    function = made(T, forward=lambda ctx, x: (y := x * 2, x, y, y[0]),
                    backward=lambda ctx, *g: (seen.append(g), g[0] * 2 + g[2] * 3)[1])
    y, _, again, row = function.apply(x)
    row.detach().mul_(2)
    kept = y is again, y.tolist()
    (y + 2 * again).sum().backward()
    return kept, x.grad, seen


@program
def a_change_of_a_tensor_returned_twice(T: Any) -> Any:
    x = six(T)
    y, again = made(T, forward=lambda ctx, x: (y := x * 2, y), backward=lambda ctx, g, h: g * 2 + h * 2).apply(x)
    y.mul_(3)
    (again * 5).sum().backward()
    return again.tolist(), x.grad


# ----------------------------------------------------------------------------------------- differentiated again, nested

def once(T: Any) -> Any:
    decorate = import_module(f"{T.__name__}.autograd.function").once_differentiable
    return doubling(T, decorate(lambda ctx, g: g * ctx.saved_tensors[0]))


def differentiated_twice(T: Any, loss: Any) -> Any:
    x = six(T)
    first, = T.autograd.grad(loss(once(T).apply(x)).sum(), x, create_graph=True)
    told = first.requires_grad, first.detach()
    if first.requires_grad:
        (first * x).sum().backward()
    return told


PROGRAMS |= {"once": lambda T: differentiated_twice(T, lambda y: y),
             "twice": lambda T: differentiated_twice(T, lambda y: y * y)}


@program
def what_cannot_be_differentiated_again(T: Any) -> Any:
    """It has a place on the tape like any other: hooks, its gradient, what is behind it."""
    seen: list[Any] = []
    x = six(T)
    h = x * 2
    h.register_hook(seen.append)
    again, = T.autograd.grad((once(T).apply(h) ** 2).sum(), x, create_graph=True)
    fixed = seen.pop()
    fixed.retain_grad()
    fixed.register_hook(lambda g: seen.append(g.tolist()))
    behind = [one for one, _ in fixed.grad_fn.next_functions if one is not None]
    with pytest.raises(RuntimeError, match="differentiate twice"):
        again.sum().backward()
    return seen, fixed.retains_grad, len(behind)


@program
def functions_in_functions(T: Any) -> Any:
    seen = []
    inner = made(T, forward=lambda ctx, x: (seen.append(T.is_grad_enabled()), x * 2)[1], backward=lambda ctx, g: g * 3)
    outer = doubling(T, lambda ctx, g: inner.apply(g * ctx.saved_tensors[0] ** 2))
    x = six(T)
    first, = T.autograd.grad(outer.apply(inner.apply(x)).sum(), x, create_graph=True)
    second, = T.autograd.grad(first.sum(), x)
    return seen, first.detach(), second, T.is_grad_enabled()


@program
def a_backward_inside_a_backward(T: Any) -> Any:
    def backward(ctx: Any, g: Any) -> Any:
        x, = ctx.saved_tensors
        with T.enable_grad():
            y = x.detach().requires_grad_()
            (y ** 2).sum().backward()
        return g * y.grad
    x = six(T)
    doubling(T, backward).apply(x).sum().backward()
    return x.grad


@program
def hooks_and_retained_gradients_of_outputs(T: Any) -> Any:
    x = six(T)
    y, z = made(T, forward=lambda ctx, x: (x * 2, x * 3), backward=lambda ctx, g, h: g * 5 + h).apply(x)
    y.register_hook(lambda g: g * 2)
    z.retain_grad()
    (y * z).sum().backward()
    return x.grad, z.grad


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_in_pytorch(name: str) -> None:
    words = {"dirty view of two outputs": "your Function cannot return more than one Tensor. This is not supported",
             "changed_what_was_saved_before": OVERWRITTEN + "[torch.FloatTensor [2, 3]]"}
    same(PROGRAMS[name], words.get(name, ""))


def test_a_function_that_saves_its_output_leaves_no_cycle() -> None:
    import gc
    import weakref
    gc.collect()
    gc.disable()
    try:
        x = six(mt)
        y = exponential(mt).apply(x)
        h = x * 1
        z = doubled_in_place(mt, save=True).apply(h)
        gone = [weakref.ref(y), weakref.ref(z), weakref.ref(y.grad_fn), weakref.ref(z.grad_fn)]
        del y, z, h
        assert [reference() for reference in gone] == [None] * 4
    finally:
        gc.enable()


def test_random_programs_of_functions() -> None:
    found = differing(250 if DEVICE == "cpu" else 25, 0)
    assert not found, found[0]
