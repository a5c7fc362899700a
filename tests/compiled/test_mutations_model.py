"""What may change of the model between calls of a compiled step: nothing is stale."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import microtrain as mt
from microtrain import nn
from microtrain.nn import functional as F
from microtrain.optim import SGD
from tests.compiled.support import Mutations, batch_norm, data, dropout, mlp, options, regression

mutations = Mutations()


# ------------------------------------------------- parameters and modules
@mutations()
def parameter_frozen(w: Any) -> None:
    w.model.bias.requires_grad_(False)


@mutations()
def all_frozen(w: Any) -> None:
    """Plain, backward is an error."""
    w.model.requires_grad_(False)


@mutations()
def frozen_and_thawed(w: Any) -> None:
    for value in (False, True):
        w.model.weight.requires_grad_(value)
        w.run(2)


@mutations()
def parameter_replaced(w: Any) -> None:
    """The optimizer has the old one."""
    w.model.weight = nn.Parameter(mt.ones(3, 4))


@mutations(mlp)
def submodule_replaced(w: Any) -> None:
    w.model[0] = nn.Linear(4, 5)


@mutations(mlp)
def activation_swapped(w: Any) -> None:
    w.model[1] = nn.ReLU()


@mutations(mlp)
def layer_appended(w: Any) -> None:
    w.model.append(nn.Softplus())


@mutations(mlp)
def layer_removed(w: Any) -> None:
    del w.model[1]


@mutations()
def model_loaded(w: Any) -> None:
    w.model.load_state_dict({"weight": mt.ones(3, 4), "bias": mt.zeros(3)})


@mutations()
def model_taken_back(w: Any) -> None:
    saved = w.model.state_dict()            # the memory of the parameters
    copied = copy.deepcopy(saved)
    w.run(2)
    w.kept += [saved, copied]
    w.model.load_state_dict(copied)


@mutations()
def model_replaced(w: Any) -> None:
    model = nn.Linear(4, 3)
    w.set(model=model, opt=SGD(model.parameters(), lr=0.1, momentum=0.9))


@mutations()
def models_replaced_again_and_again(w: Any) -> None:
    """One after another may have the address of the one before."""
    for _ in range(8):
        w.set(model=None, opt=None)
        model = nn.Linear(4, 3)
        w.set(model=model, opt=SGD(model.parameters(), lr=0.1, momentum=0.9))
        w.run()


@mutations()
def model_of_another_width(w: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 9), nn.Linear(9, 3))
    w.set(model=model, opt=SGD(model.parameters(), lr=0.1, momentum=0.9))


@mutations(quiet=True)
def model_copied(w: Any) -> None:
    w.kept.append(copy.deepcopy(w.model))
    w.run(1)
    w.kept.append(copy.deepcopy(w.opt))
    w.run(1)
    w.kept.append(copy.copy(w.model.weight))


@mutations()
def model_a_copy(w: Any) -> None:
    w.kept.append(w.model)
    model = copy.deepcopy(w.model)
    w.set(model=model, opt=SGD(model.parameters(), lr=0.02))


@mutations()
def model_pickled(w: Any) -> None:
    w.kept.append(w.model)
    model, opt = pickle.loads(pickle.dumps((w.model, w.opt)))
    options(w, lr=0.5)
    w.set(model=model, opt=opt)
    options(w, lr=0.02)


@mutations()
def tensor_in_place_of_a_parameter(w: Any) -> None:
    w.kept.append(w.model.weight)
    del w.model.weight
    w.model.weight = mt.ones(3, 4)


@mutations()
def bias_none(w: Any) -> None:
    w.model.bias = None


@mutations(mlp)
def weights_tied(w: Any) -> None:
    w.model[2] = nn.Linear(5, 5)
    w.model[0] = nn.Linear(5, 5)
    w.model[2].weight = w.model[0].weight
    w.set(opt=SGD(w.model.parameters(), lr=0.1))
    w.args = (mt.tensor(data(6, 5)), mt.tensor(data(6, 5, seed=1)))
    w.run(3)
    w.model[2].weight = nn.Parameter(w.model[0].weight.detach().clone())
    w.set(opt=SGD(w.model.parameters(), lr=0.1))


@mutations()
def forward_of_the_object(w: Any) -> None:
    w.model.forward = lambda x: F.linear(x, w.model.weight)


@mutations(lambda: regression(layers=lambda: type("Mine", (nn.Linear,), {})(4, 3)))
def forward_of_the_class(w: Any) -> None:
    type(w.model).forward = lambda self, x: F.linear(x, self.weight)


@mutations()
def class_of_the_object(w: Any) -> None:
    w.model.__class__ = type("Mine", (nn.Linear,), {"forward": lambda self, x: F.linear(x, self.weight)})


@mutations(dropout)
def evaluation(w: Any) -> None:
    w.model.eval()


@mutations(dropout)
def evaluation_and_training(w: Any) -> None:
    w.model.eval()
    w.run(2)
    w.model.train()


@mutations(dropout)
def evaluation_of_one_module(w: Any) -> None:
    w.model[1].training = False


@mutations(dropout)
def dropout_rate(w: Any) -> None:
    w.model[1].p = 0.9


@mutations(dropout)
def dropout_rate_zero(w: Any) -> None:
    w.model[1].p = 0.0


@mutations(dropout)
def dropout_rate_one(w: Any) -> None:
    w.model[1].p = 1.0


@mutations(batch_norm)
def batch_norm_in_evaluation(w: Any) -> None:
    w.model.eval()


@mutations(batch_norm)
def batch_norm_momentum(w: Any) -> None:
    w.model[0].momentum = 0.5


@mutations(batch_norm, refusable="looks at a value")
def batch_norm_cumulative(w: Any) -> None:
    w.model[0].momentum = None


@mutations(batch_norm, refusable="looks at a value")
def batch_norm_count(w: Any) -> None:
    w.model[0].momentum = None
    w.run()
    w.model[0].num_batches_tracked.fill_(50)


@mutations(batch_norm)
def batch_norm_buffers(w: Any) -> None:
    w.model[0].running_mean.zero_()
    w.model[0].running_var = mt.ones(4) * 5


@mutations(batch_norm)
def batch_norm_eps(w: Any) -> None:
    w.model[0].eps = 0.5


@mutations(batch_norm)
def batch_norm_untracked(w: Any) -> None:
    w.model[0].track_running_stats = False
    w.model[0].running_mean = w.model[0].running_var = None
    w.model.eval()


@mutations()
def dtype_of_the_model(w: Any) -> None:
    w.model.double()
    w.set(opt=SGD(w.model.parameters(), lr=0.1))
    w.args = tuple(arg.double() for arg in w.args)


@mutations()
def dtype_of_the_model_alone(w: Any) -> None:
    """Plain, an error."""
    w.model.double()


test_mutation = mutations.test()
