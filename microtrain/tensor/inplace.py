"""In-place operations: the tensor (and all that share its memory) is rebound to the result."""

from __future__ import annotations

from collections.abc import Callable

from .. import ops as g
from ..engine.session import others
from ..graph.dtypes import TITLES
from ..graph.node import Node, Primitive, Unmade, record2
from ..graph.spec import broadcast_shapes
from ..graph.tape import grad_mode
from ..runtime.lock import locked
from .host import moved
from .memory import named, same_value
from .operands import called, converted, flag
from .random import Generator, bernoulli_of, randn, uniform
from .refusal import must_not_overlap
from .storage import wrap
from .strides import repeats
from .types import Operand, Tensor

InPlace = Callable[..., Tensor]
LEAF = "a leaf Variable that requires grad is being used in an in-place operation."


def inplace(name: str, method: str = "") -> InPlace:
    """The in-place form of the method `name`, or of one by another name, which may leave it to the other operand."""
    @locked
    def changed(self: Tensor, *args: object, **kwargs: object) -> Tensor:
        self.check_inplace()
        if self._alias is not None:
            must_not_overlap(self, (*args, *kwargs.values()))
        out = getattr(self.twin(), method or name)(*args, **kwargs)
        if out is NotImplemented:
            return out
        node = out.node
        if node.buffer is None and node is not self.node:
            node.shared = False         # the handle that it was made for is gone
        return self.assign(node, name + "_")
    return called(changed, name + "_", f"In-place `{name}`.")


def augmented(name: str) -> InPlace:
    """The in-place form of a binary operator."""
    change = inplace(name, f"__{name}__")

    def method(self: Tensor, other: Operand) -> Tensor:
        return change(self, other)
    return called(method, name + "_", f"In-place `{name}`.")


def update(primitive: Primitive, name: str, general: InPlace) -> InPlace:
    """The `general` in-place form of a binary operation, quick for what optimizers do: tensors of one spec, nothing
    recorded, no other thread."""
    def method(self: Tensor, other: Operand, **options: object) -> Tensor:
        if not grad_mode.enabled and not options and isinstance(other, Tensor) and not others():
            x, y = self.node, other.node
            if x.spec is y.spec:
                node = record2(primitive, x, y)
                if self._alias is None and not x.holders:           # shared with nobody, kept by no tape entry
                    self._change_alone(node, x.tape)
                    return self
                must_not_overlap(self, (other,))
                return self.rebind(node)
        return general(self, other, **options)
    return called(method, name + "_", f"In-place `{name}`.")


def check_inplace(self: Tensor) -> None:
    """Raise RuntimeError, in PyTorch's words, where an in-place change would lose a gradient."""
    if not grad_mode.enabled:
        return
    alias = self._alias
    if alias is not None and alias.origin is not None and self.requires_grad:
        raise self.refused(alias)
    if alias is not None and type(self.node) is Unmade and not alias.tape and alias.family.node.tape is not None:
        raise RuntimeError(LEAF)            # its base came to require grad since: PyTorch has it for a leaf
    tape = self.node.tape
    if tape is None:
        return
    if alias is not None and alias.view is not same_value and (
            (base := alias.family.node.tape) is None or base.is_leaf):
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    if tape.is_leaf:
        raise RuntimeError(LEAF)


def twin(self: Tensor) -> Tensor:
    """What an in-place operation computes from: while recording, a copy, so that a value the operation itself keeps
    for its derivative does not count as overwritten."""
    return wrap(self.former()) if grad_mode.enabled else self


def former(self: Tensor) -> Node:
    """A node of the value before a change that is recorded: of a view it is seen through the base, since the hooks
    on the view are of no use any more."""
    alias = self._alias
    if alias is None or alias.view is same_value:
        return g.identity(self.node)
    base = alias.family.node
    node = alias.view(base)
    return g.identity(node) if node is base else node


def become(self: Tensor, other: Tensor) -> None:
    """Take the value of a tensor that is let go of, while nothing is recorded and by who has the lock; done again,
    it changes nothing."""
    before, node = self.node, other.node
    if node.spec is before.spec and self._alias is None and not before.holders and not node.tape:
        if node is not before:
            self._change_alone(node, before.tape)
    else:
        self.assign(node, "step")


def assign(self: Tensor, node: Node, name: str) -> Tensor:
    """Rebind to a result, which must have this shape and a dtype that converts. Raises RuntimeError otherwise."""
    mine = self.node.spec
    if node.spec is not mine:
        if node.spec.shape != mine.shape:
            raise RuntimeError(f"output with shape {list(mine.shape)} doesn't match the broadcast shape "
                               f"{list(node.spec.shape)}")
        if node.spec.dtype.category > mine.dtype.category:
            raise RuntimeError(f"result type {TITLES[node.spec.dtype.name]} can't be cast to the desired output "
                               f"type {TITLES[mine.dtype.name]} (in {name})")
        node = g.cast(node, mine.dtype)
    return self if node is self.node else self.rebind(node)


def zero_(self: Tensor) -> Tensor:
    """Fill with zeros."""
    return self.fill_(0, "ZeroBackward0")


def fill_(self: Tensor, value: Operand, label: str = "FillBackward0") -> Tensor:
    """Fill with a number or a 0-d tensor."""
    self.check_inplace()
    spec = self.node.spec
    if self._alias is not None and repeats(spec.shape, self._alias.strides):
        once = self             # each place in memory, once
        for axis, stride in enumerate(self._alias.strides):
            once = once if stride else once.narrow(axis, 0, 1)
        once.fill_(value, label)
        return self
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError("fill_ only supports 0-dimension value tensor but got tensor with "
                               f"{value.ndim} dimensions.")
        node = g.expand(g.cast(value.node, spec.dtype), spec.shape)
        node = g.identity(node) if node is value.node else node
    else:
        node = g.full(converted(value, spec.dtype, "fill_"), spec.shape, spec.dtype, spec.device)
    return self.overwrite(node, label)


def overwrite(self: Tensor, node: Node, label: str) -> Tensor:
    """Rebind to a value that does not depend on the old one, which yet keeps its place on the tape: a tensor that
    required grad still does, and what it was made from has a gradient of zero."""
    if self.node.tape is None or not grad_mode.enabled:
        return self.rebind(named(node, label) if grad_mode.enabled else node)
    return self.rebind(named(g.overwrite(node, self.former()), label))


def copy_(self: Tensor, src: object, non_blocking: bool = False) -> Tensor:
    """Take the values of `src`, broadcast and converted. Raises RuntimeError where it does not broadcast so."""
    self.check_inplace()
    if non_blocking is not False:
        flag(non_blocking, "copy_", "non_blocking")
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}")
    must_not_overlap(self, (src,))
    mine = self.node.spec
    node = moved(src.node, mine.device)
    shape = mine.shape if node.shape == mine.shape else broadcast_shapes(mine.shape, node.shape)
    if shape != mine.shape:
        raise RuntimeError(f"output with shape {list(mine.shape)} doesn't match the broadcast shape {list(shape)}")
    node = g.expand(g.cast(node, mine.dtype), mine.shape)
    return self.overwrite(g.identity(node) if node is src.node else node, "CopyBackwards")


def uniform_(self: Tensor, low: float = 0.0, high: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with uniform random numbers in [low, high). Raises RuntimeError for bounds that are none."""
    self.check_inplace()
    return self.overwrite(uniform(low, high, self.node, generator), "UniformBackward0")


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal random numbers. Raises RuntimeError for a negative deviation."""
    self.check_inplace()
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    z = randn(self.shape, dtype=self.dtype, device=self.device, generator=generator)
    return self.overwrite((z * std + mean).node, "NormalBackward0")


def bernoulli_(self: Tensor, p: float | Tensor = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 with probability p, a number or a tensor that broadcasts (and is looked at), else 0. Raises
    RuntimeError for a probability that is not between 0 and 1."""
    self.check_inplace()
    return self.overwrite(bernoulli_of(p, self.node, generator), "BernoulliBackward1")
