"""Which node a tensor holds, and which tensors share its memory.

A tensor may be rebound to another node (an in-place operation, an optimizer's update); a node never changes. Tensors
that share memory in PyTorch (views, `detach()`, `.data`) share a `Storage`: rebinding one rebinds the others.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..compiler import realize as compiler
from ..graph import ops as g
from ..graph.node import Node, leaf
from ..graph.spec import Shape, normalise_dim
from ..graph.tape import Leaf, Tape, grad_mode
from .strides import contiguous_strides, same_layout

if TYPE_CHECKING:
    from .tensor_class import Tensor

_pending = compiler.pending
_limit = compiler.limit
blank: list[Callable[[], Any]] = []
"""How to make a Tensor without anything in it; entered by the module that puts the class together."""

View = Callable[[Node], Node]
Update = Callable[[Node, Node], Node]


def wrap(node: Node) -> Tensor:
    """A tensor for a recorded node, which stays pending until some value is read."""
    if node.seq > _limit[0]:
        compiler.settle(node)
    self = blank[0]()
    self.node = node
    if node.buffer is None:
        _pending[node] = None
    return self


def owned(node: Node) -> Node:
    """The node itself, or a copy of it where it is a constant that others share."""
    return g.identity(node) if not node.sources and (node.buffer is None or node.primitive.name == "scalar") else node


def alone(node: Node) -> Node:
    """A node of the same value that nobody else holds and that is not on the tape."""
    if node.buffer is not None and node.primitive.name != "scalar":
        same = leaf(node.buffer, node.spec)
        node.shared = same.shared = True
        return same
    before, grad_mode.enabled = grad_mode.enabled, False
    try:
        return g.identity(node)
    finally:
        grad_mode.enabled = before


def placed(node: Node, tape: Tape) -> Node:
    """A node that is nobody else's, put in a place on the tape."""
    node.tape = tape
    if tape.__class__ is Leaf:
        compiler.parameter_changed(node.spec.device)
    return node


def with_grad_mode(enabled: bool, function: Callable[..., Node], *arguments: Node) -> Node:
    """What a function gives with grad mode on, or off."""
    before, grad_mode.enabled = grad_mode.enabled, enabled
    try:
        return function(*arguments)
    finally:
        grad_mode.enabled = before


class Storage:
    """What tensors that share memory have in common: the base's node, a version, and who they are.

    A detached alias begins a storage of its own, of which it is the base: its views are differentiated as views of it.
    Of the storage it came from (`origin`, with the way there and back) it has the values, but not the tape.
    """

    __slots__ = ("__weakref__", "cell", "kept", "members", "node", "origin", "parts")

    def __init__(self, node: Node, cell: VersionCell, origin: tuple[Storage, View, Update] | None = None) -> None:
        self.node, self.cell, self.origin = node, cell, origin
        self.members: list[weakref.ref[Any]] = []
        self.parts: list[weakref.ref[Storage]] = []         # storages whose origin this one is
        self.kept: Node | None = None

    def keep(self) -> None:
        """Have the base computed with what is computed from it, for who has this storage as an origin: a loss that is
        kept detached would hold all that it was computed from."""
        self.let_go()
        if self.node.buffer is None:
            self.kept = self.node
            self.node.holders += 1

    def let_go(self) -> None:
        """Keep the base's value no longer."""
        if self.kept is not None:
            self.kept.holders -= 1
            self.kept = None

    def __del__(self) -> None:
        self.let_go()

    def root(self) -> Storage:
        """The storage that the memory came from first."""
        return self if self.origin is None else self.origin[0].root()

    def take(self, base: Node, keep: bool, changed: Any = None, node: Node | None = None) -> None:
        """Give all members a new value of the base; `changed` is the one that was changed, to `node`.

        With `keep` the change was not recorded: what was on the tape stays where it was.
        """
        place = self.node.tape
        if keep and (place is not None or base.tape is not None):
            if base.tape is not None or base.buffer is not None or base in _pending:
                base = alone(base)
            if place is not None:
                placed(base, place)
                base.version = (self.cell, self.cell.version - place.saves_out)
        self.node = base
        for reference in list(self.members):
            member = reference()
            if member is None:
                self.members.remove(reference)
                continue
            view, place = member._alias.view, member.node.tape
            if view is None:
                fresh = base
            elif member is changed and node is not None and self.node.tape is None:
                fresh = node
            else:                       # what is on the tape as a view of the base stays so
                fresh = with_grad_mode(grad_mode.enabled or place is not None, view, self.node)
            member._version = self.cell.version
            member._put(g.identity(fresh) if fresh.buffer is None and fresh in _pending else fresh, keep)
            old = place is not None and place.saves_out and member.node.tape is place
            member.node.version = (self.cell, self.cell.version - old)
            if view is None or fresh is base:
                self.node = member.node             # one node for the whole memory, so that it is computed once
        if self.kept is not None:
            self.keep()

    def tell(self, teller: Storage | None = None) -> None:
        """Give the new values to the storages that share this memory off the tape."""
        if self.origin is not None and self.origin[0] is not teller:
            origin, _, update = self.origin
            origin.take(with_grad_mode(False, update, origin.node, self.node), True)
            origin.tell(self)
        for reference in list(self.parts):
            part = reference()
            if part is None:
                self.parts.remove(reference)
            elif part is not teller:
                assert part.origin is not None
                part.take(with_grad_mode(False, part.origin[1], self.node), True)
                part.tell(self)


class Alias:
    """A tensor's place in a storage: how its value follows from the base's, and a base from its value."""

    __slots__ = ("storage", "strides", "update", "view")

    def __init__(self, storage: Storage, view: View | None, update: Update | None, strides: Shape) -> None:
        self.storage, self.view, self.update, self.strides = storage, view, update, strides


class VersionCell:
    """A version that nodes refer to: not the storage itself, which refers to a node."""

    __slots__ = ("version",)

    def __init__(self, version: int) -> None:
        self.version = version


class Shared:
    """What a tensor knows of memory: the node it holds and, where it shares memory, its place in a storage."""

    __slots__ = ("__dict__", "__weakref__", "node")

    node: Node
    # Defaults of the class, not of every tensor: most never share memory and are never changed in place.
    _alias: Alias | None = None
    _version = 0

    def __del__(self) -> None:
        try:                                        # noqa: SIM105 (for every tensor: suppress() is slow)
            _pending.pop(self.node, None)
        except (AttributeError, TypeError):         # half-made, or the interpreter is going down
            pass

    def stride(self, dim: int | None = None) -> Any:
        """Elements from one index to the next along each axis, or along one."""
        alias = self._alias
        strides = contiguous_strides(self.node.spec.shape) if alias is None else alias.strides
        return strides if dim is None else strides[normalise_dim(dim, len(strides))]

    def is_contiguous(self) -> bool:
        """Whether the elements follow one another in row-major order, as in PyTorch's memory."""
        alias = self._alias
        return alias is None or same_layout(self.node.spec.shape, alias.strides)

    def place(self) -> Alias:
        """A tensor's place in a storage, which begins with it unless it has one."""
        alias = self._alias
        if alias is None:
            storage = Storage(self.node, VersionCell(0))
            alias = self._alias = Alias(storage, None, None, contiguous_strides(self.node.spec.shape))
            storage.members.append(weakref.ref(self))
            self.node.version = (storage.cell, storage.cell.version)
        return alias

    def share(self, view: View, update: Update, strides: Shape | None = None) -> Tensor:
        """A tensor that sees this one's memory through `view`; `update(base, value)` is a base with the view replaced.

        `strides` (in elements) are the view's, by default this tensor's own.
        """
        alias = self.place()
        storage = alias.storage
        node = view(self.node)
        if node is self.node:
            node = g.identity(node)
        if alias.view is not None:
            view, update = _compose(alias, view, update)
        return joined(storage, node, Alias(storage, view, update, alias.strides if strides is None else strides))

    def detached(self, counts: bool = True) -> Tensor:
        """A tensor of the same memory, off the tape; changes of it are versions unless `counts` is false."""
        alias = self.place()
        node = alone(self.node)
        origin = (alias.storage, alias.view or same_value, alias.update or new_value)
        storage = Storage(node, alias.storage.cell if counts else VersionCell(0), origin)
        alias.storage.parts[:] = [part for part in alias.storage.parts if part() is not None]
        alias.storage.parts.append(weakref.ref(storage))
        alias.storage.keep()
        return joined(storage, node, Alias(storage, None, None, alias.strides))

    def shares_memory(self, other: Shared) -> bool:
        """Whether two tensors are one, or see the same memory."""
        a, b = self._alias, other._alias
        return self is other or (a is not None and b is not None and a.storage.root() is b.storage.root())

    def another(self, node: Node, changed: View) -> Tensor:
        """A tensor of the same memory that holds `node`; once the memory is changed, `changed` of the new value."""
        alias = self.place()
        view = alias.view or same_value
        return joined(alias.storage, node, Alias(alias.storage, lambda base: changed(view(base)),
                                                 alias.update or new_value, alias.strides))

    def leave_storage(self) -> None:
        """Share memory with nobody from here on."""
        alias, self._alias = self._alias, None
        if alias is not None:
            members = alias.storage.members
            members[:] = [m for m in members if (other := m()) is not None and other is not self]

    def rebind(self, node: Node) -> Tensor:
        """Give this tensor, and all that share its memory, a new value of the same shape and dtype.

        A change that is not recorded leaves them where they are on the tape.
        """
        alias, tape = self._alias, self.node.tape
        if alias is None:
            keep = not grad_mode.enabled
            stale = (VersionCell(self._version + 1), self._version)
            if self.node.holders:
                self.node.version = stale
            self._version += 1
            self._put(node, keep)
            if tape is not None and tape.saves_out and self.node.tape is tape:
                self.node.version = stale           # the rule would read the old value
            return self             # type: ignore[return-value]
        storage = alias.storage
        keep = not grad_mode.enabled or (tape is None and node.tape is None)
        base = node if alias.update is None else with_grad_mode(not keep, alias.update, storage.node, node)
        storage.cell.version += 1
        storage.take(base, keep, self, node)
        storage.tell()
        return self                 # type: ignore[return-value]

    def _put(self, node: Node, keep: bool = True) -> None:
        """Hold a fresh node. A leaf that requires grad keeps its place on the tape; with `keep` so does any tensor,
        where the node has none of its own."""
        tape: Any = self.node.tape
        if not node.sources:
            node = owned(node)
        if tape is not None and node.tape is not tape and (tape.__class__ is Leaf or (keep and node.tape is None)):
            node = placed(alone(node) if node.tape is not None or node.buffer is not None else node, tape)
        self._hold(node)

    def _hold(self, node: Node) -> None:
        _pending.pop(self.node, None)
        self.node = node
        if node.buffer is None:
            _pending[node] = None
        if node.seq > _limit[0]:
            compiler.bound(node)


def joined(storage: Storage, node: Node, alias: Alias) -> Tensor:
    """A tensor for a node, as one more member of a storage."""
    other = wrap(node)
    node.version = (storage.cell, storage.cell.version)
    other._alias = alias
    storage.members[:] = [m for m in storage.members if m() is not None]
    storage.members.append(weakref.ref(other))
    return other


def same_value(base: Node) -> Node:
    """The view that is all of the base."""
    return base


def new_value(base: Node, value: Node) -> Node:
    """The base after all of it was replaced."""
    return value


def _compose(outer: Alias, view: View, update: Update) -> tuple[View, Update]:
    """The view of a view, both ways."""
    first, first_update = outer.view, outer.update
    assert first is not None and first_update is not None
    return (lambda base: view(first(base)),
            lambda base, value: first_update(base, update(first(base), value)))
