"""Random programs from seeds: which steps there are, how often, and how many."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable

from .changes import MODES, alias, alter, assign, change, count, duplicate, leave, read
from .grower import USUAL, Grower, Scale
from .mixes import assign_any, change_any, convert, map_any, meet, whole
from .observers import backward, derive, descend, differentiate, gradient, hook, retain, update, user_function
from .operations import binary, compare, fold, join, loss, masked, normalise, product, unary
from .program import Program
from .views import view

Growth = Callable[[Grower], None]
Table = list[tuple[Growth, float]]


def block(o: Grower) -> None:
    """Some step with recording off, or on."""
    with o.within(*o.choose(MODES)):
        o.choose([alias, alias, view, alter, alter, assign, unary])(o)


NUMBERS: Table = [
    (unary, 5), (binary, 5), (compare, 1), (masked, 1.5), (fold, 3), (normalise, 1.2), (view, 6), (join, 1),
    (product, 1.5), (loss, 0.5), (change, 3), (assign, 2), (read, 1), (backward, 0.7), (derive, 0.6), (descend, 0.8)]
"""What a program about numbers is made of, and how often each is tried."""

MEMORY: Table = [
    (unary, 2), (binary, 3), (fold, 0.5), (user_function, 1.5), (view, 3), (alias, 5), (alter, 5), (assign, 2),
    (block, 3), (leave, 1.5), (duplicate, 0.7), (count, 1), (retain, 1.5), (hook, 2), (differentiate, 2),
    (gradient, 1.5), (update, 1.5), (read, 0.7)]
"""What a program about shared memory, and about who watches gradients, is made of."""

DTYPES: Table = [
    (whole, 2), (convert, 4), (meet, 5), (map_any, 5), (change_any, 4), (assign_any, 3), (view, 1), (alias, 0.7),
    (differentiate, 1), (binary, 1)]
"""What a program about values of several dtypes is made of."""

TABLES = {"numbers": NUMBERS, "memory": MEMORY, "dtypes": DTYPES}
SHARES = [("numbers", 0.4), ("memory", 0.4), ("dtypes", 0.2)]
"""How many of all programs are of which kind."""


def program(seed: int, scale: Scale = USUAL, kind: str | None = None) -> Program:
    """The random program of a seed, of some 12 steps at the usual scale; `kind` is one of the TABLES."""
    if kind is None:
        kind = random.Random(~seed).choices([kind for kind, _ in SHARES], [share for _, share in SHARES])[0]
    numbers, mixed = kind == "numbers", kind == "dtypes"
    small = scale if numbers else scale._replace(sizes=(1, 2, 2, 3), rare=(0, 4), elements=64)
    grower = Grower(seed, small, attempts=not numbers, mixed=mixed)
    growths, weights = zip(*TABLES[kind], strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")          # what PyTorch warns of is not kept either
        for _ in range(grower.random.randint(1, 3)):
            grower.leaf(grower.shape(), requires_grad=grower.chance(0.3 if mixed else 0.85))
        for _ in range(grower.random.randint(*scale.steps)):
            grower.random.choices(growths, weights)[0](grower)
            if grower.finished:
                break
        else:
            (backward if numbers else differentiate)(grower)
    return Program(tuple(grower.steps), grower.dtype, seed, kind, mixed and not grower.all_exact())
