"""The handle: a tensor is a name for a node, with a gradient beside it."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self, overload

from .. import ops as g
from ..autograd import api, no_grad
from ..autograd.checks import assigned
from ..graph.dtypes import DType
from ..graph.node import Node, next_seq
from ..graph.spec import Device, normalise_dim
from ..graph.tape import DeadEnd, Hooks, HookTable, Leaf, Tape
from ..runtime.lock import locked
from .memory import alone, owned
from .refusal import Refused
from .storage import Shared, wrap
from .types import Tensor


class Size(tuple[int, ...]):
    """A shape; prints as PyTorch's."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"


class RemovableHandle:
    """What registering a hook returns: `remove()`, or the end of a `with` block, takes the hook away."""

    def __init__(self, hooks: HookTable) -> None:
        self.hooks_dict_ref, self.id = weakref.ref(hooks), next_seq()

    @classmethod
    def enter(cls, hooks: HookTable, hook: Callable[..., object]) -> RemovableHandle:
        """Enter a hook among others; what it returns takes it out again."""
        handle = cls(hooks)
        hooks[handle.id] = hook
        return handle

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        hooks = self.hooks_dict_ref()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def __getstate__(self) -> tuple[HookTable, int]:
        return HookTable(self.hooks_dict_ref() or {}), self.id

    def __setstate__(self, state: tuple[HookTable, int]) -> None:
        hooks, self.id = state
        self.hooks_dict_ref = weakref.ref(hooks)


class Handle(Shared):
    """What every tensor has, whatever operations it knows: node, gradient, tape, memory."""

    __slots__ = ()

    _grad: Tensor | None = None
    _backward_hooks: Hooks | None = None        # those of a leaf

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

    @overload
    def size(self, dim: None = None) -> Size: ...
    @overload
    def size(self, dim: int) -> int: ...
    def size(self, dim: int | None = None) -> Size | int:
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[normalise_dim(dim, self.ndim)]

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point one."""
        return self.node.spec.dtype.is_floating_point

    @property
    def is_cuda(self) -> bool:
        """Whether the value lives on a CUDA device."""
        return self.node.spec.device.kind.gpu

    def __len__(self) -> int:
        if not self.node.spec.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.node.spec.shape[0]

    # -------------------------------------------------------------------------------------------- its place on the tape
    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are recorded on the tape."""
        node = self.node
        return node.__class__ is Refused or node.tape is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and self._is_result():
            raise RuntimeError("you can only change requires_grad flags of leaf variables.")
        self.requires_grad_(value)

    @property
    def grad_fn(self) -> Any:
        """The tape entry of the operation that made it; None for a leaf."""
        tape = self._place_on_tape()
        return None if tape is None or tape.is_leaf else tape.place[0]

    @property
    def is_leaf(self) -> bool:
        """Whether a user made it (or nothing that made it required grad)."""
        tape = self._place_on_tape()
        return tape is None or tape.is_leaf

    def _place_on_tape(self) -> Any:
        """Its place on the tape. Raises RuntimeError for a view that has none any more."""
        node: Any = self.node
        if node.__class__ is Refused:           # not isinstance: one that is yet to be made tells its class when asked
            raise node.refusal()
        return node.tape

    def _is_result(self) -> bool:
        """Whether it is no leaf, or was none before its place on the tape became one that may not be used."""
        refused = self.node.__class__ is Refused
        tape = self._alias.tape if refused else self.node.tape          # type: ignore[union-attr]
        return tape is not None and not tape.is_leaf

    @locked
    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Start (or stop) recording operations on this tensor. Raises RuntimeError for integers and non-leaves."""
        if requires_grad.__class__ is not bool:
            raise TypeError("requires_grad_(): argument 'requires_grad' (position 1) must be bool, not "
                            f"{type(requires_grad).__name__}")
        result = self._is_result()
        if result or self.node.__class__ is Refused:
            if result and not requires_grad:
                raise RuntimeError("you can only change requires_grad flags of leaf variables. If you want to use a "
                                   "computed variable in a subgraph that doesn't require differentiation use "
                                   "var_no_grad = var.detach().")
            return self
        if requires_grad and not self.node.dtype.is_floating_point:
            raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
        if requires_grad != (self.node.tape.__class__ is Leaf):
            node = alone(self.node)
            if requires_grad:                   # again the leaf that it was, with its hooks
                node.tape = self._be_leaf(self._leaf)
            else:
                if self._leaf is not None:
                    self._leaf.tensor = partial(_while_leaf, weakref.ref(self))
                if self._is_view() and self._alias.family.node.tape is not None:        # type: ignore[union-attr]
                    node.tape = DeadEnd()       # it requires grad still, as its base does
            self.hold_instead(node)
        return self

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated by `backward`, of this tensor's shape, dtype and device; or None."""
        grad = self._grad
        if grad is None and self.node.__class__ is not Refused and not self.is_leaf and not self._retains:
            warnings.warn("The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
                          "attribute won't be populated during autograd.backward(). If you indeed want the .grad "
                          "field to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf "
                          "Tensor.", UserWarning, stacklevel=2)
        return grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            assigned(value, self)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def backward(self, gradient: Tensor | Sequence[Tensor] | None = None, retain_graph: bool | None = None,
                 create_graph: bool = False, inputs: Tensor | Sequence[Tensor] | None = None) -> None:
        """Add this tensor's gradient to the `.grad` of the leaves it depends on; see `autograd.backward`."""
        api.backward(self, gradient, retain_graph, create_graph, inputs)

    def gradient(self, ct: Node, create_graph: bool = False) -> Tensor:
        """A cotangent as a gradient, the first one that arrives."""
        if ct.tape is None:
            return wrap(ct if ct.sources else owned(ct))
        return wrap(ct if create_graph else alone(ct))

    def accumulate(self, ct: Node, create_graph: bool = False) -> None:
        """Add a cotangent to `.grad`: in place, unless a graph of the gradient itself is being made."""
        if self._grad is None:
            self._grad = self.gradient(ct, create_graph)
        elif self._grad.node.spec is not ct.spec:       # of the leaf before its `.data` was set
            self._grad.add_(wrap(ct))
        elif create_graph:
            self._grad = wrap(g.add(self._grad.node, ct))
        elif ct.tape is None and self._grad.node.tape is None:
            self._grad.rebind(g.add(self._grad.node, ct))
        else:
            with no_grad():
                self._grad.rebind(g.add(self._grad.node, ct))

    def _be_leaf(self, leaf: Leaf | None = None) -> Leaf:
        """Be a new leaf, or one from before."""
        self._leaf = leaf or Leaf(next_seq())
        self._leaf.tensor = weakref.ref(self)
        return self._leaf

    @locked
    def _hooks(self, tape: Any) -> Hooks:
        """The hooks at a place on the tape. Those at a dead end are of the leaf that it may be."""
        if tape.__class__ is DeadEnd:
            tape = self._leaf if self._leaf is not None and self._leaf.hooks is not None else self._be_leaf()
        if tape.hooks is None:
            tape.hooks = Hooks(self.from_node)
        return tape.hooks

    def register_hook(self, hook: Callable[[Tensor], object]) -> RemovableHandle:
        """Call `hook(gradient)` when this tensor's gradient is computed; what it returns (if not None) replaces it.
        After an in-place change an earlier hook still is one of the value before. Raises RuntimeError for a tensor that
        does not require grad."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        return RemovableHandle.enter(self._hooks(self.node.tape), hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], object]) -> RemovableHandle:
        """Call `hook(self)` when `backward` has added to this leaf's `.grad`. Raises RuntimeError for a non-leaf."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if not self.is_leaf:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        return RemovableHandle.enter(self._hooks(self.node.tape).after, hook)

    def _other_leaf(self) -> None:
        """Be another leaf from here on, of another shape, dtype or device. What leads to the one before still does."""
        before = self._leaf
        if before is not None:
            before.tensor = partial(_while_leaf, weakref.ref(self))
            leaf = self._be_leaf()
            if before.hooks is not None:
                leaf.hooks = before.hooks

    def _keep_hooks(self, hooks: Hooks) -> None:
        """Have the hooks of the place on the tape that this tensor had called for the leaf that it may be again."""
        hooks.retaining = [one for one in hooks.retaining if one() is not self]
        self._be_leaf().hooks = hooks

    @locked
    def retain_grad(self) -> None:
        """Keep the gradient of this tensor, which is no leaf, in `.grad`: that of the value that it has by then."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._retains or not self._is_result():
            return
        tape = self._place_on_tape()
        self._retains = [tape]
        self._hooks(tape).retaining.append(weakref.ref(self))

    def _move_retained(self, at_once: bool) -> None:
        """Have the gradient retained at the place on the tape that this tensor has now: `at_once`, or as soon as a
        gradient comes there."""
        tape = self.node.tape
        if tape is not None and not tape.is_leaf:
            if tape is not self._retains[-1]:
                self._retains = [*self._retains, tape]
            retaining = self._hooks(tape).retaining
            if all(one() is not self for one in retaining):
                retaining.append(weakref.ref(self))
            if at_once:
                self._retain_from(tape)

    def _retain_from(self, tape: Tape) -> None:
        """Retain the gradient no more at the places before one."""
        here = [place is tape for place in self._retains].index(True)
        for place in self._retains[:here]:
            place.hooks.retaining = [one for one in place.hooks.retaining if one() is not self]     # type: ignore[union-attr]
        self._retains = self._retains[here:]

    @locked
    def retain(self, ct: Node, tape: Tape) -> None:
        """Add a cotangent that was asked for by `retain_grad` to `.grad`, which is a new tensor each time."""
        if all(place is not tape for place in self._retains):
            return                              # another thread has changed it in place since the walk came here
        self._retain_from(tape)
        self._grad = wrap(alone(ct) if self._grad is None and ct.tape is None else
                          g.identity(ct) if self._grad is None else g.add(self._grad.node, ct))

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this non-leaf."""
        return bool(self._retains)


def _while_leaf(reference: weakref.ref[Handle]) -> Handle | None:
    """What a place on the tape leads to whose leaf may not require grad any more, or is at another place. Raises
    RuntimeError where that is a result by now."""
    tensor = reference()
    if tensor is not None and not tensor.is_leaf:
        raise RuntimeError("leaf variable has been moved into the graph interior")
    return None if tensor is None or tensor.node.tape.__class__ is not Leaf else tensor
