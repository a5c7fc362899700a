"""Loops over programs of 0-d values alone, as machine code: numba compiles the text of the loop.

The bits are those of the Python function: a literal is of its value's dtype, no product is fused with a sum, and
functions are the C library's in float64, rounded once. Arrays are left to NumPy: the order of a product's sums is its
BLAS's, float32 functions are its own, and a call of numba's costs as much as two of its elementwise functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..graph.dtypes import bool_, float32, float64, int64
from ..runtime.backend import Buffer
from ..runtime.numerics import LONE
from .emit_loop import Function, LoopEmitter
from .loop import Roles
from .program import Program, Value

PREDICATES = frozenset({ops.EQ, ops.NE, ops.LT, ops.LE, ops.GT, ops.GE, ops.BITWISE_AND, ops.BITWISE_OR,
                        ops.BITWISE_XOR, ops.BITWISE_NOT, ops.LOGICAL_NOT})

ROUNDED = {ops.PRIMITIVES[name]: name for name in LONE.split()}

TEXT = {
    **{primitive: str(primitive.numpy) for primitive in (ops.ADD, ops.SUB, ops.MUL, ops.DIV, ops.NEG, *PREDICATES)},
    **{primitive: f"{{dtype}}(math.{name}(float64({{0}})))" for primitive, name in ROUNDED.items()},
    ops.SIGMOID: "{dtype}(1.0 / (1.0 + math.exp(-float64({0}))))",
    ops.SOFTPLUS: "{dtype}(math.log1p(math.exp(-abs(float64({0})))) + max(float64({0}), 0.0))",
    ops.CAST: "{dtype}({0})", ops.WHERE: "({1} if {0} else {2})", ops.ABS: "abs({0})",
    ops.SIGN: "({dtype}({0} > 0) - {dtype}({0} < 0))",
    ops.MAXIMUM: "({0} if {0} > {1} or {0} != {0} else {1})", ops.MINIMUM: "({0} if {0} < {1} or {0} != {0} else {1})",
    ops.CLAMP: "({0} if {1} <= {0} <= {2} or {0} != {0} else {1} if {1} != {1} else "
               "{2} if {2} < {1} or {2} < {0} or {2} != {2} else {1})",
    ops.RECIPROCAL: "({dtype}(1) / {0})", ops.RSQRT: "({dtype}(1) / {dtype}(math.sqrt(float64({0}))))",
    ops.RELU: "({dtype}(0) if {0} <= 0 else {0})"}
"""Expressions of 0-d values for numba: `{dtype}` is the result's; a literal is a number of its dtype."""


class ScalarEmitter(LoopEmitter):
    """Text that numba compiles."""

    def operand(self, value: Value, weak: bool) -> str:
        return super().operand(value, False)

    def once(self, value: Value) -> str:
        name = f"c{value.number}"
        with np.errstate(all="ignore"):
            self.namespace[name] = eval(super().expression(value), self.namespace)
        return name

    def expression(self, value: Value, out: str = "") -> str:
        return TEXT[value.primitive].format(*[self.operand(source, False) for source in value.sources],
                                            dtype=value.dtype.name)


def known(value: Value) -> bool:
    """Whether numba computes a value with NumPy's bits."""
    if not value.sources and not value.shape:
        return value.dtype in (float32, float64, bool_, int64)
    table = PREDICATES if value.dtype is bool_ else TEXT if value.dtype in (float32, float64) else ()
    return not value.shape and value.primitive in table


def compiled(program: Program, roles: Roles) -> Function | None:
    """The loop as machine code; None where a value is not 0-d, an operation has no text here, or there is no numba."""
    if not all(map(known, program.values)):
        return None
    try:
        import numba
    except ImportError:
        return None
    emitter = ScalarEmitter(program, roles)
    text = emitter.function()
    namespace: dict[str, Any] = {**emitter.namespace, "math": math}
    exec(compile(text, "<microtrain compiled loop>", "exec"), namespace)
    loop = numba.njit(namespace["loop"], error_model="numpy", fastmath=False)
    inputs, outputs = ([value.dtype.numpy.type for value in values] for values in (program.inputs, program.outputs))
    numbered = {place for place, value in enumerate(program.inputs) if value.primitive is ops.SCALAR}

    def run(values: Sequence[Buffer], numbers: Sequence[np.ndarray], steps: int) -> tuple[tuple[Buffer, ...], int]:
        given = [table(values[place], kind) if place in roles.rows else kind(0 if place in numbered else values[place])
                 for place, kind in enumerate(inputs)]
        found, made = loop(tuple(given), tuple([table(one) for one in numbers]), steps)
        return tuple([value if place in roles.history else kind(value)         # numba gives Python numbers
                      for place, (value, kind) in enumerate(zip(found, outputs, strict=True))]), made
    return run


def table(values: Buffer, kind: type[np.generic] | None = None) -> np.ndarray:
    """An array of the one layout that a loop is compiled for."""
    return np.require(values, kind, ["C", "W"])
