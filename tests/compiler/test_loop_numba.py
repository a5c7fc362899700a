"""Loops that numba compiles have the bits of the Python function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from microtrain import ops as g
from microtrain.compiler import loop_numpy
from microtrain.compiler.emit_numpy import NumpyExecutable
from microtrain.compiler.loop import Roles
from microtrain.compiler.loop_numba import TEXT, compiled
from microtrain.compiler.loop_numpy import NumpyLoop
from microtrain.compiler.program import Program
from microtrain.graph.node import SCALAR, Node
from tests.compiler.test_loop_numpy import Made, linear, logistic, perceptron
from tests.conftest import DEVICE
from tests.support.programs import program, tensor
from tests.support.steps import Looped, looped

pytestmark = pytest.mark.skipif(DEVICE != "cpu", reason="of the cpu device, and what it compiles takes seconds")

SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 3e-5, -88.0, 88.9, 750.0, -750.0, 1e-40, 3e38, np.inf, -np.inf, np.nan)
UNARY = {primitive: getattr(g, primitive.name) for primitive in TEXT if primitive.name in (
    "neg", "abs", "sign", "sqrt", "rsqrt", "reciprocal", "relu", "exp", "log", "log1p", "expm1", "sin", "cos", "tan",
    "tanh", "erf", "erfc", "log2", "log10", "sigmoid", "softplus", "logical_not")}
BINARY = {primitive: getattr(g, primitive.name) for primitive in TEXT if primitive.name in (
    "add", "sub", "mul", "div", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "pow")}


def pairs(dtype: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each special value with each, and random ones of several sizes."""
    rng = np.random.default_rng(0)
    x, y = (values.ravel() for values in np.meshgrid(SPECIAL, SPECIAL))
    x, y = (np.concatenate([one, *[rng.standard_normal(500) * size for size in (0.1, 1, 30)]]) for one in (x, y))
    with np.errstate(over="ignore"):
        return x.astype(dtype), y.astype(dtype), rng.permutation(y).astype(dtype)


def equal(have: Any, want: Any, what: str) -> None:
    """The same bits, but for those of a NaN."""
    assert have.dtype == want.dtype and have.shape == want.shape, what
    np.testing.assert_array_equal(have, want, err_msg=what)
    np.testing.assert_array_equal(np.signbit(have) & ~np.isnan(have), np.signbit(want) & ~np.isnan(want), err_msg=what)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_operation_has_numpys_bits(dtype: str) -> None:
    """Also a product and a sum, which a fused instruction would round once."""
    x, y, z = pairs(dtype)
    a, b, c = (tensor(values[0]) for values in (x, y, z))
    less, more = g.lt(a, b), g.gt(b, c)
    made: dict[str, Node] = {f"{p.name}": function(a) for p, function in UNARY.items()}
    made |= {p.name: function(a, b) for p, function in BINARY.items()}
    made |= {"multiply, add": g.add(g.mul(a, b), c), "where": g.where(less, a, c), "clamp": g.clamp(a, b, c),
             "and": g.bitwise_and(less, more), "or": g.bitwise_or(less, more), "xor": g.bitwise_xor(less, more),
             "not": g.bitwise_not(less), "cast": g.cast(a, c.dtype), "from bool": g.cast(less, a.dtype),
             "literals": g.sub(g.mul(a, 0.5), g.add(b, 3))}
    assert {node.primitive for node in made.values()} | {g.CAST} >= set(TEXT) - {g.IDENTITY}
    compiling, rows = program(*made.values())[0], [x, y, z]       # inputs are in the order in which they were made
    roles = Roles(rows=frozenset(range(3)), history=frozenset(range(len(made))))
    loop = compiled(compiling, roles)
    assert loop is not None
    have, steps = loop(rows, [], len(x))
    want, _ = NumpyLoop(compiling, roles).run(rows, [], len(x))
    assert steps == len(x)
    for name, one, other in zip(made, have, want, strict=True):
        equal(one, other, name)
    with np.errstate(all="ignore"):
        fused = (x.astype("g") * y + z).astype(dtype)
    assert (fused != want[list(made).index("multiply, add")]).sum() > 50


@pytest.mark.parametrize("make", [linear, perceptron])
def test_a_long_loop_is_compiled_and_a_short_one_is_not(make: Callable[[], Made],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is cut into pieces, which go on where the last one ended."""
    monkeypatch.setattr(loop_numpy, "many", lambda program: 50)
    loop_numpy.made.cache_clear()
    loop = looped(*make(), steps=80)
    made, values, found = NumpyLoop(loop.program, loop.roles), list(loop.values), []
    for at in range(0, 80, 20):
        assert (made.made.machine is None) == (at < 60)
        outputs, count = made.run(values, [table[at:at + 20] for table in loop.numbers], 20)
        assert count == 20
        found.append(outputs[min(loop.roles.history)])
        for place, after in loop.roles.carried.items():
            values[place] = outputs[after]
    assert made.made.machine is not None
    equal_loop = NumpyLoop(Program.read(loop.program.flat), loop.roles)
    assert equal_loop.made is made.made, "it is not compiled again"
    want, _ = loop.singly(NumpyExecutable(loop.program))
    for place, one in enumerate(outputs):
        equal(np.concatenate(found) if place in loop.roles.history else one, want[place], str(place))


def test_the_larger_a_program_the_more_steps_are_worth_compiling() -> None:
    w = x = tensor(np.float32(0.9))
    for _ in range(200):
        w = g.mul(w, x)
    assert loop_numpy.many(looped(*perceptron(), steps=1).program) == 2000
    assert 30_000 < loop_numpy.many(program(w)[0]) < 100_000


def test_a_compiled_loop_ends_where_its_loss_is_not_finite() -> None:
    w = tensor(np.float32(1.5))
    after = g.mul(g.mul(w, w), 0.7)
    made, values = program(after, g.neg(after))
    [place] = [place for place, value in enumerate(made.inputs) if value.primitive is not SCALAR]
    roles = Roles({place: 0}, history=frozenset({1}), watched=0)
    loop = Looped(made, roles, values, [np.full(99, 0.7, np.float32)], 99)
    machine = compiled(loop.program, loop.roles)
    assert machine is not None
    outputs, steps = machine(loop.values, loop.numbers, loop.steps)
    want, count = loop.singly(NumpyExecutable(loop.program))
    assert 2 < steps == count < 99
    equal(outputs[0], want[0], "w")
    equal(outputs[1][:steps], want[1], "history")


def test_what_has_elements_is_not_compiled() -> None:
    loop = looped(*logistic(), steps=3)
    assert compiled(loop.program, loop.roles) is None


def test_without_numba_there_is_the_python_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(loop_numpy, "many", lambda program: 1)
    loop_numpy.made.cache_clear()
    loop = looped(*linear(), steps=3)
    made = NumpyLoop(loop.program, loop.roles)
    assert made.run(loop.values, loop.numbers, 3)[1] == 3 and made.made.machine is None
