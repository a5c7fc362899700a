"""Programs built straight from the graph's operations, for the tests of the scheduler and of the emitted kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from microtrain.compiler.program import Program
from microtrain.compiler.schedule import schedule
from microtrain.compiler.simplify import simplify
from microtrain.compiler.templates.template import Schedule
from microtrain.engine.plans import linearize
from microtrain.graph import dtypes
from microtrain.graph.dtypes import DType
from microtrain.graph.node import Node, leaf
from microtrain.graph.spec import Device, spec
from microtrain.runtime import backend


def tensor(array: Any, device: str = "cpu") -> Node:
    """A node that holds an array on a device."""
    array = np.asarray(array)
    where = Device(device)
    buffer = backend(where.type, where.index).from_numpy(array)
    return leaf(buffer, spec(array.shape, dtypes.from_numpy(array.dtype), where))


def blank(*shape: int, dtype: DType = dtypes.float32) -> Node:
    """A node of a shape whose value does not matter: enough to schedule, on a device that needs no driver."""
    return leaf(np.empty(shape, dtype.numpy), spec(shape, dtype, Device("interpret")))


def recorded(*outputs: Node) -> Program:
    """The graph behind `outputs`, as it was recorded."""
    order, key, *_ = linearize(outputs)
    return Program.read((tuple([order.index(node) for node in outputs]), *key[1:]))


def program(*outputs: Node) -> tuple[Program, list[Any]]:
    """The program that computes `outputs` (which are pending), and the values of its inputs."""
    leaves = [node.buffer for node in linearize(outputs)[0] if node.buffer is not None]
    return simplify(recorded(*outputs)), leaves


def groups(*outputs: Node) -> Schedule:
    """The kernels that compute `outputs`."""
    return schedule(program(*outputs)[0])


def templates(*outputs: Node) -> list[str]:
    """The template of each of those kernels."""
    return [group.template.name for group in groups(*outputs)]
