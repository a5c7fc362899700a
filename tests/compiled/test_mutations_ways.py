"""Values that are equal and not the same, and those that decide the way of a step, changed between calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import microtrain as mt
from tests.compiled.support import Mutations, World, data
from tests.compiled.test_mutations_values import reading

mutations = Mutations()


# ------------------------------------------------- values that are equal and not the same


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


test_mutation = mutations.test()
