"""Python's own values that a step reads, wherever it has them from, changed between calls: nothing is stale."""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from tests.compiled import elsewhere
from tests.compiled.support import Mutations, World, data

mutations = Mutations()


RATE = 0.1
SCALE = [0.1]
Pair = namedtuple("Pair", "rate decay")


def twice(value: Any) -> Any:
    return value * 2


def descent(rate: Callable[..., Any], **held: Any) -> World:
    """Descent by hand, at a rate that a function tells."""
    w = mt.tensor(data(4, 3), requires_grad=True)

    def step(x: Any, y: Any) -> Any:
        loss = (x @ w - y).square().mean()
        loss.backward()
        with mt.no_grad():
            w.sub_(rate(**held) * w.grad)
        w.grad = None
        return loss
    world = World(step, mt.tensor(data(6, 4)), mt.tensor(data(6, 3, seed=1)), w=w)
    world.given = SimpleNamespace(**held)
    return world


def reading(**held: Any) -> Callable[[], World]:
    """A world whose step has these in cells of its closure, and adds up the numbers that are in them."""
    def build() -> World:
        w = mt.tensor(data(4, 3), requires_grad=True)
        values = {name: make() for name, make in held.items()}

        def step(x: Any) -> Any:
            loss = (x @ w).square().mean()
            loss.backward()
            with mt.no_grad():
                w.sub_(w.grad * number(value))
            w.grad = None
            return loss
        value, = values.values()
        world = World(step, mt.tensor(data(6, 4)), w=w)
        world.value = value
        return world
    return build


def number(value: Any) -> Any:
    """A number out of what a step may hold."""
    if isinstance(value, dict | UserDict):
        return sum(number(key) * number(member) for key, member in value.items())
    if isinstance(value, list | tuple | set | frozenset | deque | np.ndarray) and not isinstance(value, Pair):
        return sum(number(member) for member in value) / (1 + len(value))
    if isinstance(value, str):
        return len(value) / 10
    if isinstance(value, int | float | np.generic):
        return value
    if value is None:
        return 0.3
    return value.rate


class Slotted:
    __slots__ = ("rate",)

    def __init__(self) -> None:
        self.rate = 0.1


class Computed:
    def __init__(self) -> None:
        self.percent = 10

    @property
    def rate(self) -> float:
        return self.percent / 100


class Shared:
    rate = 0.1


class Late:
    def __init__(self) -> None:
        self.inner = {"rate": 0.1}

    def __getattr__(self, name: str) -> Any:
        return self.inner[name]


@dataclasses.dataclass
class Data:
    rate: float = 0.1


class Kind(enum.Enum):
    SLOW = 0.1
    FAST = 0.5

    @property
    def rate(self) -> float:
        return self.value


# ------------------------------------------------- where a value is
@mutations(reading(value=lambda: 0.1))
def cell(w: Any) -> None:
    w.set(value=0.5)


@mutations(reading(value=lambda: 0.1))
def cell_in_every_call(w: Any) -> None:
    for value in (0.5, 0.25, 0.125, 1.0, 0.0, -1.0, 0.1, 3.0, 0.7):
        w.set(value=value)
        w.run()


PLACES: tuple[tuple[Any, str], ...] = (
    (sys.modules[__name__], "RATE"), (sys.modules[__name__], "SCALE"), (sys.modules[__name__], "twice"),
    (elsewhere, "RATE"), (elsewhere, "scaled"), (elsewhere, "rate_of"), (elsewhere.Options, "rate"), (Shared, "rate"))
ORIGINALS = [getattr(*place) for place in PLACES]


def as_they_were() -> None:
    """What mutations change for everybody; functions and lists anew."""
    for place, value in zip(PLACES, ORIGINALS, strict=True):
        if isinstance(value, types.FunctionType):
            value = types.FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__)
        setattr(*place, [*value] if isinstance(value, list) else value)


@pytest.fixture(autouse=True)
def put_back() -> Any:
    yield
    as_they_were()


def of_globals() -> World:
    as_they_were()
    return descent(lambda: twice(RATE) * SCALE[0])


@mutations(of_globals)
def global_value(w: Any) -> None:
    globals()["RATE"] = 0.5


@mutations(of_globals)
def global_list(w: Any) -> None:
    SCALE[0] = 0.5


@mutations(of_globals)
def global_function(w: Any) -> None:
    globals()["twice"] = lambda value: value * 3


def of_another_module() -> World:
    as_they_were()
    return descent(lambda: elsewhere.scaled(1.0) + elsewhere.rate_of() + 0 * elsewhere.RATE)


@mutations(of_another_module)
def value_of_another_module(w: Any) -> None:
    elsewhere.RATE = 0.5


@mutations(of_another_module)
def function_of_another_module(w: Any) -> None:
    elsewhere.scaled = lambda value: value / 3


@mutations(of_another_module)
def attribute_of_a_class_of_another_module(w: Any) -> None:
    elsewhere.Options.rate = 0.5


@mutations(of_another_module)
def default_of_a_function_that_is_called(w: Any) -> None:
    elsewhere.rate_of.__defaults__ = (SimpleNamespace(rate=0.5),)
    w.run(2)
    elsewhere.rate_of.__defaults__ = (None,)


@mutations(of_another_module)
def code_of_a_function_that_is_called(w: Any) -> None:
    elsewhere.scaled.__code__ = (lambda value: value * 0.5).__code__


def with_defaults() -> World:
    w = mt.tensor(data(4, 3), requires_grad=True)

    def step(x: Any, rate: Any = 0.1, *, decay: Any = 0.01) -> Any:
        loss = (x @ w).square().mean() + decay * w.square().sum()
        loss.backward()
        with mt.no_grad():
            w.sub_(rate * w.grad)
        w.grad = None
        return loss
    return World(step, mt.tensor(data(6, 4)), w=w)


@mutations(with_defaults)
def default_argument(w: Any) -> None:
    w.step.__defaults__ = (0.5,)


@mutations(with_defaults)
def default_of_a_keyword(w: Any) -> None:
    w.step.__kwdefaults__["decay"] = 0.5


@mutations(with_defaults)
def argument_given_instead_of_its_default(w: Any) -> None:
    w.args += (0.5,)


@mutations(with_defaults)
def keyword_given_instead_of_its_default(w: Any) -> None:
    w.kwargs = {"decay": 0.5}


@mutations(with_defaults)
def argument_by_keyword(w: Any) -> None:
    w.args, w.kwargs = (), {"rate": 0.5, "x": w.args[0]}


@mutations(with_defaults)
def code_of_the_step(w: Any) -> None:
    names = [{"square": "exp"}.get(name, name) for name in w.step.__code__.co_names]
    w.step.__code__ = w.step.__code__.replace(co_names=tuple(names))


@mutations(reading(value=lambda: SimpleNamespace(rate=0.1)))
def attribute(w: Any) -> None:
    w.value.rate = 0.5


@mutations(reading(value=lambda: SimpleNamespace(rate=0.1)))
def object_replaced(w: Any) -> None:
    w.set(value=SimpleNamespace(rate=0.5))


@mutations(reading(value=lambda: SimpleNamespace(rate=0.1)))
def objects_replaced_again_and_again(w: Any) -> None:
    """One may have the address of the one before."""
    w.value = None
    for k in range(10):
        w.set(value=None)
        w.set(value=SimpleNamespace(rate=0.05 * k))
        w.run()


@mutations(reading(value=Slotted))
def slot(w: Any) -> None:
    w.value.rate = 0.5


@mutations(reading(value=Data))
def field(w: Any) -> None:
    w.value.rate = 0.5


@mutations(reading(value=Computed))
def property_computed(w: Any) -> None:
    w.value.percent = 50


@mutations(reading(value=Late))
def attribute_by_getattr(w: Any) -> None:
    w.value.inner["rate"] = 0.5


@mutations(reading(value=Late))
def attribute_before_getattr(w: Any) -> None:
    w.value.rate = 0.5


@mutations(reading(value=Shared))
def attribute_of_the_class(w: Any) -> None:
    Shared.rate = 0.5
    w.run(2)
    Shared.rate = 0.1


@mutations(reading(value=Shared))
def attribute_of_the_object_before_that_of_the_class(w: Any) -> None:
    w.value.rate = 0.5


@mutations(reading(value=Shared))
def class_of_an_object(w: Any) -> None:
    w.value.__class__ = type("Other", (), {"rate": 0.5})


@mutations(reading(value=lambda: Kind.SLOW))
def member_of_an_enumeration(w: Any) -> None:
    w.set(value=Kind.FAST)


@mutations(reading(value=lambda: Pair(0.1, 0)))
def named_tuple(w: Any) -> None:
    w.set(value=Pair(0.5, 0))


@mutations(reading(value=lambda: [0.1, 0.2]))
def entry_of_a_list(w: Any) -> None:
    w.value[1] = 0.5


@mutations(reading(value=lambda: [0.1, 0.2]))
def list_made_longer(w: Any) -> None:
    w.value.append(0.5)


@mutations(reading(value=lambda: [0.1, [0.2, (0.3, {0.5: 0.1})]]))
def entry_far_inside(w: Any) -> None:
    w.value[1][1][1][0.5] = 0.7


@mutations(reading(value=lambda: {0.1: 0.2}))
def entry_of_a_dict(w: Any) -> None:
    w.value[0.1] = 0.9


@mutations(reading(value=lambda: {0.1: 0.2}))
def entry_added_to_a_dict(w: Any) -> None:
    w.value[0.3] = 0.9


@mutations(reading(value=lambda: {0.1: 0.2}))
def key_of_a_dict(w: Any) -> None:
    w.value[0.9] = w.value.pop(0.1)


@mutations(reading(value=lambda: OrderedDict({0.1: 0.2})))
def entry_of_an_ordered_dict(w: Any) -> None:
    w.value[0.1] = 0.9


@mutations(reading(value=lambda: UserDict({0.1: 0.2})))
def entry_of_a_users_dict(w: Any) -> None:
    w.value[0.1] = 0.9


@mutations(reading(value=lambda: {0.1, 0.2}))
def member_of_a_set(w: Any) -> None:
    w.value.add(0.5)


@mutations(reading(value=lambda: deque([0.1, 0.2])))
def entry_of_a_queue(w: Any) -> None:
    w.value.rotate()
    w.value.append(0.9)


@mutations(reading(value=lambda: np.array([0.1, 0.2])))
def entry_of_an_array(w: Any) -> None:
    w.value[1] = 0.5


@mutations(reading(value=lambda: np.array(0.1)[()]))
def number_of_numpy(w: Any) -> None:
    w.set(value=np.float64(0.5))


test_mutation = mutations.test()
