"""Numbers in the graph: those that are part of its structure, and those that are handed to a program as it runs."""

from __future__ import annotations

import math
from collections import Counter
from sys import getrefcount
from typing import Any

import numpy as np

from .dtypes import DType, number
from .node import Node, literal, new_node, scalar_signature
from .spec import Device, all_specs, spec

STRUCTURAL = frozenset((0, 1, -1, 2, -2, 3, -3, 4, 0.5, -0.5, math.inf, -math.inf))
"""Numbers that become part of the structure (so that x*1 and x**2 simplify); any other travels as a run-time scalar,
so that a learning rate may change without anything being compiled again."""


MAX_CONSTANTS = 4096
"""Run-time scalars that are made before those that no graph holds any more are forgotten: a number is one node
throughout a graph, also in one that another thread is recording, or the graph has another structure."""

_made = [0]


def forget_constants() -> None:
    """Forget the run-time scalars that nobody holds, if many were made."""
    if _made[0] >= MAX_CONSTANTS:
        _made[0] = 0
        tables = [of.constants for of in all_specs()]
        times = Counter(node for table in tables for node in list(table.values()))
        # Beside the tables' it is the counter's reference, the pair's, the variable's and the call's.
        idle = {node for node, count in times.items() if getrefcount(node) <= count + 4}
        for table in tables:
            for value, node in table.copy().items():
                if node in idle:
                    table.pop(value, None)


class GivenFloat(float):
    """A number that is another in each replay of a step; `source` says where it comes from, `nodes` are those made."""

    source: object
    nodes: dict[object, Node]


class GivenInt(int):
    """As `GivenFloat`, an integer."""

    source: object
    nodes: dict[object, Node]


GIVEN = frozenset((GivenFloat, GivenInt))


def given(number: Any, dtype: DType, device: Device) -> Node:
    """The node for a number that is handed to each replay anew: a run-time scalar of its own, whatever its value."""
    node = number.nodes.get((dtype, device))
    if node is None:
        of = spec((), dtype, device)
        node = number.nodes[dtype, device] = new_node(of.scalar_signature or scalar_signature(of), ())
        node.buffer = scalar(number.real, dtype)
    return node


def constant(value: bool | int | float, dtype: DType, device: Device) -> Node:
    """A 0-d node for a Python number: a literal when it is `STRUCTURAL`, else a run-time scalar."""
    if value.__class__ in GIVEN:
        return given(value, dtype, device)
    of = spec((), dtype, device)
    node = of.constants.get(value if value else str(value))
    if node is None:
        value = number(value)
        if value in STRUCTURAL or value != value or dtype.category == 0:
            node = literal(value, dtype, device)
        else:
            node = new_node(of.scalar_signature or scalar_signature(of), ())
            _made[0] += 1
            node.buffer = scalar(value, dtype)
        if value == value:
            node = of.constants.setdefault(value if value else str(value), node)
    return node


def like(value: Node | bool | int | float, node: Node) -> Node:
    """`value` as a node: a number becomes a constant of `node`'s dtype and device."""
    if isinstance(value, Node):
        return value
    known = node.spec.constants.get(value) if value and value.__class__ not in GIVEN else None
    if known is None:
        known = constant(value, node.spec.dtype, node.spec.device)
        if value.__class__ in GIVEN:
            return known
        value = number(value)
        if value and value == value:
            known = node.spec.constants.setdefault(value, known)
    return known


def scalar(value: bool | int | float, dtype: DType) -> np.generic:
    """A number as a run takes it; in a dtype in which it is infinite there is no warning, as in PyTorch."""
    if abs(value) < 6e4:
        return dtype.numpy.type(value)
    with np.errstate(over="ignore"):
        return dtype.numpy.type(value)
