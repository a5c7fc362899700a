"""Tensors that share memory: what they have in common.

As in PyTorch there are three things.

- A `Memory` (PyTorch's storage) is what all tensors over the same elements have in common: their value, off the tape.
- A `Family` is a base and its views: one place on the tape, of which the views are differentiated as views. A detached
  alias begins a family of its own in the same memory. A family counts its changes in a cell, which `detach()` hands on
  and `.data` does not.
- An `Alias` is a tensor's place in a family: how its value follows from the base's, and a base's from its value.

A tensor that has no alias shares nothing. Of the others this holds:

1. A change of a member gives its base a new node, which every other family of the memory then sees off its own tape.
2. The members' own nodes are let go. Each is made anew, from the base's, when it is next asked for: that is where
   PyTorch makes a view's grad_fn anew, and where it finds that it must not (`Alias.made`).
3. No node is held by two families, and each knows the version that it is of.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from .. import ops as g
from ..engine import run
from ..engine.session import current
from ..graph.node import Node, leaf, next_seq
from ..graph.node import VersionCell as VersionCell
from ..graph.spec import Shape
from ..graph.tape import AsStridedBackward0, DeadEnd, Leaf, Tape, entry_class, grad_mode
from ..scopes import finish
from .refusal import INDIRECTLY, NO_GRAD, ONE_OF_SEVERAL, Refused
from .strides import repeats
from .types import Tensor

T = TypeVar("T")
View = Callable[[Node], Node]
Update = Callable[[Node, Node], Node]


def owned(node: Node) -> Node:
    """The node itself, or a copy of it where it is a constant that others share."""
    return g.identity(node) if not node.sources and (node.buffer is None or node.primitive.name == "scalar") else node


def is_held(node: Node) -> bool:
    """Whether some tensor holds a node, or may have held it."""
    return node.buffer is not None or getattr(node, "shared", False)


def alone(node: Node) -> Node:
    """A node of the same value that nobody else holds and that is not on the tape."""
    if node.buffer is not None and node.primitive.name != "scalar":
        same = leaf(node.buffer, node.spec)
        node.shared = same.shared = True
        return same
    return with_grad_mode(False, g.identity, node)


def fresh(node: Node) -> Node:
    """The node itself where it was just recorded off the tape and nobody holds it; else one `alone`."""
    return alone(node) if node.tape is not None or is_held(node) or not node.sources else node


def off_tape(node: Node) -> Node:
    """The node itself, or one `alone` of a node that would keep what it was made from."""
    return node if node.tape is None or node.tape.__class__ is Leaf else alone(node)


def placed(node: Node, tape: Tape) -> Node:
    """A node that is nobody else's, put in a place on the tape."""
    node.tape = tape
    if tape.__class__ is Leaf:
        run.parameter_changed(node.spec.device)
    elif tape.saves_out and not tape.released:
        node.holders += 1
    return node


def carried(node: Node, before: Node) -> Node:
    """A node that is nobody else's, put on the tape behind another one: what arrives here goes on there, to a rule that
    reads the value it had."""
    assert before.tape is not None
    node.tape = named(with_grad_mode(True, g.identity, before), before.tape.name).tape
    return node


def with_grad_mode(enabled: bool, function: Callable[..., Node], *arguments: Node) -> Node:
    """What a function gives with grad mode on, or off."""
    before, grad_mode.enabled = grad_mode.enabled, enabled
    try:
        node = function(*arguments)
    finally:
        grad_mode.enabled = before
    return node


def named(node: Node, name: str) -> Node:
    """A node whose tape entry, if it has one, goes by another of PyTorch's names."""
    tape = node.tape
    if tape is not None and tape.pullback is not None:
        tape.__class__ = entry_class(name)
    return node


def same_value(base: Node) -> Node:
    """The view that the base is of itself."""
    return base


def whole_value(base: Node) -> Node:
    """As `same_value`, of a tensor that is not the base itself."""
    return base


def new_value(base: Node, value: Node) -> Node:
    """The base after all of it was replaced."""
    return value


def kept(node: Node) -> Node:
    """The node itself, known to be held."""
    if node.buffer is None:
        node.shared = True
    return node


class Holder(Protocol):
    """What holds a node, and can be referred to weakly."""

    node: Node


def pending(holder: Holder) -> None:
    """Have a holder's node computed with what else is pending, as a tensor's."""
    if kept(holder.node).buffer is None:
        current().held.append(weakref.ref(holder))


def entered(references: list[weakref.ref[T]], one: T) -> list[weakref.ref[T]]:
    """A list of references with one more; looked through for dead ones each time that it has doubled."""
    count = len(references)
    if count > 15 and not count & (count - 1):
        references = [known for known in references if known() is not None]
    references.append(weakref.ref(one))
    return references


class Memory:
    """The value of a memory, off the tape, and the families in it; kept up to date once there are two."""

    __slots__ = ("__weakref__", "families", "node")

    def __init__(self, node: Node) -> None:
        self.node, self.families = off_tape(node), list[weakref.ref[Family]]()
        pending(self)               # else a loss that is kept detached would hold all behind it

    def living(self) -> Iterator[Family]:
        """The families of which some tensor is alive."""
        self.families = [one for one in self.families if one() is not None]
        yield from [family for one in self.families if (family := one()) is not None]


class Family:
    """A base and its views: the base's node, a version, the members, and the base's place in its memory."""

    __slots__ = ("__weakref__", "cell", "members", "memory", "node", "update", "view")

    def __init__(self, node: Node, cell: VersionCell, memory: Memory | None = None, view: View = same_value,
                 update: Update = new_value) -> None:
        self.node, self.cell, self.memory, self.view, self.update = node, cell, memory, view, update
        self.members: list[weakref.ref[Any]] = []
        if memory is not None:
            memory.families = entered(memory.families, self)

    def shared(self) -> Memory:
        """The memory, for another family to be in it."""
        if self.memory is None:
            memory = Memory(self.node)
            memory.families.append(weakref.ref(self))
            self.memory = memory        # last, as everywhere here: an interrupt leaves none that is not told of changes
        return self.memory

    def is_with(self, other: Family) -> bool:
        """Whether two families are in one memory."""
        return self is other or (self.memory is not None and self.memory is other.memory)

    def seen_through(self, alias: Alias) -> tuple[View, Update]:
        """A member as a view of the memory, both ways."""
        return composed(self.view, self.update, alias.view, alias.update)

    def living(self) -> Iterator[Tensor]:
        """The members that are alive."""
        self.members = [one for one in self.members if one() is not None]
        yield from [member for one in self.members if (member := one()) is not None]

    def is_only(self, tensor: object) -> bool:
        """Whether nobody but a tensor is left in this memory."""
        return (all(member is tensor for member in self.living())
                and (self.memory is None or all(family is self for family in self.memory.living())))

    def change(self, alias: Alias, node: Node, recorded: bool) -> None:
        """Give the base the value that follows from a member's new node, and tell the other families: all of them or,
        where an interrupt comes first, none. What is not recorded leaves the base in its place on the tape."""
        base = with_grad_mode(recorded, alias.update, self.node, node)
        if recorded and alias.view is not same_value:
            named(base, "CopySlices")
        version = self.cell.version + 1
        base = self.successor(base, None if recorded else self.node.tape, self.cell)
        changes: list[tuple[Family | Memory, Node]] = [(self, base)]
        if self.memory is not None:
            value = kept(off_tape(with_grad_mode(False, self.update, self.memory.node, base)))
            changes.append((self.memory, value))
            for family in self.memory.living():
                if family is not self:
                    seen = fresh(with_grad_mode(False, family.view, value))
                    changes.append((family, family.successor(seen, family.node.tape, self.cell)))

        def take() -> None:
            self.cell.version = version
            for holder, node in changes:
                holder.node = node
                pending(holder)         # whether or not a tensor holds it: the members are made from it
                for member in holder.living() if isinstance(holder, Family) else ():
                    member._let_go()
            for member in self.living() if recorded else ():
                if member._retains and member._alias is not None and member._alias.view is same_value:
                    member.refreshed()          # the base's gradient is that of its new value, whether used or not

        finish(take)

    def successor(self, base: Node, tape: Tape | None, changed: VersionCell) -> Node:
        """The node for a new value of the base, in a place on the tape that it had before (or in its own), when
        `changed` has counted the change. A rule that reads the output is never given another than it saved: what counts
        here is told it, and else what arrives goes on to the node before."""
        old, counts = 0, changed is self.cell
        if tape is not None and tape.saves_out and not counts:
            base = carried(fresh(base), self.node)
        elif tape is not None:
            base = placed(fresh(base), tape)
            old = tape.saves_out
        base = owned(base)
        base.version = (self.cell, self.cell.version + counts - old)
        return kept(base)


class Alias:
    """A tensor's place in a family: its view of the base, what a base becomes when the view is replaced, where in the
    memory it lies (`strides` and `offset`, in elements).

    `tape` is the tensor's place on the tape when its node was let go, `version` the family's when the view was last
    put on the tape as one. `origin` says of a view, in PyTorch's words, why it must not be changed in place while that
    is recorded; it is output `number` of the operation that made it.
    """

    __slots__ = ("family", "number", "offset", "origin", "strides", "tape", "update", "version", "view", "was_view")

    def __init__(self, family: Family, strides: Shape, offset: int = 0, view: View = same_value,
                 update: Update = new_value, origin: str | None = None) -> None:
        self.family, self.view, self.update, self.strides, self.offset = family, view, update, strides, offset
        self.tape: Tape | None = None
        self.origin, self.number, self.version = origin, 0, -1
        self.was_view: bool | None = None

    def is_view(self) -> bool:
        """Whether the tensor is a view on the tape, be it of a memory that it left when its `.data` was set."""
        return self.view is not same_value if self.was_view is None else self.was_view

    def refusal(self, tape: Tape | None, what: str) -> RuntimeError:
        """The error for a view that is at a place on the tape (or None), when it or its base was changed."""
        view = ""
        if tape is not None and not tape.is_leaf:
            view = f"Output {self.number} of {re.sub('Backward[0-9]*$', '', tape.name)} is a view"
        if self.origin is NO_GRAD or not view:
            view = f"{view} of a view which was created" if view else "A view was created"
            return RuntimeError(f"{view} in no_grad mode and {what} modified inplace with grad mode enabled. "
                                f"{self.origin}")
        return RuntimeError(f"{view} and {what} modified inplace. {self.origin}")

    def made(self) -> Node:
        """The node of a view whose memory was changed: made from the base's, it is nobody's yet."""
        base, tape = self.family.node, self.tape
        made = tape is not None and not tape.is_leaf
        if self.version == self.family.cell.version:            # changed by somebody whose changes do not count
            node = fresh(with_grad_mode(False, self.view, base))
            if made or tape.__class__ is Leaf:
                return placed(node, tape)           # type: ignore[arg-type]
            if base.tape is not None:
                node.tape = DeadEnd()
            return node
        if self.origin is not None and (made or base.tape is not None):
            return Refused(with_grad_mode(False, self.view, base), self.refusal(tape, INDIRECTLY))
        node = with_grad_mode(base.tape is not None, self.view, base)
        node = with_grad_mode(base.tape is not None, g.identity, node) if node is base else owned(node)
        if base.tape is not None or made:
            self.version = self.family.cell.version
        if base.tape is not None:
            named(node, "AsStridedBackward0")
        elif made:
            node.tape = AsStridedBackward0(next_seq())          # its base does not lead anywhere any more
        elif tape.__class__ is Leaf:
            node.tape = tape
        return node


def apart(node: Node, cell: VersionCell, memory: Memory, like: Alias) -> Alias:
    """A place like another one's in a memory, of the value `node`, in a family of its own."""
    way = like.family.seen_through(like)
    if not repeats(node.spec.shape, like.strides):
        return Alias(Family(node, cell, memory, *way), like.strides, like.offset)
    alias = Alias(Family(alone(memory.node), cell, memory), like.strides, like.offset, *way)
    alias.was_view = False              # but not the base itself, which has each element once
    return alias


class Chain:
    """A view seen through others, both ways. Step by step: calls within calls would be too deep for Python."""

    __slots__ = ("before", "step", "view")

    def __init__(self, before: Chain | None, view: View, update: Update) -> None:
        self.before, self.view, self.step = before, view, update

    def links(self) -> list[Chain]:
        """The last one first."""
        links, link = [self], self.before
        while link is not None:
            links.append(link)
            link = link.before
        return links

    def __call__(self, base: Node) -> Node:
        for link in reversed(self.links()):
            base = link.view(base)
        return base

    def update(self, base: Node, value: Node) -> Node:
        """The base after what is seen of it was replaced."""
        links, bases = self.links(), [base]
        for link in links[:0:-1]:
            bases.append(link.view(bases[-1]))
        for link in links:
            value = link.step(bases.pop(), value)
        return value


def composed(first: View, first_update: Update, view: View, update: Update) -> tuple[View, Update]:
    """The view of a view, both ways."""
    if first is same_value:
        return view, update
    if view is same_value:
        return first, first_update
    same = isinstance(first, Chain) and first_update == first.update
    chain = Chain(first if same else Chain(None, first, first_update), view, update)        # type: ignore[arg-type]
    return chain, chain.update


def scattered(view: View, base: Node, value: Node) -> Node:
    """The base after a view was replaced, no two elements of which are the same one of the base."""
    flat = (base.spec.numel,)
    places = with_grad_mode(False, view, g.reshape(g.iota(*flat, base.device), base.shape))
    return g.reshape(g.scatter(g.reshape(base, flat), g.reshape(places, (value.spec.numel,)),
                               g.reshape(value, (value.spec.numel,)), 0), base.shape)


def one_of_several(parts: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """The views that one operation gives."""
    found = tuple(parts)
    if grad_mode.enabled:
        for number, part in enumerate(found):
            part._alias.origin, part._alias.number = ONE_OF_SEVERAL, number         # type: ignore[union-attr]
    return found
