"""Which node a tensor holds.

A tensor may be rebound to another node (an in-place operation, an optimizer's update); a node never changes. What
tensors that share memory have in common is in `memory`: changing one gives the others new values too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Self, overload
from weakref import ref

from .. import ops as g
from ..engine import run
from ..engine.session import here, main, others
from ..graph.node import Node, Unmade, become
from ..graph.spec import Shape, normalise_dim
from ..graph.tape import DeadEnd, Leaf, Tape, grad_mode
from ..runtime.lock import locked
from ..scopes import finish
from . import memory as m
from .memory import Alias, Family, Memory, Update, VersionCell, View, named, same_value
from .refusal import FROM_FUNCTION, ITSELF, NO_GRAD, ONE_OF_SEVERAL, Refused
from .strides import contiguous_strides, repeats, same_layout
from .types import Root, Tensor

blank: list[Callable[[], Tensor]] = []
"""How to make a Tensor without anything in it; entered by the module that puts the class together."""


def wrap(node: Node, name: str | None = None) -> Tensor:
    """A tensor for a recorded node, which stays pending until some value is read; `name` is what its grad_fn goes by
    where that is not the operation's own."""
    if name is not None:
        named(node, name)
    session = here.session if others() else main
    if node.seq > session.limit:
        run.settle(node, session)
    self = blank[0]()
    self.node = node
    if node.buffer is None:
        node.shared = True
        session.held.append(ref(self))
    return self


class Shared(Root):
    """What a tensor knows of memory: the node it holds and, where it shares memory, its place in a family."""

    __slots__ = ()

    if TYPE_CHECKING:                               # see `core`
        requires_grad: bool
        _move_retained: Callable[[bool], None]
        _other_leaf: Callable[[], None]
    _leaf: Leaf | None = None                       # its place on the tape, where it is a leaf that requires grad
    # Defaults of the class, not of every tensor: most never share memory and are never changed in place.
    _alias: Alias | None = None
    _changes = 0
    _based: Sequence[Family] = ()                   # whose views it is the base of still, though it left their memory
    _retains: Sequence[Tape] = ()                   # where on the tape its gradient is retained, the last place last

    @property
    def _version(self) -> int:
        """How often this memory was changed in place, through any tensor that counts with this one."""
        return self._changes if self._alias is None else self._alias.family.cell.version

    @overload
    def stride(self, dim: None = None) -> Shape: ...
    @overload
    def stride(self, dim: int) -> int: ...
    def stride(self, dim: int | None = None) -> Shape | int:
        """Elements from one index to the next along each axis, or along one."""
        alias = self._alias
        strides = contiguous_strides(self.node.spec.shape) if alias is None else alias.strides
        return strides if dim is None else strides[normalise_dim(dim, len(strides))]

    def storage_offset(self) -> int:
        """Elements of the memory before this tensor's first."""
        return 0 if self._alias is None else self._alias.offset

    def is_contiguous(self) -> bool:
        """Whether the elements follow one another in row-major order, as in PyTorch's memory."""
        alias = self._alias
        return alias is None or same_layout(self.node.spec.shape, alias.strides)

    @locked
    def place(self) -> Alias:
        """A tensor's place in a family, which begins with it unless it has one."""
        alias = self._alias
        if alias is None:
            node = self.node
            if node.version is None or node.version[0].version != self._changes:
                node.version = (VersionCell(self._changes), self._changes)
            family = Family(node, node.version[0])
            alias = Alias(family, contiguous_strides(node.spec.shape))
            family.members.append(ref(self))
            self._alias = alias                 # last: an interrupt leaves no tensor that is not told of changes
        return alias

    @locked
    def share(self, view: View, update: Update, strides: Shape | None = None, offset: int = 0) -> Tensor:
        """A tensor that sees this one's memory through `view`; `update(base, value)` is a base with the view replaced.
        `strides` (in elements) are the view's, by default this tensor's own; `offset` is from this tensor's first."""
        alias = self.place()
        node = view(self.node)
        if node is self.node:
            node = g.identity(node)
        strides = alias.strides if strides is None else strides
        both = m.composed(alias.view, alias.update, view, update)
        if 0 in alias.strides and repeats(self.node.shape, alias.strides) and not repeats(node.shape, strides):
            both = both[0], partial(m.scattered, both[0])       # a part of what was expanded, in which nothing repeats
        origin = alias.origin if grad_mode.enabled else NO_GRAD
        other = joined(node, Alias(alias.family, strides, alias.offset + offset, *both, origin))
        if not grad_mode.enabled and alias.family.node.tape is not None:
            node.tape = DeadEnd()           # requires grad, as its base does, but no gradient goes on from here
        return other

    @locked
    def beside(self, cell: VersionCell | None = None) -> Alias:
        """A place in this tensor's memory and in a family of its own, which counts changes in `cell`, by default in
        this one's."""
        alias = self.place()
        return m.apart(m.alone(self.node), cell or alias.family.cell, alias.family.shared(), alias)

    @locked
    def detached(self, counts: bool = True) -> Tensor:
        """A tensor of the same memory, off the tape; changes of it are versions unless `counts` is false."""
        alias = self.beside(None if counts else VersionCell(0))
        return joined(alias.view(alias.family.node), alias)

    @locked
    def move_to(self, other: Shared) -> None:
        """Be in another tensor's memory from here on, with a count of changes of one's own; those that shared the
        memory before keep it."""
        mine, its = self.place(), other.place()
        if mine.family.memory is its.family.memory is not None and (
                mine.offset, mine.strides, self.node.spec) == (its.offset, its.strides, other.node.spec):
            return
        before, cell = self.node, mine.family.cell
        tape = before.tape
        differs = before.spec is not other.node.spec
        if differs:
            self._other_leaf()
        alias = other.beside(cell)
        alias.was_view, node = mine.is_view(), alias.view(alias.family.node)
        if tape.__class__ is Leaf:
            node = m.placed(node, self._leaf)                 # type: ignore[arg-type]
        elif differs and tape is not None and not tape.is_leaf:
            node = m.carried(node, m.with_grad_mode(True, lambda x: g.cast(x, node.dtype), before))
        elif tape is not None:
            node = m.carried(node, before) if tape.saves_out else m.placed(node, tape)
        alias.tape = tape
        alias.family.members.append(ref(self))
        self._alias, self.node = alias, node
        mine.family.members = [one for one in mine.family.members if one() is not self]
        if mine.view is same_value:
            self._based = [family for family in (*self._based, mine.family) if any(True for _ in family.living())]
        self._hold(node)

    def is_seen_with(self, other: Shared) -> bool:
        """Whether two tensors are one, or a base and its view, or views of one base."""
        return self is other or (self._alias is not None and other._alias is not None
                                 and self._alias.family is other._alias.family)

    def shared_memory(self) -> Memory | Family | None:
        """What those that share this tensor's memory have in common; None where it never shared any."""
        alias = self._alias
        return None if alias is None else alias.family.memory or alias.family

    def _is_view(self) -> bool:
        """Whether it sees the memory of another tensor, its base (PyTorch's name)."""
        alias = self._alias
        return alias is not None and alias.view is not same_value and alias.was_view is not False

    @locked
    def returned(self, node: Node) -> Tensor:
        """A tensor that sees what this one sees, as a user's function returns it, which gave it `node`."""
        alias = self.place()
        view = m.whole_value if alias.view is same_value else alias.view
        return joined(node, Alias(alias.family, alias.strides, alias.offset, view, alias.update, FROM_FUNCTION))

    def came_from_function(self, number: int, several: bool) -> None:
        """Be known as a view that a user's function returned, as output `number`, which is one of `several`."""
        alias = self.place()
        alias.origin, alias.number = ONE_OF_SEVERAL if several else FROM_FUNCTION, number

    @locked
    def leave(self) -> None:
        """Share memory with nobody from here on."""
        alias = self._alias
        if alias is not None and self.node.spec:        # made anew where it was let go
            self._alias, self._changes = None, alias.family.cell.version
            alias.family.members = [one for one in alias.family.members if one() is not self]

    @locked
    def rebind(self, node: Node) -> Self:
        """Give this tensor, and all that share its memory, a new value of the same shape and dtype. A change that is
        not recorded leaves them where they are on the tape."""
        alias = self._alias
        if alias is not None:
            if not (alias.view is same_value and self.is_contiguous() and alias.family.is_only(self)):
                return self._rebind_all(alias, node)
            alias.family.cell.version += 1          # what others saved of the same memory is of another version too
            self.leave()
        else:
            self._changes += 1
        tape = self.node.tape
        stale = (VersionCell(self._changes), self._changes - 1)
        if self.node.holders:
            self.node.version = stale
        self._put(node, not grad_mode.enabled)
        if tape is not None and tape.saves_out and self.node.tape is tape:
            self.node.version = stale               # the rule would read the old value
        return self

    def _rebind_all(self, alias: Alias, node: Node) -> Self:
        recorded = grad_mode.enabled and (self.requires_grad or node.tape is not None)
        if recorded and alias.origin is not None:
            raise self.refused(alias)
        alias.family.change(alias, node, recorded)
        if recorded:
            self.refreshed()                        # its hooks are those of the new value from here on
        elif alias.view is not same_value and alias.tape is None and alias.family.node.tape is None:
            self._hold(m.fresh(node))                 # what `view` would find in the new base
        return self

    def refused(self, alias: Alias) -> RuntimeError:
        """Why a view must not be changed in place."""
        return alias.refusal(alias.tape if self.node.__class__ is Refused else self.node.tape, ITSELF)

    def _put(self, node: Node, keep: bool = True) -> None:
        """Hold a fresh node. A leaf that requires grad keeps its place on the tape; with `keep` so does any tensor,
        where the node has none of its own."""
        tape = self.node.tape
        if not node.sources:
            node = m.owned(node)
        if tape is not None and node.tape is not tape and (tape.__class__ is Leaf or (keep and node.tape is None)):
            node = m.placed(m.fresh(node), tape)
        self._hold(node)

    @locked
    def hold_instead(self, node: Node) -> None:
        """Hold another node of the same value."""
        if self.node.holders:
            self.place()                            # so that both are known to be of one version
        self._hold(node)
        based = self._based
        if self._alias is not None and self._alias.view is same_value:
            based = (*based, self._alias.family)
        for family in based:
            for view in family.living():
                view._follow_base(node.tape is not None)

    def _follow_base(self, requires_grad: bool) -> None:
        """Require grad, or not, as the base does from now on; but no gradient goes on from a view that was not recorded
        as one."""
        alias = self._alias
        if alias is None or type(self.node) is Unmade:
            return
        refused = self.node.__class__ is Refused
        if not refused and self.node.tape.__class__ is not (None.__class__ if requires_grad else DeadEnd):
            return
        if refused or (requires_grad and alias.version != alias.family.cell.version):
            self._let_go()                          # made anew it will be recorded, or not be refused
            return
        node = m.alone(self.node)
        node.tape = DeadEnd() if requires_grad else None
        self._hold(node)

    def _hold(self, node: Node, at_once: bool = True) -> None:
        """Hold a node instead of the one before, which may have been let go."""
        alias = self._alias
        if alias is not None:
            self._note_place(alias)
            if alias.view is same_value:
                alias.family.node = node
            node.version = node.version or (alias.family.cell, alias.family.cell.version)
        if self._retains:
            self.node = node
            self._move_retained(at_once)
        self._hold_alone(node)

    def _hold_alone(self, node: Node) -> None:
        """As `_hold`, of a tensor that shares no memory, where no place on the tape is left."""
        self.node = node
        session = here.session if others() else main
        if node.buffer is None:
            node.shared = True
            session.held.append(ref(self))
        if node.seq > session.limit:
            run.bound(node, session)

    def _change_alone(self, node: Node, tape: Tape | None) -> None:
        """Be changed in place, off the tape, where memory is shared with nobody: an optimizer's update. `node` takes
        the place on the tape."""
        session = here.session if others() else main
        if tape.__class__ is Leaf:
            node.tape = tape
            session.updated.add(node.spec.device)       # as in `parameter_changed`
            session.limit = 0
        elif tape is not None:
            m.placed(node, tape)
        self._changes += 1
        self.node = node
        if node.buffer is None:
            node.shared = True
            session.held.append(ref(self))
        if node.seq > session.most or session.watchers:
            run.bound(node, session)

    def _let_go(self) -> None:
        """Hold no node of one's own until anything of it is asked for: the base has another."""
        alias = self._alias
        if alias is not None:
            self._note_place(alias)
            if alias.view is same_value:
                self.node = alias.family.node
                if self._retains:
                    self._move_retained(False)
            elif type(self.node) is not Unmade:
                node = Unmade()
                node.sources = partial(_make, alias, ref(self))         # type: ignore[assignment]
                self.node = node

    def _note_place(self, alias: Alias) -> None:
        """Note the place on the tape of a node that will be held no more."""
        node = self.node
        if type(node) is Node:                      # no other knows
            alias.tape = node.tape

    def refreshed(self) -> None:
        """After a change that is recorded: hold a node again, from which a gradient is retained at once."""
        if type(self.node) is Unmade:
            _make(self._alias, ref(self), self.node, True)          # type: ignore[arg-type]
        elif self._retains:
            self._move_retained(True)


@locked
def _make(alias: Alias, reference: ref[Shared], unmade: Node, at_once: bool = False) -> None:
    """Have a member's node be what follows from the base's; a retained gradient is that of the new value `at_once`, or
    once it is used."""
    if type(unmade) is not Unmade:
        return
    node, tensor = m.kept(alias.made()), reference()
    if node.__class__ is Node:
        node.version = node.version or (alias.family.cell, alias.family.cell.version)

    def take() -> None:
        become(unmade, node)
        if tensor is not None and tensor.node is unmade and node.__class__ is Node:
            if tensor._retains:
                tensor._move_retained(at_once)
            tensor._hold_alone(unmade)

    finish(take)


def joined(node: Node, alias: Alias) -> Tensor:
    """A tensor for a node, as one more member of a family."""
    other = wrap(node)
    family = alias.family
    node.version = (family.cell, family.cell.version)
    other._alias, alias.version = alias, family.cell.version
    if family.memory is not None:
        m.pending(family)
    family.members = m.entered(family.members, other)
    return other
