"""Functions timed against each other: who is first, how they take turns, and that nothing wrong gets a figure."""

import re
import sys

import numpy as np
import pytest

import microtrain as mt
from microtrain.bench import Bound, Failure, Quantiles, ceilings, compare, measure, timing
from microtrain.bench.comparison import Entry
from microtrain.bench.timing import Contender, loop_clock
from tests.bench.shared import Clock, Fixed, accept

pytestmark = pytest.mark.usefixtures("nothing_pending")


@pytest.fixture
def by_the_host(monkeypatch):
    """Functions are timed by the host's clock, also where another test has had PyTorch start a GPU."""
    for module in (ceilings, measure):
        monkeypatch.setattr(module, "gpu_started", lambda: False)


@pytest.mark.usefixtures("by_the_host")
def test_figures_are_microseconds_a_call_and_the_ratio_is_the_firsts_time_over_the_others(monkeypatch):
    clock = Clock(monkeypatch)
    found = compare({"fast": clock.takes(1500), "slow": clock.takes(6000)}, accept, rounds=5, seconds=1e-4)
    assert found["fast"].time == Quantiles(1.5, 1.5, 1.5)
    assert found["slow"].time == Quantiles(6, 6, 6)
    assert found["slow"].ratio == Quantiles(0.25, 0.25, 0.25)
    assert found["fast"].ratio == Quantiles(1, 1, 1)
    assert found.first is found["fast"] and [entry.name for entry in found.others] == ["slow"]
    assert len(found["slow"].samples) == 5
    assert all(entry.calls * entry.time.median >= 100 for entry in found.entries)
    with pytest.raises(KeyError, match="there are fast, slow"):
        found["other"]


def test_waiting_for_what_was_queued_counts():
    seen = []
    timing.sample(lambda: seen.append("call"), lambda: seen.append("finish"), 3)
    assert seen == ["call"] * 3 + ["finish"]


def test_a_call_of_many_steps_counts_as_so_many(monkeypatch):
    clock = Clock(monkeypatch)
    sampler = loop_clock(1e-3).sampler(Contender(clock.takes(300_000), accept, lambda: None, steps=100))
    assert sampler.calls % 100 == 0 and sampler.take() == 3.0


@pytest.mark.usefixtures("by_the_host")
def test_functions_take_turns_in_a_rotating_order():
    seen = []
    compare({name: lambda name=name: seen.append(name) or 1.0 for name in "abc"}, accept, rounds=3, seconds=1e-12)
    assert "".join(seen[-9:]) == "abcbcacab"


def test_quantiles():
    assert Quantiles.of([4, 1, 3, 2, 5]) == Quantiles(2, 3, 4)
    with pytest.raises(ValueError, match="no samples"):
        Quantiles.of([])


# compare


def test_a_lazy_result_is_computed_within_its_time():
    x = mt.ones(3)
    made = []
    with mt.testing.count_kernels() as count:
        compare({"exp": lambda: made.append(1) or x.exp(), "pair": lambda: made.append(1) or (x.sin(), 1)},
                accept, rounds=2, seconds=1e-6)
    assert len(count.programs) == len(made)


@pytest.mark.parametrize("verdict", [False, np.False_, mt.tensor(False)], ids=type)
def test_a_wrong_result_has_no_figure(verdict):
    found = compare({"right": lambda: 1, "wrong": lambda: 2}, lambda out: out == 1 or verdict, rounds=2, seconds=1e-6)
    assert found["right"].time is not None
    assert found["wrong"] == Entry("wrong", found["wrong"].failure)
    assert found["wrong"].failure.kind == "wrong"
    assert re.search(r"^wrong +wrong: its check returned", str(found), re.M)


def test_nothing_is_timed_against_a_wrong_result():
    called = []

    def check(out):
        assert out == 1, "two is not one"

    found = compare({"wrong": lambda: 2, "right": lambda: called.append(1) or 1}, check, rounds=2, seconds=1e-6)
    assert found["wrong"].failure == Failure("wrong", "two is not one assert 2 == 1")
    assert found["right"].failure.kind == "not timed"
    assert called == []
    assert not re.search(r"\d\.\d", str(found))


def test_a_function_that_raises_leaves_the_others_their_figures():
    def broken():
        raise OSError("no such\nluck")

    def asserts():      # in itself, which is no wrong result
        raise AssertionError("inside")

    calls = []

    def tires():
        calls.append(1)
        if len(calls) > 4:
            raise MemoryError
        return 1

    functions = {"good": lambda: 1, "broken": broken, "asserts": asserts, "tires": tires}
    found = compare(functions, accept, rounds=9, seconds=1e-12)
    assert found["good"].time is not None and len(found["good"].samples) == 9
    assert str(found["broken"].failure) == "cannot run: OSError: no such luck"
    assert found["asserts"].failure == Failure("cannot run", "AssertionError: inside")
    assert str(found["tires"].failure) == "cannot run: MemoryError"


@pytest.mark.parametrize(("functions", "arguments", "error"), [
    ({}, {"check": accept}, ValueError),
    ({"f": int}, {"check": None}, TypeError),
    ({"f": int}, {"check": accept, "rounds": 0}, ValueError),
    ({"f": int}, {"check": accept, "seconds": float("nan")}, ValueError),
    ({"f": int}, {"check": accept, "bytes": -1}, ValueError),
])  # fmt: skip
def test_compare_refuses(functions, arguments, error):
    with pytest.raises(error, match=r"^compare\(\): "):
        compare(functions, **arguments)


@pytest.mark.usefixtures("by_the_host")
def test_users_are_told_the_share_of_their_limit(monkeypatch):
    clock = Clock(monkeypatch)
    monkeypatch.setattr(sys.modules["microtrain.bench.compare"], "ceilings_here", Fixed)
    functions = {"fast": clock.takes(10_000), "slow": clock.takes(20_000)}
    found = compare(functions, accept, rounds=3, seconds=1e-4, bytes=5000)
    assert found.least == Bound("bytes", 5.0)
    assert found.share("fast") == pytest.approx(0.5) and found.share("slow") == pytest.approx(0.25)
    assert re.search(r"of the limit\n.* 50%\n.* 25%$", str(found))
    assert compare(functions, accept, rounds=1, seconds=1e-4, operations=4000).least == Bound("operations", 2.0)
    assert compare(functions, accept, rounds=1, seconds=1e-4).least is None
