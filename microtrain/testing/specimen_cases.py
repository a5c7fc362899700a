"""Programs with names, each standing for a use of a template, at sizes where speed counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .. import ops as g
from ..compiler.simplify import simplify
from ..engine.plans import linearize
from ..graph import dtypes
from ..graph.dtypes import DType
from ..graph.node import Node, leaf
from ..graph.spec import Device, spec
from ..runtime.null import Nowhere
from .specimens import Specimen, specimens

Operand = Callable[..., Node]
"""`x(4096, 1024)` is a tensor in memory of that shape; `dtype=` its dtype, float32 unless told."""

LARGE = 1 << 24
"""Elements of the elementwise cases."""

class Case(NamedTuple):
    """A program that stands for a use of a template."""

    name: str
    make: Callable[[Operand], list[Node]]


def _map(x: Operand) -> list[Node]:
    a = x(LARGE)
    return [g.mul(g.add(g.exp(a), x(LARGE)), g.tanh(a))]


def _map_of(dtype: DType) -> Callable[[Operand], list[Node]]:
    return lambda x: [g.mul(g.sigmoid(x(LARGE, dtype=dtype)), x(LARGE, dtype=dtype))]


def _special(x: Operand) -> list[Node]:
    return [g.atan2(g.erfc(x(LARGE)), g.log10(x(LARGE)))]


def _normal(x: Operand) -> list[Node]:
    return [g.normal(7, 9, (LARGE,), dtypes.float32, x(1).device)]


def _views(x: Operand) -> list[Node]:
    half = g.slice(x(8192, 4096), (4096, 0), (4096, 4096), (1, 1))
    return [g.add(g.reshape(half, (LARGE,)), g.reshape(g.transpose(x(4096, 4096)), (LARGE,)))]


def _softmax(x: Operand) -> list[Node]:
    return [g.softmax(x(4096, 1024), 1)]


def _softmax_backward(x: Operand) -> list[Node]:
    out, ct = x(4096, 1024), x(4096, 1024)
    return [g.mul(out, g.sub(ct, g.sum(g.mul(ct, out), (1,), keepdim=True)))]


def _layer_norm(x: Operand) -> list[Node]:
    a = x(4096, 1024)
    centred = g.sub(a, g.keep(g.mean(a, (1,)), a.shape, (1,)))
    scale = g.rsqrt(g.add(g.keep(g.var(a, (1,), 0), a.shape, (1,)), 1e-5))
    return [g.add(g.mul(g.mul(centred, scale), x(1024)), x(1024))]


def _column_sum(x: Operand) -> list[Node]:
    return [g.sum(x(256, 1024), (0,))]


def _full_sum(x: Operand) -> list[Node]:
    return [g.sum(x(1 << 22), (0,))]


def _long_rows(x: Operand) -> list[Node]:
    return [g.sum(x(256, 1 << 16), (1,))]


def _linear(dtype: DType, m: int = 1024, k: int = 512, n: int = 256) -> Callable[[Operand], list[Node]]:
    def make(x: Operand) -> list[Node]:
        product = g.matmul(x(m, k, dtype=dtype), x(k, n, dtype=dtype))
        return [g.relu(g.add(product, x(n, dtype=dtype)))]
    return make


def _weight_update(x: Operand) -> list[Node]:
    gradient = g.matmul(g.transpose(x(1024, 256)), x(1024, 512))
    momentum = g.add(g.mul(x(256, 512), 0.9), gradient)
    return [momentum, g.sub(x(256, 512), g.mul(momentum, 0.1))]


CASES = (
    Case("elementwise", _map),
    Case("elementwise, float64", _map_of(dtypes.float64)),
    Case("elementwise, bfloat16", _map_of(dtypes.bfloat16)),
    Case("special functions", _special),
    Case("normal random numbers", _normal),
    Case("slice + transpose", _views),
    Case("softmax", _softmax),
    Case("softmax backward", _softmax_backward),
    Case("layer norm", _layer_norm),
    Case("column sum", _column_sum),
    Case("sum of 4 M elements", _full_sum),
    Case("sums of rows of 65536", _long_rows),
    Case("linear + relu", _linear(dtypes.float32)),
    Case("linear + relu, bfloat16", _linear(dtypes.bfloat16)),
    Case("linear + relu, float64", _linear(dtypes.float64)),
    Case("large linear + relu", _linear(dtypes.float32, 4096, 4096, 4096)),
    Case("large linear + relu, bfloat16", _linear(dtypes.bfloat16, 4096, 4096, 4096)),
    Case("large linear + relu, float64", _linear(dtypes.float64, 4096, 4096, 4096)),
    Case("integer product", _linear(dtypes.int64, 256, 256, 256)),
    Case("weight gradient + update", _weight_update),
)


def of_case(case: Case) -> list[Specimen]:
    """The kernels of a case. Nothing is computed: its operands are nowhere."""
    device = Device("null:sm_90")

    def operand(*shape: int, dtype: DType = dtypes.float32) -> Node:
        return leaf(Nowhere(shape, dtype.name), spec(shape, dtype, device))

    order, _, outputs, _ = linearize(case.make(operand))
    program, _ = simplify(order, [order[i] for i in outputs], device)
    return list(specimens(program, case.name))
