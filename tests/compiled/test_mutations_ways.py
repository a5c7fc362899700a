"""Values that are equal and not the same, and those that decide the way of a step, changed between calls."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import microtrain as mt
from tests.compiled.support import Mutations, World, data
from tests.compiled.test_mutations_values import reading

mutations = Mutations()


# ------------------------------------------------- values that are equal and not the same
@mutations(reading(value=lambda: "abc"))
def string(w: Any) -> None:
    w.set(value="abcde")


@mutations(reading(value=lambda: None))
def none(w: Any) -> None:
    w.set(value=0.1)


@mutations(reading(value=lambda: 0.1))
def none_after_a_number(w: Any) -> None:
    w.set(value=None)


def typed(first: Any) -> Callable[[], World]:
    """A world whose results tell a value's type, sign and bits."""
    def build() -> World:
        def step(x: Any) -> Any:
            return x * value + value, mt.tensor([1.0]) / (x[0] * value)
        value = first
        return World(step, mt.tensor([1, 2]))
    return build


@mutations(typed(1))
def truth_after_one(w: Any) -> None:
    w.set(value=1.0)
    w.run()
    w.set(value=True)
    w.run()


@mutations(typed(2))
def a_float_after_an_integer(w: Any) -> None:
    w.set(value=2.0)


@mutations(typed(7))
def a_large_float_after_an_integer(w: Any) -> None:
    w.set(value=7.0)


@mutations(typed(0.0))
def minus_zero(w: Any) -> None:
    w.set(value=-0.0)


@mutations(typed(0.0))
def not_a_number(w: Any) -> None:
    w.set(value=math.nan)
    w.run(2)
    w.set(value=math.inf)


@mutations(typed(0.1), quiet=True)
def double_of_numpy(w: Any) -> None:
    w.set(value=np.float64(0.1))


@mutations(typed(np.float32(0.5)))
def integer_of_numpy(w: Any) -> None:
    w.set(value=np.int64(1))


@mutations(typed(np.float64(0.1)), quiet=True)
def single_of_numpy(w: Any) -> None:
    w.set(value=np.float32(0.1))


@mutations(typed(mt.float32))
def error_of_the_step(w: Any) -> None:
    """A dtype is no factor: the step raises, plain and compiled; then it does not."""
    w.set(value=2)
    w.run(2)
    w.set(value="text")


# ------------------------------------------------- what decides the way that a step takes
def choosing() -> World:
    w, b = mt.tensor(data(4, 3), requires_grad=True), mt.tensor(data(3), requires_grad=True)
    mode, count, optional, layers = "plain", 2, None, [mt.tanh]

    def step(x: Any, y: Any) -> Any:
        h = x @ w
        if mode == "biased":
            h = h + b
        for _ in range(count):
            h = h * 0.9
        if optional is not None:
            h = h * optional
        for layer in layers:
            h = layer(h)
        loss = (h - y).square().mean()
        loss.backward()
        with mt.no_grad():
            for p in (w, b):
                if p.grad is not None:
                    p.sub_(0.1 * p.grad)
                p.grad = None
        return loss
    world = World(step, mt.tensor(data(6, 4)), mt.tensor(data(6, 3, seed=1)), w=w, b=b)
    world.layers = layers
    return world


@mutations(choosing)
def way_by_a_string(w: Any) -> None:
    w.set(mode="biased")


@mutations(choosing)
def number_of_rounds(w: Any) -> None:
    w.set(count=3)


@mutations(choosing)
def optional_tensor(w: Any) -> None:
    scale = mt.tensor([1.0, 2.0, 3.0])
    w.set(optional=scale)
    w.run(2)
    scale.mul_(0.5)
    w.run(2)
    w.set(optional=mt.tensor([3.0, 2.0, 1.0]))


@mutations(choosing)
def function_added_to_a_list(w: Any) -> None:
    w.layers.append(mt.sigmoid)


@mutations(choosing)
def function_replaced_in_a_list(w: Any) -> None:
    w.layers[0] = mt.relu


@mutations(choosing)
def functions_partial(w: Any) -> None:
    w.layers[0] = functools.partial(mt.mul, other=0.5)
    w.run(2)
    w.layers[0] = functools.partial(mt.mul, other=0.25)


@mutations(choosing)
def function_with_a_cell_of_its_own(w: Any) -> None:
    def scaled(h: Any) -> Any:
        return h * factor
    factor = 0.5
    w.layers[0] = scaled
    w.run(2)
    factor = 0.25


@mutations(choosing)
def parameter_used_again(w: Any) -> None:
    """Ways that were taken before."""
    for mode in ("biased", "plain", "biased", "plain"):
        w.set(mode=mode)
        w.run(2)


@mutations(choosing)
def parameter_of_the_closure(w: Any) -> None:
    w.set(w=mt.ones(4, 3, requires_grad=True))


@mutations(choosing)
def parameters_of_the_closure_swapped(w: Any) -> None:
    other = mt.ones(4, 3, requires_grad=True)
    mine = w.w
    for tensor in (other, mine, other):
        w.set(w=tensor)
        w.run()
    w.kept += [mine, other]


test_mutation = mutations.test()
