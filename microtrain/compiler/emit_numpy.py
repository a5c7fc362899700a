"""The cpu device's compiler: a program becomes one straight-line Python function over NumPy arrays.

The expressions are the `numpy` column of the primitive table. 0-d values are NumPy scalars, whose arithmetic costs a
tenth of a 0-d array's; large temporaries are overwritten in place where they die.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import primitives as p
from ..graph.dtypes import bfloat16, float16
from ..graph.node import Kind, Node
from ..runtime import numerics
from .program import Program

LARGE = 4096
"""Elements from which a temporary is worth reusing: below, an allocation costs less than the extra call."""

IN_PLACE = {"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "maximum": "maximum",
            "minimum": "minimum", "neg": "negative", "exp": "exp", "log": "log", "sqrt": "sqrt", "tanh": "tanh"}
"""NumPy functions that take an output argument."""

HALF = (float16, bfloat16)


class NumpyExecutable:
    """A program as a Python function. `kernels` counts statements, not launches."""

    def __init__(self, program: Program) -> None:
        self.source, namespace = emit(program)
        exec(compile(self.source, "<microtrain cpu plan>", "exec"), namespace)
        self.function = namespace["plan"]
        self.kernels = self.source.count("\n") - 2

    def run(self, values: list[Any]) -> Any:
        """Arrays of the outputs. Floating-point oddities (1/0, log 0) give inf and NaN without a warning."""
        with np.errstate(all="ignore"):
            return self.function(values)

    def describe(self) -> str:
        return self.source


def emit(program: Program) -> tuple[str, dict[str, Any]]:
    """The function's source, and the namespace it runs in."""
    return Emitter(program).function()


class Emitter:
    """Names, lifetimes and text of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.namespace: dict[str, Any] = dict(numerics.NAMESPACE)
        self.names: dict[Node, str] = {}
        self.last: dict[Node, int] = {}
        for i, node in enumerate(program.nodes):
            for source in node.sources:
                self.last[source] = i
        for node in program.outputs:
            self.last[node] = len(program.nodes)
        self.owned: set[Node] = set()
        self.viewed: set[Node] = {s for n in program.nodes if n.primitive.kind is Kind.VIEW for s in n.sources}
        if any(n.dtype is bfloat16 for n in program.nodes):
            self.namespace["bfloat16"] = bfloat16.numpy

    def function(self) -> tuple[str, dict[str, Any]]:
        lines = ["def plan(values):"]
        for i, node in enumerate(self.program.inputs):
            self.names[node] = f"a{i}"
        if self.program.inputs:
            lines.append(f"    {', '.join(f'a{i}' for i in range(len(self.program.inputs)))}, = values")
        for i, node in enumerate(self.program.nodes):
            if node in self.names or node.primitive is p.LITERAL:
                continue
            if node in self.last:
                self.names[node] = f"v{i}"
                lines.append(f"    v{i} = {self.expression(node, i)}")
            dying = [self.names[s] for s in dict.fromkeys(node.sources)
                     if self.last[s] == i and s.spec.numel >= LARGE and self.names[s][0] == "v"]
            if dying:
                lines.append(f"    del {', '.join(dying)}")
        outputs = [self.names.get(n) or self.typed(n) for n in self.program.outputs]
        lines.append(f"    return [{', '.join(outputs)}]")
        return "\n".join(lines) + "\n", self.namespace

    def typed(self, node: Node) -> str:
        """A literal as a NumPy scalar of its dtype, made once."""
        name = f"k{len(self.namespace)}"
        self.namespace[name] = node.dtype.numpy.type(node.attrs[0])
        return name

    def operand(self, node: Node, weak: bool) -> str:
        if node.primitive is not p.LITERAL:
            return self.names[node]
        value = node.attrs[0]
        return f"({value!r})" if weak and np.isfinite(value) else self.typed(node)

    def expression(self, node: Node, i: int) -> str:
        primitive, sources = node.primitive, node.sources
        # A bare Python number takes the other operand's dtype, but only beside one that has a dtype.
        weak = primitive.kind is Kind.MAP and primitive is not p.WHERE and any(s.primitive is not p.LITERAL for s in sources)
        operands = [self.operand(s, weak) for s in sources]
        template = primitive.numpy
        if not isinstance(template, str):
            template = template(node.spec, *[s.spec for s in sources], *node.attrs)
        if primitive.numpy_scalar and not node.shape:
            template = primitive.numpy_scalar
        if primitive.kind in (Kind.MAP, Kind.REDUCE, Kind.MATMUL) and primitive is not p.CAST:
            if node.dtype in HALF or (sources[-1].dtype in HALF):
                operands = [f"{o}.astype(float32)" if s.dtype in HALF and o[0] != "(" else o
                            for o, s in zip(operands, sources, strict=True)]
                text = template.format(*operands)
                return f"asarray({text}).astype({node.dtype.name})" if node.dtype in HALF else text
            self.owned.add(node)
        if primitive.kind is Kind.REDUCE and not node.dtype.is_floating_point:
            template = f"{template[:-1]}, dtype={node.dtype.name})"
        reusable = self.dying_operand(node, i) if primitive.name in IN_PLACE and node.spec.numel >= LARGE else None
        if reusable:
            return f"{IN_PLACE[primitive.name]}({', '.join(operands)}, {reusable})"
        return str(template.format(*operands))

    def dying_operand(self, node: Node, i: int) -> str | None:
        """A large temporary of the same spec that nothing needs after this node, to write the result into."""
        for source in node.sources:
            if source in self.owned and source.spec is node.spec and self.last[source] == i and source not in self.viewed:
                return self.names[source]
        return None
