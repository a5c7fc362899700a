"""Launches as one CUDA graph: what a GPU takes at once, in the place of a call into the driver for each.

The launches are queued once on a stream of their own, which is captured, so Triton's launcher says what they are. What
changes from run to run, addresses and numbers, is given to a node anew; runs that are queued already keep theirs.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any

from .backend import Launch

RELAXED, NON_BLOCKING = 2, 1
"""How a stream is captured: whatever else is done meanwhile; and that it waits for no other."""

SCRATCH = (0, 0)
"""What Triton's launcher passes behind a kernel's own parameters: addresses of memory that ours do not ask for."""


class GraphRefused(Exception):
    """Why launches cannot be a graph."""


class NodeParams(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS of version 2."""

    _fields_ = (("function", ctypes.c_void_p), ("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3),
                ("shared", ctypes.c_uint), ("parameters", ctypes.POINTER(ctypes.c_void_p)), ("extra", ctypes.c_void_p),
                ("kernel", ctypes.c_void_p), ("context", ctypes.c_void_p))


@cache
def driver() -> ctypes.CDLL:
    """The driver's library, which is loaded already. Raises GraphRefused where there is none of that name."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise GraphRefused(str(error)) from None


def call(name: str, *arguments: object) -> None:
    """Call a function of the driver's. Raises GraphRefused with what it says."""
    try:
        code = getattr(driver(), name)(*arguments)
    except AttributeError:
        raise GraphRefused(f"the driver has no {name}") from None
    if code:
        text = ctypes.c_char_p()
        driver().cuGetErrorString(code, ctypes.byref(text))
        raise GraphRefused(f"{name}: {(text.value or b'').decode()} ({code})")


def captured(launches: Sequence[Launch], arguments: Sequence[tuple[object, ...]]) -> ctypes.c_void_p:
    """The graph of launches, queued one after another."""
    stream, graph = ctypes.c_void_p(), ctypes.c_void_p()
    call("cuStreamCreate", ctypes.byref(stream), NON_BLOCKING)
    try:
        call("cuStreamBeginCapture_v2", stream, RELAXED)
        try:
            for launch, given in zip(launches, arguments, strict=True):
                assert launch.queue is not None and stream.value is not None
                launch.queue(stream.value, given)
        finally:
            call("cuStreamEndCapture", stream, ctypes.byref(graph))
    finally:
        call("cuStreamDestroy_v2", stream)
    return graph


def nodes_of(graph: ctypes.c_void_p) -> list[int]:
    """Its nodes, in the order in which they were made."""
    count = ctypes.c_size_t()
    call("cuGraphGetNodes", graph, None, ctypes.byref(count))
    nodes = (ctypes.c_void_p * count.value)()
    call("cuGraphGetNodes", graph, nodes, ctypes.byref(count))
    return [node for node in nodes if node is not None]


class Node:
    """A launch in a graph: its parameters, of which the first are `words`, pointers and numbers.

    Raises GraphRefused where the driver has the launch with others.
    """

    def __init__(self, handle: int, words: Sequence[Any], rest: tuple[int, ...]) -> None:
        self.handle, self.told = ctypes.c_void_p(handle), NodeParams()
        call("cuGraphKernelNodeGetParams_v2", self.handle, ctypes.byref(self.told))
        has = self.told.parameters
        if not has or any(ctypes.c_int64.from_address(has[k] or 0).value != word for k, word in enumerate(words)):
            raise GraphRefused("the driver was told of other parameters than the launcher was given")
        values = (*words, *rest, *SCRATCH)
        self.values = (ctypes.c_int64 * len(values))(*values)     # narrow ones are in the lower bytes
        base = ctypes.addressof(self.values)
        self.pointers = (ctypes.c_void_p * len(values))(*[base + 8 * k for k in range(len(values))])
        self.told.parameters = ctypes.cast(self.pointers, ctypes.POINTER(ctypes.c_void_p))


class LaunchGraph:
    """A graph of launches that have run before, each with its arguments; `words` are the pointers and numbers among
    them. Memory is its owner's to keep. Raises GraphRefused."""

    def __init__(self, launches: Sequence[Launch], arguments: Sequence[tuple[object, ...]],
                 words: Sequence[Sequence[Any]]) -> None:
        graph = captured(launches, arguments)
        weakref.finalize(self, driver().cuGraphDestroy, graph).atexit = False
        handles = nodes_of(graph)
        if len(handles) != len(launches):
            raise GraphRefused(f"{len(launches)} launches were captured as {len(handles)}")
        self.nodes = [Node(handle, given, tuple([launch.sizes[name] for name in launch.function.arg_names
                                                 if name in launch.sizes]))
                      for handle, given, launch in zip(handles, words, launches, strict=True)]
        self.executable = ctypes.c_void_p()
        call("cuGraphInstantiateWithFlags", ctypes.byref(self.executable), graph, ctypes.c_uint64(0))
        weakref.finalize(self, driver().cuGraphExecDestroy, self.executable).atexit = False

    def renew(self, number: int, words: Sequence[Any]) -> None:
        """Have a launch take other pointers and numbers from the next run on."""
        node = self.nodes[number]
        node.values[:len(words)] = [*words]
        call("cuGraphExecKernelNodeSetParams_v2", self.executable, node.handle, ctypes.byref(node.told))

    def launch(self, stream: int) -> None:
        """Queue all launches on a stream of the current GPU. Raises RuntimeError with what the driver says."""
        code = driver().cuGraphLaunch(self.executable, ctypes.c_void_p(stream))
        if code:
            raise RuntimeError(f"a CUDA graph of {len(self.nodes)} launches was not queued: CUDA error {code}")
