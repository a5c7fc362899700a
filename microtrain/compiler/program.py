"""A graph made ready for one device: what `simplify` produces, and `emit_numpy` and `schedule` consume."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from ..graph.node import Node
from ..graph.spec import Device

Value = Node


@dataclass
class Program:
    """Nodes in topological order, made of primitives alone.

    `inputs` are leaves (buffers and run-time scalars) without values, in the order in which values arrive;
    `outputs` are distinct nodes, possibly leaves or views.
    """

    inputs: list[Node]
    outputs: list[Node]
    nodes: list[Node]
    device: Device


class Executable(Protocol):
    """A program compiled for its device.

    `donatable` are the places of inputs over which an output may be written, `passed` those of inputs that are outputs,
    `shared` those of outputs whose buffer is an input's or another output's too.
    """

    kernels: int
    donatable: tuple[int, ...]
    passed: tuple[int, ...]
    shared: tuple[int, ...]

    def run(self, values: list[Any], free: Collection[int] = ()) -> list[Any]:
        """Buffers of the program's outputs, given buffers and numbers for its inputs.

        `free` are places of inputs whose memory the caller gives away. If the run fails, those of them that may have
        been written over are None in `values`.
        """

    def describe(self) -> str:
        """What is run, for a person to read."""


def topological(roots: Iterable[Node]) -> list[Node]:
    """Every node that the roots depend on, sources first. Iterative: a graph may be deeper than Python's stack."""
    seen = set(roots)
    stack = list(seen)
    while stack:
        for source in stack.pop().sources:
            if source not in seen:
                seen.add(source)
                stack.append(source)
    return sorted(seen, key=lambda node: node.seq)
