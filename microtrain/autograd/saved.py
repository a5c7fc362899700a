"""What is kept for a derivative, and the errors where it was changed or let go of in the meantime; and how a cotangent
is made to fit its source."""

from __future__ import annotations

import weakref

from .. import ops as g
from ..engine.handle import TensorLike
from ..graph.dtypes import TITLES
from ..graph.node import Node, VersionCell
from ..graph.spec import Spec
from ..graph.tape import OUT, DeadEnd, Entry, tape_of

AGAIN = ("Trying to backward through the graph a second time (or directly access saved tensors after they have already "
         "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
         "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
         "saved tensors after calling backward.")


def check_version(node: Node, version: tuple[VersionCell, int] | None, reader: str) -> None:
    """Raise, in PyTorch's words, when a value that `reader` needs has since been changed in place."""
    if version is not None and version[0].version != version[1]:
        tape = getattr(node, "tape", None)
        made_by = "" if tape is None else f", which is output 0 of {tape.name},"
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"[torch.{TITLES[node.dtype.name]}Tensor {list(node.shape)}]{made_by} is at version "
            f"{version[0].version}; expected version {version[1]} instead. Hint: the operation that needs it is "
            f"{reader}.")


def fitted(ct: Node, want: Spec) -> Node:
    """A cotangent in its source's shape and dtype: broadcasting is undone here, and only here."""
    return g.cast(g.sum_to(ct, want.shape), want.dtype)


def check_versions(entry: Entry, out: Node | None) -> None:
    """Raise, in PyTorch's words, when a value that the rule needs has since been changed in place."""
    pullback = entry.pullback
    for i, node in [*[(i, entry.sources[i]) for i in pullback.kept], *[(OUT, out)] * pullback.saves_out]:
        if isinstance(node, Node) and node.version and node.version[0].version != node.version[1] and i in read(entry):
            check_version(node, node.version, entry.name)


def living(entry: Entry) -> list[tuple[int, Spec]]:
    """The sources of an entry, with their specs, that lead on."""
    return [(i, want) for i, want in entry.pullback.steps if tape_of(entry.edges[i]).__class__ is not DeadEnd]


def read(entry: Entry) -> set[int]:
    """Which values an entry's rule reads for the sources that lead on."""
    rule = entry.pullback.rule
    return {k for i, _ in living(entry) for k in rule.uses[0 if rule.variadic else i]}


class Saved:
    """A tensor that a user's function keeps for its backward. The node is held, and the tensor only known: a function
    must not keep alive what was computed from it. Of an output, number `output`, the node is the value before it was
    put on the tape, and `version` that of the tensor handed out."""

    __slots__ = ("node", "output", "tensor", "version")

    def __init__(self, node: Node, tensor: TensorLike, output: int | None = None,
                 version: tuple[VersionCell, int] | None = None) -> None:
        self.node, self.tensor, self.output, self.version = node, weakref.ref(tensor), output, version
        node.holders += 1

    def release(self) -> None:
        """Keep the value no longer."""
        self.node.holders -= 1

    def given(self, reader: str) -> TensorLike | None:
        """The tensor again, or None where it is gone or holds another value by now. Raises RuntimeError when the value
        was changed in place."""
        check_version(self.node, self.version or self.node.version, reader)
        tensor = self.tensor()
        return tensor if tensor is not None and tensor.node is self.node else None
