"""Objects of all kinds that a step reads, changed between calls: nothing is stale, or it is refused to compile it."""

from __future__ import annotations

import collections
import enum
import fractions
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

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


@hidden(lambda held: held["rate"], lambda: collections.defaultdict(float, rate=0.1))
def dict_with_a_default(w: Any) -> None:
    w.value["rate"] = 0.5


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


@hidden(lambda held: held.rate, lambda: Mapped(rate=0.1))
def attribute_that_is_an_entry(w: Any) -> None:
    w.value["rate"] = 0.5


@hidden(lambda held: held * held.scale, lambda: Number(0.1))
def attribute_of_a_number(w: Any) -> None:
    w.value.scale = 5.0


@hidden(lambda held: held.rate, lambda: (setattr(Classy, "held", [0.1]), Classy)[1])
def property_of_a_class(w: Any) -> None:
    Classy.held[0] = 0.5


@hidden(lambda held: held.rate, lambda: type("Described", (), {"rate": Descriptor()})())
def object_that_stands_for_an_attribute(w: Any) -> None:
    vars(type(w.value))["rate"].rate = 0.5


@hidden(lambda held: held().rate, lambda: type("Outer", (Inner,), {}))
def attribute_of_a_base(w: Any) -> None:
    Inner.rate = 0.5


@hidden(lambda held: sum((k + 1) * rate for k, rate in enumerate(held.values())), lambda: {"a": 0.1, "b": 0.2})
def order_of_a_dict(w: Any) -> None:
    w.value["a"] = w.value.pop("a")


@hidden(lambda held: (1 / mt.tensor(next(iter(held)))).clamp(-1, 1), lambda: {0.0})
def sign_of_a_zero_in_a_set(w: Any) -> None:
    w.value.clear()
    w.value.add(-0.0)


test_mutation = mutations.test()
