"""What a program is rewritten to before it is scheduled: the same values, bit for bit, with less work."""

from __future__ import annotations

import math

import numpy as np
import pytest

import microtrain as mt
from microtrain import ops as g
from microtrain.compiler.cpu.emit_numpy import NumpyExecutable
from microtrain.engine.plans import plans
from microtrain.graph import constants as graph_constants
from microtrain.graph import dtypes
from microtrain.graph.node import Kind, Node, literal
from microtrain.graph.spec import Device, spec
from tests.support.programs import blank, program, recorded, tensor

CPU = Device("cpu")


def operations(*outputs: Node) -> list[str]:
    """The maps that are left of a program, by name."""
    return [node.primitive.name for node in program(*outputs)[0].values if node.primitive.kind is Kind.MAP]


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16])
@pytest.mark.parametrize("values", [(1.0, 3.0), (2.0, -0.1), (1e-3, 7.0), (0.0, -1.0)])
def test_arithmetic_on_constants_is_done_once_and_rounds_as_the_dtype_does(
        dtype: dtypes.DType, values: tuple[float, float]) -> None:
    a, b = (literal(value, dtype, CPU) for value in values)
    kind = dtype.numpy.type
    wide = np.float32 if dtype.itemsize == 2 else kind
    x, y = (wide(kind(value)) for value in values)
    for fn, expected in ((g.add, x + y), (g.sub, x - y), (g.mul, x * y), (g.div, x / y)):
        made, _ = program(fn(a, b))
        out, = made.outputs
        assert [node.primitive.name for node in made.values] == ["literal"]
        assert kind(out.attrs[0]).tobytes() == kind(expected).tobytes()


def test_what_is_not_finite_and_integers_are_left_to_run_time() -> None:
    zero, one = literal(0.0, dtypes.float32, CPU), literal(1.0, dtypes.float32, CPU)
    assert operations(g.div(one, zero)) == ["div"]
    big = literal(2 ** 62, dtypes.int64, CPU)
    assert operations(g.add(big, big)) == ["add"]


@pytest.mark.parametrize("divisor", [2.0, -4.0, 0.5, 1024.0])
def test_a_division_by_a_power_of_two_is_a_product_with_the_same_bits(divisor: float) -> None:
    values = np.array([1.0, -3.7, 1e-45, 3e-39, 3.4e38, np.inf, np.nan, 0.0, -0.0], np.float32)
    out = g.div(tensor(values), literal(divisor, dtypes.float32, CPU))
    assert operations(out) == ["mul"]
    made, inputs = program(out)
    have, = NumpyExecutable(made).run(inputs)
    with np.errstate(all="ignore"):
        assert have.tobytes() == (values / np.float32(divisor)).tobytes()


def test_other_divisions_stay() -> None:
    x = blank(4)
    assert operations(g.div(x, literal(3.0, dtypes.float32, x.device))) == ["div"]
    whole = blank(4, dtype=dtypes.int64)
    assert operations(g.floor_divide(whole, literal(4, dtypes.int64, whole.device))) == ["floor_divide"]


def test_a_constant_is_seen_through_reshapes_and_expansions() -> None:
    x = blank(3, 4)
    one = g.expand(g.reshape(literal(1.0, dtypes.float32, x.device), (1, 1)), (3, 4))
    assert operations(g.exp(g.mul(x, one))) == ["exp"]


@pytest.mark.parametrize("number", [2, -1, math.nan])
def test_a_graph_with_a_number_is_met_again_however_many_numbers_were(number: float,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that is part of the structure is one signature, also when the others are forgotten."""
    monkeypatch.setattr(graph_constants, "MAX_CONSTANTS", 0)
    x = mt.tensor([1.0, 3.0])
    found = []
    for _ in range(3):
        out = mt.Tensor.from_node(g.mul(x.node, float(str(number))))        # as a derivative does; a NaN of its own
        assert np.array_equal(out.cpu().numpy(), np.array([1.0, 3.0]) * number, equal_nan=True)
        found.append(len(plans.known))
    assert found[0] == found[2], found


def test_a_step_is_one_structure_however_many_numbers_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of two parameters is one scalar of the graph, also after so many that some are forgotten."""
    monkeypatch.setattr(graph_constants, "MAX_CONSTANTS", 8)
    parameters = [mt.zeros(3, requires_grad=True), mt.zeros(2, 2, requires_grad=True)]
    optimizer = mt.optim.SGD(parameters, lr=0.1, momentum=0.9)
    counts, kept = [], []
    for step in range(40):
        optimizer.param_groups[0]["lr"] = 0.1 + step / 1000
        optimizer.zero_grad()
        sum((p * p + p).sum() for p in parameters).backward()
        optimizer.step()
        parameters[0].tolist()
        counts.append(len(plans.known))
        kept.append(len(spec((), mt.float32, parameters[0].device).constants))
    assert counts[4] == counts[-1] and max(kept) - kept[0] < 20, (counts, kept)       # others may hold some


SIGNED = {
    "a + -b": (lambda a, b, c: g.add(a, g.neg(b)), ["sub"]), "-a + b": (lambda a, b, c: g.add(g.neg(a), b), ["sub"]),
    "a - -b": (lambda a, b, c: g.sub(a, g.neg(b)), ["add"]),
    "--a": (lambda a, b, c: g.mul(g.neg(g.neg(a)), b), ["mul"]),
    "-(-a / b)": (lambda a, b, c: g.neg(g.div(g.neg(a), b)), ["div"]),
    "-(a * -b)": (lambda a, b, c: g.neg(g.mul(a, g.neg(b))), ["mul"]),
    "a + -b / c": (lambda a, b, c: g.add(a, g.div(g.neg(b), c)), ["div", "sub"]),
    "a * -1 + b": (lambda a, b, c: g.add(g.mul(a, -1), b), ["sub"]),
    "-(a - b)": (lambda a, b, c: g.neg(g.sub(a, b)), ["sub", "neg"]),       # of equals it is -0.0
    "-(a + b)": (lambda a, b, c: g.neg(g.add(a, b)), ["add", "neg"])}


@pytest.mark.parametrize(("written", "dtype"), [(written, dtype) for written in SIGNED for dtype in ("f4", "f2", "i4")
                                                if dtype != "i4" or "/" not in written])
def test_signs_that_cancel_vanish_and_every_bit_stays(written: str, dtype: str) -> None:
    make, left = SIGNED[written]
    special = np.array([0, 3, -1, -2 ** 31, 2 ** 31 - 1] if dtype == "i4" else
                       [0, -0.0, 1, -1, -2.5, 6e4, 1e-7, np.inf, -np.inf], dtype)
    a, b, c = (part.ravel() for part in np.meshgrid(special, special, special))
    made, inputs = program(make(*map(tensor, (a, b, c))))
    assert [node.primitive.name for node in made.values if node.primitive.kind is Kind.MAP] == left
    have, = NumpyExecutable(made).run(inputs)
    recorded_one = recorded(make(*map(tensor, (a, b, c))))
    want, = NumpyExecutable(recorded_one).run(inputs)
    same = have == want
    assert (same | np.isnan(want) & np.isnan(have)).all()
    assert (np.signbit(have) == np.signbit(want))[same].all()
