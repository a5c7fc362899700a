"""Elementwise operations fused into machine code have NumPy's bits, whatever the layout of what they are handed."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import ops as g
from microtrain.compiled import running
from microtrain.compiler.cpu import emit_map, fused_maps, loop_numpy
from microtrain.compiler.cpu.emit_numpy import NumpyExecutable
from microtrain.compiler.cpu.fused_maps import FUSED, fused, ways
from microtrain.compiler.cpu.loop_numpy import NumpyLoop
from microtrain.compiler.loop import Roles
from microtrain.compiler.program import Program
from microtrain.graph.dtypes import bool_, float32, float64
from microtrain.graph.node import Node
from microtrain.runtime import machine_code
from tests.conftest import DEVICE
from tests.support.programs import program, tensor

pytestmark = pytest.mark.skipif(DEVICE != "cpu", reason="of the cpu device")

SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38, 0.5)
SHAPES = ((7,), (8,), (1, 1), (3, 5), (64, 10), (4, 64), (2, 3, 4), (5, 1, 16), (1, 37), (1000,))


def numbers(shape: tuple[int, ...], seed: int, dtype: Any = np.float32) -> np.ndarray:
    """Random numbers, a fifth of them special."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    with np.errstate(over="ignore"):
        return np.where(rng.random(shape) < 0.2, rng.choice(SPECIAL, shape), values).astype(dtype)


def equal(have: Any, want: Any, what: str) -> None:
    """The same bits, but for those of a NaN, and laid out as those."""
    assert have.dtype == want.dtype and have.shape == want.shape, what
    assert have.flags.c_contiguous == want.flags.c_contiguous, what
    np.testing.assert_array_equal(have, want, err_msg=what)
    if have.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(have) & ~np.isnan(have), np.signbit(want) & ~np.isnan(want),
                                      err_msg=what)


def operations(made: Program) -> list[str]:
    """The names of what a program does, and of what its fused operations do."""
    return [value.primitive.name for value in made.values if value.sources]


def check(*outputs: Node, least: int = 1) -> Program:
    """Fused and not, a program has the same bits, also where its inputs are laid out otherwise; returns the fused."""
    made, values = program(*outputs)
    after = fused(made)
    assert operations(after).count("fused_map") >= least, str(after)
    plain = NumpyExecutable(made)
    plan = NumpyExecutable(after, otherwise=plain)
    strided = [np.stack([one, one], -1)[..., 0] if isinstance(one, np.ndarray) and one.shape else one for one in values]
    turned = [np.asfortranarray(one) if isinstance(one, np.ndarray) and one.shape else one for one in values]
    for how, given in ("as they are", values), ("strided", strided), ("turned", turned):
        before, want = [np.array(one) for one in given], plain.run(list(given))
        for k, (one, other) in enumerate(zip(plan.run(list(given)), want, strict=True)):
            equal(one, other, f"output {k}, {how}")
        for one, copy in zip(given, before, strict=True):
            equal(np.array(one), copy, "an input is as it was")
    return after


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_operation_has_numpys_bits(shape: tuple[int, ...], dtype: Any) -> None:
    a, b, c = (tensor(numbers(shape, k, dtype)) for k in range(3))
    other = float64 if dtype == np.float32 else float32
    less, more = g.lt(a, b), g.ge(b, c)
    truth = g.bitwise_xor(g.bitwise_or(less, g.eq(a, c)), g.bitwise_and(g.bitwise_not(more), g.ne(b, 0)))
    made = [g.add(g.mul(a, b), c), g.sub(g.div(a, b), g.neg(c)), g.relu(g.sub(a, b)), g.relu(a),
            g.where(truth, a, g.abs(b)), g.where(g.gt(a, 0), 0, b), g.where(g.le(a, 0), b, -1.5),
            g.reciprocal(g.add(a, 1)), g.mul(g.cast(g.logical_not(a), a.dtype), b), g.bitwise_and(less, more),
            g.cast(g.mul(g.cast(g.add(a, b), other), 3), a.dtype), g.where(g.cast(g.sub(a, b), bool_), a, b),
            g.mul(g.cast(g.lt(less, more), a.dtype), c), g.sqrt(g.mul(a, a)), g.rsqrt(a), g.sign(g.sub(a, b)),
            g.div(a, g.add(g.sqrt(b), 1e-8))]
    for one in made:
        assert operations(check(one)) == ["fused_map"]


@pytest.mark.parametrize("shape, other", [
    ((64, 10), (10,)), ((64, 10), (64, 1)), ((64, 10), (1, 1)), ((64, 10), (1,)), ((64, 10), ()), ((2, 3, 4), (3, 4)),
    ((2, 3, 4), (2, 1, 1)), ((2, 3, 4), (2, 3, 1)), ((5, 1, 16), (5, 1, 1)), ((1, 37), (37,)), ((3, 5), (1, 5))],
    ids=str)
def test_what_is_broadcast(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    a, b, c = (tensor(numbers(of, k)) for k, of in enumerate((shape, other, shape)))
    check(g.sub(c, g.mul(g.add(a, b), b)))
    check(g.where(g.gt(b, 0), g.add(a, b), g.relu(c)))


def test_what_cannot_be_read_row_by_row_is_numpys() -> None:
    """Or is fused without that."""
    middle, row, column = (tensor(numbers(of, k)) for k, of in enumerate(((2, 1, 4), (4,), (2, 1, 1))))
    x = tensor(numbers((2, 3, 4), 5))
    assert ways((2, 1, 4), (2, 3, 4)) == ("", 0)
    check(g.mul(g.add(g.mul(x, 2), middle), 3), least=0)
    check(g.mul(g.add(x, row), column), least=0)
    check(g.relu(g.mul(g.relu(g.add(x, row)), column)), least=1)
    assert fused(made := program(g.add(g.exp(x), middle))[0]) is made


def test_a_single_number_is_read_as_it_is() -> None:
    """Also of another shape, which may be that of the result."""
    x, one, two = tensor(numbers((5,), 0)), tensor(np.float32(1.7)), tensor(numbers((1,), 2))
    for number in (one, two, g.add(two, 1)):
        for view in (g.reshape(number, (1, 1)), g.expand(g.reshape(number, (1, 1, 1)), (1, 1, 5)),
                     g.reshape(number, (1,))):
            check(g.mul(g.sub(x, view), 2.0))
            check(g.mul(g.sub(view, 1.0), g.reshape(number, (1, 1))), least=0)
    assert operations(check(g.mul(g.sub(x, g.reshape(one, (1, 1))), 2.0))) == ["reshape", "fused_map"]


def test_one_operation_that_broadcasts_is_worth_it() -> None:
    x, row = tensor(numbers((6, 5), 0)), tensor(numbers((5,), 1))
    assert operations(check(g.add(x, row))) == ["fused_map"] and operations(check(g.add(x, x), least=0)) == ["add"]


def test_what_is_turned_is_fused_only_where_no_layout_depends_on_it() -> None:
    """Sums are taken in the order of the memory, which NumPy keeps or does not, by what it writes into."""
    x, y = tensor(numbers((12, 9), 0)), tensor(numbers((9, 12), 1))
    turned = g.permute(x, (1, 0))
    for one in (g.add(turned, y), g.exp(turned), g.relu(g.sum(g.reshape(turned, (9, 12, 1)), (2,)))):
        made = program(g.sum(one, (0, 1)), g.sub(g.mul(y, y), 1))[0]
        assert fused(made) is made
    check(g.sub(g.mul(g.matmul(x, turned), 2.0), 1), g.relu(x))
    check(g.sub(g.mul(g.sum(x, (0,)), 2.0), 1), g.permute(g.mul(g.add(x, 1), 2.0), (1, 0)))
    made, _ = program(g.permute(g.mul(g.add(x, 1), 2.0), (1, 0)))
    assert fused(made) is not made and fused(made, [0]) is made, "what the next step is handed would be turned"


@pytest.mark.parametrize("shape", [(5,), (1, 5), (4, 1)], ids=str)
def test_what_is_expanded(shape: tuple[int, ...]) -> None:
    x, y = tensor(numbers(shape, 0)), tensor(numbers((4, 5), 1))
    wide = g.expand(x, (4, 5))
    check(g.mul(g.add(wide, 1), 2.0), g.sum(g.exp(wide), (0,)), g.sub(g.mul(wide, y), wide), least=2)


def steps_that_turn() -> list[Callable[[], mt.Tensor]]:
    """Steps whose operands are laid out in several ways, with large temporaries to write into."""
    w = mt.tensor(np.linspace(-1, 1, 70 * 64).reshape(70, 64), device="cpu")
    s, u = (mt.tensor([value], dtype=mt.float64, device="cpu") for value in (2.0, 3.0))
    a, b = (mt.tensor(numbers(of, 3) / 3, device="cpu").nan_to_num(0, 1, 1) for of in ((90, 100), (100, 90)))
    k, seen = mt.tensor(1.0, device="cpu"), mt.tensor(numbers((90, 100), 4), device="cpu").nan_to_num(0, 1, 1).T

    def broadcast() -> mt.Tensor:
        w.mul_(0.99)
        s.add_(1.0)
        return (s.expand(64, 70) * u + s.expand(64, 70)) * w.T.abs()

    def dead_temporary() -> mt.Tensor:
        k.mul_(1.0)
        return ((a.T * k) * a.T + a.T).abs().sum() + (b * k).exp().sum() * 1e-30

    def argument() -> mt.Tensor:
        k.mul_(1.0)
        return ((seen * k) * seen + seen).abs().sum() + (b * k).exp().sum() * 1e-30
    return [broadcast, dead_temporary, argument]


def test_inputs_that_nothing_fused_reads_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Into what memory NumPy writes depends on what else there is."""
    x, y = tensor(numbers((9, 5), 0)), tensor(numbers((6, 5), 1))
    made, values = program(g.sum(g.exp(x), (0, 1)), g.sub(g.mul(y, 2.0), 1))
    within, runs = NumpyExecutable.within, []

    def counted(self: NumpyExecutable, *given: Any) -> list[Any]:
        runs.append(given)
        return within(self, *given)
    monkeypatch.setattr(NumpyExecutable, "within", counted)
    plan = NumpyExecutable(fused(made), otherwise=NumpyExecutable(made))
    plan.run(list(values))
    assert not runs
    plan.run([np.asfortranarray(one) if one.shape == (9, 5) else one for one in values])
    assert len(runs) == 1


def test_a_layout_that_was_not_foreseen_is_numpys_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the middle of a loop, which begins again."""
    x, w = tensor(numbers((12, 12), 0)), tensor(numbers((12, 12), 1))
    turned = g.permute(g.exp(w), (1, 0))
    made, values = program(g.sub(w, g.mul(g.add(g.tanh(turned), x), 0.5)))
    assert fused(made) is made
    monkeypatch.setattr(fused_maps, "laid_out_as_in_c", lambda program: set(program.values))
    plain = NumpyExecutable(made)
    plan = NumpyExecutable(fused(made), otherwise=plain)
    assert "fused" in plan.source
    equal(plan.run(list(values))[0], plain.run(list(values))[0], "a step")
    place = next(k for k, one in enumerate(values) if one is w.buffer)
    monkeypatch.setattr(loop_numpy, "OFTEN", 1)
    loop_numpy.made.cache_clear()
    loop, want = NumpyLoop(made, Roles({place: 0})), list(values)
    outputs, count = loop.run(values, [], 5)
    for _ in range(5):
        want[place] = plain.run(list(want))[0]
    assert loop.made.fused and count == 5
    equal(outputs[0], want[place], "a loop")
    loop_numpy.made.cache_clear()


@pytest.mark.parametrize("which", range(3))
def test_bits_stay_where_something_is_turned(which: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "MANY", 4)
    plain, compiled = steps_that_turn()[which], mt.compile(steps_that_turn()[which])
    for _ in range(9):
        equal(compiled().numpy(), plain().numpy(), "before and after")


def test_only_what_is_read_once_is_taken_in() -> None:
    """What is read twice, or wanted, is computed once; also where both readers could take it."""
    x, y = tensor(numbers((9, 9), 0)), tensor(numbers((9, 9), 1))
    kept = g.mul(x, y)
    after = check(g.add(kept, x), g.exp(kept), g.sub(g.add(kept, y), 1), least=1)
    assert sorted(operations(after)) == ["add", "exp", "fused_map", "mul"]
    after = check(kept, g.sub(g.neg(kept), 1))
    assert sorted(operations(after)) == ["fused_map", "mul"]
    square = g.add(x, y)
    assert operations(check(g.mul(square, square))) == ["fused_map"], "read twice by one is read by one"


def test_what_is_between_two_stays_between() -> None:
    """A function cannot be computed before what another operation makes of its own part."""
    x = tensor(numbers((6, 6), 0))
    first = g.relu(g.add(x, 1))
    check(g.where(g.le(first, 0), 0, g.matmul(first, first)), first, least=2)


def test_many_operations_and_many_sources_are_several_functions() -> None:
    total = x = tensor(numbers((16,), 0))
    for k in range(200):
        total = g.add(g.mul(total, 0.9), x if k % 2 else 0.25)
    assert 4 <= operations(check(total)).count("fused_map") <= 12
    total = x
    for k in range(40):
        total = g.sub(total, tensor(numbers((16,), k)))
    assert operations(check(total)).count("fused_map") >= 2


def test_its_result_is_written_into_memory_that_is_there() -> None:
    """Of a source that is not needed any more; inputs are given away by who asks for it."""
    shape = (80, 80)
    x, y, w = (tensor(numbers(shape, k)) for k in range(3))
    made, values = program(g.sub(w, g.mul(g.add(g.matmul(x, y), x), 0.1)))
    want = NumpyExecutable(made).run(list(values))[0]
    place = next(k for k, one in enumerate(values) if one is w.buffer)
    plan = NumpyExecutable(fused(made), in_place=True, carried={place: 0})
    assert plan.donatable == () or plan.donatable == (place,)
    given = [np.array(one) for one in values]
    equal(plan.run(list(given), plan.donatable)[0], want, "given away")
    assert "out=" not in plan.source and plan.source.count("empty(") <= 1


def test_who_hands_over_less_or_other_things_is_not_computed_beyond_its_end() -> None:
    made = program(g.sub(g.mul(tensor(numbers((4, 6), 0)), 2.0), tensor(numbers((6,), 1))))[0]
    [group] = [value.attrs[0].program for value in fused(made).values if value.primitive is FUSED]
    call, x, y = emit_map.function(group), numbers((4, 6), 2), numbers((6,), 3)
    out = np.empty((4, 6), np.float32)
    assert call(x, y, out) is out
    want = x * np.float32(2) - y
    equal(out, want, "as it should be")
    for wrong in ((x.astype(np.float64), y, out), (x[:, ::-1], y, out), (np.asfortranarray(x), y, out), (x[:3], y, out),
                  (x, y.astype(">f4"), out), (x.view(np.recarray), y, out), (x, y, out.reshape(24)),
                  (x, y[:5], out), (x, y), (x,), (), (x, None, out)):
        with pytest.raises(RuntimeError, match=r"\(mul, sub\) was handed"):
            call(*wrong)
    out.flags.writeable = False
    with pytest.raises(RuntimeError, match="handed"):
        call(x, y, out)
    equal(out, want, "nothing was written")


def test_it_leaves_nothing_behind() -> None:
    made = program(g.sub(g.mul(tensor(numbers((4, 6), 0)), 2.0), 1))[0]
    [group] = [value.attrs[0].program for value in fused(made).values if value.primitive is FUSED]
    call, x, out = emit_map.function(group), numbers((4, 6), 2), np.empty((4, 6), np.float32)
    laid_out = emit_map.laid_out((tensor(x).spec,))
    assert laid_out(x) is True and laid_out(x.T) is laid_out() is laid_out(x, x) is laid_out(None) is False
    assert laid_out(x.astype(np.float64)) is laid_out(x[::2]) is laid_out(x.view(np.recarray)) is False

    def counts() -> tuple[int, ...]:
        return sys.getallocatedblocks(), sys.getrefcount(x), sys.getrefcount(out)
    for _ in range(2):
        before = counts()
        for _ in range(5000):
            call(x, out)
            call(x[:, :], out)
            laid_out(x)
            laid_out(x.T)
        after = counts()
    assert all(abs(new - old) < 50 for new, old in zip(after, before, strict=True))
    emit_map.function.cache_clear()
    seen = weakref.ref(call.__self__[0])        # type: ignore[attr-defined]
    del call
    gc.collect()
    assert seen() is None


STEPS: tuple[Callable[[Node, Node, Node], Node], ...] = (
    lambda x, y, z: g.add(x, y), lambda x, y, z: g.sub(x, y), lambda x, y, z: g.mul(x, y), lambda x, y, z: g.div(x, y),
    lambda x, y, z: g.neg(x), lambda x, y, z: g.relu(x), lambda x, y, z: g.where(g.gt(x, y), y, z),
    lambda x, y, z: g.where(g.le(x, 0), 0, y), lambda x, y, z: g.abs(x), lambda x, y, z: g.tanh(x),
    lambda x, y, z: g.sum(x, (0,), True) if x.shape else g.exp(x),
    lambda x, y, z: g.expand(x, (1, *x.shape)) if len(x.shape) == 1 else g.mul(x, 0.5))


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed: int) -> None:
    """Of arithmetic, choices, functions of NumPy's, sums and views, of several shapes."""
    rng = np.random.default_rng(seed)
    rows, columns = int(rng.integers(1, 20)), int(rng.integers(1, 20))
    shapes = [(rows, columns), (columns,), (rows, 1), (1, 1), ()]
    pool = [tensor(numbers(shapes[k % len(shapes)], seed + k)) for k in range(7)]
    for _ in range(25):
        x, y, z = (pool[int(rng.integers(len(pool)))] for _ in range(3))
        pool.append(STEPS[int(rng.integers(len(STEPS)))](x, y, z))
    check(*pool[7::4], pool[-1], least=0)


@pytest.mark.parametrize("state", ["machine code", "none of it", "nothing is fused"])
def test_a_step_and_a_loop_that_are_run_often(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights and losses are those of plain steps, bit for bit, before and after; also without machine code."""
    monkeypatch.setattr(running, "MANY", 10)
    monkeypatch.setattr(loop_numpy, "OFTEN", 40)
    if state == "none of it":
        monkeypatch.setattr(fused_maps, "available", lambda: False)
    machine = state == "machine code"
    loop_numpy.made.cache_clear()
    with mt.settings.fuse(state != "nothing is fused"):
        run_often(machine)
    loop_numpy.made.cache_clear()


def run_often(machine: bool) -> None:
    """Check the steps of a model, plain, compiled and looped."""
    found = []
    for how in ("plain", "compiled", "looped"):
        mt.manual_seed(0)
        x, y = mt.randn(33, 12, device="cpu"), mt.tensor(np.arange(33) % 5, device="cpu")
        model = mt.nn.Sequential(mt.nn.Linear(12, 70), mt.nn.ReLU(), mt.nn.Linear(70, 5))
        optimizer = mt.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)

        def step(x: mt.Tensor, y: mt.Tensor, model: Any = model, optimizer: Any = optimizer) -> mt.Tensor:
            optimizer.zero_grad()
            loss = mt.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss
        compiled = mt.compile(step)
        if how == "looped":
            losses = compiled.loop((x, y), steps=60).tolist()
        else:
            losses = [(step if how == "plain" else compiled)(x, y).item() for _ in range(60)]
        found.append([losses, *[one.tolist() for one in model.parameters()]])
        if how == "compiled":
            [runner] = [one.runner for listed in compiled.recordings.values() for one in listed if one.runner]
            assert ("fused" in runner.executable.source) == machine == ("machine code" in compiled.explain())
        elif how == "looped":
            assert ("NumPy calls and machine code" in compiled.explain()) == machine
    assert found[0] == found[1] == found[2]


def test_a_loop_is_fused_once_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_numpy, "OFTEN", 20)
    loop_numpy.made.cache_clear()
    w, x = tensor(numbers((6, 5), 1)), tensor(numbers((5,), 2))
    made, values = program(g.sub(g.mul(w, 0.5), x))
    place = next(k for k, one in enumerate(values) if one is w.buffer)
    loop, plan = NumpyLoop(made, Roles({place: 0})), NumpyExecutable(made)
    want = list(values)
    for at in range(4):
        outputs, _ = loop.run(values, [], 8)
        assert ("fused" in loop.made.source) == (at >= 2)
        values[place] = outputs[0]
        for _ in range(8):
            want[place] = plan.run(list(want))[0]
        equal(outputs[0], want[place], f"after {8 * at + 8} steps")
    loop_numpy.made.cache_clear()


def test_without_the_layout_that_is_known_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_code, "DTYPE", machine_code.AXES)
    machine_code.available.cache_clear()
    try:
        assert not machine_code.available()
        made = program(g.sub(g.mul(tensor(numbers((6, 5), 1)), 0.5), 1))[0]
        assert fused(made) is made
    finally:
        machine_code.available.cache_clear()
