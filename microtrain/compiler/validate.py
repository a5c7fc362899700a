"""Checking each kernel against NumPy as it runs: what MICROTRAIN_VALIDATE turns on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import settings
from ..graph import dtypes
from ..graph import primitives as p
from ..graph.dtypes import DType
from ..graph.node import Kind, buffer_signature, new_node
from ..graph.ops import zeros_like
from .domain import MatmulDomain, RowDomain, SlabDomain
from .emit_numpy import NumpyExecutable
from .group import Group, evaluated
from .program import Program, Value, topological

EPSILONS = {"float64": 2.0 ** -52, "float32": 2.0 ** -23, "float16": 2.0 ** -10, "bfloat16": 2.0 ** -7}

ULPS = 64
"""Rounding errors of one kernel's expression beside those of its sums."""

CANCELLATION = 16
"""Rounding errors of what a kernel reads that may be left where large terms cancel."""


def reference(group: Group) -> NumpyExecutable:
    """The NumPy function of a group's reads, in their order, that gives what the group stores."""
    new: dict[Value, Value] = {}
    for node in group.reads:
        signature = node.signature if node.primitive is p.SCALAR else buffer_signature(node.spec)
        new[node] = new_node(signature, ())
    inputs = list(new.values())
    for node in evaluated(group, group.stores):
        if node.primitive.kind is Kind.LEAF:        # an operand of which no element is read: any value will do
            new[node] = zeros_like(node)
            continue
        new[node] = new_node(node.signature, tuple([new[source] for source in node.sources]))
    outputs = [new[node] for node in group.stores]
    return NumpyExecutable(Program(inputs, outputs, topological([*outputs, *inputs]), group.root.device))


def tolerance(dtype: DType, group: Group) -> float:
    """The relative error that rounding explains: a few units in the last place, and those of a sum in any order."""
    domain = group.domain
    length = 1
    if isinstance(domain, MatmulDomain):
        length = domain.size_k
    elif isinstance(domain, RowDomain):
        length = domain.cols * (domain.height if isinstance(domain, SlabDomain) else 1)
    halves = [EPSILONS[node.dtype.name] for node in (*group.reads, *group.members)
              if node.dtype.is_floating_point and node.primitive.kind is not Kind.LEAF]
    relaxed = settings.matmul_precision.value != "highest"
    if relaxed and isinstance(domain, MatmulDomain) and group.root.dtype is dtypes.float32:
        halves.append(EPSILONS["float16"])          # TF32 has float16's 11 significant bits
    return max([EPSILONS[dtype.name], *halves]) * (ULPS + 4 * math.sqrt(length))


def largest(values: list[Any]) -> float:
    """The largest finite magnitude among floating-point values."""
    floats = [np.abs(np.asarray(v, np.float64)) for v in values if np.asarray(v).dtype.kind not in "biu"]
    return max((float(v[np.isfinite(v)].max(initial=0.0)) for v in floats), default=0.0)


def compare(group: Group, node: Value, value: np.ndarray, expected: Any, scale: float) -> None:
    """Raise RuntimeError, naming the element, where a kernel's value is not what NumPy says.

    `scale` is the largest magnitude that the kernel read.
    """
    expected = np.asarray(expected)
    if node.dtype.is_floating_point:
        have, want = value.astype(np.float64), expected.astype(np.float64)
        limit = tolerance(node.dtype, group)
        finite = np.abs(want[np.isfinite(want)])
        slack = limit * finite.max(initial=0.0) + CANCELLATION * EPSILONS[node.dtype.name] * scale
        close = np.isclose(have, want, rtol=limit, atol=slack, equal_nan=True)
    else:
        close = value == expected
    if not np.all(close):
        place = tuple(int(i) for i in np.argwhere(~np.asarray(close))[0])
        operations = ", ".join(member.primitive.name for member in group.members)
        raise RuntimeError(f"kernel over {group.domain} ({operations}) wrote {value[place]} to {node.spec} at "
                           f"{list(place)}, where NumPy computes {expected[place]} "
                           f"({np.sum(~close)} of {close.size} elements differ)")
