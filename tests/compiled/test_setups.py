"""Twenty and more set-ups, plain, compiled and looped: losses, weights, gradients, states of optimizers and of
schedules have the same bits; `make loops` runs them interpreted, and on a virtual GPU."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

import microtrain as mt
from microtrain.compiled import loop as loops
from microtrain.compiled.looping import Batches
from microtrain.compiler import fixed_run
from microtrain.runtime import kernel_backend, virtual
from tests.compiled.setups import ROWS, SETUPS
from tests.compiled.support import WITHIN, World, by_default, entries, same, seen
from tests.conftest import DEVICE

STEPS = 7
BATCH = ROWS
setups = pytest.mark.parametrize("build", SETUPS.values(), ids=SETUPS)

WAYS = {"machine code", "a function of NumPy calls", "a function of NumPy calls and machine code"} \
    if DEVICE == "cpu" else {"one launch"}
not_by_numpy = pytest.mark.skipif(virtual.wanted() and "reference" in os.environ["MICROTRAIN_VIRTUAL_GPU"],
                                  reason="NumPy computes single steps there, the emulator loops: `make loops`")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow a device is, a loop's steps are run at once; a few replays are a CUDA graph where there are such."""
    monkeypatch.setattr(loops, "SECONDS", 1e6)
    monkeypatch.setattr(fixed_run, "PLAIN_RUNS", 0)
    monkeypatch.setattr(fixed_run, "GRAPH_RUNS", 1)


def made(build: Callable[[], World]) -> World:
    by_default()
    return build()


@cache
def plain(build: Callable[[], World]) -> tuple[list[Any], Any]:
    """What plain steps give, and all that is seen after them."""
    world = made(build)
    world.run(STEPS)
    return world.results, world.seen()


def has_graphs() -> bool:
    """Whether a virtual GPU is there, of which no test before has used another stream: then there are none any more."""
    return virtual.wanted() and kernel_backend("cuda", 0).requeuing.only_stream() is not None


def graphs() -> int:
    """How many CUDA graphs have been launched, as far as a virtual GPU can say."""
    return virtual.gpu().driver_graphs.launches if virtual.wanted() else 0


def way(call: Any) -> str:
    """How the steps of a loop were run."""
    return str(call.explain()).rpartition("the others by ")[2]


def loss(result: Any) -> Any:
    return seen(result.detach())["value"]


def taken(shuffle: int | None) -> list[list[int]]:
    """The rows of twice ROWS that each of four steps takes."""
    return Batches(2 * ROWS, BATCH, shuffle).table(0, 4).tolist()


@setups
def test_compiled(build: Callable[[], World]) -> None:
    """After three calls the function itself is not called any more."""
    _, want = plain(build)
    compiled = made(build)
    compiled.call = mt.compile(compiled.step)
    compiled.run(3)
    before = graphs()
    assert entries(compiled.step.__code__, lambda: compiled.run(STEPS - 3)) == 0
    kernels = re.findall(r"kernels: (\d+)", compiled.call.explain())
    if has_graphs() and int(kernels[-1]) >= fixed_run.GRAPH_LAUNCHES:
        assert graphs() > before
    same(compiled.seen(), want)


@not_by_numpy
@setups
def test_looped(build: Callable[[], World]) -> None:
    """As much at once as can be; with calls and plain steps between."""
    results, want = plain(build)
    mixed = made(build)
    mixed.call = mt.compile(mixed.step)
    losses = mixed.call.loop(mixed.args, steps=3)
    assert losses.shape == (3,)
    same([seen(value)["value"] for value in losses], [loss(result) for result in results[:3]], "losses", WITHIN)
    mixed.run(1)
    mixed.run(1, plainly=True)
    mixed.call.loop(mixed.args, steps=STEPS - 5)
    assert mixed.call.steps_alone == "" and way(mixed.call) in WAYS
    mixed.results = results
    same(mixed.seen(), want, within=WITHIN)


@not_by_numpy
@setups
def test_shuffled(build: Callable[[], World]) -> None:
    """Batches of as many rows as the other tests' steps have: a GPU's kernels are theirs."""
    rows = taken(7)
    single = made(build)
    data = tuple([mt.cat([arg, arg.flip(0)]) for arg in single.args])
    for chosen in rows:
        single.args = tuple([arg[mt.tensor(chosen)] for arg in data])
        single.run()
    want = single.seen()
    looped = made(build)
    looped.call = mt.compile(looped.step)
    losses = looped.call.loop(data, steps=len(rows), batch_size=BATCH, shuffle=7)
    same([seen(value)["value"] for value in losses], [loss(result) for result in single.results], "losses", WITHIN)
    assert looped.call.steps_alone == "" and way(looped.call) in WAYS
    looped.results = single.results
    same(looped.seen(), want, within=WITHIN)


@pytest.mark.parametrize("shuffle", [None, 0, 1])
def test_each_epoch_takes_each_row_once(shuffle: int | None) -> None:
    """Asked of a loop whose losses are the numbers of rows, as digits."""
    rows, digits = (mt.tensor([*map(float, values)], dtype=mt.float64) for values in
                    (range(2 * ROWS), [(2 * ROWS) ** k for k in range(BATCH)]))
    losses = mt.compile(lambda row: (row * digits).sum()).loop((rows,), steps=4, batch_size=BATCH, shuffle=shuffle)
    steps = taken(shuffle)
    assert [[int(value) // (2 * ROWS) ** k % (2 * ROWS) for k in range(BATCH)] for value in losses.tolist()] == steps
    assert [sorted(steps[k] + steps[k + 1]) for k in (0, 2)] == [[*range(2 * ROWS)]] * 2
    assert (steps[0] == [*range(BATCH)]) is (shuffle is None)


def test_each_seed_has_an_order_of_its_own() -> None:
    assert taken(0) == taken(0) != taken(1)
