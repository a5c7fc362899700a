"""What a compiled step is called with, changed between calls: nothing is stale."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import microtrain as mt
from microtrain import nn
from microtrain.nn import functional as F
from microtrain.optim import SGD
from tests.compiled.support import Mutations, World, data

mutations = Mutations()


def batch(rows: int, columns: int = 4, seed: int = 7) -> tuple[mt.Tensor, mt.Tensor]:
    return mt.tensor(data(rows, columns, seed=seed)), mt.tensor(data(rows, 3, seed=seed + 1))


# ------------------------------------------------- other arguments
@mutations()
def values(w: Any) -> None:
    w.args = batch(6)


@mutations()
def values_in_every_call(w: Any) -> None:
    """Each dropped before the next is made, which may have its address."""
    for k in range(12):
        w.args = ()
        w.args = batch(6, seed=k)
        w.run()


@mutations()
def rows(w: Any) -> None:
    w.args = batch(5)


@mutations()
def rows_now_so_now_so(w: Any) -> None:
    """As the last batch of an epoch is smaller."""
    for k, count in enumerate((6, 6, 2, 6, 6, 2, 1, 6, 1)):
        w.args = batch(count, seed=k)
        w.run()


@mutations()
def no_rows(w: Any) -> None:
    w.args = batch(0)


@mutations()
def columns_that_do_not_fit(w: Any) -> None:
    """Plain, an error: of the step's, and nothing is changed."""
    kept = w.args
    w.args = batch(6, 5)
    w.run(2)
    w.args = kept


@mutations()
def shape_that_is_broadcast(w: Any) -> None:
    w.args = (w.args[0], w.args[1][:, :1])


@mutations()
def rank(w: Any) -> None:
    w.args = (w.args[0].reshape(2, 3, 4).sin(), w.args[1].reshape(2, 3, 3))


@mutations()
def transposed(w: Any) -> None:
    w.args = (mt.tensor(data(4, 6, seed=3)).T, w.args[1].flip(0))


@mutations()
def dtype_of_an_argument(w: Any) -> None:
    w.args = (w.args[0], w.args[1].double())


@mutations()
def integers(w: Any) -> None:
    w.args = (w.args[0], w.args[1].round().long())


@mutations()
def half_precision(w: Any) -> None:
    w.args = (w.args[0], w.args[1].half())


def loaded() -> World:
    """Data that the model itself is changed by."""
    model = nn.Linear(4, 3)

    def step(x: Any, y: Any) -> Any:
        loss = F.mse_loss(model(x), y)
        model.weight.grad = None
        loss.backward()
        with mt.no_grad():
            model.weight -= 0.1 * model.weight.grad
        return loss
    return World(step, *batch(6), model=model)


@mutations(loaded)
def argument_that_requires_grad(w: Any) -> None:
    x = w.args[0].clone().requires_grad_()
    w.args = (x, w.args[1])
    w.run(2)
    w.kept.append(x)


@mutations(loaded, refusable="neither")
def argument_on_the_tape(w: Any) -> None:
    """Its gradient flows on to what it was made from."""
    before = mt.ones(4, requires_grad=True)
    data = w.args[0]
    for _ in range(3):
        w.args = (data * before, w.args[1])
        w.run()
    w.args = (data, w.args[1])
    w.kept.append(before)


@mutations(loaded)
def argument_a_parameter(w: Any) -> None:
    """The weight that the step changes is its data too."""
    w.args = (w.model.weight, mt.ones(3, 3))


@mutations(loaded, refusable="shares memory")
def argument_a_view_of_a_parameter(w: Any) -> None:
    w.args = (w.model.weight.detach(), mt.ones(3, 3))
    w.run()
    w.args = (w.model.weight.data[1:], mt.ones(2, 3))


@mutations()
def argument_a_number(w: Any) -> None:
    w.args = (w.args[0], 0.5)


@mutations()
def argument_an_array(w: Any) -> None:
    """Plain, an error of the model's."""
    w.args = (data(6, 4), w.args[1])


@mutations()
def argument_missing(w: Any) -> None:
    w.args = w.args[:1]
    w.run()
    w.kwargs = {"z": 1}


@mutations()
def keywords(w: Any) -> None:
    x, y = batch(6)
    w.args, w.kwargs = (), {"y": y, "x": x}
    w.run(2)
    w.args, w.kwargs = (x,), {"y": w.results[-1].detach()}


def of_anything() -> World:
    w = mt.tensor(data(4, 3), requires_grad=True)

    def step(x: Any, y: Any = None, scale: Any = 1.0, *more: Any, **named: Any) -> Any:
        h = x["x"] if isinstance(x, dict) else x.x if isinstance(x, SimpleNamespace) else x[0] if isinstance(
            x, list | tuple) else x
        loss = ((h @ w) * scale).square().mean()
        if y is not None:
            loss = loss + (y * w.sum(0)).sum()
        for other in (*more, *named.values()):
            loss = loss + (other * w).mean()
        w.grad = None
        loss.backward()
        with mt.no_grad():
            w.sub_(0.1 * w.grad)
        return loss
    return World(step, mt.tensor(data(6, 4)), w=w)


@mutations(of_anything)
def argument_none_no_more(w: Any) -> None:
    w.args += (mt.ones(3),)
    w.run(2)
    w.args = (*w.args[:1], None)


@mutations(of_anything)
def number_as_an_argument(w: Any) -> None:
    w.args += (None, 0.5)
    for scale in (0.25, 2, True, np.float32(0.1), np.int64(3), mt.tensor(0.7), -0.0, 1):
        w.args = (*w.args[:2], scale)
        w.run()


@mutations(of_anything)
def more_arguments(w: Any) -> None:
    w.args += (None, 1.0, 3.0)
    w.run(2)
    w.args += (mt.ones(4, 3),)
    w.run(2)
    w.kwargs = {"a": 2.0, "b": mt.ones(3)}
    w.run(2)
    w.kwargs = {"b": mt.zeros(3), "a": 3.0}


@mutations(of_anything)
def list_as_an_argument(w: Any) -> None:
    x, = w.args
    held = [x]
    w.args = (held,)
    w.run(2)
    held[0] = x * 2
    w.run(2)
    held.append(3)
    w.run(2)
    w.args = ((x * 3,),)


@mutations(of_anything)
def dict_as_an_argument(w: Any) -> None:
    x, = w.args
    held = {"x": x}
    w.args = (held,)
    w.run(2)
    held["x"] = x * 2
    w.run(2)
    held["unused"] = 7


@mutations(of_anything)
def object_as_an_argument(w: Any) -> None:
    x, = w.args
    held = SimpleNamespace(x=x)
    w.args = (held,)
    w.run(2)
    held.x = x * 2
    w.run(2)
    held.x = x[:3]


def by_argument() -> World:
    """Model and optimizer are arguments."""
    def step(model: Any, opt: Any, x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss
    model = nn.Linear(4, 3)
    opt = SGD(model.parameters(), lr=0.1, momentum=0.9)
    world = World(step, model, opt, *batch(6), model=model, opt=opt)
    return world


@mutations(by_argument)
def another_model(w: Any) -> None:
    model = nn.Linear(4, 3)
    opt = SGD(model.parameters(), lr=0.05, momentum=0.5)
    first = w.args
    for args in ((model, opt, *batch(6)), first) * 3:
        w.args = args
        w.run()
    w.kept += [model, opt]


@mutations(by_argument)
def another_optimizer(w: Any) -> None:
    w.args = (w.args[0], SGD(w.model.parameters(), lr=0.02), *w.args[2:])


# ------------------------------------------------- arguments that are one another
def aliased() -> World:
    """Writes to one argument and reads the other."""
    def step(x: Any, y: Any) -> Any:
        x.mul_(0.5)
        x += 1
        return (x * y).sum()
    x, y = mt.tensor(data(6)), mt.tensor(data(6, seed=1))
    return World(step, x, y, x=x, y=y)


@mutations(aliased)
def one_tensor_twice(w: Any) -> None:
    w.args = (w.x, w.x)


@mutations(aliased, refusable="shares memory")
def a_tensor_and_its_view(w: Any) -> None:
    both = mt.tensor(data(6, seed=5))
    w.kept.append(both)
    w.args = (both, both.view(2, 3).view(6))
    w.run(2)
    w.args = (both.detach(), both)


@mutations(aliased, refusable="shares memory")
def a_tensor_and_a_part_of_it(w: Any) -> None:
    both = mt.tensor(data(12, seed=5))
    w.kept.append(both)
    w.args = (both[:6], both[3:9])


@mutations(aliased)
def swapped(w: Any) -> None:
    w.args = w.args[::-1]


@mutations(aliased)
def one_no_more(w: Any) -> None:
    w.args = (w.x, w.x)
    w.run(2)
    w.args = (w.x, w.y)


@mutations(aliased)
def memory_of_an_array(w: Any) -> None:
    array = data(6, seed=6)
    w.args = (mt.from_numpy(array), w.y)
    w.run(2)
    w.kept.append(array)
    array[2] = 7


@mutations(quiet=True)
def one_tensor_twice_unchanged(w: Any) -> None:
    w.kept.append(w.args[0])


test_mutation = mutations.test()
