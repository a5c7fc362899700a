"""A user's own operation: `autograd.Function` with `forward` and `backward`, as PyTorch has it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .. import ops as g
from ..engine.handle import is_tensor
from ..graph.node import Node
from ..graph.tape import Tape, grad_mode
from .mode import no_grad
from .recorded import FunctionCtx, FunctionEntry, FunctionOutput, Refusal, named_entry

TWICE = "trying to differentiate twice a function that was marked with @once_differentiable"
NO_FORWARD = "You must implement the forward function for custom autograd.Function."
NO_BACKWARD = ("You must implement either the backward or vjp method for your custom autograd.Function to use it with "
               "backward mode AD.")
ONE_OUTPUT = ("If your Function modifies inplace an input that is a view of another Tensor, your Function cannot "
              "return more than one Tensor. This is not supported by the current autograd engine. You should either "
              "make sure the input is not a view (using .clone() for example) or make your Function only return one "
              "Tensor (potentially splitting it into two Functions: one doing the inplace that returns a single Tensor "
              "and a second one that does the other operations).")
LEGACY = ("Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd "
          "function with static forward method: write Function.apply(...), not Function()(...)")


def refused(node: Node, message: str, edges: Sequence[Node | Tape | None] = ()) -> Node:
    """A node of the same value through which nothing can be differentiated."""
    copy = _untaped(node)
    copy.tape = Refusal(message, edges)
    return copy


def _untaped(node: Node) -> Node:
    same = g.identity(node)
    same.tape = None
    return same


class Function:
    """Base of a user's operation: static `forward(ctx, *inputs)` and `backward(ctx, *cotangents)`; call `apply`.

    `backward` returns one gradient (or None) for each input of `forward`. Written in Tensor operations it can itself be
    differentiated. Where `setup_context(ctx, inputs, output)` is given, `forward` takes the inputs alone.
    """

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError(LEGACY)

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The value, from a context and the inputs."""
        raise NotImplementedError(NO_FORWARD)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Keep what the backward needs, where `forward` takes no context."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The inputs' gradients, from the outputs'."""
        raise NotImplementedError(NO_BACKWARD)

    vjp = backward

    @classmethod
    def _pullback(cls) -> Callable[..., object]:
        """The user's backward, under either name."""
        if cls.vjp is Function.vjp:
            return cls.backward
        if cls.backward is not Function.backward:
            raise RuntimeError("Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You "
                               "should only implement one of them.")
        return cls.vjp

    @classmethod
    def apply(cls, *args: object, **kwargs: object) -> Any:
        """Run `forward`, recording the function on the tape when an input requires grad.

        Outputs that are no tensors are passed through. Raises RuntimeError, in PyTorch's words, for inputs changed in
        place that must not be, TypeError for what cannot be saved.
        """
        apart = cls.setup_context is not Function.setup_context
        if apart:
            bound = inspect.signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        inputs = (*args, *kwargs.values())
        nodes = [a.node if is_tensor(a) else None for a in inputs]
        context = FunctionCtx(tuple([n is not None and n.tape is not None for n in nodes]))
        recording = grad_mode.enabled and True in context.needs_input_grad
        before, grad_mode.enabled = grad_mode.enabled, False            # as `no_grad`, in less time
        try:
            if apart:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(context, inputs, result)
            else:
                result = cls.forward(context, *args, **kwargs)
        finally:
            grad_mode.enabled = before
        outputs = result if isinstance(result, tuple) else (result,)
        if not {id(t) for t in context._dirty} <= {id(t) for t in outputs}:
            raise RuntimeError("Some elements marked as dirty during the forward method were not returned as output. "
                               "The inputs that are modified inplace must all be outputs of the Function.")
        entry = None
        if recording:
            tensor = next(type(a) for a in inputs if is_tensor(a))
            entry = named_entry(cls.__name__)(cls, cls._pullback, context, nodes, tensor)
            entry.outputs = [value.node.spec if is_tensor(value) else None for value in outputs]
        wrapped = _wrapped(outputs, inputs, context, entry)
        if entry is not None:
            context._keep(outputs, wrapped, entry)
            entry.values.clear()
        return tuple(wrapped) if isinstance(result, tuple) else wrapped[0]


def _wrapped(outputs: Sequence[object], inputs: tuple[object, ...], context: FunctionCtx,
             entry: FunctionEntry | None) -> list[object]:
    """The outputs as they are returned. A new tensor that is among them twice is one, whose gradient comes to its last
    place; a view among them says that it is a function's."""
    if len(outputs) == 1:
        wrapped = [_output(outputs[0], 0, outputs, inputs, context, entry)]
        several = False
    else:
        last = {id(value): i for i, value in enumerate(outputs) if _is_new(value, inputs, context)}
        places = [last.get(id(value), i) for i, value in enumerate(outputs)]
        made = [_output(value, i, outputs, inputs, context, entry) if i == places[i] else None
                for i, value in enumerate(outputs)]
        wrapped = [made[place] for place in places]
        several = sum(is_tensor(out) and out.node.tape.__class__ is FunctionOutput for out in wrapped) > 1
    for i, out in enumerate(wrapped):
        if is_tensor(out) and out._alias is not None and not any(out is t for t in context._dirty) and out._is_view():
            out.came_from_function(i, several)
    return wrapped


def _is_new(value: object, inputs: tuple[object, ...], context: FunctionCtx) -> bool:
    return any(value is t for t in context._dirty) or not any(value is a for a in inputs)


def _output(value: object, index: int, outputs: Sequence[object], inputs: tuple[object, ...], context: FunctionCtx,
            entry: FunctionEntry | None) -> object:
    """Output number `index`, on the tape where it takes a gradient. One that takes none is off it unless it is a view,
    which requires grad as its base does, and another tensor than an input that was not changed."""
    if not is_tensor(value):
        return value
    if entry is None or not value.node.dtype.is_floating_point or any(value is t for t in context._fixed):
        if not value.requires_grad:
            if any(value is t for t in context._dirty) and any(value is a for a in inputs):
                return value.rebind(_untaped(value.node))            # to mark it is a change that counts
            return value if _is_new(value, inputs, context) else value.returned(_untaped(value.node))
        return value if value._is_view() and not any(value is a for a in inputs) else value.detached()
    node = _untaped(value.node)
    if any(value is t for t in context._dirty) and any(value is a for a in inputs):
        if value.requires_grad and value.is_leaf:
            raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
        if len(outputs) > 1 and value._is_view():
            raise RuntimeError(ONE_OUTPUT)
        value.check_inplace()
        entry.values[index] = _untaped(value.node)
        node.tape = entry.output(index)
        return value.rebind(node)
    node.tape = entry.output(index)
    if any(is_tensor(a) and value.is_seen_with(a) for a in inputs):
        # A view that a change in place, of itself or of its base, would take from this function's backward.
        return value.returned(node)
    if value._alias is not None:                # it shares memory, if not with an input
        entry.values[index] = _untaped(value.node)
        value.hold_instead(node)
        return value
    return entry.tensor.from_node(node)


def once_differentiable(backward: Callable[..., object]) -> Callable[..., object]:
    """Decorates a `backward` that is not written in operations with derivatives: its result is a value alone, and to
    differentiate it once more raises RuntimeError."""
    @functools.wraps(backward)
    def wrapped(ctx: object, *cotangents: object) -> object:
        with no_grad():
            results = backward(ctx, *cotangents)
        edges = [ct.node.tape for ct in cotangents if is_tensor(ct) and ct.node.tape is not None]
        if not grad_mode.enabled or not edges:
            return results
        listed = results if isinstance(results, tuple) else (results,)
        fixed = [r.from_node(refused(r.node, TWICE, edges)) if is_tensor(r) else r for r in listed]
        return tuple(fixed) if isinstance(results, tuple) else fixed[0]
    return wrapped
