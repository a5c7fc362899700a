"""Whole loops in one launch, and a step's launches many times, against the same steps run one by one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from microtrain import ops as g
from microtrain.compiler.executable import Executable
from microtrain.compiler.loop import Loop, Roles, batched
from microtrain.compiler.loop_kernel import KernelLoop, refusal
from microtrain.compiler.loop_launches import LaunchLoop
from microtrain.engine.plans import linearize
from microtrain.graph import dtypes
from microtrain.graph.node import SCALAR, Node, leaf
from microtrain.graph.spec import Device, spec
from microtrain.runtime import kernel_backend, virtual
from tests.conftest import DEVICE
from tests.support.programs import program, tensor
from tests.support.recorded_steps import MODELS, Recorded, recorded

needs_kernels = pytest.mark.skipif(DEVICE == "cpu", reason="the cpu device runs no Triton kernels")
# On a virtual GPU a loop has no meaning in NumPy, only its instructions.
in_one_launch = pytest.mark.emulated if virtual.wanted() else needs_kernels
STEPS = 3 if virtual.wanted() else 5


def schedules(made: Recorded, steps: int = STEPS) -> list[np.ndarray]:
    """For each number of a program other values in each step."""
    change = 1 - np.arange(steps) / 64
    return [np.asarray(value.item() * change, given.dtype.numpy)
            for value, given in zip(made.values, made.program.inputs, strict=True) if given.primitive is SCALAR]


def one_by_one(made: Recorded, columns: list[np.ndarray], steps: int = STEPS) -> list[np.ndarray]:
    """What a loop gives, by so many runs."""
    executable, roles, values = Executable(made.program), made.roles, list(made.values)
    given = [place for place, value in enumerate(made.program.inputs) if value.primitive is SCALAR]
    to_numpy = executable.backend.to_numpy
    history: dict[int, list[np.ndarray]] = {place: [] for place in roles.history}
    for k in range(steps):
        for place, column in zip(given, columns, strict=True):
            values[place] = column[k]
        for place in roles.rows:
            values[place] = executable.backend.from_numpy(to_numpy(made.values[place])[k])
        out = executable.run([*values])
        for place in roles.history:
            history[place].append(to_numpy(out[place]).copy())
        for place, becomes in roles.carried.items():
            values[place] = out[becomes]
    return [np.stack(history[k]) if k in history else to_numpy(buffer) for k, buffer in enumerate(out)]


def looped(loop: Loop, made: Recorded, columns: list[np.ndarray], steps: int = STEPS) -> tuple[list[np.ndarray], int]:
    to_numpy = kernel_backend(made.program.device.type, made.program.device.index).to_numpy
    before = [to_numpy(value).copy() for value, given in zip(made.values, made.program.inputs, strict=True)
              if given.primitive is not SCALAR]
    out, count = loop.run([*made.values], columns, steps)
    after = [to_numpy(value) for value, given in zip(made.values, made.program.inputs, strict=True)
             if given.primitive is not SCALAR]
    assert all(map(np.array_equal, before, after)), "what is handed in is not written over"
    # Rows of steps that were not made hold anything: on a virtual GPU, what nobody may read.
    return [to_numpy(value[:count] if k in made.roles.history else value) for k, value in enumerate(out)], count


def same(loop: Loop, made: Recorded, steps: int = STEPS) -> None:
    """Bit for bit, in the interpreter; a GPU's loop has other tiles, so sums are added up in another order."""
    columns = schedules(made, steps)
    found, count = looped(loop, made, columns, steps)
    assert count == steps
    for got, want in zip(found, one_by_one(made, columns, steps), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        if DEVICE == "interpret":
            assert got.tobytes() == want.tobytes()
        else:
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def minibatches(made: Recorded, rng: np.random.Generator) -> Recorded:
    """The same step on rows that an index picks from thrice as many."""
    to_numpy, from_numpy = (getattr(kernel_backend(DEVICE), name) for name in ("to_numpy", "from_numpy"))
    size = made.program.inputs[made.data[0]].shape[0]
    whole, place = batched(made.program, dict.fromkeys(made.data, 3 * size))
    values = [*made.values, from_numpy(rng.integers(0, 3 * size, (STEPS, size)))]
    for k in made.data:
        part = to_numpy(made.values[k])
        values[k] = from_numpy(np.concatenate([part, part[::-1], np.roll(part, 1, 0)]))
    return Recorded(whole, replace(made.roles, rows=frozenset({place})), values, made.data)


@in_one_launch
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("gathered", [False, True], ids=["whole", "minibatches"])
def test_steps_in_one_launch_are_steps(name: str, gathered: bool, rng: np.random.Generator) -> None:
    made = recorded(MODELS[name](rng, DEVICE))
    if gathered:
        kernels = Executable(made.program).kernels
        made = minibatches(made, rng)
        assert Executable(made.program).kernels == kernels, "rows are picked as they are loaded"
    same(KernelLoop(made.program, made.roles), made)


@needs_kernels
@pytest.mark.parametrize("name", ["perceptron", "logistic"])
def test_what_is_read_where_it_is_stored_keeps_its_place(name: str, rng: np.random.Generator) -> None:
    made = recorded(MODELS[name](rng, DEVICE))
    assert "turn(" not in KernelLoop(made.program, made.roles, force=True).describe()


@needs_kernels
@pytest.mark.parametrize("name", ["logistic", "momentum"])
def test_steps_of_launches_are_steps(name: str, rng: np.random.Generator) -> None:
    made = minibatches(recorded(MODELS[name](rng, DEVICE)), rng)
    same(LaunchLoop(made.program, made.roles), made)


# ------------------------------------------------------------------------------------------------- what roles can be


def step(outputs: list[Node], carried: dict[Node, int], rows: tuple[Node, ...] = (), **roles: Any) -> Recorded:
    """A program of nodes, whose `rows` hold what they are in the first step."""
    leaves = [node for node in linearize(outputs)[0] if node.buffer is not None]
    made, values = program(*outputs)
    places = {leaves.index(node): place for node, place in carried.items()}
    for node in rows:
        array = kernel_backend(DEVICE).to_numpy(node.buffer)
        values[leaves.index(node)] = tensor(np.stack([np.roll(array, k) for k in range(STEPS)]), DEVICE).buffer
    return Recorded(made, Roles(places, frozenset(map(leaves.index, rows)), **roles), values, [])


def made_of(*shape: int, dtype: str = "float32", seed: int = 1) -> Node:
    return tensor((np.random.default_rng(seed).standard_normal(shape) * 2).astype(dtype), DEVICE)


def swapped() -> Recorded:
    a, b = made_of(8, 8), made_of(8, 8, seed=2)
    return step([b, a, g.sub(a, b)], {a: 0, b: 1}, history=frozenset({2}))


def one_for_two() -> Recorded:
    a, b = made_of(4, 3), made_of(4, 3, seed=2)
    return step([g.mul(g.add(a, b), 0.37)], {a: 0, b: 0})


def every_role_at_once() -> Recorded:
    a, b, c = made_of(5), made_of(5, seed=2), made_of(5, seed=3)
    new = g.sub(g.mul(a, 0.37), b)
    return step([new, new, new, a, b, c], {a: 0, c: 5}, (b,), history=frozenset({1, 4}))


def read_by_a_later_kernel() -> Recorded:
    w, x = made_of(20, 20), made_of(20, 20, seed=2)
    new = g.sub(w, g.mul(g.matmul(x, x), 0.01))
    return step([new, g.sum(g.matmul(g.relu(g.matmul(x, new)), w), (0, 1))], {w: 0}, history=frozenset({1}))


def an_operand() -> Recorded:
    w, x = made_of(20, 20), made_of(20, 20, seed=2)
    return step([g.mul(g.matmul(w, x), 0.05)], {w: 0})


def many_dtypes() -> Recorded:
    a, n, flag = made_of(7, dtype="float64"), made_of(7, dtype="int64"), tensor(np.arange(7) % 2 == 0, DEVICE)
    half = made_of(3, 7, dtype="float16")
    return step([g.add(a, 1.37), g.add(n, 5), g.ne(g.lt(a, 1.5), flag), g.mul(half, 0.9), g.sum(a, (0,))],
                {a: 0, n: 1, flag: 2, half: 3}, history=frozenset({3, 4}))


def nothing() -> Recorded:
    a, b = made_of(0, 3), made_of(3)
    return step([g.mul(a, 0.37), g.sum(a, (0,)), g.add(b, 0.37)], {a: 0, b: 1}, history=frozenset({2}))


def long_rows() -> Recorded:
    """Of some a kernel of their own takes the sum; others are more than a program has at once."""
    a, b = made_of(3, 20000), made_of(600, 50)
    return step([g.mul(a, 0.37), g.sum(a, (1,)), g.softmax(b, 1)], {a: 0, b: 2}, history=frozenset({1}))


def small_beside_large() -> Recorded:
    """A program has as many threads as the large one asks for: several have the small one's elements."""
    small, large = made_of(4, 6), made_of(100, 100, seed=2)
    return step([g.softmax(small, 1), g.tanh(large)], {small: 0, large: 1})


WAYS = [pytest.param(KernelLoop, marks=in_one_launch), LaunchLoop]
ROLES = (swapped, one_for_two, every_role_at_once, read_by_a_later_kernel, an_operand, many_dtypes, nothing, long_rows,
         small_beside_large)


@needs_kernels
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", ROLES)
def test_every_role(make: Callable[[], Recorded], way: type) -> None:
    made = make()
    for steps in (STEPS, 1, 4) if make is swapped else (STEPS,):
        same(way(made.program, made.roles), made, steps)


@needs_kernels
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kept", [False, True], ids=["alone", "history"])
def test_a_loop_ends_with_the_step_whose_loss_is_not_finite(way: type, kept: bool) -> None:
    a = tensor(np.float32(1e30), DEVICE)
    made = step([g.mul(a, 30.0), g.mul(a, 1e3)], {a: 1}, history=frozenset({0} if kept else ()), watched=0)
    columns = [np.repeat(column[:1], 9) for column in schedules(made, 1)]
    (loss, last), count = looped(way(made.program, made.roles), made, columns, 9)
    assert count == 4
    assert np.isinf(loss[3] if kept else loss) and np.isinf(last)


@needs_kernels
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_of_later_steps(way: type) -> None:
    """Also where the loss is itself what the next step begins with."""
    a, b = tensor(np.float32(1e30), DEVICE), made_of(5)
    made = step([g.mul(a, 1e3), g.mul(b, 2.0)], {a: 0, b: 1}, watched=0)
    columns = [np.repeat(column[:1], 9) for column in schedules(made, 1)]
    (loss, last), count = looped(way(made.program, made.roles), made, columns, 9)
    assert count == 3
    assert np.isinf(loss) and np.array_equal(last, kernel_backend(DEVICE).to_numpy(b.buffer) * 8)


# ------------------------------------------------------------------------------------------------------- minibatches


def blank(*shape: int) -> Node:
    """A node of a shape, on a device with kernels, whose value does not matter."""
    return leaf(None, spec(shape, dtypes.float32, Device("null:sm_90" if DEVICE == "cpu" else DEVICE)))


def test_minibatches_are_of_as_many_rows_each() -> None:
    x, y, w = blank(8, 3), blank(8), blank(3)
    made, _ = program(g.sub(g.sum(g.mul(x, w), (1,)), y))
    whole, place = batched(made, {0: 100, 1: 100})
    assert [value.shape for value in whole.inputs] == [(100, 3), (100,), (3,), (8,)] and place == 3
    assert [value.spec for value in whole.outputs] == [value.spec for value in made.outputs]
    for wrong in ({0: 100, 2: 100}, {}):
        with pytest.raises(ValueError, match="rows of data"):
            batched(made, wrong)


def test_what_is_carried_keeps_its_shape() -> None:
    made, _ = program(g.sum(blank(3), (0,)))
    for way in (KernelLoop, LaunchLoop):
        with pytest.raises(ValueError, match=r"float32\[3\]@.* cannot become float32\[\]@"):
            way(made, Roles({0: 0}))


# ----------------------------------------------------------------------------------------------------------- refusals


def test_too_much_for_one_processor_is_refused() -> None:
    small, _ = program(g.matmul(blank(64, 64), blank(64, 64)))
    products, _ = program(g.matmul(blank(256, 256), blank(256, 256)))
    elements, _ = program(g.mul(blank(1 << 18), 2.0))
    assert refusal(small, Roles()) is None
    assert "multiplies 16,777,216 numbers" in str(refusal(products, Roles()))
    assert "computes 262,144 numbers" in str(refusal(elements, Roles()))
    assert KernelLoop(elements, Roles(), force=True).launch.grid == (1,)


def test_more_places_than_a_launch_is_told_of_are_refused() -> None:
    few, more, many = ([g.add(blank(4), blank(4)) for _ in range(count)] for count in (20, 100, 150))
    assert refusal(program(*few)[0], Roles()) is None
    if DEVICE == "cpu":     # their addresses alone do not fit the registers of a thread
        assert re.search(r"more registers than a program has: [1-9]\d* bytes", str(refusal(program(*more)[0], Roles())))
    assert "places in memory, more than the 400 that a launch is told" in str(refusal(program(*many)[0], Roles()))
