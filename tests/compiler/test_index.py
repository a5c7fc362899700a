"""Symbolic index arithmetic against the numbers it stands for."""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from microtrain import ops as g
from microtrain.compiler.index import (
    Coords,
    Index,
    combine,
    constant,
    floordiv,
    linear,
    modulo,
    narrowed,
    regroup,
    split,
    stride,
    text,
    variable,
)
from microtrain.graph import dtypes
from microtrain.graph.node import leaf
from microtrain.graph.spec import Device, spec


def evaluate(index: Index, **symbols: int) -> int:
    """The index as the number its text says."""
    return int(eval(text(index, lambda base: base.name), {}, symbols))


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3, 4), (4, 1, 6), (1, 1), (5, 1, 1, 3)])
def test_a_split_index_put_together_is_the_index_itself(shape: tuple[int, ...]) -> None:
    i = variable("i", math.prod(shape))
    assert linear(split(i, shape), shape) == i


def test_rows_and_columns_are_one_address() -> None:
    r, c = variable("r", 6), variable("c", 4)
    position = combine([(r, 4), (c, 1)])
    for shape in [(24,), (6, 4), (3, 8), (2, 3, 2, 2), (4, 6), (8, 3)]:
        assert linear(split(position, shape), shape) == position, shape
    assert split(position, (6, 4)) == (r, c)


def test_a_reshape_keeps_the_axes_it_does_not_touch() -> None:
    a, b, c = (variable(name, size) for name, size in zip("abc", (2, 6, 5), strict=True))
    assert regroup((a, b, c), (2, 6, 5), (2, 1, 2, 3, 5))[0] is a
    assert regroup((a, b, c), (2, 6, 5), (2, 1, 2, 3, 5))[-1] is c


@pytest.mark.parametrize(("shape", "target"), [((2,), (2, 3)), ((2, 3), (2,)), ((6,), (4,)), ((3,), (0, 2)),
                                               ((), (2,))])
def test_a_reshape_to_another_size_is_refused_rather_than_searched_for_ever(shape: Any, target: Any) -> None:
    coords = [variable(f"i{k}", size) for k, size in enumerate(shape)]
    with pytest.raises(ValueError, match="has not the"):
        regroup(coords, shape, target)


def test_a_reshape_of_nothing() -> None:
    assert regroup((variable("i", 3), constant(0)), (3, 0), (0,)) == (constant(0),)
    assert regroup((constant(0),), (0,), (2, 0, 5)) == (constant(0),) * 3


X = leaf(np.zeros((2, 3), np.float32), spec((2, 3), dtypes.float32, Device("cpu")))
INDEX = leaf(np.zeros(4, np.int64), spec((4,), dtypes.int64, Device("cpu")))
FLOATS = leaf(np.zeros(4, np.float32), spec((4,), dtypes.float32, Device("cpu")))
IMPOSSIBLE: dict[str, Callable[[], Any]] = {
    "reshape to more": lambda: g.reshape(X, (2, 4)), "reshape to less": lambda: g.reshape(X, (2,)),
    "reshape to -1": lambda: g.reshape(X, (-1, -6)), "permute twice": lambda: g.permute(X, (0, 0)),
    "permute one": lambda: g.permute(X, (1,)), "permute more": lambda: g.permute(X, (0, 1, 2)),
    "expand 3 to 4": lambda: g.expand(X, (2, 4)), "expand to fewer": lambda: g.expand(X, (3,)),
    "expand to 1": lambda: g.expand(X, (1, 3)), "sum to other axes": lambda: g.sum_to(X, (3, 2)),
    "sum to more": lambda: g.sum_to(X, (2, 6)), "slice outside": lambda: g.slice(X, (0, 1), (2, 3), (1, 1)),
    "slice before": lambda: g.slice(X, (-1, 0), (1, 1), (1, 1)),
    "slice an axis": lambda: g.slice(X, (0,), (2,), (1,)),
    "slice in no steps": lambda: g.slice(X, (0, 0), (2, 3), (1, 0)),
    "pad outside": lambda: g.pad(X, (1, 0), (2, 3), (1, 1)),
    "pad with steps": lambda: g.pad(X, (0, 0), (2, 4), (1, 2)), "flip": lambda: g.flip(X, (2,)),
    "cat": lambda: g.cat((X, g.reshape(X, (3, 2))), 0), "cat dtypes": lambda: g.cat((INDEX, FLOATS), 0),
    "windows": lambda: g.windows(X, 1, 4, 1, 1), "windows apart": lambda: g.windows(X, 1, 2, 1, 3),
    "fold windows": lambda: g.fold_windows(X, 0, 9, 1, 1), "sum over axis 2": lambda: g.sum(X, (2,)),
    "slice update": lambda: g.slice_update(X, FLOATS, (0, 0), (1, 1)), "take by floats": lambda: g.take(X, FLOATS),
    "index add": lambda: g.index_add(X, INDEX, 3), "index put": lambda: g.index_put(X, INDEX, X),
    "gather": lambda: g.gather(X, INDEX, 0), "scatter add": lambda: g.scatter_add(X, INDEX, 0, 2),
    "scatter": lambda: g.scatter(X, g.reshape(INDEX, (2, 2)), X, 1),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_is_not_recorded(case: str) -> None:
    with pytest.raises(RuntimeError):
        IMPOSSIBLE[case]()


def test_division_and_remainder_of_known_bounds() -> None:
    i = variable("i", 24)
    assert floordiv(i, 24) == constant(0)
    assert modulo(i, 24) == i
    assert floordiv(combine([(i, 6)], 5), 6) == i
    assert modulo(combine([(i, 6)], 5), 6) == constant(5)
    assert floordiv(narrowed(combine([(i, 1)], -20), 0, 3), 4) == constant(0)
    assert [modulo(i, 5).high, floordiv(i, 5).high, modulo(floordiv(i, 5), 3).high] == [4, 4, 2]
    assert floordiv(modulo(i, 5), 5) == constant(0)             # a digit is less than its base


def test_stride() -> None:
    r, c = variable("r", 6), variable("c", 4)
    position = combine([(r, 4), (c, 1)])
    assert (stride(position, "r"), stride(position, "c"), stride(position, "i")) == (4, 1, 0)


Change = tuple[Callable[[Coords], Coords], Callable[[list[int]], list[int]], tuple[int, ...]]


def permuted(shape: tuple[int, ...], rng: random.Random) -> Change:
    order = rng.sample(range(len(shape)), len(shape))
    return (lambda coords: tuple(coords[axis] for axis in order), lambda place: [place[axis] for axis in order],
            tuple(shape[axis] for axis in order))


def flipped(shape: tuple[int, ...], rng: random.Random) -> Change:
    return (lambda coords: tuple(combine([(c, -1)], n - 1) for c, n in zip(coords, shape, strict=True)),
            lambda place: [n - 1 - at for at, n in zip(place, shape, strict=True)], shape)


def reshaped(shape: tuple[int, ...], rng: random.Random) -> Change:
    rest, target = math.prod(shape), []
    while rest > 1:
        target.append(rng.choice([d for d in range(2, rest + 1) if rest % d == 0]))
        rest //= target[-1]
    target.insert(rng.randint(0, len(target)), 1)
    new = tuple(target)
    return (lambda coords: regroup(coords, shape, new),
            lambda place: [int(at) for at in np.unravel_index(int(np.ravel_multi_index(place, shape)), new)], new)


def strided(shape: tuple[int, ...], rng: random.Random) -> Change:
    return (lambda coords: tuple(combine([(c, 2)], 1) for c in coords), lambda place: [2 * at + 1 for at in place],
            tuple(2 * n + 1 for n in shape))


def test_chains_of_views_agree_with_numbers() -> None:
    rng = random.Random(0)
    for _ in range(400):
        shape = tuple(rng.choice([1, 2, 3, 4, 6]) for _ in range(rng.randint(1, 4)))
        coords = split(variable("i", math.prod(shape)), shape)
        places = [[int(at) for at in np.unravel_index(i, shape)] for i in range(math.prod(shape))]
        for _ in range(rng.randint(1, 5)):
            symbolic, numeric, shape = rng.choice([permuted, flipped, reshaped, strided])(shape, rng)
            coords, places = symbolic(coords), [numeric(place) for place in places]
        for i, place in enumerate(places):
            assert [evaluate(c, i=i) for c in coords] == place
            assert all(c.low <= at <= c.high for c, at in zip(coords, place, strict=True))
