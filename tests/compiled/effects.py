"""Steps with effects that are hard to see, and what steps have of their own."""

from __future__ import annotations

import array
import collections
import functools
import itertools
import queue
import random
import warnings
from argparse import Namespace
from collections import UserList
from collections.abc import Callable
from typing import Any

import numpy as np

import microtrain as mt
from microtrain import nn

COUNT = 0

QUIETLY: dict[str, Callable[..., Any]] = {}
"""Steps that change something where a look at what the step leads to does not easily reach: refused, or done."""


def quietly(function: Callable[..., Any]) -> Callable[..., Any]:
    QUIETLY[function.__name__] = function
    return function


# ------------------------------------------------- where it cannot be seen at once
@quietly
def appended_by_a_bound_method(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    own.append(loss.detach())
    return loss


@quietly
def appended_to_a_queue(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    own.deque.append(loss.detach())
    return loss


@quietly
def taken_from_a_queue(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * own.deque.popleft(), y)


@quietly
def rotated(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.deque.rotate()
    return train(x * own.deque[0], y)


@quietly
def put_into_a_queue(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    own.queue.put(loss.detach())
    return loss


@quietly
def appended_to_a_list_in_python(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    own.user_list.append(loss.detach())
    return loss


@quietly
def counted_in_a_namespace(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.namespace.count += 1
    return train(x * own.namespace.count, y)


@quietly
def counted_in_a_counter(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.counter["steps"] += 1
    return train(x, y)


@quietly
def counted_by_globals(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    globals()["COUNT"] += 1
    return train(x, y)


@quietly
def counted_in_an_array_of_the_library(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.numbers.append(1)
    return train(x, y)


@quietly
def counted_in_bytes(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.bytes[0] += 1
    return train(x, y)


@quietly
def counted_on_a_tensor(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    w.model.weight.count = getattr(w.model.weight, "count", 0) + 1
    return train(x, y)


@quietly
def counted_in_a_record_of_the_package(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.history.train_loss.append(0.5)
    return train(x, y)


@quietly
def random_by_an_unbound_method(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * random.Random.random(own.random), y)


@quietly
def random_as_a_key(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * sorted(range(1, 1000), key=lambda _: random.random())[0], y)


@quietly
def random_by_map(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * sum(map(random.uniform, [0], [1])), y)


@quietly
def seeded(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    mt.manual_seed(3)
    return train(x * mt.rand(4), y)


@quietly
def random_state_put_back(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    with mt.random.fork_rng():
        x = x * mt.rand(4)
    return train(x, y)


@quietly
def rows_drawn(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    rows = mt.randperm(6)[:3]
    return train(x[rows], y[rows])


@quietly
def rows_drawn_as_numbers(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    row = int(mt.randint(0, 6, (1,)))
    return train(x[row:], y[row:])


@quietly
def mode_set(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    mt.set_grad_enabled(True)
    w.model.train()
    return train(x, y)


@quietly
def mode_changed(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    w.model.training = not w.model.training
    return loss


@quietly
def dtype_changed(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    mt.set_default_dtype(mt.float64 if mt.get_default_dtype() is mt.float32 else mt.float32)
    return loss


@quietly
def gradients_turned_off(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    mt.set_grad_enabled(True)
    loss = train(x, y)
    mt.set_grad_enabled(False)
    return loss


@quietly
def frozen_and_thawed(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    w.model.bias.requires_grad_(False)
    loss = train(x, y)
    w.model.bias.requires_grad_(True)
    return loss


@quietly
def frozen_in_turn(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    w.model.bias.requires_grad_(not w.model.bias.requires_grad)
    return loss


@quietly
def parameter_made_anew(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    w.model.bias = nn.Parameter(w.model.bias.detach() * 2)
    return loss


@quietly
def kept_on_the_model(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    w.model.last = loss.detach()
    own.entries["loss"] = loss.detach() * 2
    own.last = w.model.weight.detach().clone()
    return loss


@quietly
def replaced_by_another_tensor(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.mean = own.mean * 0.9 + x.mean(0) * 0.1
    return train(x - own.mean, y)


@quietly
def list_of_tensors_replaced(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.rates[:] = [own.rates[-1] * 0.5, *own.rates[:-1]]
    return train(x, y)


@quietly
def put_back(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    """What changes and is as it was in the end."""
    own.count += 1
    own.losses.append(1)
    loss = train(x * own.count, y)
    own.losses.pop()
    own.count -= 1
    return loss


@quietly
def warned(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    warnings.warn("a step", stacklevel=1)
    return train(x, y)


@quietly
def cached(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * own.cached(2), y)


@quietly
def identity(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.seen[id(x)] = 1
    return train(x * len(own.seen), y)


class Own:
    """What a step has of its own, beside the training."""

    def __init__(self) -> None:
        self.losses: list[Any] = []
        self.append = self.losses.append
        self.deque = collections.deque([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
        self.queue: queue.Queue[Any] = queue.Queue()
        self.user_list: Any = UserList()
        self.namespace = Namespace(count=0)
        self.counter: Any = collections.Counter()
        self.numbers, self.bytes, self.array = array.array("d"), bytearray(1), np.zeros(1)
        self.entries: dict[str, Any] = {}
        self.members: set[int] = set()
        self.rates: Any = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        self.count, self.last, self.mean = 0, None, mt.zeros(4)
        self.random, self.rng = random.Random(0), np.random.default_rng(0)
        self.cached = functools.lru_cache(lambda value: value * 0.5)
        self.history = mt.train.History()
        self.seen: dict[int, int] = {}
        self.kind = type("Kind", (), {"count": 0})


class OwnWithIterators(Own):
    def __init__(self) -> None:
        super().__init__()
        self.counting = itertools.count(1)
        self.generated = (value * 0.1 for value in range(100))
