"""Copies of tensors: `copy.copy`, `copy.deepcopy` and pickles, as PyTorch has them."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np

from ..graph.dtypes import DType
from ..graph.node import Node
from ..graph.spec import Shape
from ..runtime.lock import lock, locked
from .create import place
from .host import put, values
from .memory import Alias, Memory, VersionCell, alone, apart, fresh, with_grad_mode
from .storage import Shared, joined, wrap
from .strides import repeats
from .types import Tensor

OWN = ("_alias", "_based", "_changes", "_grad", "_leaf", "_retains", "_backward_hooks")
"""Attributes that a copy has of its own; what a user added is copied."""


def reduced(self: Tensor) -> tuple[object, ...]:
    """What `pickle` needs to make it again; hooks are not kept, with a warning."""
    for hook in (self._backward_hooks or {}).values():
        warnings.warn(f"backward hook {hook} on tensor will not be serialized.", stacklevel=3)
    node = self.node
    raw = np.array(values(node)).tobytes()
    arguments = raw, node.shape, node.dtype, str(node.device), self.requires_grad, self.stride()
    return _rebuilt, arguments, _added(self) or None


@locked
def copied(self: Tensor) -> Tensor:
    """A leaf of the same memory."""
    alias = self.beside(VersionCell(1))
    return _like(self, joined(alias.view(alias.family.node), alias), _added(self))


def deep_copied(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """A copy; those of tensors that share memory share a copy of it. Raises RuntimeError for a non-leaf."""
    if id(self) in memo:
        return memo[id(self)]
    if not self.is_leaf:
        raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                           "protocol at the moment.  If you were attempting to deepcopy a module, this may be "
                           "because of a torch.nn.utils.weight_norm usage, see "
                           "https://github.com/pytorch/pytorch/pull/103001")
    with lock:                              # not while what a user added is copied: that is code of a user's
        alias = self._alias
        if alias is None or alias.family.is_only(self):
            other = _strided(alone(self.node), self.stride())
        else:
            other = _in_copied_memory(alias, memo)
    copied = memo[id(self)] = _like(self, other, copy.deepcopy(_added(self), memo))
    if self._grad is not None:
        copied._grad = copy.deepcopy(self._grad, memo)
    return copied


def _in_copied_memory(alias: Alias, memo: dict[int, Any]) -> Tensor:
    """A tensor at an alias's place in the copy of its memory, made where the first of them is copied."""
    memory = alias.family.shared()
    other = memo.get(id(memory))
    if other is None:
        other = memo[id(memory)] = Memory(alone(memory.node))
        memo.setdefault(id(memo), []).append(memory)        # its id must not become another's meanwhile
    view, _ = alias.family.seen_through(alias)
    copied = apart(fresh(with_grad_mode(False, view, other.node)), VersionCell(1), other, alias)
    return joined(copied.view(copied.family.node), copied)


def _strided(node: Node, strides: Shape) -> Tensor:
    """A tensor alone in its memory, with these strides."""
    other = wrap(node)
    if repeats(node.spec.shape, strides):           # what lies at one place is one
        for axis, stride in enumerate(strides):
            other = other if stride else other.narrow(axis, 0, 1)
        return _strided(alone(other.node), strides).expand(node.spec.shape).detached()
    other._changes = 1
    if strides != other.stride():
        other.place().strides = strides
    return other


def _added(tensor: Shared) -> dict[str, object]:
    return {name: value for name, value in tensor.__dict__.copy().items() if name not in OWN}


def _like(tensor: Tensor, other: Tensor, attributes: dict[str, object]) -> Tensor:
    """A copy made the same in what is not its value."""
    other.__class__ = tensor.__class__
    other.__dict__.update(attributes)
    return other.requires_grad_() if tensor.requires_grad else other


def _rebuilt(raw: bytes, shape: tuple[int, ...], dtype: DType, device: str, requires_grad: bool,
             strides: Shape | None = None) -> Tensor:
    array = np.frombuffer(raw, dtype.numpy).reshape(shape)
    node = put(array, dtype, place(device))
    out = wrap(node) if strides is None else _strided(node, strides)
    return out.requires_grad_() if requires_grad else out
