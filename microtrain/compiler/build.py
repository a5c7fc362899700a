"""Making the values of a new program, also with the graph's own functions.

Decompositions and rewrites are written in the graph's functions, which record nodes. Here, and nowhere else in the
compiler, they are called: on nodes that stand for values. What they recorded is then made of values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from .. import ops
from ..graph.node import LITERAL, SCALAR, Kind, Node, Primitive, Signature, interned, leaf, literal
from ..graph.spec import Spec
from ..graph.tape import grad_mode
from .program import Program, Value

Make = Callable[[Signature, tuple[Value, ...]], Value]


class Traced:
    """The graph's functions, of values: `traced.mul(x, y)` is what `ops.mul` records, each operation made by `make`.

    They know of a value its shape, dtype and device, and of a literal its number.
    """

    def __init__(self, make: Make) -> None:
        self.make = make

    def __getattr__(self, name: str) -> Callable[..., Value]:
        return partial(self, getattr(ops, name))

    def __call__(self, function: Callable[..., Node], *arguments: object) -> Value:
        """What a function of nodes makes of values; other arguments are passed as they are."""
        made: dict[Node, Value] = {}
        stands: dict[Value, Node] = {}
        for value in arguments:
            if isinstance(value, Value) and value not in stands:
                number = value.primitive is LITERAL
                node = literal(value.attrs[0], value.dtype, value.device) if number else leaf(None, value.spec)
                stands[value], made[node] = node, value
        before, grad_mode.enabled = grad_mode.enabled, False
        try:
            root = function(*[stands[one] if isinstance(one, Value) else one for one in arguments])
        finally:
            grad_mode.enabled = before
        stack = [root]
        while stack:
            node = stack.pop()
            missing = [source for source in node.sources if source not in made]
            if node not in made and missing:
                stack += [node, *missing]
            elif node not in made:
                made[node] = self.make(structural(node), tuple([made[source] for source in node.sources]))
        return made[root]

    def filled(self, number: bool | int | float, spec: Spec) -> Value:
        """A number, everywhere in a spec's shape."""
        return self(lambda: ops.expand(literal(number, spec.dtype, spec.device), spec.shape))


def structural(node: Node) -> Signature:
    """The signature of what was recorded; a number met there follows from shapes, so it is part of the structure."""
    if node.primitive is not SCALAR:
        return node.signature
    return literal(node.buffer.item(), node.dtype, node.device).signature


class Builder:
    """Makes a new program value by value; `g` has the graph's functions, whose operations go through `make`."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.constants: dict[Signature, Value] = {}
        self.g = Traced(self.make)

    def make(self, signature: Signature, sources: tuple[Value, ...]) -> Value:
        """What an operation on values of this program becomes: a composite is taken apart."""
        if signature.primitive.decompose is not None:
            return self.g(signature.primitive.decompose, *sources, *signature.attrs)
        return self.value(signature, sources)

    def value(self, signature: Signature, sources: tuple[Value, ...]) -> Value:
        """A value as it is said; a constant is one throughout the program."""
        value = self.constants.get(signature)
        if value is None:
            value = Value(signature, sources)
            self.values.append(value)
            if signature.primitive.kind is Kind.CONSTANT:
                self.constants[signature] = value
        return value

    def apply(self, primitive: Primitive, sources: tuple[Value, ...], attrs: tuple[object, ...] = ()) -> Value:
        """The value of a primitive applied to values, as it is."""
        return self.value(interned(primitive, attrs, tuple([source.spec for source in sources])), sources)

    def program(self, outputs: Sequence[Value]) -> Program:
        """The program of some outputs: the inputs, and what the outputs depend on."""
        needed = set(outputs)
        for value in reversed(self.values):
            if value in needed or value.primitive.kind is Kind.LEAF:
                needed.update(value.sources)
                needed.add(value)
        return Program([value for value in self.values if value in needed], outputs)
