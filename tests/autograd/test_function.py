"""autograd.Function: outputs, contexts, derivatives of derivatives, functions within functions."""

import gc
import weakref
from collections import namedtuple
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from tests.autograd.random_functions import differing
from tests.conftest import DEVICE
from tests.support.both import Programs, doubling, made, same, six

pytestmark = pytest.mark.usefixtures("nothing_pending")
program = Programs()

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


program |= {
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
    "too few": lambda T: made(T, forward=lambda ctx, a, b: a + b, backward=lambda ctx, g: g
                              ).apply(x := six(T), x * 2).sum().backward(),
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
def which_inputs_need_a_gradient(T: Any) -> Any:
    seen: list[Any] = []
    F = made(T, forward=lambda ctx, a, b, k: (a + b * k, a * k),
             backward=lambda ctx, g, h: (seen.append((ctx.needs_input_grad, g, h)), (g, g, None))[1])
    a = six(T)
    total, product = F.apply(a, T.ones(3), 2.0)
    (total * 10 + product).sum().backward()
    F.apply(a, T.ones(3), 2.0)[1].sum().backward()
    return seen, a.grad


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
    return told, entry.saved_tensors, "FBackward object at 0x" in repr(entry)


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


program |= {
    "non-differentiable input": lambda T: [t.requires_grad for t in made(
        T, forward=lambda ctx, x: (ctx.mark_non_differentiable(x), (x * 2, x))[1], backward=lambda ctx, g, h: g
        ).apply(six(T))],
    "non-differentiable number": lambda T: made(T, forward=lambda ctx, x: ctx.mark_non_differentiable(3),
                                                backward=lambda ctx, g: g).apply(six(T)),
}


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


program |= {"once": lambda T: differentiated_twice(T, lambda y: y),
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


@pytest.mark.parametrize("name", program)
def test_as_in_pytorch(name: str) -> None:
    same(program[name])


def test_a_function_that_saves_its_output_leaves_no_cycle() -> None:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x.mul_(2))
        ctx.save_for_backward(x)
        return x

    gc.collect()
    gc.disable()
    try:
        x = six(mt)
        y = exponential(mt).apply(x)
        h = x * 1
        z = made(mt, forward=forward, backward=lambda ctx, g: g * 2 * ctx.saved_tensors[0]).apply(h)
        gone = [weakref.ref(y), weakref.ref(z), weakref.ref(y.grad_fn), weakref.ref(z.grad_fn)]
        del y, z, h
        assert [reference() for reference in gone] == [None] * 4
    finally:
        gc.enable()


def test_random_programs_of_functions() -> None:
    found = differing(250 if DEVICE == "cpu" else 25, 0)
    assert not found, found[0]
