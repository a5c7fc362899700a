"""Random programs from seeds: which steps there are, how often, and how many."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from .changes import assign, backward, change, derive, descend, read
from .grower import USUAL, Grower, Scale
from .operations import binary, compare, fold, join, loss, masked, normalise, product, unary
from .program import Program
from .views import view

TABLE: list[tuple[Callable[[Grower], None], float]] = [
    (unary, 5), (binary, 5), (compare, 1), (masked, 1.5), (fold, 3), (normalise, 1.2), (view, 6), (join, 1),
    (product, 1.5), (loss, 0.5), (change, 3), (assign, 2), (read, 1), (backward, 0.7), (derive, 0.6), (descend, 0.8)]
"""What a program is made of, and how often each is tried."""

GROWTHS = [growth for growth, _ in TABLE]
WEIGHTS = [weight for _, weight in TABLE]


def program(seed: int, scale: Scale = USUAL) -> Program:
    """The random program of a seed, of some 12 steps at the usual scale."""
    grower = Grower(seed, scale)
    with warnings.catch_warnings():
        warnings.simplefilter("error")          # what PyTorch warns of is not kept either
        for _ in range(grower.random.randint(1, 3)):
            grower.leaf(grower.shape(), requires_grad=grower.chance(0.85))
        for _ in range(grower.random.randint(*scale.steps)):
            grower.random.choices(GROWTHS, WEIGHTS)[0](grower)
            if grower.finished:
                break
        else:
            backward(grower)
    return Program(tuple(grower.steps), grower.dtype, seed)
