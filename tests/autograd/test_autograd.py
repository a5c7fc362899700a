"""Backward as PyTorch has it: what it accumulates, frees, refuses and says, and what shares memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from tests.conftest import DEVICE
from tests.support.both import Programs, both, leaf, refused, same

LEAF_IN_PLACE = "a leaf Variable that requires grad is being used in an in-place operation."
NO_NUMPY = "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
OVERWRITTEN = "one of the variables needed for gradient computation has been modified by an inplace operation"
SECOND_TIME = "Trying to backward through the graph a second time"
UNUSED = "appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior."

program = Programs()


# What is refused ------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "backward of a constant": (lambda T, x: T.tensor(1.0).backward(), ""),
    "grad of a constant": (lambda T, x: T.autograd.grad(T.tensor(1.0) * 2, x), ""),
    "backward of no scalar": (lambda T, x: (x * 2).backward(), ""),
    "grad of no scalar": (lambda T, x: T.autograd.grad(x * 2, x), ""),
    "a cotangent of another shape": (lambda T, x: (x * 2).backward(T.ones(3)),
                                     "Mismatch in shape: grad_output[0] has a shape of ...[3]...[2]"),
    "a change of a view of a leaf": (lambda T, x: x[0].zero_(), LEAF_IN_PLACE.replace("a leaf", "a view of a leaf")),
    "numpy of a leaf": (lambda T, x: x.numpy(), NO_NUMPY),
    "numpy of a result": (lambda T, x: (x * 2).numpy(), NO_NUMPY),
    "an array of a leaf": (lambda T, x: np.asarray(x), NO_NUMPY),
    "an array of a result": (lambda T, x: np.asarray(x * 2), NO_NUMPY),
    "an unused input": (lambda T, x: T.autograd.grad((x * 3).sum(), [x, leaf(T, 2.0)]), UNUSED),
    "integers as data": (lambda T, x: setattr(x, "data", T.tensor([3])), ""),
    "integers that require grad": (lambda T, x: T.tensor([1, 2], requires_grad=True),
                                   "nly Tensors of floating point ...dtype can require gradients"),
    "integers made to": (lambda T, x: T.tensor([1, 2]).requires_grad_(), "only Tensors of floating point"),
    "a result that stops to": (lambda T, x: (x * 2).requires_grad_(False),
                               "you can only change requires_grad flags of leaf variables"),
    "a constant's gradient": (lambda T, x: T.tensor(1.0).retain_grad(), ""),
    "a constant's hook": (lambda T, x: T.tensor(1.0).register_hook(lambda g: g), ""),
    "a number as gradient": (lambda T, x: setattr(x, "grad", 1.0), "assigned grad expected to be a Tensor or None"),
    "no inputs": (lambda T, x: (x * 3).sum().backward(inputs=[]), "inputs...cannot be empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    """In PyTorch's words, and nothing has changed."""
    call, words = REFUSED[case]

    def run(T: Any) -> None:
        x = leaf(T, 1.0, 2.0)
        try:
            call(T, x)
        finally:
            assert x.grad is None and x.is_leaf and x.requires_grad and x.tolist() == [1.0, 2.0]
    assert same(run, words)


@program
def walked_twice(T: Any) -> Any:
    x = leaf(T, 3.0)
    y = (x**2).sum()
    y.backward(retain_graph=True)
    y.backward()
    refused(y.backward, SECOND_TIME)
    nothing_saved = (x + 1).sum()
    nothing_saved.backward()
    nothing_saved.backward()
    shared = x.exp()
    (shared * 2).sum().backward()
    refused((shared * 3).sum().backward, SECOND_TIME)
    return x.grad


CHANGES: dict[str, Callable[[Any], Any]] = {
    "add_": lambda x: x.add_(1.0), "mul_": lambda x: x.mul_(2.0), "zero_": lambda x: x.zero_(),
    "fill_": lambda x: x.fill_(1.0), "copy_": lambda x: x.copy_(x.detach() * 0),
    "setitem": lambda x: x.__setitem__(0, 5.0), "iadd": lambda x: x.__iadd__(1.0)}


@pytest.mark.parametrize("change", CHANGES)
def test_a_leaf_is_not_changed_in_place(change: str) -> None:
    def run(T: Any) -> Any:
        x = leaf(T, 1.0, 2.0)
        refused(lambda: CHANGES[change](x), LEAF_IN_PLACE)
        before = x.tolist(), x.is_leaf, x.grad_fn
        with T.no_grad():
            CHANGES[change](x)
        return before, x.detach(), x.is_leaf, x.requires_grad
    same(run)


SAVED: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "input of mul": (lambda h: h * h, lambda h, y: h.add_(1)),
    "input of sin": (lambda h: h.sin(), lambda h, y: h.mul_(2)),
    "output of exp": (lambda h: h.exp(), lambda h, y: y.add_(1)),
    "output of sigmoid": (lambda h: h.sigmoid(), lambda h, y: y.zero_()),
    "input of pow": (lambda h: h**3, lambda h, y: h.zero_()),
    "through detach": (lambda h: h * h, lambda h, y: h.detach().zero_()),
    "through an element": (lambda h: h * h, lambda h, y: h[0].zero_()),
    "through a view": (lambda h: h * h, lambda h, y: h.view(-1)[:1].fill_(9.0)),
    "saved by nobody": (lambda h: h + 1, lambda h, y: h.mul_(5)),
}


@pytest.mark.parametrize("case", SAVED)
def test_a_saved_value_that_was_overwritten_is_noticed(case: str) -> None:
    function, overwrite = SAVED[case]

    def run(T: Any) -> Any:
        x = leaf(T, 1.0, 2.0)
        h = x * 1.0
        y = function(h)
        overwrite(h, y)
        if case != "saved by nobody":
            refused(y.sum().backward, OVERWRITTEN)
        else:
            y.sum().backward()
        return x.grad
    same(run)


@both
def test_data_escapes_the_version_check(T: Any) -> None:
    """PyTorch then differentiates at the new value without a word; here the gradient is that of what was computed."""
    x = leaf(T, 1.0, 2.0)
    y = x * x
    x.data.fill_(5.0)
    y.sum().backward()
    assert x.tolist() == [5.0, 5.0] and x.grad.tolist() == ([10.0, 10.0] if T is torch else [2.0, 4.0])


@program
def unused_inputs(T: Any) -> Any:
    x, other = leaf(T, 1.0), leaf(T, 2.0)
    unused = T.autograd.grad((x * 3).sum(), [x, other], allow_unused=True)
    zeros, = T.autograd.grad((x * 3).sum(), [other], allow_unused=True, materialize_grads=True)
    graph, = T.autograd.grad((x * 3).sum(), [other], create_graph=True, materialize_grads=True)
    again, = T.autograd.grad(graph.sum(), [x], materialize_grads=True)
    return unused, zeros, zeros.requires_grad, graph.requires_grad, again


@program
def a_value_is_read_where_nothing_is_recorded(T: Any) -> Any:
    x, read = leaf(T, 1.0), []
    for y in (x, x * 2):
        with T.no_grad():
            read += [y.cpu().numpy(), np.asarray(y.cpu()), y.item()]
        refused(y.numpy, NO_NUMPY)
    return read


@both
def test_grad_takes_only_a_gradient_that_fits(T: Any) -> None:
    x = leaf(T, 1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"gradient of size .* a tensor of size|grad has data of a different size"):
        x.grad = T.ones(3)
    x.grad = T.ones(2)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


# What is accumulated, kept and passed on ------------------------------------------------------------------------------


@program
def accumulated_until_it_is_zeroed(T: Any) -> Any:
    x, seen = leaf(T, 1.0, 2.0), []
    for _ in range(3):
        (x * x).sum().backward()
        seen.append(x.grad.tolist())
    x.grad.zero_()
    seen.append(x.grad.tolist())
    (x * 3).sum().backward()
    seen.append(x.grad.tolist())
    x.grad = None
    (x * 5).sum().backward()
    return seen, x.grad


@program
def changed_gradients(T: Any) -> Any:
    """Two gradients, or those of two leaves under one cotangent, do not share memory; views of one do."""
    x, y, z = leaf(T, 1.0, 2.0), leaf(T, 2.0), leaf(T, 3.0, 4.0)
    first, second = (T.autograd.grad((x * x).sum(), x)[0] for _ in range(2))
    first.zero_()
    (x + y + z).sum().backward()
    x.grad.mul_(10)
    z.grad[0].zero_()
    z.grad.data.mul_(2)
    return first, second, x.grad, y.grad, z.grad


@program
def diamonds_and_reuse(T: Any) -> Any:
    x = leaf(T, 2.0)
    a = x * 3
    b, c = a + 1, a * a
    (b * c + c / b + c).sum().backward()
    return x.grad


@program
def leaf_rules(T: Any) -> Any:
    x, plain = leaf(T, 1.0), T.tensor([1.0]) * 2
    y = x * 2
    tensors = x, y, plain, T.ones(2, requires_grad=True), y.detach(), x > 0, x.detach(), x.data
    return ([(t.is_leaf, t.requires_grad, t.grad_fn is None) for t in tensors],
            repr(y.grad_fn).startswith("<MulBackward0 object at 0x"))


@program
def retained(T: Any) -> Any:
    x = leaf(T, 1.0, 2.0)
    kept, dropped = x * 2, x * 3
    told = kept.retain_grad(), x.retains_grad, kept.retains_grad, dropped.retains_grad
    (kept * kept + dropped).sum().backward()
    return told, kept.grad, dropped.grad, x.grad


@both
def test_gradient_of_a_result_that_is_not_a_leaf_warns(T: Any) -> None:
    y = leaf(T, 1.0) * 2
    with pytest.warns(UserWarning, match="The .grad attribute of a Tensor that is not a leaf Tensor is being accessed"):
        assert y.grad is None


@program
def inputs_restrict_where_gradients_go(T: Any) -> Any:
    x, y = leaf(T, 2.0), leaf(T, 3.0)
    (x * y).sum().backward(inputs=[x])
    h = x * 3
    by_x, by_h = T.autograd.grad((h * h).sum(), [x, h])
    return x.grad, y.grad, by_x, by_h, by_x.requires_grad


@program
def gradients_of_several_outputs_add_up(T: Any) -> Any:
    x = leaf(T, 2.0, 5.0)
    got = T.autograd.grad([x * 2, (x * x).sum()], x, grad_outputs=[T.tensor([1.0, -1.0]), None])
    T.autograd.backward([x * 3, (x * x).sum()], [T.tensor([1.0, 1.0]), T.tensor(2.0)])
    return got, x.grad


@program
def gradients_of_gradients(T: Any) -> Any:
    x = leaf(T, 2.0)
    first, = T.autograd.grad((x**3).sum(), x, create_graph=True)
    second, = T.autograd.grad(first.sum(), x, create_graph=True)
    third, = T.autograd.grad(second.sum(), x)
    (x**3).sum().backward(create_graph=True)
    kept, x.grad = x.grad, None
    kept.sum().backward()
    return [(g.detach(), g.requires_grad) for g in (first, second, third, kept, x.grad)]


@program
def gradients_take_the_dtype_of_their_leaf(T: Any) -> Any:
    x, y = leaf(T, 1.0, 2.0), T.tensor([1.0, 2.0], dtype=T.float64, requires_grad=True)
    (x * y).sum().backward()
    return x.grad, y.grad


@program
def no_grad_and_enable_grad(T: Any) -> Any:
    x = leaf(T, 1.0)

    @T.no_grad()
    def forward(value: Any) -> Any:
        """Doubles."""
        return value * 2

    def recording() -> Any:
        return T.is_grad_enabled(), (x * 2).requires_grad, forward(x).requires_grad, recorded(x).requires_grad

    recorded = T.enable_grad()(lambda value: value * 2)
    seen = [recording()]
    with T.no_grad():
        seen.append(recording())
        with T.enable_grad():
            seen.append(recording())
        seen.append(recording())
    refused(T.no_grad()(lambda: forward(None)))
    with T.set_grad_enabled(False):
        seen.append(recording())
    return seen, recording(), forward.__name__, forward.__doc__


@program
def an_update_under_no_grad_keeps_the_leaf(T: Any) -> Any:
    w = leaf(T, 1.0, 2.0)
    before = w
    for _ in range(2):
        (w * w).sum().backward()
        with T.no_grad():
            w -= 0.25 * w.grad
        w.grad.zero_()
    return w is before, w.is_leaf, w.requires_grad, w.grad_fn, w.detach()


@program
def hooks_see_and_replace_the_summed_gradient(T: Any) -> Any:
    x, seen = leaf(T, 1.0, 2.0), []
    h = x * 2
    h.register_hook(lambda g: seen.append(g.tolist()))
    h.register_hook(lambda g: g * 10)
    handle = x.register_hook(lambda g: g + 1)
    (h * h + h * 3).sum().backward()
    first, x.grad = x.grad, None
    handle.remove()
    (x * 3).sum().backward()
    second = x.grad.tolist()
    x.register_post_accumulate_grad_hook(lambda t: t.grad)
    refused((x * 3).sum().backward, "Tensor post accumulate grad hooks should return None")
    y = T.ones(2, requires_grad=True)
    y.register_post_accumulate_grad_hook(lambda t: 3)
    refused((y * 3).sum().backward, "expected Variable, but hook returned 'int'")
    return seen, first, second


# Aliases --------------------------------------------------------------------------------------------------------------


@program
def data_and_detach_share_memory(T: Any) -> Any:
    x, seen = leaf(T, 1.0, 2.0), []
    x.data.mul_(3)
    seen.append(x.tolist())
    x.detach()[0] = -1.0
    seen.append(x.tolist())
    x.detach().clone().zero_()
    seen.append(x.tolist())
    x.data = T.tensor([7.0, 8.0])
    return seen, x.detach(), x.requires_grad, x.is_leaf


VIEWS: dict[str, Callable[[Any], Any]] = {
    "row": lambda x: x[0], "element": lambda x: x[1, 2], "slice": lambda x: x[:, 1:], "step": lambda x: x[:, ::2],
    "view": lambda x: x.view(-1), "reshape": lambda x: x.reshape(3, 2), "flatten": lambda x: x.flatten(),
    "transpose": lambda x: x.t(), "T": lambda x: x.T, "permute": lambda x: x.permute(1, 0),
    "unsqueeze": lambda x: x.unsqueeze(0), "squeeze": lambda x: x.unsqueeze(0).squeeze(0),
    "detach": lambda x: x.detach(), "split": lambda x: x.split(1)[1], "chunk": lambda x: x.chunk(3, dim=1)[0],
    "view of a view": lambda x: x.t()[1:][0],
    "no view: sum": lambda x: x + 0, "no view: clone": lambda x: x.clone(), "no view: rows": lambda x: x[[0, 1]],
    "no view: reshaped": lambda x: x.t().reshape(-1), "no view: flip": lambda x: x.flip(0),
    "no view: mask": lambda x: x[x >= 0]}


@pytest.mark.parametrize("name", VIEWS)
def test_a_change_through_a_view_changes_the_tensor_and_back(name: str) -> None:
    def run(T: Any) -> Any:
        x = T.arange(6.0).reshape(2, 3).clone()
        other, view = x[1], VIEWS[name](x)
        view.mul_(2).add_(100)
        seen = x.tolist(), other.tolist()
        x.zero_()
        return seen, view, other
    same(run)


@program
def a_change_through_a_view_is_differentiated(T: Any) -> Any:
    """The base's history runs through the change."""
    x, s = T.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), leaf(T, 10.0, 20.0)
    base = x * 1
    base[0].mul_(s)
    base.view(-1)[3:].zero_()
    (base * base).sum().backward()
    return x.grad, s.grad


@pytest.mark.parametrize("name", program)
def test_as_in_pytorch(name: str) -> None:
    assert not same(program[name])


@both
def test_numpy_shares_memory_on_the_cpu(T: Any) -> None:
    if T is mt and DEVICE == "cuda":
        with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
            mt.ones(2).numpy()
        return
    array = np.array([1.0, 2.0], dtype=np.float32)
    copied = T.tensor(array)
    array[0] = 9.0
    assert copied.numpy().dtype == np.float32 and copied.numpy().tolist() == [1.0, 2.0]
