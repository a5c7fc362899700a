"""Recording is written out more than once for speed: every way makes the same node and the same entry on the tape."""

from collections.abc import Callable
from itertools import product

import pytest

from microtrain import ops as g
from microtrain.graph.dtypes import float32
from microtrain.graph.node import Node, Primitive, apply1, apply2, infer, leaf, record, record1, record2, record_with
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


def ways(primitive: Primitive, count: int) -> list[Callable[..., Node]]:
    """The functions that record an operation of one source, or of two."""
    if count == 1:
        return [lambda x: record(primitive, (x,)), lambda x: record1(primitive, x), getattr(g, primitive.name),
                lambda x: apply1(infer(primitive, x.spec, (x,), ()), x), lambda x: record_with(primitive, x)]
    return [lambda x, y: record(primitive, (x, y)), lambda x, y: record2(primitive, x, y), getattr(g, primitive.name),
            lambda x, y: apply2(infer(primitive, (x.spec, y.spec), (x, y), ()), x, y)]


OPERATIONS = [(name, on_tape) for count, names in ((1, "exp sin neg"), (2, "add mul div maximum"))
              for name in names.split() for on_tape in product((True, False), repeat=count)]


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(("name", "on_tape"), OPERATIONS)
def test_every_way_records_the_same(name: str, on_tape: tuple[bool, ...], enabled: bool,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grad_mode, "enabled", enabled)
    found = []
    for way in ways(PRIMITIVES[name], len(on_tape)):
        sources = list(map(value, on_tape))
        node = way(*sources)
        assert (node.tape is not None) is (enabled and any(on_tape))
        found.append(state(node, sources))
    first = found[0]
    for other in found[1:]:
        assert str(other[0]["signature"]) == str(first[0]["signature"])
        other[0]["signature"] = first[0]["signature"]           # `record` keys its memo by attributes
        assert other == first
