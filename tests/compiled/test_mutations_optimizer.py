"""What may change of the optimizer between calls of a compiled step: nothing is stale."""

from __future__ import annotations

import copy
from typing import Any

import microtrain as mt
from microtrain import nn
from microtrain.nn import functional as F
from microtrain.optim import SGD, Adam, AdamW
from tests.compiled.setups import scheduled
from tests.compiled.support import Mutations, adam, options, regression

mutations = Mutations()


# ------------------------------------------------- options of the optimizer
@mutations()
def learning_rate(w: Any) -> None:
    options(w, lr=0.02)


@mutations()
def learning_rate_one(w: Any) -> None:
    """A number that is structure."""
    options(w, lr=1.0)


@mutations()
def learning_rate_zero(w: Any) -> None:
    options(w, lr=0.0)


@mutations()
def learning_rate_as_an_integer(w: Any) -> None:
    options(w, lr=1)


@mutations()
def learning_rate_becomes_a_tensor(w: Any) -> None:
    options(w, lr=mt.tensor(0.02))


@mutations(lambda: regression(lr=mt.tensor(0.1)))
def learning_rate_changed_in_a_tensor(w: Any) -> None:
    w.opt.param_groups[0]["lr"].fill_(0.02)


@mutations(lambda: regression(lr=mt.tensor(0.1)))
def learning_rate_another_tensor(w: Any) -> None:
    options(w, lr=mt.tensor(0.02))


@mutations()
def learning_rate_in_every_call(w: Any) -> None:
    for lr in (0.05, 0.5, 0.25, 0.1, 2.0, -0.0):
        options(w, lr=lr)
        w.run()


@mutations()
def momentum(w: Any) -> None:
    options(w, momentum=0.5)


@mutations()
def momentum_none(w: Any) -> None:
    options(w, momentum=0)


@mutations(lambda: regression(lr=0.1))
def momentum_begins(w: Any) -> None:
    options(w, momentum=0.9)


@mutations()
def momentum_pauses(w: Any) -> None:
    for value in (0, 0.9):
        options(w, momentum=value)
        w.run(2)


@mutations()
def weight_decay(w: Any) -> None:
    options(w, weight_decay=0.1)


@mutations()
def nesterov(w: Any) -> None:
    options(w, nesterov=True)


@mutations()
def dampening(w: Any) -> None:
    options(w, dampening=0.5)


@mutations()
def maximize(w: Any) -> None:
    options(w, maximize=True)


@mutations(adam)
def betas(w: Any) -> None:
    options(w, betas=(0.5, 0.9))


@mutations(adam)
def betas_none(w: Any) -> None:
    options(w, betas=(0, 0))


@mutations(adam)
def eps(w: Any) -> None:
    options(w, eps=0.1)


@mutations(lambda: regression(AdamW, lr=0.05))
def decoupled_weight_decay(w: Any) -> None:
    options(w, weight_decay=0.5)


@mutations(adam)
def amsgrad(w: Any) -> None:
    """The state has no largest square: plain, this is an error."""
    options(w, amsgrad=True)


@mutations()
def options_replaced(w: Any) -> None:
    w.opt.param_groups[0] = {**w.opt.param_groups[0], "lr": 0.02}


@mutations()
def groups_replaced(w: Any) -> None:
    w.opt.param_groups = [{**group, "lr": 0.02} for group in w.opt.param_groups]


@mutations(lambda: scheduled(SGD, lambda opt: mt.optim.lr_scheduler.StepLR(opt, 2, 0.5), lr=0.1))
def scheduler_stepped_outside(w: Any) -> None:
    w.scheduler.step()
    w.scheduler.step()


@mutations(lambda: scheduled(SGD, lambda opt: mt.optim.lr_scheduler.StepLR(opt, 2, 0.5), lr=0.1))
def scheduler_options(w: Any) -> None:
    w.scheduler.gamma = 0.1


@mutations(lambda: scheduled(SGD, lambda opt: mt.optim.lr_scheduler.StepLR(opt, 2, 0.5), lr=0.1))
def scheduler_loaded(w: Any) -> None:
    w.scheduler.load_state_dict({**w.scheduler.state_dict(), "last_epoch": 7})


@mutations()
def scheduler_begun(w: Any) -> None:
    scheduler = mt.optim.lr_scheduler.LambdaLR(w.opt, lambda epoch: 1 / (1 + epoch))
    for _ in range(3):
        w.run()
        scheduler.step()


# ------------------------------------------------- the optimizer's state
@mutations(adam)
def step_counter(w: Any) -> None:
    for state in w.opt.state.values():
        state["step"] = 100


@mutations()
def state_forgotten(w: Any) -> None:
    w.opt.state.clear()


@mutations()
def state_of_one_parameter_forgotten(w: Any) -> None:
    del w.opt.state[w.model.bias]


@mutations()
def state_changed_in_place(w: Any) -> None:
    w.opt.state[w.model.weight]["momentum_buffer"].mul_(3)


@mutations()
def state_replaced(w: Any) -> None:
    w.opt.state[w.model.weight]["momentum_buffer"] = mt.ones(3, 4)


@mutations()
def state_shared_by_two(w: Any) -> None:
    """The memory of one buffer is another's too."""
    shared = mt.ones(12)
    w.opt.state[w.model.weight]["momentum_buffer"] = shared.view(3, 4)
    w.opt.state[w.model.bias]["momentum_buffer"] = shared[:3]
    w.kept.append(shared)


@mutations(adam)
def optimizer_loaded(w: Any) -> None:
    other = adam()
    other.run(5)
    w.opt.load_state_dict({**other.opt.state_dict(), "param_groups": [
        {**group, "lr": 0.2} for group in other.opt.state_dict()["param_groups"]]})


@mutations(adam)
def optimizer_taken_back(w: Any) -> None:
    """What it was before some calls, at which what was saved is not changed."""
    saved = copy.deepcopy(w.opt.state_dict())
    w.run(2)
    w.opt.load_state_dict(saved)
    w.kept.append(saved["state"])


@mutations()
def optimizer_replaced(w: Any) -> None:
    w.set(opt=SGD(w.model.parameters(), lr=0.1, momentum=0.9))


@mutations()
def optimizer_of_another_kind(w: Any) -> None:
    w.set(opt=Adam(w.model.parameters(), lr=0.1))


@mutations()
def optimizer_with_a_step_of_its_own(w: Any) -> None:
    class Halved(SGD):
        def _update(self, param: Any, grad: Any, *rest: Any) -> Any:
            return super()._update(param, grad / 2, *rest)
    w.opt.__class__ = Halved


@mutations()
def parameter_taken_out(w: Any) -> None:
    w.opt.param_groups[0]["params"].pop()


@mutations()
def parameter_added_to_a_group(w: Any) -> None:
    extra = mt.ones(3, requires_grad=True)
    loss_fn = F.mse_loss
    w.opt.param_groups[0]["params"].append(extra)
    w.set(loss_fn=lambda a, b: loss_fn(a + extra, b))
    w.kept.append(extra)


@mutations()
def group_added(w: Any) -> None:
    extra = nn.Parameter(mt.ones(3))
    loss_fn = F.mse_loss
    w.opt.add_param_group({"params": [extra], "lr": 0.5})
    w.set(loss_fn=lambda a, b: loss_fn(a * extra, b))
    w.kept.append(extra)


test_mutation = mutations.test()
