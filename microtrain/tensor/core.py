"""The handle: a tensor is a name for a node, with a gradient beside it.

A tensor may be rebound to another node (an in-place operation, an optimizer's update); a node never changes. Tensors
that share memory in PyTorch (views, `detach()`, `.data`) share a `Storage`: rebinding one rebinds the others.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..autograd import api
from ..compiler import realize as compiler
from ..graph import ops as g
from ..graph.dtypes import DType
from ..graph.node import Node, leaf, next_seq
from ..graph.spec import Device, Shape, normalise_dim
from ..graph.tape import Entry, Leaf, grad_mode, overwritten
from .strides import contiguous_strides, same_layout

if TYPE_CHECKING:
    from .tensor_class import Tensor

_pending = compiler.pending
_limit = compiler.limit
_tensor_class: list[Any] = []

View = Callable[[Node], Node]
Update = Callable[[Node, Node], Node]


def wrap(node: Node) -> Tensor:
    """A tensor for a recorded node, which stays pending until some value is read."""
    if node.seq > _limit[0]:
        compiler.settle(node)
    self = object.__new__(_tensor_class[0])
    self.node = node
    self._grad = self._alias = None
    self._version = 0
    if node.buffer is None:
        _pending[node] = None
    return self             # type: ignore[no-any-return]


def owned(node: Node) -> Node:
    """The node itself, or a copy of it where it is a constant that others share."""
    return g.identity(node) if not node.sources and (node.buffer is None or node.primitive.name == "scalar") else node


class Size(tuple[int, ...]):
    """A shape; prints as PyTorch's."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        n = 1
        for size in self:
            n *= size
        return n

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"


class Storage:
    """What tensors that share memory have in common: the base's node, a version, and who they are."""

    __slots__ = ("cell", "members", "node")

    def __init__(self, node: Node) -> None:
        self.node, self.cell = node, VersionCell(0)
        self.members: list[weakref.ref[Any]] = []


class Alias:
    """A tensor's place in a storage: how its value follows from the base's, and a base from its value."""

    __slots__ = ("counts", "storage", "strides", "update", "view")

    def __init__(self, storage: Storage, view: View | None, update: Update | None, strides: Shape,
                 counts: bool = True) -> None:
        self.storage, self.view, self.update, self.strides, self.counts = storage, view, update, strides, counts


class VersionCell:
    """A version that nodes refer to: not the storage itself, which refers to a node."""

    __slots__ = ("version",)

    def __init__(self, version: int) -> None:
        self.version = version


class Handle:
    """What every tensor has, whatever operations it knows: node, gradient, tape, memory."""

    __slots__ = ("__dict__", "__weakref__", "_alias", "_grad", "_version", "node")

    node: Node
    _grad: Tensor | None
    _alias: Alias | None
    _version: int

    def __del__(self) -> None:
        try:
            _pending.pop(self.node, None)
        except (AttributeError, TypeError):         # half-made, or the interpreter is going down
            pass

    @staticmethod
    def from_node(node: Node) -> Tensor:
        """A tensor for a node (never one that shares a constant's node)."""
        return wrap(owned(node))

    # -------------------------------------------------------------------------------------------- what it is
    @property
    def shape(self) -> Size:
        """Sizes of the axes."""
        return Size(self.node.spec.shape)

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.node.spec.dtype

    @property
    def device(self) -> Device:
        """Where the value lives."""
        return self.node.spec.device

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.node.spec.shape)

    def dim(self) -> int:
        """The number of axes."""
        return len(self.node.spec.shape)

    def numel(self) -> int:
        """The number of elements."""
        return self.node.spec.numel

    nelement = numel

    def element_size(self) -> int:
        """Bytes an element takes."""
        return self.node.spec.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes an element takes."""
        return self.node.spec.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes all elements take."""
        return self.node.spec.numel * self.node.spec.dtype.itemsize

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[normalise_dim(dim, self.ndim)]

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point one."""
        return self.node.spec.dtype.is_floating_point

    @property
    def is_cuda(self) -> bool:
        """Whether the value lives on a CUDA device."""
        return self.node.spec.device.type == "cuda"

    def __len__(self) -> int:
        if not self.node.spec.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.node.spec.shape[0]

    # -------------------------------------------------------------------------------------------- its place on the tape
    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are recorded on the tape."""
        return self.node.tape is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def grad_fn(self) -> Any:
        """The tape entry of the operation that made it; None for a leaf."""
        tape: Any = self.node.tape
        return None if tape is None or tape.__class__ is Leaf else tape

    @property
    def is_leaf(self) -> bool:
        """Whether a user made it (or nothing that made it required grad)."""
        tape: Any = self.node.tape
        return tape is None or tape.__class__ is Leaf

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start (or stop) recording operations on this tensor. Raises RuntimeError for integers and non-leaves."""
        if not self.is_leaf:
            if not requires_grad:
                raise RuntimeError("you can only change requires_grad flags of leaf variables. If you want to use a computed "
                                   "variable in a subgraph that doesn't require differentiation use "
                                   "var_no_grad = var.detach().")
            return self             # type: ignore[return-value]
        if requires_grad and not self.node.dtype.is_floating_point:
            raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
        if requires_grad != (self.node.tape is not None):
            node = alone(self.node)
            if requires_grad:
                node.tape = Leaf(self, next_seq())
            self._hold(node)
            if self._alias is not None and self._alias.view is None:
                self._alias.storage.node = node
        return self                 # type: ignore[return-value]

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated by `backward`, of this tensor's shape, dtype and device; or None."""
        if self._grad is None and not self.is_leaf and not self.retains_grad:
            warnings.warn("The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't "
                          "be populated during autograd.backward(). If you indeed want the .grad field to be populated for a "
                          "non-leaf Tensor, use .retain_grad() on the non-leaf Tensor.", UserWarning, stacklevel=2)
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Handle):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got {type(value).__name__}")
            if value.node.shape != self.node.shape:
                raise RuntimeError("assigned grad has data of a different size: expected "
                                   f"{list(self.node.shape)}, got {list(value.node.shape)}")
            if value.node.dtype is not self.node.dtype:
                raise RuntimeError(f"assigned grad has data of a different type: expected {self.node.dtype!r}, "
                                   f"got {value.node.dtype!r}")
        self._grad = value          # type: ignore[assignment]

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
                 inputs: Any = None) -> None:
        """Add this tensor's gradient to the `.grad` of the leaves it depends on; see `autograd.backward`."""
        api.backward(self, gradient, retain_graph, create_graph, inputs)

    def accumulate(self, ct: Node) -> None:
        """Add a cotangent to `.grad`: in place, unless a graph of the gradient itself is being made."""
        if self._grad is None:
            self._grad = wrap(owned(ct) if ct.tape is None else alone(ct) if not grad_mode.enabled else ct)
        elif ct.tape is not None or self._grad.node.tape is not None:
            self._grad = wrap(g.add(self._grad.node, ct))
        else:
            self._grad.rebind(g.add(self._grad.node, ct))

    def register_hook(self, hook: Callable[[Any], Any]) -> RemovableHandle:
        """Call `hook(gradient)` when this tensor's gradient is computed; what it returns (if not None) replaces it."""
        if self.node.tape is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")

        def on_node(ct: Node) -> Node:
            result = hook(wrap(owned(ct)))
            return ct if result is None else result.node
        return _add_hook(self.node.tape, on_node)

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor, which is no leaf, in `.grad`."""
        if self.node.tape is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self.is_leaf or getattr(self, "_retains", False):
            return
        self._retains = True
        me = weakref.ref(self)

        def keep(ct: Node) -> Node:
            tensor = me()
            if tensor is not None:
                tensor.accumulate(ct)
            return ct
        _add_hook(self.node.tape, keep)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this non-leaf."""
        return getattr(self, "_retains", False)

    # -------------------------------------------------------------------------------------------- shared memory
    def stride(self, dim: int | None = None) -> Any:
        """Elements from one index to the next along each axis, or along one."""
        alias = self._alias
        strides = contiguous_strides(self.node.spec.shape) if alias is None else alias.strides
        return strides if dim is None else strides[normalise_dim(dim, self.ndim)]

    def is_contiguous(self) -> bool:
        """Whether the elements follow one another in row-major order, as in PyTorch's memory."""
        alias = self._alias
        return alias is None or same_layout(self.node.spec.shape, alias.strides)

    def share(self, view: View, update: Update, strides: Shape | None = None, counts: bool = True) -> Tensor:
        """A tensor that sees this one's memory through `view`; `update(base, value)` is a base with the view replaced.

        `strides` (in elements) are the view's, by default this tensor's own.
        """
        alias = self._alias
        if alias is None:
            alias = self._alias = Alias(Storage(self.node), None, None, contiguous_strides(self.node.spec.shape))
            alias.storage.members.append(weakref.ref(self))
            self.node.storage = (alias.storage.cell, alias.storage.cell.version)
        storage = alias.storage
        node = view(self.node)
        if node is self.node:
            node = g.identity(node)
        if alias.view is not None:
            view, update = _compose(alias, view, update)
        other = wrap(node)
        node.storage = (storage.cell, storage.cell.version)
        other._alias = Alias(storage, view, update, alias.strides if strides is None else strides, counts)
        storage.members[:] = [m for m in storage.members if m() is not None]
        storage.members.append(weakref.ref(other))
        return other

    def leave_storage(self) -> None:
        """Share memory with nobody from here on."""
        alias, self._alias = self._alias, None
        if alias is not None:
            alias.storage.members[:] = [m for m in alias.storage.members if (other := m()) is not None and other is not self]

    def rebind(self, node: Node) -> Tensor:
        """Give this tensor, and all that share its memory, a new value of the same shape and dtype."""
        alias = self._alias
        if alias is None:
            if self.node.holders:
                overwritten[0] = True
                self.node.storage = (VersionCell(self._version + 1), self._version)
            self._version += 1
            self._put(node)
            return self             # type: ignore[return-value]
        storage = alias.storage
        base = node if alias.update is None else alias.update(storage.node, node)
        if alias.counts:
            storage.cell.version += 1
        storage.node = base
        overwritten[0] = True           # a view's handle may be gone while the tape keeps its value
        for reference in list(storage.members):
            member = reference()
            if member is None:
                storage.members.remove(reference)
                continue
            its = member._alias
            fresh = base if its.view is None else node if member is self else its.view(base)
            member._version = storage.cell.version
            member._put(g.identity(fresh) if fresh.buffer is None and fresh in _pending else fresh)
            member.node.storage = (storage.cell, storage.cell.version)
            if its.view is None or fresh is base:
                storage.node = member.node          # one node for the whole memory, so that it is computed once
        return self                 # type: ignore[return-value]

    def _put(self, node: Node) -> None:
        """Hold a fresh node; a leaf that requires grad keeps its place on the tape."""
        tape: Any = self.node.tape
        node = owned(node)
        if tape is not None and tape.__class__ is Leaf and node.tape is not tape:
            if node.tape is not None or node.buffer is not None:
                node = alone(node)
            node.tape = tape
            compiler.parameter_changed(node.spec.device)
        self._hold(node)

    def _hold(self, node: Node) -> None:
        _pending.pop(self.node, None)
        self.node = node
        if node.buffer is None:
            _pending[node] = None
        if node.seq > _limit[0]:
            compiler.bound(node)


def alone(node: Node) -> Node:
    """A node of the same value that nobody else holds and that is not on the tape."""
    if node.buffer is not None and node.primitive.name != "scalar":
        return leaf(node.buffer, node.spec)
    before, grad_mode.enabled = grad_mode.enabled, False
    try:
        return g.identity(node)
    finally:
        grad_mode.enabled = before


def _compose(outer: Alias, view: View, update: Update) -> tuple[View, Update]:
    """The view of a view, both ways."""
    first, first_update = outer.view, outer.update
    assert first is not None and first_update is not None
    return (lambda base: view(first(base)),
            lambda base, value: first_update(base, update(first(base), value)))


class RemovableHandle:
    """What `register_hook` returns: `remove()` takes the hook away."""

    def __init__(self, hooks: dict[int, Any], key: int) -> None:
        self._hooks, self._key = hooks, key

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self._key, None)


def _add_hook(tape: Entry | Leaf, hook: Callable[[Node], Node]) -> RemovableHandle:
    if tape.hooks is None:
        tape.hooks = {}
    key = next_seq()
    tape.hooks[key] = hook
    return RemovableHandle(tape.hooks, key)

