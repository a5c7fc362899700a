"""Memory of data and parameters, changed between calls of a compiled step: nothing is stale."""

from __future__ import annotations

from typing import Any

import pytest

import microtrain as mt
from microtrain import nn
from microtrain.nn import functional as F
from microtrain.optim import SGD
from tests.compiled.support import (
    WITHIN,
    Mutations,
    World,
    adam,
    batch_norm,
    data,
    entries,
    lived,
    regression,
    same,
    seen,
)
from tests.conftest import DEVICE

mutations = Mutations()


def batch(rows: int, columns: int = 4, seed: int = 7) -> tuple[mt.Tensor, mt.Tensor]:
    return mt.tensor(data(rows, columns, seed=seed)), mt.tensor(data(rows, 3, seed=seed + 1))


# ------------------------------------------------- data that is changed in place
@mutations()
def data_changed_in_place(w: Any) -> None:
    w.args[0].mul_(2)
    w.run(2)
    w.args[1][0, 1] = 5.0


@mutations()
def data_changed_in_every_call(w: Any) -> None:
    for _ in range(5):
        w.args[0].add_(0.1)
        w.run()


def of_an_array() -> World:
    array = data(6, 4)
    world = regression()
    world.args = (mt.from_numpy(array), world.args[1])
    world.array = array
    return world


@mutations(of_an_array, quiet=DEVICE != "cpu")
def data_changed_in_its_array(w: Any) -> None:
    w.array *= 2
    w.run(2)
    w.array[0] = 0


@mutations(of_an_array)
def data_changed_through_another_tensor(w: Any) -> None:
    """Of the same memory."""
    other = w.args[0].detach()
    other.mul_(2)
    w.run(2)
    w.args[0].view(-1)[3] = 5.0
    w.run(2)
    w.args[0].data.zero_()


@mutations()
def data_of_a_tensor_assigned(w: Any) -> None:
    w.args[0].data = mt.ones(6, 4)


@mutations()
def data_not_computed_yet(w: Any) -> None:
    x, y = w.args
    w.args = (x * 2 + 1, (y - 1).exp())
    w.run()
    w.args = (mt.randn(6, 4), mt.rand(6, 3))


@mutations()
def data_made_of_the_weights(w: Any) -> None:
    """What waits to be computed has the weights of before the call."""
    for _ in range(3):
        w.args = (w.args[0], w.args[1] + w.model.weight.detach().sum())
        w.run()


@mutations()
def data_made_of_the_loss(w: Any) -> None:
    for _ in range(4):
        w.args = (w.args[0], w.args[1] * (1 + w.results[-1].detach()))
        w.run()


# ------------------------------------------------- parameters that are changed in place
@mutations()
def parameter_copied_into(w: Any) -> None:
    with mt.no_grad():
        w.model.weight.copy_(mt.ones(3, 4))


@mutations()
def parameter_scaled(w: Any) -> None:
    with mt.no_grad():
        w.model.weight.mul_(0.5)
        w.model.bias += 1


@mutations()
def parameter_initialized(w: Any) -> None:
    nn.init.normal_(w.model.weight)


@mutations()
def element_of_a_parameter(w: Any) -> None:
    with mt.no_grad():
        w.model.weight[1, 2] = 5.0


@mutations()
def data_of_a_parameter_assigned(w: Any) -> None:
    w.model.weight.data = mt.ones(3, 4)


@mutations()
def data_of_a_parameter_changed(w: Any) -> None:
    w.model.weight.data.mul_(0.5)
    w.run()
    w.model.weight.data[0] = 1.0


@mutations()
def data_of_a_parameter_of_another_dtype(w: Any) -> None:
    w.model.weight.data = w.model.weight.data.double()


@mutations()
def parameter_in_its_array(w: Any) -> None:
    array = data(3, 4, seed=8)
    w.model.weight.data = mt.from_numpy(array)
    w.run(2)
    w.kept.append(array)
    array *= 0.5


@mutations(refusable="shares memory")
def two_parameters_of_one_memory(w: Any) -> None:
    flat = mt.tensor(data(15, seed=8))
    w.model.weight.data, w.model.bias.data = flat[:12].view(3, 4), flat[12:]
    w.run(2)
    flat.mul_(0.5)
    w.kept.append(flat)


@mutations(refusable="shares memory")
def a_parameter_and_its_bias_overlap(w: Any) -> None:
    flat = mt.tensor(data(12, seed=8))
    w.model.weight.data, w.model.bias.data = flat.view(3, 4), flat[2:5]
    w.kept.append(flat)


@mutations(batch_norm)
def a_state_dict_kept(w: Any) -> None:
    """Its tensors see what the step changes; then another is kept, then none."""
    w.kept.append(w.model.state_dict())
    w.run(3)
    w.kept.append(w.model.state_dict())
    w.run(2)
    w.kept.clear()
    w.run(2)


@mutations(adam)
def weights_seen_through_others(w: Any) -> None:
    weight = w.model.weight
    w.kept += [weight.detach(), weight.data[1:].t(), weight.detach().view(-1)[::2], weight.detach().double()]
    w.run(2)
    w.kept[0].mul_(0.5)
    w.run(2)
    w.kept[1].zero_()
    w.run(1, plainly=True)
    w.run(2)


@mutations()
def state_of_an_optimizer_kept(w: Any) -> None:
    w.kept.append(w.opt.state[w.model.weight]["momentum_buffer"].detach())
    w.run(3)


@mutations()
def plain_steps_between(w: Any) -> None:
    for _ in range(3):
        w.run(2, plainly=True)
        w.args[0].mul_(0.9)
        w.run()


@mutations()
def a_second_compiled_step(w: Any) -> None:
    """Of the same model, with an optimizer of its own."""
    opt = SGD(w.model.parameters(), lr=0.02)
    model = w.model

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.l1_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss
    other = step if w.call is w.step else mt.compile(step)
    for _ in range(4):
        w.results.append(other(*w.args))
        w.run()


@mutations()
def compiled_twice(w: Any) -> None:
    other = w.step if w.call is w.step else mt.compile(w.step)
    for _ in range(3):
        w.results.append(other(*w.args))
        w.args[0].mul_(0.9)
        w.run()


if DEVICE != "cpu":
    @mutations()
    def device_of_the_model(w: Any) -> None:
        w.model.to("cpu")
        w.set(opt=SGD(w.model.parameters(), lr=0.1))
        w.args = tuple(arg.cpu() for arg in w.args)

    @mutations()
    def device_of_an_argument(w: Any) -> None:
        """Plain, an error."""
        w.args = (w.args[0].cpu(), w.args[1])


test_mutation = mutations.test()


def test_weights_that_others_see_are_replayed_and_looped() -> None:
    def run(compiled: bool) -> World:
        world = lived(adam, compiled=compiled)
        world.kept += [world.model.state_dict(), world.model.weight.detach()]
        world.run(2)
        if compiled:
            assert entries(world.step.__code__, lambda: world.run(3)) == 0
            world.results += [*world.call.loop(world.args, steps=4)]
            assert world.call.steps_alone == ""
        else:
            world.run(7)
        return world
    same(run(True).seen(), run(False).seen(), within=WITHIN)


def test_where_a_step_is_refused_what_others_see_is_as_before() -> None:
    world = regression()
    world.kept.append(world.model.state_dict())

    def step(x: Any, y: Any) -> Any:
        loss = world.step(x, y)
        print(loss)
        return loss
    before = world.seen()
    with pytest.raises(mt.CompileError, match="print"):
        mt.compile(step)(*world.args)
    same(world.seen(), before)
    world.model.weight.detach().add_(1)
    same(seen(world.kept[0]["weight"])["value"], seen(world.model.weight)["value"])
