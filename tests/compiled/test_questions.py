"""Indices that a step computes: whether they are in range is asked anew in each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain.nn import functional as F
from tests.compiled.support import by_default, data, entries, same, seen
from tests.conftest import DEVICE

INDEX = mt.tensor([0, 2, 1, 1])
TABLE = mt.tensor(data(5, 3))
NUMBERS = mt.tensor([3, 0, 4, 2, 1, 1])

STEPS: dict[str, Callable[[Any], Any]] = {
    "gathered": lambda i: TABLE[:4].gather(1, i.unsqueeze(1)),
    "transposed": lambda i: TABLE[i.view(2, 2).t()],
    "added": lambda i: TABLE[i + 1],
    "remainder": lambda i: TABLE[(3 * i + 4) % 5],
    "from the end": lambda i: TABLE[i - 3],
    "of a slice": lambda i: TABLE[i[1:3]],
    "of numbers": lambda i: TABLE[mt.arange(4), i],
    "embedded": lambda i: F.embedding(i.reshape(2, 2), TABLE),
    "vectors": lambda i: F.one_hot(i, 4),
    "as many vectors as there are": lambda i: F.one_hot(i.flip(0)),
    "scattered": lambda i: mt.zeros(4).scatter_add(0, i.view(-1), mt.ones(4)),
    "of the nearest": lambda i: TABLE[(TABLE[i][:, None] - TABLE).square().sum(2).argmin(1)],
    "sorted": lambda i: TABLE[TABLE[:4, 0].topk(2).indices + (TABLE[1, 1] > 0).long()],
    "drawn": lambda i: TABLE[mt.randint(0, 5, (4,))] + i[:, None],
    "drawn and added": lambda i: TABLE[mt.randint(2, (2, 1)) + mt.arange(4)],
    "drawn of numbers": lambda i: TABLE[NUMBERS[mt.randint(0, 6, (4,))]],
}


def alike(step: Callable[[Any], Any], indices: list[Any]) -> None:
    """Plain and compiled calls give and raise the same."""
    def run(call: Callable[[Any], Any]) -> list[Any]:
        by_default()
        return [*map(result, [call] * len(indices), indices), seen(mt.get_rng_state())]

    def result(call: Callable[[Any], Any], index: Any) -> Any:
        try:
            return seen(call(index))
        except (IndexError, RuntimeError) as error:
            assert not isinstance(error, mt.CompileError), error
            return type(error).__name__, str(error)
    same(run(mt.compile(step)), run(step))


@pytest.mark.parametrize("name", STEPS)
def test_indices(name: str) -> None:
    """In range, out of it, counted from the end; twice each."""
    alike(STEPS[name], [one for shift in (0, 0, 2, -1, 0, 9) for one in (INDEX + shift, INDEX.flip(0) + shift)])


@pytest.mark.parametrize("name", STEPS)
def test_they_are_replayed(name: str) -> None:
    compiled = mt.compile(STEPS[name])
    for _ in range(2):
        compiled(INDEX)
    assert entries(STEPS[name].__code__, lambda: compiled(INDEX.flip(0))) == 0     # type: ignore[attr-defined]


@pytest.mark.parametrize("columns", [lambda rows: (rows[:, 0], rows[:, 1]), lambda rows: (rows[:, 0], rows[:, 1] % 5)])
def test_columns_of_a_batch(columns: Any) -> None:
    """Of a loop's data a column may have other numbers than there are rows of another table."""
    rows = mt.tensor(np.array([[0, 4], [1, 3], [2, 2], [0, 1], [1, 0], [2, 4]]))

    def run(looped: bool) -> Any:
        by_default()
        one, other = mt.tensor(data(3, 2), requires_grad=True), mt.tensor(data(5, 2), requires_grad=True)

        def step(rows: Any) -> Any:
            first, second = columns(rows)
            loss = (one[first] * other[second]).sum(1).square().mean()
            loss.backward()
            with mt.no_grad():
                for table in (one, other):
                    table.sub_(0.1 * table.grad)
                    table.grad = None
            return loss.detach()
        losses = mt.compile(step).loop(rows, batch_size=2, steps=9) if looped else mt.stack(
            [step(rows[k % 3 * 2:k % 3 * 2 + 2]) for k in range(9)])
        return seen((losses, one, other))
    same(run(True), run(False))


@pytest.mark.skipif(DEVICE == "cuda", reason="on a GPU no index is looked at")
def test_what_cannot_be_told_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(mt.CompileError, match=r"test_questions\.py:\d+: .* index that it computes.*hand it over"):
        mt.compile(lambda i: TABLE[(TABLE[i, 0] * mt.rand(4)).long()])(INDEX)
