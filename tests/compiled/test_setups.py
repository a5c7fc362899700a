"""Twenty and more set-ups, plain, compiled and looped: losses, weights, gradients, states of optimizers and of
schedules have the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import microtrain as mt
from tests.compiled.setups import ROWS, SETUPS
from tests.compiled.support import World, by_default, entries, same, seen, sums_in_one_order

STEPS = 7
BATCH = 4
setups = pytest.mark.parametrize("build", SETUPS.values(), ids=SETUPS)


def made(build: Callable[[], World]) -> World:
    by_default()
    return build()


def loss(result: Any) -> Any:
    return seen(result.detach())["value"]


def chosen(shuffle: int | None, steps: int = 4) -> list[list[int]]:
    """The rows that a loop takes in each step, asked of one whose loss is their numbers, as digits to the base ROWS."""
    digits = mt.tensor([float(ROWS ** k) for k in range(BATCH)])
    losses = mt.compile(lambda row: (row * digits).sum()).loop(
        (mt.arange(float(ROWS)),), steps=steps, batch_size=BATCH, shuffle=shuffle).tolist()
    return [[int(value) // ROWS ** k % ROWS for k in range(BATCH)] for value in losses]


@setups
def test_compiled(build: Callable[[], World]) -> None:
    """After three calls the function itself is not called any more."""
    plain = made(build)
    plain.run(STEPS)
    want = plain.seen()
    compiled = made(build)
    compiled.call = mt.compile(compiled.step)
    compiled.run(3)
    assert entries(compiled.step.__code__, lambda: compiled.run(STEPS - 3)) == 0
    same(compiled.seen(), want)


@sums_in_one_order
@setups
def test_looped(build: Callable[[], World]) -> None:
    """As much at once as can be; with calls and plain steps between."""
    plain = made(build)
    plain.run(STEPS)
    want = plain.seen()
    mixed = made(build)
    mixed.call = mt.compile(mixed.step)
    losses = mixed.call.loop(mixed.args, steps=3)
    assert losses.shape == (3,)
    same([seen(value)["value"] for value in losses], [loss(result) for result in plain.results[:3]])
    mixed.run(1)
    mixed.run(1, plainly=True)
    mixed.call.loop(mixed.args, steps=STEPS - 5)
    assert mixed.call.steps_alone == ""
    mixed.results = plain.results
    same(mixed.seen(), want)


@sums_in_one_order
@setups
def test_shuffled(build: Callable[[], World]) -> None:
    rows = chosen(shuffle=7)
    plain = made(build)
    args = plain.args
    for chosen_rows in rows:
        plain.args = tuple(arg[mt.tensor(chosen_rows)] for arg in args)
        plain.run()
    want = plain.seen()
    looped = made(build)
    losses = mt.compile(looped.step).loop(looped.args, steps=len(rows), batch_size=BATCH, shuffle=7)
    same([seen(value)["value"] for value in losses], [loss(result) for result in plain.results])
    looped.results = plain.results
    same(looped.seen(), want)


def test_each_epoch_takes_each_row_once() -> None:
    for shuffle in (None, 0, 1):
        rows = chosen(shuffle, 4)
        assert [sorted(rows[k] + rows[k + 1]) for k in (0, 2)] == [[*range(ROWS)]] * 2
    assert chosen(None, 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert chosen(0) == chosen(0) != chosen(1)
