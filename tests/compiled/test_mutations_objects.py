"""Objects of all kinds that a step reads, changed between calls: nothing is stale, or it is refused to compile it."""

from __future__ import annotations

import argparse
import array
import collections
import enum
import fractions
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from tests.compiled import elsewhere
from tests.compiled.support import Change, Mutations
from tests.compiled.test_mutations_hidden import Inner, as_they_were, reads

mutations = Mutations()


def hidden(rate: Callable[[Any], Any], make: Callable[[], Any] = lambda: None) -> Callable[[Change], Change]:
    return mutations(reads(rate, make), refusable="")


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    yield
    as_they_were()


KEPT: list[Any] = []


def behind(hide: Callable[[Any], Any], value: Any) -> Any:
    """What hides a value, to which nothing else that the step sees leads."""
    KEPT[:] = [value]
    return hide(value)


# ------------------------------------------------- objects of other libraries' classes
@hidden(lambda held: held.rate, lambda: argparse.Namespace(rate=0.1))
def namespace_of_arguments(w: Any) -> None:
    w.value.rate = 0.5


@hidden(lambda held: held[-1], lambda: collections.deque([0.1]))
def queue_with_two_ends(w: Any) -> None:
    w.value.append(0.5)


@hidden(lambda held: held["rate"], lambda: collections.UserDict(rate=0.1))
def dict_in_python(w: Any) -> None:
    w.value["rate"] = 0.5


@hidden(lambda held: held["rate"], lambda: collections.ChainMap({}, {"rate": 0.1}))
def chain_of_dicts(w: Any) -> None:
    w.value["rate"] = 0.5


@hidden(lambda held: held["rate"], lambda: collections.defaultdict(float, rate=0.1))
def dict_with_a_default(w: Any) -> None:
    w.value["rate"] = 0.5


@hidden(lambda held: held[0] / 10, lambda: bytearray(b"\1"))
def bytes_that_change(w: Any) -> None:
    w.value[0] = 5


@hidden(lambda held: held[0], lambda: array.array("d", [0.1]))
def array_of_the_library(w: Any) -> None:
    w.value[0] = 0.5


@hidden(lambda held: held[0], lambda: memoryview(np.array([0.1])))
def view_of_memory(w: Any) -> None:
    w.value[0] = 0.5


@hidden(lambda held: held[0]["rate"], lambda: np.array([{"rate": 0.1}], dtype=object))
def array_of_objects(w: Any) -> None:
    w.value[0]["rate"] = 0.5


@hidden(lambda held: sum(held), lambda: behind(dict.values, {"rate": 0.1}))
def values_of_a_dict(w: Any) -> None:
    KEPT[0]["rate"] = 0.5


@hidden(lambda held: held["rate"], lambda: behind(types.MappingProxyType, {"rate": 0.1}))
def dict_behind_one_that_is_only_read(w: Any) -> None:
    KEPT[0]["rate"] = 0.5


@hidden(lambda held: held().rate, lambda: behind(weakref.ref, Inner()))
def object_behind_a_weak_reference(w: Any) -> None:
    w.value().rate = 0.5


@hidden(lambda held: float(held), lambda: torch.tensor(0.1))
def tensor_of_pytorch(w: Any) -> None:
    w.value.fill_(0.5)


@hidden(lambda held: float(held), lambda: fractions.Fraction(1, 10))
def fraction(w: Any) -> None:
    w.set(value=fractions.Fraction(1, 2))
    w.run(2)
    w.value._numerator = 7


# ------------------------------------------------- classes of the user's that extend others
class Listed(list):
    rate = 0.1


class Mapped(dict):
    scale = 1.0

    def __getattr__(self, name: str) -> Any:
        return self[name] * self.scale


class Number(float):
    scale = 1.0


class Text(str):
    pass


class Queue(collections.deque):
    pass


class Grid(np.ndarray):
    rate = 0.1


class Kind(enum.Enum):
    FIRST = 1

    @property
    def rate(self) -> Any:
        return elsewhere.RATE


class Meta(type):
    @property
    def rate(cls) -> Any:
        return cls.held[0]


class Classy(metaclass=Meta):
    held: list[float]


class Descriptor:
    def __init__(self) -> None:
        self.rate = 0.1

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self.rate


@hidden(lambda held: held.rate, Listed)
def attribute_of_a_list(w: Any) -> None:
    w.value.rate = 0.5


@hidden(lambda held: held.rate, lambda: Mapped(rate=0.1))
def attribute_that_is_an_entry(w: Any) -> None:
    w.value["rate"] = 0.5


@hidden(lambda held: held.rate, lambda: Mapped(rate=0.1))
def attribute_of_a_dict(w: Any) -> None:
    object.__setattr__(w.value, "scale", 5.0)


@hidden(lambda held: held * 1, lambda: Number(0.1))
def number_of_a_users_class(w: Any) -> None:
    w.set(value=Number(0.5))


@hidden(lambda held: held * held.scale, lambda: Number(0.1))
def attribute_of_a_number(w: Any) -> None:
    w.value.scale = 5.0


@hidden(lambda held: len(held) / 10, lambda: Text("a"))
def text_of_a_users_class(w: Any) -> None:
    w.set(value=Text("abc"))


@hidden(lambda held: held[-1], lambda: Queue([0.1]))
def queue_of_a_users_class(w: Any) -> None:
    w.value.append(0.5)


@hidden(lambda held: held.rate, lambda: np.zeros(2).view(Grid))
def attribute_of_an_array(w: Any) -> None:
    w.value.rate = 0.5


@hidden(lambda held: held.rate, lambda: Kind.FIRST)
def property_of_a_member(w: Any) -> None:
    elsewhere.RATE = 0.5


@hidden(lambda held: held.rate, lambda: (setattr(Classy, "held", [0.1]), Classy)[1])
def property_of_a_class(w: Any) -> None:
    Classy.held[0] = 0.5


@hidden(lambda held: held.rate, lambda: type("Described", (), {"rate": Descriptor()})())
def object_that_stands_for_an_attribute(w: Any) -> None:
    vars(type(w.value))["rate"].rate = 0.5


@hidden(lambda held: held().rate, lambda: type("Outer", (Inner,), {}))
def attribute_of_a_base(w: Any) -> None:
    Inner.rate = 0.5


@hidden(lambda held: held.rate, lambda: type("Outer", (Inner,), {})())
def bases_of_a_class(w: Any) -> None:
    type(w.value).__bases__ = (type("Other", (), {"rate": 0.5}),)


@hidden(lambda held: held.rate, lambda: mt.ones(3))
def attribute_of_a_tensor(w: Any) -> None:
    w.value.rate = 0.1
    w.run(2)
    w.value.rate = 0.5


@hidden(lambda held: sum((k + 1) * rate for k, rate in enumerate(held.values())), lambda: {"a": 0.1, "b": 0.2})
def order_of_a_dict(w: Any) -> None:
    w.value["a"] = w.value.pop("a")


@hidden(lambda held: (1 / mt.tensor(next(iter(held)))).clamp(-1, 1), lambda: {0.0})
def sign_of_a_zero_in_a_set(w: Any) -> None:
    w.value.clear()
    w.value.add(-0.0)


test_mutation = mutations.test()
