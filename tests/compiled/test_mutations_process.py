"""What may change of gradients, hooks and the process between calls of a compiled step: nothing is stale."""

from __future__ import annotations

from typing import Any

import numpy as np

import microtrain as mt
from microtrain import nn, settings
from microtrain.nn import functional as F
from microtrain.optim import SGD
from tests.compiled.setups import accumulating
from tests.compiled.support import Mutations, World, data, dropout, mlp, regression, training

mutations = Mutations()


# ------------------------------------------------- gradients and hooks
@mutations(accumulating)
def gradient_dropped(w: Any) -> None:
    w.model.weight.grad = None


@mutations(accumulating)
def gradient_set_by_hand(w: Any) -> None:
    w.model.weight.grad = mt.ones(3, 4)


@mutations(accumulating)
def gradient_zeroed(w: Any) -> None:
    w.kept.append(w.model.weight.grad)
    w.opt.zero_grad(set_to_none=False)


@mutations(accumulating)
def gradient_scaled(w: Any) -> None:
    w.model.weight.grad *= 0.5


@mutations(accumulating, refusable="shares memory")
def gradient_shared_by_two(w: Any) -> None:
    shared = mt.ones(12)
    w.model.weight.grad, w.model.bias.grad = shared.view(3, 4), shared[:3]
    w.kept.append(shared)


@mutations(accumulating)
def gradients_accumulated_by_a_plain_backward(w: Any) -> None:
    x, y = w.args
    (F.mse_loss(w.model(x), y) * 3).backward()


@mutations(quiet=True)
def gradient_set_where_it_is_zeroed(w: Any) -> None:
    w.model.weight.grad = mt.ones(3, 4)


@mutations()
def hook_on_a_parameter(w: Any) -> None:
    w.model.weight.register_hook(lambda grad: grad * 2)


@mutations()
def hook_added_and_removed(w: Any) -> None:
    hook = w.model.weight.register_hook(lambda grad: grad * 2)
    w.run(2)
    hook.remove()


@mutations()
def hook_with_a_number_of_its_own(w: Any) -> None:
    factor = [2.0]
    w.model.weight.register_hook(lambda grad: grad * factor[0])
    w.run(2)
    factor[0] = 0.5


@mutations(refusable="changes")
def hook_with_an_effect(w: Any) -> None:
    w.model.weight.register_hook(lambda grad: w.kept.append(grad.detach() * 1))


@mutations()
def hook_after_accumulation(w: Any) -> None:
    def halved(param: Any) -> None:
        param.grad *= 0.5
    w.model.weight.register_post_accumulate_grad_hook(halved)


@mutations()
def gradients_by_a_class_of_the_users(w: Any) -> None:
    class Halved(mt.autograd.Function):
        factor = 0.5

        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * Halved.factor
    w.set(loss_fn=lambda a, b: F.mse_loss(Halved.apply(a), b))
    w.run(2)
    Halved.factor = 0.25


# ------------------------------------------------- the process
@mutations(dropout)
def seed(w: Any) -> None:
    mt.manual_seed(5)


@mutations(dropout)
def random_numbers_drawn_outside(w: Any) -> None:
    w.kept.append(mt.rand(3))
    w.run()
    w.kept.append(mt.randn(3))


@mutations(dropout)
def random_state_put_back(w: Any) -> None:
    state = mt.get_rng_state()
    w.run(2)
    mt.set_rng_state(state)


@mutations(lambda: regression(layers=lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.3))))
def random_state_forked(w: Any) -> None:
    with mt.random.fork_rng():
        w.run(2)


@mutations()
def gradients_off(w: Any) -> None:
    """Plain, an error."""
    mt.set_grad_enabled(False)


@mutations()
def gradients_off_around_one_call(w: Any) -> None:
    with mt.no_grad():
        w.run()
    with mt.inference_mode():
        w.run()


def evaluated() -> World:
    """A step that needs no gradient."""
    model = nn.Linear(4, 3)
    return World(lambda x: model(x).sum(0), mt.tensor(data(6, 4)), model=model)


@mutations(evaluated, quiet=True, refusable="derivative")
def gradients_off_where_none_is_needed(w: Any) -> None:
    with mt.no_grad():
        w.run(2)
        w.kept.append([result.requires_grad for result in w.results])
    w.run()
    w.kept.append([result.requires_grad for result in w.results])


def making() -> World:
    """A step that makes tensors of the default dtype."""
    p = mt.tensor(data(4, 3), requires_grad=True, dtype=mt.float32)

    def step(x: Any) -> Any:
        loss = (x @ p + mt.full((3,), 0.1) + mt.tensor([0.1, 0.2, 0.3]) / mt.tensor(3)).square().mean()
        p.grad = None
        loss.backward()
        with mt.no_grad():
            p.sub_(0.1 * p.grad)
        return loss
    return World(step, mt.tensor(data(6, 4)), p=p)


@mutations(making)
def default_dtype(w: Any) -> None:
    mt.set_default_dtype(mt.float64)


@mutations(quiet=True)
def matmul_precision(w: Any) -> None:
    mt.set_float32_matmul_precision("high")


@mutations(mlp, quiet=True)
def fusion_off(w: Any) -> None:
    settings.fuse.set(False)
    w.run(2)
    settings.fuse.set(True)


@mutations(quiet=True)
def plans_forgotten(w: Any) -> None:
    from microtrain.engine.plans import plans
    plans.forget()


@mutations()
def anomalies_detected(w: Any) -> None:
    """Plain, an error."""
    w.args = (mt.tensor(np.full((6, 4), np.nan, np.float32)), w.args[1])
    with mt.autograd.detect_anomaly():
        w.run(1)


@mutations()
def loss_function_swapped(w: Any) -> None:
    w.set(loss_fn=F.l1_loss)


@mutations(lambda: training(m := nn.Linear(4, 3), SGD(m.parameters(), lr=0.1), nn.MSELoss(), data(6, 4), data(6, 3)))
def loss_reduction(w: Any) -> None:
    loss_fn = w.step.__closure__[w.step.__code__.co_freevars.index("loss_fn")].cell_contents
    loss_fn.reduction = "sum"


test_mutation = mutations.test()
