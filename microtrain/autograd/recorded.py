"""A user's function on the tape: its context, which keeps what its backward needs, its entry, and its outputs'."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from heapq import heappush
from typing import Any

from .. import ops as g
from ..engine.handle import TensorLike, is_tensor, type_of
from ..graph.node import Node, next_seq
from ..graph.spec import Spec
from ..graph.tape import Hooks, Recorded, Tape, nobody
from .checks import gradient
from .saved import AGAIN, Saved


class FunctionCtx:
    """What a function's forward keeps for its backward: tensors through `save_for_backward`, anything else as an
    attribute. `needs_input_grad` has a bool for each argument."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._given: tuple[object, ...] = ()               # to `save_for_backward`, until forward is over
        self._saved: tuple[Saved | None, ...] = ()
        self._released = False
        self._entry: Callable[[], Any] = nobody
        self._fixed: tuple[TensorLike, ...] = ()
        self._dirty: tuple[TensorLike, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: object) -> None:
        """Keep tensors (or None) for the backward; read them there as `ctx.saved_tensors`. The last call counts."""
        self._given = tensors

    def save_for_forward(self, *tensors: object) -> None:
        """Of no use here: there is no forward-mode differentiation."""

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` kept. Raises RuntimeError after the graph was freed, or for a value that was
        changed in place since."""
        if self._released:
            raise RuntimeError(AGAIN)
        return tuple([None if saved is None else self._restored(saved) for saved in self._saved])

    def _restored(self, saved: Saved) -> object:
        entry = self._entry()
        found = saved.given(entry.name)
        if found is not None and saved.output is None:
            return found
        node = saved.node
        if saved.output is not None:            # on the tape anew: to keep the recorded one would be a cycle
            node = g.identity(node)
            node.tape = entry.output(saved.output)
        return entry.tensor.from_node(node)

    def mark_non_differentiable(self, *tensors: object) -> None:
        """Outputs that take no gradient."""
        self._fixed = _tensors(tensors, "mark_non_differentiable only accepts variable arguments, but got {}")

    def mark_dirty(self, *tensors: object) -> None:
        """Inputs that forward changes in place; each must be an output too."""
        self._dirty = _tensors(tensors, "mark_dirty can only accept variables, but argument {}")

    def set_materialize_grads(self, value: bool) -> None:
        """Whether a missing cotangent arrives as zeros (the default) or as None."""
        if not isinstance(value, bool):
            raise TypeError(f"set_materialize_grads received an invalid combination of arguments - got {value!r} of "
                            f"type {type_of(value)}, but expected (bool)")
        self._materialize = value

    def _keep(self, outputs: Sequence[object], wrapped: Sequence[object], entry: FunctionEntry) -> None:
        """Note what was saved, once forward is over. Raises TypeError for what is no tensor."""
        self._entry = weakref.ref(entry)
        numbers = {id(value): i for i, value in enumerate(outputs) if is_tensor(value)}
        for i, value in enumerate(self._given):         # before any is kept
            if value is not None and not is_tensor(value):
                raise TypeError(f"save_for_backward can only save variables, but argument {i} is of type "
                                f"{type_of(value)}; keep it as an attribute of ctx")
        kept: list[Saved | None] = []
        for value in self._given:
            number = numbers.get(id(value))
            out = None if number is None else wrapped[number]
            if not is_tensor(value):
                kept.append(None)
            elif number is not None and is_tensor(out) and out.node.tape is not None:
                cell = out.place().family.cell
                kept.append(Saved(entry.values.get(number, value.node), value, number, (cell, cell.version)))
            else:
                kept.append(Saved(value.node, value))
        self._saved = tuple(kept)
        self._given = self._dirty = self._fixed = ()    # outputs are among them: to keep one would be a cycle


def _tensors(values: tuple[object, ...], refusal: str) -> tuple[TensorLike, ...]:
    found = []
    for i, value in enumerate(values):
        if not is_tensor(value):
            raise RuntimeError(refusal.format(f"{i} is of type {type_of(value)}"))
        found.append(value)
    return tuple(found)


class Apart(Tape):
    """What is on the tape and not an operation of the table. Each class sets what is here itself: a call costs time."""

    __slots__ = ("__weakref__", "bare", "edges", "hooks", "seq")
    saves_out = False
    edges: Sequence[Recorded | Tape | None]
    hooks: Hooks | None


class FunctionEntry(Apart):
    """A user's function on the tape, which is its outputs' grad_fn. The outputs' own entries are `FunctionOutput`s,
    which hand their cotangents to it."""

    __slots__ = ("context", "function", "inputs", "made", "outputs", "pull", "tensor", "values")

    def __init__(self, function: type, pull: Callable[[], Callable[..., object]], context: FunctionCtx,
                 inputs: list[Node | None], tensor: type[TensorLike]) -> None:
        self.edges = [n if n is None or (n.tape is not None and n.tape.saves_out) else n.tape for n in inputs]
        self.bare, self.hooks, self.seq = False, None, next_seq()
        self.function, self.pull, self.context, self.tensor = function, pull, context, tensor
        self.inputs = [None if n is None else n.spec for n in inputs]
        self.outputs: list[Spec | None] = []
        self.values: dict[int, Node] = {}               # of outputs changed in place, until forward is over
        self.made: dict[int, weakref.ref[FunctionOutput]] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "context":                           # half-made
            raise AttributeError(name)
        return getattr(self.context, name)              # ctx is the grad_fn, in PyTorch

    def output(self, index: int) -> FunctionOutput:
        """The entry of one output: the same one for as long as anything has it."""
        known = self.made.get(index)
        found = None if known is None else known()
        if found is None:
            found = FunctionOutput(self, index)
            self.made[index] = weakref.ref(found)
        return found

    def apply(self, cotangents: dict[int, Node]) -> Iterator[tuple[int, Recorded | Tape, Node | None]]:
        """Call the user's backward; yields each edge that needs a gradient, after its number, with its cotangent or,
        where the backward gave none, None. Raises RuntimeError for the wrong number of gradients, and as `gradient`."""
        wrap, zeros, name = self.tensor.from_node, self.context._materialize, self.name
        arguments = [wrap(cotangents[i]) if i in cotangents else None if spec is None or not zeros else
                     wrap(g.zeros_like(spec)) for i, spec in enumerate(self.outputs)]
        given = self.pull()(self.context, *arguments)
        results = given if isinstance(given, tuple) else (given,)
        while len(results) > len(self.edges) and results[-1] is None:
            results = results[:-1]
        if len(results) != len(self.edges):
            raise RuntimeError(f"function {name} returned an incorrect number of gradients "
                               f"(expected {len(self.edges)}, got {len(results)})")
        for i, (edge, spec, result) in enumerate(zip(self.edges, self.inputs, results, strict=True)):
            if spec is None:
                if result is not None:
                    raise RuntimeError(f"function {name} returned a gradient different than None at position {i + 1}, "
                                       "but the corresponding forward input was not a Variable")
            elif edge is not None:
                yield i, edge, None if result is None else gradient(name, i, result, spec)

    def release(self) -> None:
        """Let go of what was saved."""
        context = self.context
        for saved in context._saved:
            if saved is not None:
                saved.release()
        context._released, context._saved = True, ()

    def __repr__(self) -> str:
        return f"<torch.autograd.function.{self.name} object at {id(self):#x}>"


@functools.cache
def named_entry(name: str) -> type[FunctionEntry]:
    """The class of the entries of functions of one name."""
    return type(f"{name}Backward", (FunctionEntry,), {"__slots__": (), "__module__": __name__})


class FunctionOutput(Apart):
    """One output of a user's function on the tape."""

    __slots__ = ("index", "parent")

    def __init__(self, parent: FunctionEntry, index: int) -> None:
        self.parent, self.index, self.edges = parent, index, [parent]
        self.bare, self.hooks, self.seq = False, None, next_seq()

    @property
    def name(self) -> str:
        return self.parent.name

    @property
    def place(self) -> tuple[Tape | None, int]:
        return self.parent, self.index

    def hand_over(self, ct: Node | None, cts: dict[Tape, Any], heap: list[tuple[int, Tape]]) -> None:
        """Give this output's cotangent to the function, which is visited after all its outputs."""
        parent = self.parent
        if parent not in cts:
            cts[parent] = {}
            heappush(heap, (-parent.seq, parent))
        if ct is not None:
            arrived = cts[parent]
            arrived[self.index] = g.add(arrived[self.index], ct) if self.index in arrived else ct


class Refusal(Apart):
    """An entry that no backward may come to, and why."""

    __slots__ = ("message",)
    name = "Error"

    def __init__(self, message: str, edges: Sequence[Node | Tape | None] = ()) -> None:
        self.message, self.edges = message, edges
        self.bare, self.hooks, self.seq = False, None, next_seq()
