"""Graphs of the virtual GPU, as its driver's library is asked for them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

from ..graphs import NodeParams
from .launches import WIDTHS, Arrived, Function


@dataclass
class Node:
    """A launch that was captured; `addresses` say where its parameters lie, as the driver tells them."""

    handle: int
    function: int
    kinds: list[str]
    launch: Arrived
    held: list[ctypes.Array[ctypes.c_char]]
    addresses: ctypes.Array[ctypes.c_void_p]


class DriverGraphs:
    """What is captured, and what was made of it, by handle. `run` does a launch; `launches` counts those of graphs."""

    def __init__(self, run: Callable[[int, Arrived], None]) -> None:
        self.run, self.launches = run, 0
        self.handles = count(1 << 33, 16)
        self.capturing: dict[int, list[Node]] = {}
        self.graphs: dict[int, list[Node]] = {}
        self.executables: dict[int, dict[int, tuple[int, Arrived]]] = {}

    def captured(self, handle: int, function: Function, launch: Arrived) -> bool:
        """Whether a launch was of a stream that is being captured, and is the graph's now."""
        nodes = self.capturing.get(launch.stream)
        if nodes is None:
            return False
        held = [ctypes.create_string_buffer(value, 8) for value in launch.parameters]
        addresses = (ctypes.c_void_p * len(held))(*map(ctypes.addressof, held))
        nodes.append(Node(next(self.handles), handle, [*function.kinds], launch, held, addresses))
        return True

    def node(self, handle: int) -> Node:
        return next(node for nodes in self.graphs.values() for node in nodes if node.handle == handle)

    def answer(self, name: bytes, a: int, b: int, c: int) -> None:
        """Do what a function of the driver's does."""
        getattr(self, name.decode())(a, b, c)

    def give(self, where: int, handle: int) -> int:
        ctypes.c_void_p.from_address(where).value = handle
        return handle

    def cuStreamCreate(self, stream: int, *_: int) -> None:
        self.give(stream, next(self.handles))

    def cuStreamDestroy_v2(self, stream: int, *_: int) -> None:
        assert stream not in self.capturing

    def cuStreamBeginCapture_v2(self, stream: int, *_: int) -> None:
        self.capturing[stream] = []

    def cuStreamEndCapture(self, stream: int, graph: int, _: int) -> None:
        self.graphs[self.give(graph, next(self.handles))] = self.capturing.pop(stream)

    def cuGraphGetNodes(self, graph: int, nodes: int | None, number: int) -> None:
        known = self.graphs[graph]
        ctypes.c_size_t.from_address(number).value = len(known)
        if nodes:
            for k, node in enumerate(known):
                self.give(nodes + 8 * k, node.handle)

    def cuGraphKernelNodeGetParams_v2(self, handle: int, params: int, _: int) -> None:
        node, told = self.node(handle), NodeParams.from_address(params)
        told.function, told.shared = node.function, node.launch.shared
        told.grid[:], told.block[:] = node.launch.grid, node.launch.block
        told.parameters = ctypes.cast(node.addresses, ctypes.POINTER(ctypes.c_void_p))

    def cuGraphInstantiateWithFlags(self, executable: int, graph: int, flags: int) -> None:
        made = {node.handle: (node.function, node.launch) for node in self.graphs[graph]}
        self.executables[self.give(executable, next(self.handles))] = made

    def cuGraphExecKernelNodeSetParams_v2(self, executable: int, handle: int, params: int) -> None:
        node, told = self.node(handle), NodeParams.from_address(params)
        assert told.function == node.function
        values = tuple([ctypes.string_at(told.parameters[k] or 0, WIDTHS.get(kind, 8))
                        for k, kind in enumerate(node.kinds)])
        launch = replace(node.launch, grid=tuple(told.grid), block=tuple(told.block), parameters=values)
        self.executables[executable][handle] = told.function, launch

    def cuGraphLaunch(self, executable: int, stream: int | None, _: int) -> None:
        self.launches += 1
        for function, launch in [*self.executables[executable].values()]:
            self.run(function, replace(launch, stream=stream or 0))

    def cuGraphExecDestroy(self, executable: int, *_: int) -> None:
        del self.executables[executable]

    def cuGraphDestroy(self, graph: int, *_: int) -> None:
        del self.graphs[graph]
