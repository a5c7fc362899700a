"""What must not be changed in place, and why, in PyTorch's words."""

from __future__ import annotations

from collections.abc import Iterable

from ..engine.run import realize
from ..graph.node import Node, buffer_signature, next_seq
from ..graph.tape import Recorded, grad_mode
from .strides import dense
from .types import Tensor

NO_GRAD = ("Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by "
           "moving both the view and the inplace either both inside the no_grad block (if you don't want the inplace "
           "to be tracked) or both outside (if you want the inplace to be tracked).")
ONE_OF_SEVERAL = ("This view is the output of a function that returns multiple views. Such functions do not allow the "
                  "output views to be modified inplace. You should replace the inplace operation by an out-of-place "
                  "one.")
FROM_FUNCTION = ("This view was created inside a custom Function (or because an input was returned as-is) and the "
                 "autograd logic to handle view+inplace would override the custom backward associated with the "
                 "custom Function, leading to incorrect gradients. This behavior is forbidden. You can fix this by "
                 "cloning the output of the custom Function.")

OVERLAP = ("unsupported operation: some elements of the input tensor and the written-to tensor refer to a single "
           "memory location. Please clone() the tensor before performing the operation.")

INDIRECTLY = "its base or another view of its base has been"
ITSELF = "is being"


def must_not_overlap(written: Tensor, others: Iterable[object]) -> None:
    """Raise RuntimeError, as PyTorch, where an operand has a part of the memory of the tensor that is written to. Where
    both are dense, that is: others it does not look at. The same elements in the same order are no part."""
    mine = written._alias
    if mine is None:
        return
    for other in others:
        if not isinstance(other, Tensor):
            continue
        its = other._alias
        if its is None or its is mine or not mine.family.is_with(its.family):
            continue
        a, b = written.node.spec, other.node.spec
        if dense(a.shape, mine.strides) and dense(b.shape, its.strides):
            start, end = max(mine.offset, its.offset), min(mine.offset + a.numel, its.offset + b.numel)
            if start < end and (mine.offset, a.numel, mine.strides) != (its.offset, b.numel, its.strides):
                raise RuntimeError(OVERLAP)


ERROR = vars(Recorded)["tape"]


class Refused(Node):
    """What such a view holds after its base was changed: the new value, which can be read and computed with off the
    tape. An operation that would be recorded raises, as do `grad_fn` and `is_leaf`, these without grad mode as well."""

    __slots__ = ()

    def __init__(self, value: Node, error: RuntimeError) -> None:
        ERROR.__set__(self, error)              # where another node's place on the tape is
        self.buffer, self.spec = realize(value), value.spec
        self.signature, self.sources, self.seq, self.version = buffer_signature(value.spec), (), next_seq(), None
        self.holders, value.shared, self.shared = 0, True, True

    @property
    def tape(self) -> None:                                 # type: ignore[override]
        if grad_mode.enabled:
            raise self.refusal()

    def refusal(self) -> RuntimeError:
        """Why it has no place on the tape."""
        return RuntimeError(*ERROR.__get__(self).args)
