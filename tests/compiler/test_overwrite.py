"""The cpu device's function for replays: updates written over what they update, and what is the same in many runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from microtrain import ops as g
from microtrain.compiler.cpu import emit_numpy
from microtrain.compiler.cpu.emit_numpy import NumpyExecutable
from microtrain.compiler.program import Program
from microtrain.graph import dtypes
from microtrain.graph.node import Node
from tests.support.programs import program, tensor

SHAPE = (64, 64)


@pytest.fixture(autouse=True)
def little_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emit_numpy, "GIVEN", emit_numpy.LARGE)


def large(seed: int = 0, dtype: str = "f4") -> Node:
    return tensor(np.random.default_rng(seed).normal(size=SHAPE).astype(dtype))


def copies(inputs: list[Any]) -> list[Any]:
    return [np.array(one)[()] for one in inputs]


def bits(values: list[Any]) -> list[bytes]:
    return [np.asarray(one).tobytes() for one in values]


def in_place(made: Program, inputs: list[Any], free: set[int] | None = None,
             carried: dict[int, int] | None = None) -> tuple[NumpyExecutable, list[Any]]:
    """Run over copies of the inputs that are free, and hold the result to that of a plain run."""
    executable = NumpyExecutable(made, in_place=True, carried=carried)
    given = copies(inputs)
    free = set(executable.donatable) if free is None else free
    have = executable.run(given, free)
    assert bits(have) == bits(NumpyExecutable(made).run(inputs))
    assert all(bits([one]) == bits([other]) for k, (one, other) in enumerate(zip(given, inputs, strict=True))
               if k not in free)
    return executable, [next((k for k, one in enumerate(given) if one is out), None) for out in have]


def test_an_update_is_written_over_what_it_updates() -> None:
    weight, square, velocity, grad = (large(k) for k in range(4))
    faster = g.add(g.mul(velocity, 0.9), g.neg(grad))
    larger = g.add(g.mul(square, 0.99), g.mul(grad, grad))
    made, inputs = program(g.sub(weight, g.div(g.mul(faster, 0.1), g.sqrt(larger))), faster, larger)
    assert NumpyExecutable(made).donatable == ()
    places = [next(k for k, one in enumerate(inputs) if one is node.buffer) for node in (weight, velocity, square)]
    carried = {place: k for k, place in enumerate(places)}
    executable, over = in_place(made, inputs, None, carried)
    assert over == places and executable.donatable == tuple(sorted(places))
    for free in ({places[0]}, {places[1], places[2]}, set()):
        assert in_place(made, inputs, free, carried)[1] == [place if place in free else None for place in places]


def test_all_that_reads_a_value_comes_before_what_is_written_over_it() -> None:
    x, y = large(0), large(1)
    new = g.mul(x, y)
    product = g.matmul(g.transpose(x), y)           # recorded later, through a view
    made, inputs = program(new, product, g.sum(x, (0,)))
    _, over = in_place(made, inputs)
    assert over[0] is not None and over[1:] == [None, None]


def test_outputs_that_read_each_others_memory_are_not_both_written_over_it() -> None:
    x, y = large(0), large(1)
    executable, over = in_place(*program(g.sub(x, y), g.add(y, x)))
    assert len(executable.donatable) == 1 and over.count(None) == 1
    executable, over = in_place(*program(g.mul(y, 2), g.mul(x, 2)))
    assert len(executable.donatable) == 2 and None not in over


@pytest.mark.parametrize("more", [
    lambda x, new: g.mul(g.transpose(x), new), lambda x, new: g.sum(new, (1,)), lambda x, new: g.reshape(x, (4096,)),
    lambda x, new: g.cast(new, dtypes.float64), lambda x, new: x], ids=["crosswise", "sum", "view", "cast", "itself"])
def test_what_cannot_wait_is_not_written_over_anything(more: Any) -> None:
    x = large()
    new = g.neg(x)
    executable, over = in_place(*program(new, more(x, new)))
    assert executable.donatable == () and over[0] is None


def test_what_small_values_and_half_precisions_become_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = tensor(np.ones(8, np.float32)), tensor(np.ones(SHAPE, np.float16))
    assert NumpyExecutable(program(g.neg(x), g.neg(y))[0], in_place=True).donatable == ()
    monkeypatch.setattr(emit_numpy, "GIVEN", emit_numpy.LARGE + 1)
    assert NumpyExecutable(program(g.neg(large()))[0], in_place=True).donatable == ()


def test_the_output_of_a_failed_run_is_lost_only_if_it_was_begun() -> None:
    x, target = large(), tensor(np.arange(64) % 64)
    loss = g.cross_entropy(x, target, -100, "mean")
    made, inputs = program(loss, g.sub(x, g.mul(loss, 0.1)), g.sub(large(1), 1))
    executable = NumpyExecutable(made, in_place=True)
    free, wrong = executable.donatable, copies(inputs)
    assert len(free) == 2
    target_place = next(k for k, one in enumerate(inputs) if one.dtype == np.int64)
    wrong[target_place][3] = 64
    with pytest.raises(IndexError):
        executable.run(wrong, free)
    assert bits([wrong[k] for k in free]) == bits([inputs[k] for k in free])

    def fails(*arguments: object, out: object) -> None:
        raise MemoryError
    executable.function.__globals__["subtract"] = fails
    given = copies(inputs)
    with pytest.raises(MemoryError):
        executable.run(given, free[:1])
    assert [k for k, one in enumerate(given) if one is None] == [free[0]]


def test_what_is_seen_twice_is_said_to_be_shared() -> None:
    x, y = large(0), large(1)
    total = g.add(x, y)
    executable = NumpyExecutable(program(total, g.transpose(total), g.reshape(y, (4096,)),
                                         g.expand(g.sum(x, (0,)), SHAPE), x, g.sub(x, y))[0])
    assert executable.shared == (0, 1, 2, 3, 4)
    assert executable.passed == (0, 1)


# ------------------------------------------------------------------------------------------- the same in many runs

def test_what_depends_on_fixed_inputs_alone_is_computed_once() -> None:
    weight, x = large(0), large(1)
    scaled = g.exp(g.neg(x))
    made, inputs = program(g.sub(weight, g.matmul(g.transpose(scaled), weight)), g.mul(scaled, weight))
    place = next(k for k, one in enumerate(inputs) if one is x.buffer)
    executable = NumpyExecutable(made, in_place=True, fixed={place})
    assert place not in executable.donatable and "exp(" not in executable.source.split("def plan")[1]
    kept = executable.prepare([one if k == place else None for k, one in enumerate(inputs)])
    before, values = bits(kept), copies(inputs)
    for _ in range(3):
        want = bits(NumpyExecutable(made).run(copies(values)))
        assert bits(executable.run(copies(values))) == want
        out = executable.run(values, executable.donatable, kept)
        assert bits(out) == want and bits(kept) == before
        values[1 - place] = out[0]
    values[place] = values[place] + 1
    want, stale = bits(NumpyExecutable(made).run(values)), bits(executable.run(values, (), kept))
    assert bits(executable.run(values, (), executable.prepare(values))) == want != stale


def test_an_output_is_nobody_elses() -> None:
    x, y = large(0), large(1)
    alone = g.exp(x)
    made, inputs = program(alone, g.mul(alone, y), g.mul(g.log(x), y))
    place = next(k for k, one in enumerate(inputs) if one is x.buffer)
    executable = NumpyExecutable(made, fixed={place})
    kept = executable.prepare(inputs)
    first, again = executable.run(inputs, (), kept), executable.run(inputs, (), kept)
    assert bits(first) == bits(again) == bits(NumpyExecutable(made).run(inputs)) and kept
    assert not any(np.shares_memory(one, other) for one in first for other in (*again, *kept))


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_have_the_bits_of_a_plain_run(seed: int) -> None:
    """Programs of updates, views, sums and products, whose outputs are written over whatever they may be."""
    rng = np.random.default_rng(seed)
    leaves, number = [large(k) for k in range(4)], tensor(np.float32(0.7))
    nodes = list(leaves)

    def pick() -> Node:
        late = rng.random() < 0.5
        return nodes[rng.integers(max(0, len(nodes) - 8), len(nodes))] if late else leaves[rng.integers(4)]
    makers = [lambda: g.add(pick(), pick()), lambda: g.sub(pick(), leaves[rng.integers(4)]), lambda: g.neg(pick()),
              lambda: g.mul(pick(), number), lambda: g.maximum(pick(), pick()), lambda: g.tanh(pick()),
              lambda: g.transpose(pick()), lambda: g.matmul(pick(), g.transpose(pick())),
              lambda: g.sub(pick(), g.sum(pick(), (0,), keepdim=True)), lambda: g.flip(pick(), (1,)),
              lambda: g.where(g.gt(pick(), 0), pick(), 0)]
    for _ in range(16):
        nodes.append(makers[rng.integers(len(makers))]())
    made, inputs = program(*[nodes[k] for k in np.unique(rng.integers(4, len(nodes), 6))])
    in_place(made, inputs)
    fixed = {k for k in range(len(inputs)) if rng.random() < 0.4}
    executable = NumpyExecutable(made, in_place=True, fixed=fixed)
    kept = executable.prepare(inputs)
    for _ in range(2):
        have = executable.run(copies(inputs), executable.donatable, kept)
        assert bits(have) == bits(NumpyExecutable(made).run(inputs))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("wide", [True, False])
def test_a_choice_of_zero_has_the_bits_of_a_branch(dtype: str, wide: bool) -> None:
    rng = np.random.default_rng(0)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -3.5], dtype)
    x, by = rng.choice(special, SHAPE), rng.normal(size=SHAPE if wide else (1, 64))
    value, over, keep = tensor(x), tensor(np.asfortranarray(x)), by > 0
    made, inputs = program(g.where(tensor(keep), value, 0), g.where(tensor(keep), 0, g.transpose(over)),
                           g.where(tensor(keep), value, -0.0))
    executable = NumpyExecutable(made)
    assert executable.source.count("masked(") == 2
    zero = x.dtype.type(0)
    want = [np.where(keep, x, zero), np.where(keep, zero, x.T), np.where(keep, x, -zero)]
    assert bits(executable.run(inputs)) == bits(want)
