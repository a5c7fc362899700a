"""Values where a look at closure and globals does not easily reach, changed between calls: nothing is stale.

Where it cannot be seen that they change, it is refused to compile what reads them, or the step is run as it is.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import operator
import os
import sys
import types
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import microtrain as mt
from tests.compiled import elsewhere
from tests.compiled.support import Change, Mutations, World, data

mutations = Mutations()


RATE = 0.1


def as_they_were() -> None:
    """What mutations change for everybody."""
    globals()["RATE"] = elsewhere.RATE = Inner.rate = 0.1
    for name in ("LATER", "len"):
        globals().pop(name, None)
    vars(elsewhere).pop("LATER", None)
    os.environ.pop("A_RATE", None)


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    yield
    as_they_were()


def reads(rate: Callable[[Any], Any], make: Callable[[], Any] = lambda: None) -> Callable[[], World]:
    """Descent at a rate that a function reads in what is made; the world has that as `value`."""
    def build() -> World:
        as_they_were()
        w, value = mt.tensor(data(4, 3), requires_grad=True), make()

        def step(x: Any) -> Any:
            loss = (x @ w).square().mean()
            loss.backward()
            with mt.no_grad():
                w.sub_(w.grad * rate(value))
            w.grad = None
            return loss
        world = World(step, mt.tensor(data(6, 4)), w=w)
        world.value = value
        return world
    return build


def hidden(rate: Callable[[Any], Any], make: Callable[[], Any] = lambda: None) -> Callable[[Change], Change]:
    return mutations(reads(rate, make), refusable="")


class Inner:
    rate = 0.1


# ------------------------------------------------- modules and names
@hidden(lambda module: module.RATE, lambda: elsewhere)
def module_in_a_cell(w: Any) -> None:
    elsewhere.RATE = 0.5


@hidden(lambda held: held.module.RATE, lambda: SimpleNamespace(module=elsewhere))
def module_in_an_attribute(w: Any) -> None:
    elsewhere.RATE = 0.5


@hidden(lambda name: getattr(elsewhere, name), lambda: "RATE")
def module_by_getattr(w: Any) -> None:
    elsewhere.RATE = 0.5


@hidden(lambda _: vars(elsewhere)["RATE"])
def module_by_its_dict(w: Any) -> None:
    elsewhere.RATE = 0.5


@hidden(lambda _: sys.modules["tests.compiled.elsewhere"].RATE)
def module_of_the_table_of_modules(w: Any) -> None:
    elsewhere.RATE = 0.5


@hidden(lambda _: importlib.import_module("tests.compiled.elsewhere").RATE)
def module_imported_by_name(w: Any) -> None:
    elsewhere.RATE = 0.5


def imported(_: Any) -> Any:
    from tests.compiled.elsewhere import RATE as rate
    return rate


@hidden(imported)
def module_imported_in_the_step(w: Any) -> None:
    elsewhere.RATE = 0.5


@hidden(lambda _: globals()["RATE"])
def global_by_globals(w: Any) -> None:
    globals()["RATE"] = 0.5


@hidden(lambda _: eval("RATE"))
def global_by_eval(w: Any) -> None:
    globals()["RATE"] = 0.5


def later(_: Any) -> Any:
    try:
        return LATER
    except NameError:
        return 0.1


@hidden(later)
def global_that_is_not_there_yet(w: Any) -> None:
    globals()["LATER"] = 0.5


@hidden(lambda _: getattr(elsewhere, "LATER", 0.1))
def name_of_a_module_that_is_not_there_yet(w: Any) -> None:
    elsewhere.LATER = 0.5


@hidden(lambda held: len(held) / 10, lambda: [1])
def builtin_hidden_by_a_global(w: Any) -> None:
    globals()["len"] = lambda held: 5


@hidden(lambda _: float(os.environ.get("A_RATE", "0.1")))
def environment(w: Any) -> None:
    os.environ["A_RATE"] = "0.5"


# ------------------------------------------------- functions
@functools.wraps(mt.relu)
def disguised(_: Any) -> Any:
    return RATE


@hidden(disguised)
def function_that_says_that_it_is_anothers(w: Any) -> None:
    globals()["RATE"] = 0.5


@mt.no_grad()
def decorated(_: Any) -> Any:
    return RATE


@hidden(decorated)
def function_decorated_by_the_package(w: Any) -> None:
    globals()["RATE"] = 0.5


@contextlib.contextmanager
def entered(value: Any) -> Iterator[Any]:
    yield RATE


def by_a_block(_: Any) -> Any:
    with entered(0) as rate:
        return rate


@hidden(by_a_block)
def function_that_makes_a_block(w: Any) -> None:
    globals()["RATE"] = 0.5


@hidden(lambda cached: cached(), lambda: functools.lru_cache(lambda: RATE))
def function_with_a_cache(w: Any) -> None:
    globals()["RATE"] = 0.5
    w.run(2)
    w.value.cache_clear()


@hidden(lambda get: get("rate"), lambda: {"rate": 0.1}.get)
def method_of_a_dict(w: Any) -> None:
    w.value.__self__["rate"] = 0.5


@hidden(lambda get: get("rate"), lambda: functools.partial(dict.get, {"rate": 0.1}))
def partial_of_a_method_of_a_dict(w: Any) -> None:
    w.value.args[0]["rate"] = 0.5


@hidden(lambda rates: sum(map(rates.__getitem__, range(2))), lambda: [0.1, 0.2])
def list_by_its_method(w: Any) -> None:
    w.value[1] = 0.5


@hidden(lambda held: functools.reduce(lambda a, b: a + b * RATE, held), lambda: [0.1, 0.2])
def function_called_by_a_function_in_c(w: Any) -> None:
    globals()["RATE"] = 0.5


@hidden(lambda held: operator.attrgetter("rate")(held), lambda: SimpleNamespace(rate=0.1))
def attribute_by_a_getter(w: Any) -> None:
    w.value.rate = 0.5


@hidden(lambda held: held[0](0), lambda: [types.MethodType(lambda self, _: self.rate, SimpleNamespace(rate=0.1))])
def object_of_a_method(w: Any) -> None:
    w.value[0].__self__.rate = 0.5


def generator_of_a_rate() -> Iterator[float]:
    held = [0.1]
    while True:
        yield held[0]


@hidden(lambda held: held.gi_frame.f_locals["held"][0], lambda: (g := generator_of_a_rate(), next(g))[0])
def variable_of_a_generator(w: Any) -> None:
    w.value.gi_frame.f_locals["held"][0] = 0.5


@hidden(lambda compiled: compiled(), lambda: mt.compile(lambda: RATE))
def a_compiled_function_that_is_called(w: Any) -> None:
    globals()["RATE"] = 0.5


def recursive(depth: int) -> Any:
    return recursive(depth - 1) if depth else RATE


@hidden(lambda _: recursive(3))
def function_that_calls_itself(w: Any) -> None:
    globals()["RATE"] = 0.5


test_mutation = mutations.test()
