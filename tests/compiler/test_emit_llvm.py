"""Machine code of programs of 0-d values, a step or a loop, has the bits of the Python function."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import ops as g
from microtrain.compiled import running
from microtrain.compiler.cpu import emit_llvm, emit_map, loop_numpy
from microtrain.compiler.cpu.emit_llvm import compiled_loop, compiled_step, step_text
from microtrain.compiler.cpu.emit_numpy import NumpyExecutable
from microtrain.compiler.cpu.llvm_values import ARITHMETIC, COMPARISONS, LOGIC, WIDE
from microtrain.compiler.cpu.loop_numpy import NumpyLoop
from microtrain.compiler.loop import Roles
from microtrain.compiler.program import Program
from microtrain.graph.dtypes import bool_, float32, float64
from microtrain.graph.node import SCALAR, Node, literal
from microtrain.runtime import machine_code
from microtrain.runtime.machine_code import python_function
from tests.compiler.test_loop_numpy import Made, linear, logistic, perceptron
from tests.conftest import DEVICE
from tests.support.programs import program, tensor
from tests.support.steps import Looped, looped

pytestmark = pytest.mark.skipif(DEVICE != "cpu", reason="of the cpu device")

RULES = {*ARITHMETIC, *COMPARISONS, *LOGIC, *WIDE, g.LOGICAL_NOT, g.CAST}
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 3e-5, -88.0, 88.9, 750.0, -750.0, 1e-40, 3e38, np.inf, -np.inf, np.nan)
UNARY = {primitive: getattr(g, primitive.name) for primitive in RULES if primitive.name in (
    "neg", "abs", "sign", "sqrt", "rsqrt", "reciprocal", "relu", "exp", "log", "log1p", "expm1", "sin", "cos", "tan",
    "tanh", "erf", "erfc", "log2", "log10", "sigmoid", "softplus", "logical_not")}
BINARY = {primitive: getattr(g, primitive.name) for primitive in RULES if primitive.name in (
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


def every_operation(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> dict[str, Node]:
    """Each operation of the first rows; also a product and a sum, which a fused instruction would round once."""
    a, b, c = (tensor(values[0]) for values in (x, y, z))
    less, more = g.lt(a, b), g.gt(b, c)
    made: dict[str, Node] = {f"{p.name}": function(a) for p, function in UNARY.items()}
    made |= {p.name: function(a, b) for p, function in BINARY.items()}
    made |= {"multiply, add": g.add(g.mul(a, b), c), "where": g.where(less, a, c), "clamp": g.clamp(a, b, c),
             "and": g.bitwise_and(less, more), "or": g.bitwise_or(less, more), "xor": g.bitwise_xor(less, more),
             "not": g.bitwise_not(less), "cast": g.cast(a, c.dtype), "from bool": g.cast(less, a.dtype),
             "literals": g.sub(g.mul(a, 0.5), g.add(b, 3)), "to bool": g.cast(a, less.dtype),
             "equal bools": g.eq(less, more), "more than": g.gt(less, more),
             "other": g.cast(a, float64 if a.dtype is float32 else float32)}
    assert {node.primitive for node in made.values()} >= RULES
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_operation_has_numpys_bits(dtype: str) -> None:
    x, y, z = pairs(dtype)
    made = every_operation(x, y, z)
    compiling, rows = program(*made.values())[0], [x, y, z]       # inputs are in the order in which they were made
    roles = Roles(rows=frozenset(range(3)), history=frozenset(range(len(made))))
    loop = compiled_loop(compiling, roles)
    assert loop is not None
    have, steps = loop(rows, [], len(x))
    want, _ = NumpyLoop(compiling, roles).run(rows, [], len(x))
    assert steps == len(x)
    for name, one, other in zip(made, have, want, strict=True):
        equal(one, other, name)
    with np.errstate(all="ignore"):
        fused = (x.astype("g") * y + z).astype(dtype)
    assert (fused != want[list(made).index("multiply, add")]).sum() > 50


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_has_numpys_bits(dtype: str) -> None:
    x, y, z = pairs(dtype)
    made = {name: g.cast(node, float32) if node.dtype is bool_ else node
            for name, node in every_operation(x, y, z).items()}
    compiling = program(*made.values())[0]
    machine, reference = compiled_step(compiling), NumpyExecutable(compiling)
    assert machine is not None
    rows = [*zip(x, y, z, strict=True)]
    have, want = [machine(*row) for row in rows], [reference.run(list(row)) for row in rows]
    for name, one, other in zip(made, zip(*have, strict=True), zip(*want, strict=True), strict=True):
        assert {*map(type, one)} == {*map(type, other)}, name
        equal(np.array(one), np.array(other), name)


def test_inputs_of_every_dtype_and_constants_as_outputs() -> None:
    truth, count, x = tensor(np.True_), tensor(np.int64(-7)), tensor(np.float64(2.5))
    y = g.where(truth, g.add(g.cast(count, float64), x), g.cast(g.ge(count, -3), float64))
    compiling = program(y, x, literal(0.1, float32, y.device))[0]
    machine = compiled_step(compiling)
    assert machine is not None
    for row in ((np.True_, np.int64(-7), np.float64(2.5)), (np.False_, np.int64(2 ** 40), np.float64(-0.0)),
                (np.False_, np.int64(-4), np.float64(np.inf))):
        have = machine(*row)
        assert [*have] == NumpyExecutable(compiling).run(list(row)) and have[2].dtype == np.float32


def test_what_is_no_number_of_its_dtype_is_not_taken() -> None:
    made = program(g.add(tensor(np.float32(1)), tensor(np.float32(2))))[0]
    machine, one = compiled_step(made), np.float32(1.5)
    assert machine is not None and machine(one, one) == (3,)
    for wrong in ((one,), (one, one, one), (one, 1.5), (np.float64(1.5), one), (one, np.asarray(one)), (None, one)):
        assert machine(*wrong) is None
    assert compiled_step(program(g.gt(tensor(np.float32(1)), 0))[0]) is None, "truths are NumPy's own two"
    with pytest.raises(TypeError, match="keyword"):
        machine(one, b=one)


def test_a_step_leaves_nothing_behind() -> None:
    """Neither objects nor counts of references, also of what it does not take; and its code is given back."""
    made = program(g.add(g.mul(tensor(np.float32(1)), tensor(np.float32(2))), 1))[0]
    machine, one, array = compiled_step(made), np.float32(1.5), np.asarray(np.float32(1))
    assert machine is not None

    def counts() -> tuple[int, ...]:
        return (sys.getallocatedblocks(), sys.getrefcount(one), sys.getrefcount(array), sys.getrefcount(np.float32))
    for _ in range(2):
        before = counts()
        for _ in range(10_000):
            machine(one, one)
            machine(one, array)
        after = counts()
    assert all(abs(new - old) < 50 for new, old in zip(after, before, strict=True))
    code = python_function(step_text(made)).__self__[0]
    seen = weakref.ref(code)
    del code
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize("state", ["machine code", "none of it"])
def test_a_step_that_is_replayed_often_is_machine_code(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses and weights are those of plain steps, before and after, and where there is none."""
    monkeypatch.setattr(running, "MANY", 20)
    if state == "none of it":
        monkeypatch.setattr(emit_llvm, "available", lambda: False)
    emit_llvm.compiled_step.cache_clear()
    found = []
    for compiled in (False, True):
        x, y, w = (mt.tensor(value, device="cpu") for value in (0.7, 1.0, -0.3))
        w.requires_grad_()

        def step(x: mt.Tensor, y: mt.Tensor, w: mt.Tensor = w) -> mt.Tensor:
            loss = (y - mt.sigmoid(w * x)) ** 2
            loss.backward()
            with mt.no_grad():
                w -= 0.1 * w.grad
            w.grad = None
            return loss
        replayed = mt.compile(step)
        losses = [(replayed if compiled else step)(x, y).item() for _ in range(60)]
        found.append([losses, w.item()])
    assert found[0] == found[1]
    [[recording]] = replayed.recordings.values()
    assert recording.runner is not None
    assert not recording.runner.waits
    assert (type(recording.runner.machine) is type(len)) == (state == "machine code")
    emit_llvm.compiled_step.cache_clear()


@pytest.mark.parametrize("error", [OSError("no memory"), RuntimeError("a relocation")])
def test_where_code_cannot_be_made_numpy_goes_on(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine_code.available()

    def refuse(self: object, text: str) -> None:
        raise error
    monkeypatch.setattr(machine_code.Code, "__init__", refuse)
    monkeypatch.setattr(running, "MANY", 4)
    monkeypatch.setattr(loop_numpy, "MANY", 4)
    monkeypatch.setattr(loop_numpy, "OFTEN", 4)
    for cache in (emit_llvm.compiled_step, emit_map.function, emit_map.laid_out, loop_numpy.made):
        cache.cache_clear()
    for shape in ((), (3, 7)):
        w = mt.full(shape, 0.5, device="cpu")
        step = mt.compile(lambda w=w: (w.mul_(1.5).sub_(0.25) * 2 + 1).sum())
        want = mt.full(shape, 0.5, device="cpu")
        for _ in range(9):
            assert step().item() == (want.mul_(1.5).sub_(0.25) * 2 + 1).sum().item()
        assert step.loop(steps=9).shape == (9,)


def test_a_program_of_thousands_of_values_is_numpys() -> None:
    x = tensor(np.float32(1.0))
    for _ in range(emit_llvm.MOST):
        x = g.mul(g.add(x, x), x)
    assert compiled_step(program(x)[0]) is None


def test_memory_that_may_not_be_executed_is_no_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses:
        def __init__(self, *given: object, **more: object) -> None:
            self.mprotect = lambda *given: -1
    text = "define i64 @one() {\n  ret i64 1\n}\n"
    assert machine_code.c_function(text, ctypes.c_int64)() == 1
    monkeypatch.setattr(ctypes, "CDLL", Refuses)
    machine_code.available.cache_clear()
    try:
        assert not machine_code.available()
        with pytest.raises(OSError, match="executed"):
            machine_code.c_function(text, ctypes.c_int64)
    finally:
        machine_code.available.cache_clear()


def test_code_that_needs_what_is_not_in_it_is_refused() -> None:
    with pytest.raises(RuntimeError, match="relocation"):
        machine_code.c_function("declare double @exp(double)\ndefine double @f(double %x) {\n"
                                "  %y = call double @exp(double %x)\n  ret double %y\n}\n", ctypes.c_double)


def test_whatever_else_is_called_triton_is_not_taken_for_it() -> None:
    code = """
import sys, types
sys.modules["triton"] = types.ModuleType("triton")
from microtrain.runtime.machine_code import available
print(available())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_tritons_llvm_does_not_bring_triton_and_is_its_afterwards() -> None:
    """Whether Triton interprets kernels is decided when it is imported: not here."""
    code = """
import sys
from microtrain.runtime.machine_code import available, llvm
assert available() and "triton" not in sys.modules
first = llvm()
import triton
from triton._C import libtriton
assert libtriton.llvm is first and triton._C.libtriton is libtriton and triton.__version__
import triton._C.libtriton as again
assert again is libtriton
import microtrain as mt
from microtrain.runtime.resources import TARGETS
from microtrain.kernels import arithmetic
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.parametrize("make", [linear, perceptron])
def test_a_long_loop_is_compiled_and_a_short_one_is_not(make: Callable[[], Made],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is cut into pieces, which go on where the last one ended."""
    monkeypatch.setattr(loop_numpy, "MANY", 50)
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


def test_a_compiled_loop_ends_where_its_loss_is_not_finite() -> None:
    w = tensor(np.float32(1.5))
    after = g.mul(g.mul(w, w), 0.7)
    made, values = program(after, g.neg(after))
    [place] = [place for place, value in enumerate(made.inputs) if value.primitive is not SCALAR]
    roles = Roles({place: 0}, history=frozenset({1}), watched=0)
    loop = Looped(made, roles, values, [np.full(99, 0.7, np.float32)], 99)
    machine = compiled_loop(loop.program, loop.roles)
    assert machine is not None
    outputs, steps = machine(loop.values, loop.numbers, loop.steps)
    want, count = loop.singly(NumpyExecutable(loop.program))
    assert 2 < steps == count < 99
    equal(outputs[0], want[0], "w")
    equal(outputs[1][:steps], want[1], "history")


def test_what_has_elements_is_not_compiled() -> None:
    loop = looped(*logistic(), steps=3)
    assert compiled_loop(loop.program, loop.roles) is None


def test_where_there_is_no_machine_code_there_is_the_python_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emit_llvm, "available", lambda: False)
    monkeypatch.setattr(loop_numpy, "MANY", 1)
    loop_numpy.made.cache_clear()
    loop = looped(*linear(), steps=3)
    made = NumpyLoop(loop.program, loop.roles)
    assert made.run(loop.values, loop.numbers, 3)[1] == 3 and made.made.machine is None
