"""The table of operations: one row says what an operation is, on NumPy, in a Triton kernel and on the tape.

A row's `numpy` column is a Python expression, its `triton` column the expression of the same value inside an emitted
kernel; `{0}`, `{1}`, ... stand for the sources (in Triton already loaded, half precisions already widened to float32),
`{i}` in Triton for the row-major place of the element, of type `{INDEX}`. Where the text depends on attributes it is a
function `(out_spec, *source_specs, *attrs) -> text`. `numpy_scalar` is a faster expression for 0-d values, which NumPy
handles as scalars: `{one}` is 1 in the value's dtype, by which Python's numbers become NumPy's, `{zero}` 0.
`numpy_out` is one that writes a large result into the memory `{out}`. Names in the expressions are
those of NumPy and `runtime.numerics`, and of `triton.language` (as `tl`) and `kernels.math`. `on_bool` is the Triton
text for booleans, of arithmetic which on one-bit integers would wrap, or not compile.

A composite is recorded as one node and rewritten by its `decompose` before it is scheduled: that keeps recording cheap
and the tape small (a softmax keeps its output alone), and fusion makes one kernel of the decomposition.

A derivative is a function `(ct, out, *sources, *attrs) -> cotangent of that source` for each source, each followed by
the letters of the values that it reads: "x", "y", "z", "w" for the sources in order, "o" for the output. What is not
named arrives as a bare spec. Derivatives record ordinary nodes, so those of any order follow; broadcasting is undone by
the walk, not here.

Elementwise rows take broadcastable sources of one dtype; promotion happens above, in the tensor layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, Unpack

from ..graph import dtypes
from ..graph.constants import like
from ..graph.node import (
    BUFFER,
    LITERAL,
    SCALAR,
    Infer,
    Kind,
    Node,
    Primitive,
    Text,
    apply1,
    apply2,
    record,
    record_with,
)
from ..graph.node import infer as inferred
from ..graph.tape import OUT, Rule
from .shapes import comparison, same

PRIMITIVES: dict[str, Primitive] = {p.name: p for p in (BUFFER, SCALAR, LITERAL)}

Number = bool | int | float
Operand = Node | bool | int | float
Axes = tuple[int, ...]
Unary = Callable[[Node], Node]
Binary = Callable[[Operand, Operand], Node]
Operation = Callable[..., Node]
Derivative = Operation | str
"""A function and the letters of what it reads come in turn."""

_LETTERS = {"o": OUT, "x": 0, "y": 1, "z": 2, "w": 3}


class Options(TypedDict, total=False):
    """What few rows say: see `Primitive`."""

    numpy_scalar: str | None
    numpy_out: str
    grad_name: str | None
    differentiable: bool
    on_bool: str
    identity: Callable[[dtypes.DType], int | float]


def row(name: str, kind: Kind, infer: Infer, numpy: Text = "", triton: Text = "", *pairs: Derivative,
        variadic: bool = False, flat: bool = False, decompose: Operation | None = None,
        **options: Unpack[Options]) -> Primitive:
    """Add a row to the table; `pairs` are its derivative, `variadic` and `flat` say of which kind (see `Rule`)."""
    primitive = PRIMITIVES[name] = Primitive(name, kind, infer, numpy, triton, decompose=decompose, **options)
    if pairs:
        functions = [function for function in pairs if not isinstance(function, str)]
        uses = [[_LETTERS[letter] for letter in letters] for letters in pairs if isinstance(letters, str)]
        primitive.rule = Rule(functions, uses, variadic, flat)
    return primitive


def composite(name: str, infer: Infer, decompose: Operation, *pairs: Derivative, numpy: Text = "",
              variadic: bool = False, flat: bool = False, **options: Unpack[Options]) -> tuple[Primitive, Operation]:
    """An operation that is made of others: its row, and the function of its sources and attributes that records it.

    It has as many sources as its derivative has functions; one where it has no derivative.
    """
    primitive = row(name, Kind.COMPOSITE, infer, numpy, "", *pairs, variadic=variadic, flat=flat, decompose=decompose,
                    **options)
    count = len(primitive.rule.functions) if primitive.rule is not None else 1

    def operation(*arguments: Any) -> Node:
        return record(primitive, arguments[:count], arguments[count:])
    operation.__name__ = name
    return primitive, operation


# ------------------------------------------------------------------------ rows of a common form, and functions of them

def unary(name: str, numpy: Text, triton: Text, *pairs: Derivative, infer: Infer = same, flat: bool = False,
          decompose: Operation | None = None, **options: Unpack[Options]) -> tuple[Primitive, Unary]:
    """An elementwise operation of one operand: its row and the function that records it."""
    primitive = row(name, Kind.MAP if decompose is None else Kind.COMPOSITE, infer, numpy, triton, *pairs, flat=flat,
                    decompose=decompose, **options)
    memo = primitive.memo

    def operation(x: Node) -> Node:
        key = x.spec
        return apply1(memo.get(key) or inferred(primitive, key, (x,), ()), x)
    operation.__name__ = name
    return primitive, operation


def binary(name: str, numpy: Text, triton: Text, *pairs: Derivative, infer: Infer = same, flat: bool = False,
           decompose: Operation | None = None, **options: Unpack[Options]) -> tuple[Primitive, Binary]:
    """An elementwise operation of two operands of one dtype, which broadcast; at least one of them is a node."""
    primitive = row(name, Kind.MAP if decompose is None else Kind.COMPOSITE, infer, numpy, triton, *pairs, flat=flat,
                    decompose=decompose, **options)
    memo = primitive.memo

    def operation(x: Operand, y: Operand) -> Node:
        if not isinstance(y, Node):
            assert isinstance(x, Node)
            y = like(y, x)
        elif not isinstance(x, Node):
            x = like(x, y)
        key = (x.spec, y.spec)
        return apply2(memo.get(key) or inferred(primitive, key, (x, y), ()), x, y)
    operation.__name__ = name
    return primitive, operation


def compare(name: str, operator: str) -> tuple[Primitive, Binary]:
    """A comparison, which NumPy and Triton write alike; the one bit of a boolean would be taken for a sign."""
    text = f"({{0}} {operator} {{1}})"
    on_bool = "" if operator in ("==", "!=") else f"({{0}}.to(tl.int32) {operator} {{1}}.to(tl.int32))"
    return binary(name, text, text, infer=comparison, differentiable=False, on_bool=on_bool)


def numbered(name: str, decompose: Operation, *pairs: Derivative, infer: Infer = same,
             **options: Unpack[Options]) -> tuple[Primitive, Operation]:
    """A composite of one tensor and any number of numbers, which are 0-d nodes of its dtype: a number that changes
    from step to step is not part of a plan."""
    primitive, _ = composite(name, infer, decompose, *pairs, **options)

    def operation(x: Node, *numbers: Number) -> Node:
        return record_with(primitive, x, *[like(n, x) for n in numbers])
    operation.__name__ = name
    return primitive, operation


def along(name: str, decompose: Operation, *pairs: Derivative, infer: Infer = lambda x, axis: same(x),
          numpy: Text = "", **options: Unpack[Options]) -> tuple[Primitive, Callable[[Node, int], Node]]:
    """A composite along one axis, by default with the shape and dtype of its source."""
    return composite(name, infer, decompose, *pairs, numpy=numpy, **options)


def lone(name: str, operands: str = "{0}") -> str:
    """The `numpy_scalar` of a function that the C library computes in float64: rounded once, and quicker than NumPy."""
    return f"({{one}} * lone_{name}({operands}))"


def precise(name: str, operands: str = "{0}") -> Text:
    """A function that NumPy gets wrong by an ulp or more in float32: computed in float64 and rounded."""
    rounded, plain = f"{name}({operands}, dtype=float64).astype(float32)", f"{name}({operands})"
    return lambda out, *sources: rounded if out.dtype is dtypes.float32 else plain
