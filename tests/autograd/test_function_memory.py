"""autograd.Function: inputs changed in place, outputs that are inputs or views of them, memory that is shared."""

from typing import Any

import pytest

from tests.autograd.test_function import OVERWRITTEN
from tests.support.both import Program, Programs, made, same, six

pytestmark = pytest.mark.usefixtures("nothing_pending")
program = Programs()


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


program |= {
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


@pytest.mark.parametrize("name", program)
def test_as_in_pytorch(name: str) -> None:
    words = {"dirty view of two outputs": "your Function cannot return more than one Tensor. This is not supported",
             "changed_what_was_saved_before": OVERWRITTEN + "[torch.FloatTensor [2, 3]]"}
    same(program[name], words.get(name, ""))
