"""The context of a user's function: what its forward says of inputs and outputs, and keeps for its backward."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..graph import ops as g
from .checks import is_tensor, type_of
from .saved import AGAIN, Saved

if TYPE_CHECKING:
    from .function import FunctionEntry


class FunctionCtx:
    """What a function's forward keeps for its backward: tensors through `save_for_backward`, anything else as an
    attribute. `needs_input_grad` has a bool for each argument."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._given: tuple[Any, ...] = ()               # to `save_for_backward`, until forward is over
        self._saved: tuple[Saved | None, ...] = ()
        self._released = False
        self._entry: Callable[[], Any] = lambda: None
        self._fixed: tuple[Any, ...] = ()
        self._dirty: tuple[Any, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or None) for the backward; read them there as `ctx.saved_tensors`. The last call counts."""
        self._given = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Of no use here: there is no forward-mode differentiation."""

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` kept. Raises RuntimeError after the graph was freed, or for a value that was
        changed in place since."""
        if self._released:
            raise RuntimeError(AGAIN)
        return tuple([None if saved is None else self._restored(saved) for saved in self._saved])

    def _restored(self, saved: Saved) -> Any:
        entry = self._entry()
        found = saved.given(entry.name)
        if found is not None and saved.output is None:
            return found
        node = saved.node
        if saved.output is not None:            # on the tape anew: to keep the recorded one would be a cycle
            node = g.identity(node)
            node.tape = entry.output(saved.output)
        return entry.tensor.from_node(node)

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Outputs that take no gradient."""
        self._fixed = _tensors(tensors, "mark_non_differentiable only accepts variable arguments, but got {}")

    def mark_dirty(self, *tensors: Any) -> None:
        """Inputs that forward changes in place; each must be an output too."""
        self._dirty = _tensors(tensors, "mark_dirty can only accept variables, but argument {}")

    def set_materialize_grads(self, value: bool) -> None:
        """Whether a missing cotangent arrives as zeros (the default) or as None."""
        if not isinstance(value, bool):
            raise TypeError(f"set_materialize_grads received an invalid combination of arguments - got {value!r} of "
                            f"type {type_of(value)}, but expected (bool)")
        self._materialize = value

    def _keep(self, outputs: Sequence[Any], wrapped: Sequence[Any], entry: FunctionEntry) -> None:
        """Note what was saved, once forward is over. Raises TypeError for what is no tensor."""
        self._entry = weakref.ref(entry)
        numbers = {id(value): i for i, value in enumerate(outputs) if is_tensor(value)}
        for i, value in enumerate(self._given):
            if value is not None and not is_tensor(value):
                raise TypeError(f"save_for_backward can only save variables, but argument {i} is of type "
                                f"{type_of(value)}; keep it as an attribute of ctx")
        kept: list[Saved | None] = []
        for value in self._given:
            number = None if value is None else numbers.get(id(value))
            if number is not None and (out := wrapped[number]).node.tape is not None:
                cell = out.place().family.cell
                kept.append(Saved(entry.values.get(number, value.node), value, number, (cell, cell.version)))
            else:
                kept.append(None if value is None else Saved(value.node, value))
        self._saved = tuple(kept)
        self._given = self._dirty = self._fixed = ()    # outputs are among them: to keep one would be a cycle


def _tensors(values: tuple[Any, ...], refusal: str) -> tuple[Any, ...]:
    for i, value in enumerate(values):
        if not is_tensor(value):
            raise RuntimeError(refusal.format(f"{i} is of type {type_of(value)}"))
    return values
