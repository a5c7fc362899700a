"""A loop on the cpu device gives the bits of so many single runs of its program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import ops as g
from microtrain.compiler.cpu import emit_numpy
from microtrain.compiler.cpu.emit_numpy import NumpyExecutable
from microtrain.compiler.cpu.loop_numpy import NumpyLoop
from microtrain.compiler.loop import Roles, batched
from microtrain.nn import functional as F
from tests.support.programs import program, tensor
from tests.support.steps import Looped, looped, watched

K = 5
Made = tuple[Callable[[], mt.Tensor], Callable[[], dict[str, mt.Tensor]]]


def array(*shape: int, scale: float = 1.0, dtype: Any = np.float32) -> np.ndarray:
    return (np.random.default_rng(sum(shape)).standard_normal(shape) * scale).astype(dtype)


def on_cpu(value: np.ndarray, parameter: bool = False) -> mt.Tensor:
    return mt.tensor(value, device="cpu", requires_grad=parameter)


def classes(n: int, count: int) -> mt.Tensor:
    return on_cpu(np.random.default_rng(n).integers(0, count, n))


def by_hand(forward: Callable[..., mt.Tensor], *shapes: tuple[int, ...], rate: float = 0.1) -> Made:
    """A step of gradient descent written out; parameters of these shapes."""
    parameters = [on_cpu(array(*shape, scale=0.3), parameter=True) for shape in shapes]

    def step() -> mt.Tensor:
        loss = forward(*parameters)
        loss.backward()
        with mt.no_grad():
            for one in parameters:
                assert one.grad is not None
                one -= rate * one.grad
                one.grad = None
        return loss
    return step, lambda: {str(i): one for i, one in enumerate(parameters)}


def optimized(make: Callable[..., mt.optim.Optimizer], forward: Callable[..., mt.Tensor], *shapes: tuple[int, ...],
              **options: Any) -> Made:
    """A step of an optimizer, whose state changes too."""
    parameters = [on_cpu(array(*shape, scale=0.3), parameter=True) for shape in shapes]
    optimizer = make(parameters, **options)

    def step() -> mt.Tensor:
        optimizer.zero_grad()
        loss = forward(*parameters)
        loss.backward()
        optimizer.step()
        return loss

    def state() -> dict[str, mt.Tensor]:
        kept = {f"{i} {name}": value for i, one in enumerate(parameters)
                for name, value in optimizer.state[one].items() if isinstance(value, mt.Tensor)}
        return {str(i): one for i, one in enumerate(parameters)} | kept
    return step, state


def perceptron() -> Made:
    x, y = on_cpu(np.float32(6.7)), on_cpu(np.float32(0))

    def forward(w: mt.Tensor, b: mt.Tensor) -> mt.Tensor:
        p = mt.clamp(mt.sigmoid(w * x + b), 1e-8, 1 - 1e-8)
        return -(y * mt.log(p) + (1 - y) * mt.log(1 - p))
    return by_hand(forward, (), ())


def linear() -> Made:
    x, y = on_cpu(np.float32(0.7)), on_cpu(np.float32(-1.3))
    return by_hand(lambda w, b: (w * x + b - y) ** 2, (), (), rate=0.07)


def logistic() -> Made:
    x, y = on_cpu(array(64, 8)), on_cpu((array(64, 1) > 0).astype(np.float32))
    return by_hand(lambda w, b: F.binary_cross_entropy_with_logits(F.linear(x, w, b), y), (1, 8), (1,))


def network(x: mt.Tensor, y: mt.Tensor) -> Callable[..., mt.Tensor]:
    return lambda w, b, v, c: F.cross_entropy(F.linear(F.relu(F.linear(x, w, b)), v, c), y)


SIZES = (16, 12), (16,), (5, 16), (5,)


def mlp(make: Callable[..., mt.optim.Optimizer], **options: Any) -> Made:
    return optimized(make, network(on_cpu(array(20, 12)), classes(20, 5)), *SIZES, **options)


def large() -> Made:
    """Temporaries that are large enough to be written over."""
    x, y = on_cpu(array(96, 64)), classes(96, 70)
    return optimized(mt.optim.SGD, network(x, y), (64, 64), (64,), (70, 64), (70,), lr=0.1, momentum=0.9)


def dropout() -> Made:
    x, y = on_cpu(array(20, 12)), classes(20, 5)
    return by_hand(lambda w, b, v, c: F.cross_entropy(F.linear(F.dropout(F.relu(F.linear(x, w, b)), 0.3), v, c), y),
                   *SIZES)


def convolution() -> Made:
    x, y = on_cpu(array(6, 1, 9, 9)), classes(6, 4)
    return by_hand(lambda w, b, v: F.cross_entropy(
        F.max_pool2d(F.relu(F.conv2d(x, w, b)), 2).flatten(1) @ v, y), (3, 1, 3, 3), (3,), (27, 4))


def embedding() -> Made:
    words, y = on_cpu(np.random.default_rng(0).integers(0, 9, (8, 3))), classes(8, 4)
    return by_hand(lambda table, v: F.cross_entropy(F.embedding(words, table).mean(1) @ v, y), (9, 6), (6, 4))


def normalised() -> Made:
    """Batch norm, whose running statistics are state beside what is trained."""
    x, y = on_cpu(array(20, 6)), on_cpu(array(20, 6, scale=2))
    mean, variance = on_cpu(np.zeros(6, np.float32)), on_cpu(np.ones(6, np.float32))
    step, state = by_hand(lambda w, b: F.mse_loss(F.batch_norm(x, mean, variance, w, b, training=True), y), (6,), (6,))
    return step, lambda: state() | {"mean": mean, "variance": variance}


def hoisted() -> Made:
    """Much of it depends on data alone; something large too, which no step may write over."""
    x, y = on_cpu(array(80, 64)), on_cpu(array(80, 1))
    return by_hand(lambda w: (((x * 2 - x.tanh()).exp().log() @ w - (1 - y)) ** 2).mean(), (64, 1), rate=0.01)


def doubles() -> Made:
    x = on_cpu(array(10, 3, dtype=np.float64))
    w = on_cpu(array(3, dtype=np.float64), parameter=True)

    def step() -> mt.Tensor:
        loss = (x @ w).sin().logsumexp(0)
        loss.backward()
        with mt.no_grad():
            assert w.grad is not None
            w.sub_(0.1 * w.grad)
        w.grad = None
        return loss
    return step, lambda: {"w": w}


SET_UPS: dict[str, Callable[[], Made]] = {
    "perceptron": perceptron, "linear": linear, "logistic": logistic, "large": large, "dropout": dropout,
    "convolution": convolution, "embedding": embedding, "batch norm": normalised, "hoisted": hoisted,
    "float64": doubles,
    "SGD": lambda: mlp(mt.optim.SGD, lr=0.1), "momentum": lambda: mlp(mt.optim.SGD, lr=0.1, momentum=0.9),
    "Nesterov": lambda: mlp(mt.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "dampening": lambda: mlp(mt.optim.SGD, lr=0.1, momentum=0.9, dampening=0.3, maximize=True),
    "Adam": lambda: mlp(mt.optim.Adam, lr=0.01), "amsgrad": lambda: mlp(mt.optim.Adam, amsgrad=True, weight_decay=0.1),
    "AdamW": lambda: mlp(mt.optim.AdamW, lr=0.01)}


def same(have: tuple[list[Any], int], want: tuple[list[Any], int]) -> None:
    assert have[1] == want[1]
    for place, (one, other) in enumerate(zip(have[0], want[0], strict=True)):
        one = one[:have[1]] if one.shape != other.shape else one     # of a history what was made
        assert one.dtype == other.dtype and one.shape == other.shape, place
        assert one.tobytes() == other.tobytes(), f"output {place}: {one} and not {other}"


def check(loop: Looped) -> NumpyLoop:
    """The loop's outputs are those of single runs, and what it was given is as it was."""
    made = NumpyLoop(loop.program, loop.roles)
    given = [np.array(value) for value in loop.values]
    want = loop.singly(NumpyExecutable(loop.program))
    same(made.run(list(loop.values), loop.numbers, loop.steps), want)
    for value, before in zip(loop.values, given, strict=True):
        np.testing.assert_array_equal(value, before)
    return made


@pytest.mark.parametrize("name", SET_UPS)
def test_a_loop_is_so_many_single_runs(name: str) -> None:
    loop = looped(*SET_UPS[name](), steps=K)
    assert len(loop.roles.carried) >= (8 if name in ("momentum", "Adam") else 1)
    check(loop)
    losses = NumpyLoop(loop.program, loop.roles).run(loop.values, loop.numbers, K)[0][min(loop.roles.history)]
    assert len(np.unique(losses)) == K, "each step is another"


def test_a_minibatch_is_a_row() -> None:
    x, y = on_cpu(array(20, 12)), classes(20, 5)
    made = optimized(mt.optim.SGD, network(x, y), *SIZES, lr=0.1, momentum=0.9)
    rng = np.random.default_rng(1)
    loop = looped(*made, steps=K, rows={x: array(K, 20, 12), y: rng.integers(0, 5, (K, 20))})
    assert len(loop.roles.rows) == 2
    check(loop)


def test_a_batch_is_picked_by_one_take() -> None:
    """Of each argument: one statement a step, and no other copy of it."""
    x, y = on_cpu(array(8, 12)), classes(8, 5)
    loop = looped(*optimized(mt.optim.SGD, network(x, y), *SIZES, lr=0.1, momentum=0.9), steps=K)
    picked = np.random.default_rng(2).integers(0, 50, (K, 8))
    data = array(50, 12), np.random.default_rng(3).integers(0, 5, 50)
    at = [next(place for place, value in enumerate(loop.values) if value is tensor.node.buffer) for tensor in (x, y)]
    program, index = batched(loop.program, dict.fromkeys(at, 50))
    values = [*loop.values, picked]
    for place, whole in zip(at, data, strict=True):
        values[place] = whole
    made = check(replace(loop, program=program, roles=replace(loop.roles, rows=frozenset({index})), values=values))
    before, body = made.made.source.split("for k")
    assert body.count(".take(") == 2 and ".take(" not in before
    rows = replace(loop, roles=replace(loop.roles, rows=frozenset(at)), values=list(loop.values))
    for place, whole in zip(at, data, strict=True):
        rows.values[place] = whole[picked]
    same(made.run(values, loop.numbers, K), rows.singly(NumpyExecutable(loop.program)))


@pytest.mark.parametrize("limit", [1, emit_numpy.LARGE])
def test_random_orders_of_carrying(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that change places, an output that is an input's old value or the same twice, with and without memory that
    is written over."""
    monkeypatch.setattr(emit_numpy, "LARGE", limit)
    a, b, c = (tensor(array(3, 4) + i) for i in range(3))
    total = g.add(g.mul(a, b), c)
    made, values = program(a, b, total, g.tanh(g.neg(total)), total, g.reshape(g.exp(g.neg(c)), (3, 4)), c)
    for carried in ({0: 1, 1: 0}, {0: 3, 1: 0, 2: 1}, {0: 2, 1: 4}, {0: 3}, {2: 3, 0: 6}, {0: 5, 2: 2}, {1: 6}):
        for history in (frozenset[int](), frozenset({0, 2}), frozenset({1, 3, 5})):
            check(Looped(made, Roles(carried, history=history), values, [], K))


def test_what_depends_on_data_alone_is_computed_once() -> None:
    made = check(looped(*hoisted(), steps=K))
    before, body = made.made.source.split("for k")
    assert "tanh" in before and "transpose" in before and "tanh" not in body and "transpose" not in body


def test_a_loop_ends_where_its_loss_is_not_finite() -> None:
    step, state = by_hand(lambda w: (w * w).exp().sum(), (3,), rate=0.7)
    loop = watched(looped(step, state, steps=12))
    made = NumpyLoop(loop.program, loop.roles)
    outputs, steps = made.run(loop.values, loop.numbers, 12)
    assert 1 < steps < 12
    losses = outputs[min(loop.roles.history)]
    assert losses.shape == (12,) and np.isfinite(losses[:steps - 1]).all() and not np.isfinite(losses[steps - 1])
    same((outputs, steps), loop.singly(NumpyExecutable(loop.program)))
    unwatched = replace(loop, roles=replace(loop.roles, watched=None))
    assert NumpyLoop(loop.program, unwatched.roles).run(loop.values, loop.numbers, 12)[1] == 12
