"""What is seen of optimizers and schedulers: all but the numbers that a replay is handed anew."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler
from ..tensor import Tensor
from .seen import Seen, known_by


class Trained(Seen):
    """What some roots lead to, with what trains it.

    exact: whether optimizers' numbers and counts, schedulers and generators are compared with the rest.
    """

    def __init__(self, exact: bool = False) -> None:
        super().__init__()
        self.exact = exact

    def optimizer(self, optimizer: Optimizer, path: str) -> None:
        """Describe an optimizer. Of this package's, the groups but for the numbers that a step is handed, the state but
        for the count; of another one all."""
        self.optimizers.append(optimizer)
        space = vars(optimizer)
        known = known_by(type(optimizer)) and not self.exact and not {"step", "_update", "_numbers"} & space.keys()
        given, counted = (optimizer._given, ("step",)) if known else ((), ())
        groups, state = optimizer.param_groups, optimizer.state
        self.see(type(optimizer), type(optimizer).__name__)
        self.tokens += ("optimizer", len(groups), len(state))
        self.check("{0}.__class__ is {1}", optimizer, type(optimizer))
        for name, value in space.items():
            if name not in ("param_groups", "state", "stepped"):
                self.tokens.append(name)
                self.check("{0}.get({1}) is {2}", space, name, value)
                self.see(value, f"{path}.{name}")
        self.check("{0}.param_groups is {1} and {0}.state is {2} and len({1}) == {3} and len({2}) == {4}", optimizer,
                   groups, state, len(groups), len(state))
        self.own |= {id(space): ("stepped",), id(state): None}
        self.places += [(space, dict(space), path), (groups, list(groups), f"{path}.param_groups"),
                        (state, dict(state), f"{path}.state")]
        for name in ("step", "_update", "_numbers", "zero_grad"):
            self.check("{0}.get({1}) is {2}", space, name, space.get(name))
        for k, group in enumerate(groups):
            free = [key for key in group
                    if key == "initial_lr" or (key in given and is_number(group[key]))]
            self.own[id(group)] = (*optimizer._given, "initial_lr")
            self.check("{0}[{1}] is {2}", groups, k, group)
            self.mapping(group, f"{path}.param_groups[{k}]", free)
            self.tokens += [structure(group[key]) for key in free]
            if free:
                now = tuple([group[key] for key in free])
                self.check("(all(map(is_, map({1}.get, {2}), {4})) or {0}([{1}.get(key) for key in {2}]) == {3})",
                           structures, group, free, structures(now), now)
            counts = [state.get(param, {}).get("step", 0) for param in group["params"]]
            self.tokens.append(tuple(map(counts.index, counts)))
        for param, held in list(state.items()):
            self.see(param, f"a parameter in {path}.state")
            tensors = [key for key, value in held.items()
                       if isinstance(value, Tensor) and id(value) not in self.numbers]
            self.check("{0}.get({1}) is {2}", state, param, held)
            self.own[id(held)] = None
            self.mapping(held, f"{path}.state[...]", (*counted, *tensors))
            for key in tensors:
                self.tokens.append(key)
                if id(held[key]) not in self.numbers:
                    self.loose[len(self.tensors)] = ("state", optimizer, param, key)
                self.see(held[key], f"{path}.state[...][{key!r}]")

    def scheduler(self, scheduler: LRScheduler, path: str) -> None:
        """Describe a scheduler, whose own step is taken in each replay, by which it is."""
        self.same(scheduler)
        self.own[id(vars(scheduler))] = None
        if self.exact or not known_by(type(scheduler)) or "step" in vars(scheduler):
            self.more(scheduler, path)
        self.see(scheduler.optimizer, f"{path}.optimizer")


def is_number(value: object) -> bool:
    """Whether an option is a Python number, or several."""
    return type(value) in (int, float, bool) or (type(value) is tuple and all(map(is_number, value)))


def structure(value: object) -> Hashable:
    """What of an optimizer's number is structure: whether it is zero, and its kind."""
    if isinstance(value, tuple):
        return (tuple, *map(structure, value))
    return (isinstance(value, float | int), value == 0)


def structures(values: Sequence[object]) -> list[Hashable]:
    """`structure` of each."""
    return [structure(value) for value in values]
