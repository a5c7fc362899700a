"""A program says what is to be computed, and nothing of who recorded it."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import numpy as np

from microtrain import ops as g
from microtrain.compiler.cpu.emit_numpy import NumpyExecutable
from microtrain.compiler.lower import lower
from microtrain.compiler.simplify import simplify
from microtrain.graph.node import Node
from tests.support.programs import blank, program, recorded, tensor

COMPILER = Path(__file__).resolve().parents[2] / "microtrain" / "compiler"


def loss(x: Node, slope: float = 0.3, axis: int = 1) -> Node:
    """Composites, numbers of both kinds, an index and a reduction."""
    return g.sum(g.cast(g.argmax(g.mul(g.softmax(x, axis), slope), axis), x.dtype), (0,))


def test_a_pickled_program_is_equal_and_computes_the_same() -> None:
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    x = tensor(values)
    made, inputs = program(g.logsumexp(g.mul(x, 0.7), (1,)), g.sum(g.pow(x, 2), (0,)), x)
    again = pickle.loads(pickle.dumps(made))
    assert again == made and hash(again) == hash(made) and again is not made
    assert [value.signature for value in again.values] == [value.signature for value in made.values]    # interned
    for have, want in zip(NumpyExecutable(again).run(inputs), NumpyExecutable(made).run(inputs), strict=True):
        assert have.tobytes() == want.tobytes()


def test_programs_are_equal_by_what_they_say() -> None:
    first, again = recorded(loss(blank(4, 6))), recorded(loss(blank(4, 6), slope=0.4))
    assert first == again and hash(first) == hash(again) and first is not again      # the slope is an input
    others = [recorded(loss(blank(6, 4))), recorded(loss(blank(4, 4), axis=0)), recorded(loss(blank(4, 6), slope=2)),
              first.__class__(recorded(loss(blank(4, 6))).values, recorded(loss(blank(4, 6))).values[:1])]
    assert all(first != other for other in others) and first != "a program"
    assert simplify(first) == simplify(again) and lower(simplify(first)) == lower(simplify(again))


def test_which_outputs_and_which_operands_are_part_of_a_program() -> None:
    x, y = blank(3), blank(3)
    assert recorded(g.sub(x, y)) != recorded(g.sub(y, x))
    total = g.add(x, y)
    one, two = recorded(total), recorded(total, x)
    assert one != two and [value.number for value in two.outputs] == [2, 0] and one.values[2].sources == one.inputs


def test_a_program_is_read_as_a_table() -> None:
    x = blank(2, 3)
    lines = str(program(g.mean(g.mul(x, 1.2345), (1,)), x)[0]).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "%0 = buffer float32[2, 3] input, output", "%1 = scalar float32[] input", "%2 = mul(%0, %1) float32[2, 3]",
        "%3 = 3.0 float32[]", "%4 = sum(%2, (1,)) float32[2]", "%5 = div(%4, %3) float32[2] output"]


def test_a_pass_leaves_the_program_that_it_is_given_as_it_was() -> None:
    given = recorded(loss(blank(4, 3000)))
    said, values = str(given), given.values
    simplified = simplify(given)
    kept = str(simplified)
    lowered = lower(simplified)
    assert str(given) == said and given.values is values and str(simplified) == kept
    assert not {*given.values} & {*simplified.values} and not {*simplified.values} & {*lowered.values}


def test_only_the_tracer_knows_nodes() -> None:
    """What records, and what was recorded, is named in `build` alone."""
    recording = {"Node", "new_node", "leaf", "literal", "constant", "record", "record1", "record2", "record_with",
                 "grad_mode", "topological", "output", "record_call"}
    knowing = set()
    for path in COMPILER.rglob("*.py"):
        for tree in ast.walk(ast.parse(path.read_text())):
            imported = isinstance(tree, ast.alias) and (
                tree.name in recording or (tree.name == "ops" and tree.asname is not None))
            # The face of the operations has rows, in capitals, and functions of nodes, in small letters.
            called = isinstance(tree, ast.Attribute) and ast.unparse(tree.value) == "ops" and tree.attr.islower()
            if imported or called:
                knowing.add(path.stem)
    assert knowing == {"build"}
