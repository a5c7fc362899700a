"""Recording is written out more than once for speed: every way makes the same node and the same entry on the tape."""

import pytest

from microtrain import ops as g
from microtrain.graph.dtypes import float32
from microtrain.graph.node import Node, apply1, apply2, infer, leaf, record, record1, record2, record_with
from microtrain.graph.spec import Device, spec
from microtrain.graph.tape import Leaf, grad_mode
from microtrain.ops import PRIMITIVES


def value(on_tape: bool) -> Node:
    node = leaf(None, spec((2,), float32, Device("cpu")))
    node.tape = Leaf(node.seq) if on_tape else None
    return node


def state(node: Node, names: list[Node]) -> tuple:
    """All that was set on a node and its entry, but for their numbers, and what its sources are held by."""
    slots = {slot: getattr(node, slot, "unset") for slot in ("buffer", "holders", "shared", "signature", "version")}
    tape = node.tape
    entry = None if tape is None else (type(tape), tape.pullback.steps, tape.pullback.kept, tape.pullback.saves_out,
                                       tape.edges == node.sources == tape.sources, tape.bare, tape.released,
                                       tape.seq == node.seq)
    return slots, [names.index(s) for s in node.sources], node.spec, entry, [s.holders for s in names]


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("x_on_tape", [True, False])
@pytest.mark.parametrize("name", ["exp", "sin", "neg"])
def test_one_source(name: str, x_on_tape: bool, enabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grad_mode, "enabled", enabled)
    primitive, found = PRIMITIVES[name], []
    for way in (lambda x: record(primitive, (x,)), lambda x: record1(primitive, x), getattr(g, name),
                lambda x: apply1(infer(primitive, x.spec, (x,), ()), x), lambda x: record_with(primitive, x)):
        x = value(x_on_tape)
        node = way(x)
        assert (node.tape is not None) is (x_on_tape and enabled)
        found.append(state(node, [x]))
    first = found[0]
    for other in found[1:]:
        assert str(other[0]["signature"]) == str(first[0]["signature"])
        other[0]["signature"] = first[0]["signature"]           # `record` keys its memo by attributes
        assert (other[0], other[1:3], other[4]) == (first[0], first[1:3], first[4])
        assert (other[3] is None) is (first[3] is None) and (first[3] is None or other[3][1:] == first[3][1:])


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("on_tape", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("name", ["add", "mul", "div", "maximum"])
def test_two_sources(name: str, on_tape: tuple[bool, bool], enabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grad_mode, "enabled", enabled)
    primitive, found = PRIMITIVES[name], []
    for way in (lambda x, y: record(primitive, (x, y)), lambda x, y: record2(primitive, x, y), getattr(g, name),
                lambda x, y: apply2(infer(primitive, (x.spec, y.spec), (x, y), ()), x, y)):
        x, y = map(value, on_tape)
        node = way(x, y)
        assert (node.tape is not None) is (enabled and any(on_tape))
        found.append(state(node, [x, y]))
    first = found[0]
    for other in found[1:]:
        assert str(other[0]["signature"]) == str(first[0]["signature"])
        other[0]["signature"] = first[0]["signature"]
        assert other == first
