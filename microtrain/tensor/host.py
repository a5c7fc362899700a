"""Values between the host and the devices: a node's value as an array, an array as a node, a node on another device."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .. import ops as g
from ..autograd.function import Function
from ..engine.recorder import Question
from ..engine.run import realize
from ..engine.session import current
from ..graph.dtypes import DType
from ..graph.node import Node, leaf
from ..graph.spec import Device, spec
from ..graph.tape import grad_mode
from ..runtime import backend
from ..runtime.lock import lock
from .storage import wrap
from .types import Tensor


def values(node: Node) -> np.ndarray:
    """A node's value on the host."""
    device = node.spec.device
    return backend(device.type, device.index).to_numpy(exported(node))      # which may be over the same memory


def glimpse(node: Node) -> np.ndarray | None:
    """A part of a value at hand on the host, read where it lies: no program is made of it. None for any other."""
    if node.buffer is not None or not node.spec.device.kind.native or recorded():
        return None
    views: list[Node] = []
    with lock:
        while node.buffer is None:
            if node.primitive not in (g.SLICE, g.RESHAPE):
                return None
            views.append(node)
            node, = node.sources
        found: np.ndarray = np.asarray(node.buffer)
    for view in reversed(views):
        if view.primitive is g.RESHAPE:
            found = found.reshape(view.shape)
        else:
            starts, sizes, steps = view.attrs
            found = found[tuple([slice(a, a + n * s, s) for a, n, s in zip(starts, sizes, steps, strict=True)])]
    return found


def exported(node: Node) -> Any:
    """A node's buffer, which others may see from now on."""
    buffer = realize(node)
    node.shared = True
    return buffer


def lent(node: Node) -> Any:
    """A node's buffer on a GPU, which may be seen for longer than Python knows of: no replay writes over it."""
    buffer = exported(node)
    buffer.lent = True
    return buffer


def recorded() -> bool:
    """Whether a whole step is being recorded, which asks again in each replay."""
    return current().recorder is not None


def answered(node: Node, question: Question) -> Any:
    """What a question about a value that must be at hand is answered; the answer decides what is recorded."""
    recorder, device = current().recorder, node.spec.device
    if recorder is not None and node.buffer is None:
        return recorder.inferred(node, question)
    buffer = realize(node) if recorder is None else node.buffer
    answer = question(backend(device.type, device.index).to_numpy(buffer))
    if recorder is not None:
        recorder.answered(node, question, answer)
    return answer


def put(array: np.ndarray, dtype: DType, device: Device) -> Node:
    """A node holding a copy of an array on a device."""
    array = np.asarray(array)
    if array.dtype != dtype.numpy:
        with np.errstate(over="ignore"):        # a number beyond the largest is infinite, as in PyTorch
            array = array.astype(dtype.numpy)
    return leaf(backend(device.type, device.index).from_numpy(array), spec(array.shape, dtype, device))


class _Home(Protocol):
    """What `_Move` keeps."""

    home: Device


class _Move(Function):
    """A copy on another device; its gradient comes back."""

    @staticmethod
    def forward(ctx: _Home, x: Tensor, device: Device) -> Tensor:
        ctx.home = x.device
        return wrap(put(values(x.node), x.dtype, device))

    @staticmethod
    def backward(ctx: _Home, ct: Tensor) -> tuple[Tensor, None]:
        return ct.to(ctx.home), None


def moved(node: Node, device: Device) -> Node:
    """The node's value on a device; the node itself when it is there."""
    if node.spec.device is device:
        return node
    if node.tape is not None and grad_mode.enabled:
        return _Move.apply(wrap(node), device).node
    return put(values(node), node.dtype, device)
