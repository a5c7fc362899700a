"""A user's own operation: `autograd.Function` with `forward` and `backward`, as PyTorch has it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from heapq import heappush
from typing import Any

from ..graph import ops as g
from ..graph.node import Node, next_seq
from ..graph.tape import Hooks, Tape, grad_mode


class FunctionContext:
    """What a function's forward keeps for its backward."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._saved: tuple[Any, ...] = ()
        self._versions: list[int | None] = []
        self._outputs: dict[int, int] = {}              # place among the saved -> number of the output that it is
        self._entry: Any = None
        self._released = False
        self.non_differentiable: tuple[Any, ...] = ()
        self.materialize_grads = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or None) for the backward; read them there as `ctx.saved_tensors`."""
        self._saved = tensors
        self._versions = [None if t is None else t._version for t in tensors]

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` kept. Raises RuntimeError after the graph was freed."""
        if self._released:
            from .walk import AGAIN
            raise RuntimeError(AGAIN)
        for tensor, version in zip(self._saved, self._versions, strict=True):
            if tensor is not None and tensor._version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"a tensor of shape {list(tensor.shape)} that was saved for backward is at version "
                    f"{tensor._version}; expected version {version} instead.")
        return tuple(self._output(t, self._outputs[i]) if i in self._outputs else t for i, t in enumerate(self._saved))

    def _output(self, value: Any, index: int) -> Any:
        """A saved output, put on the tape anew: keeping the recorded one would be a cycle of references."""
        node = g.identity(value.node)
        node.tape = self._entry().output(index)
        return value.from_node(node)

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Outputs that take no gradient."""
        self.non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether a missing cotangent arrives as zeros (the default) or as None."""
        self.materialize_grads = value


class FunctionEntry(Tape):
    """A user's function on the tape. Its outputs are `FunctionOutput`s, which hand their cotangents to it."""

    __slots__ = ("__weakref__", "bare", "context", "edges", "function", "inputs", "outputs", "seq", "tensor")
    saves_out = False

    def __init__(self, function: type[Function], context: FunctionContext, inputs: list[Node | None],
                 tensor: Any) -> None:
        self.function, self.context, self.tensor = function, context, tensor
        self.edges = [None if n is None else n if n.tape is not None and n.tape.saves_out else n.tape for n in inputs]
        self.inputs = [None if n is None else n.spec for n in inputs]
        self.outputs: list[Any] = []
        self.bare = False
        self.seq = next_seq()

    @property
    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def output(self, index: int) -> FunctionOutput:
        """The tape entry of one output; its class goes by the function's name, as in PyTorch."""
        return type(self.name, (FunctionOutput,), {"__slots__": ()})(self, index)

    def apply(self, cotangents: dict[int, Node], create_graph: bool) -> Iterator[tuple[Any, Node]]:
        """Call the user's backward; yields each edge that needs a gradient with its cotangent.

        Raises RuntimeError when the backward returns the wrong number of gradients or a wrong shape.
        """
        wrap = self.tensor.from_node
        zeros = self.context.materialize_grads
        arguments = [wrap(cotangents[i]) if i in cotangents else
                     wrap(g.zeros_like(spec)) if zeros and spec.dtype.is_floating_point else None
                     for i, spec in enumerate(self.outputs)]
        results = self.function.backward(self.context, *arguments)
        results = results if isinstance(results, tuple) else (results,)
        while len(results) > len(self.edges) and results[-1] is None:
            results = results[:-1]
        if len(results) != len(self.edges):
            raise RuntimeError(f"function {self.name} returned an incorrect number of gradients "
                               f"(expected {len(self.edges)}, got {len(results)})")
        for i, (edge, spec, result) in enumerate(zip(self.edges, self.inputs, results, strict=True)):
            if edge is None or result is None:
                continue
            assert spec is not None
            node = result.node
            if node.shape != spec.shape:
                if len(node.shape) < len(spec.shape):
                    raise RuntimeError(f"Function {self.name} returned an invalid gradient at index {i} - got "
                                       f"{list(node.shape)} but expected shape compatible with {list(spec.shape)}")
                node = g.sum_to(node, spec.shape)
            yield edge, g.cast(node, spec.dtype)

    def release(self) -> None:
        """Let go of what was saved."""
        self.context._released = True
        self.context._saved = ()


class FunctionOutput(Tape):
    """One output of a user's function on the tape."""

    __slots__ = ("__weakref__", "bare", "edges", "hooks", "index", "parent", "seq")
    saves_out = False

    def __init__(self, parent: FunctionEntry, index: int) -> None:
        self.hooks: Hooks | None = None
        self.parent, self.index, self.edges = parent, index, [parent]
        self.bare = False
        self.seq = next_seq()

    @property
    def name(self) -> str:
        return self.parent.name

    def hand_over(self, ct: Node, cts: dict[Any, Any], heap: list[tuple[int, Any]]) -> None:
        """Give this output's cotangent to the function, which is visited after all its outputs."""
        parent = self.parent
        if parent not in cts:
            cts[parent] = {}
            heappush(heap, (-parent.seq, parent))
        cts[parent][self.index] = ct

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        return tuple((e.tape if isinstance(e, Node) else e, 0) for e in self.parent.edges)

    def __repr__(self) -> str:
        return f"<torch.autograd.function.{self.name} object at {id(self):#x}>"


class Function:
    """Base of a user's operation: static `forward(ctx, *inputs)` and `backward(ctx, *cotangents)`; call `apply`.

    `backward` returns one gradient (or None) for each input of `forward`. Written in Tensor operations it can itself be
    differentiated.
    """

    @staticmethod
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError("You must implement the backward function for your custom autograd.Function "
                                  "to use it with backward mode AD.")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward`, recording the function on the tape when an input requires grad."""
        tensor = next((type(a) for a in args if hasattr(type(a), "from_node")), None)
        if tensor is None:
            raise TypeError(f"{cls.__name__}.apply() needs at least one Tensor argument")
        nodes = [a.node if hasattr(type(a), "from_node") else None for a in args]
        recording = grad_mode.enabled and any(n is not None and n.tape is not None for n in nodes)
        context = FunctionContext(tuple(n is not None and n.tape is not None for n in nodes))
        before, grad_mode.enabled = grad_mode.enabled, False
        try:
            result = cls.forward(context, *args)
        finally:
            grad_mode.enabled = before
        if not recording:
            return result
        entry = FunctionEntry(cls, context, nodes, tensor)
        results = result if isinstance(result, tuple) else (result,)
        fixed = {id(t) for t in context.non_differentiable}
        wrapped = []
        for i, value in enumerate(results):
            if not hasattr(type(value), "from_node"):
                raise TypeError(f"expected Tensor or tuple of Tensor (got {type(value).__name__}) for return value {i}")
            entry.outputs.append(value.node.spec)
            if id(value) in fixed or not value.node.dtype.is_floating_point:
                wrapped.append(value)
                continue
            node = g.identity(value.node)
            node.tape = entry.output(i)
            wrapped.append(tensor.from_node(node))
        numbers = {id(value): i for i, value in enumerate(results) if id(value) not in fixed}
        context._outputs = {i: numbers[id(t)] for i, t in enumerate(context._saved) if id(t) in numbers}
        context._entry = weakref.ref(entry)
        return tuple(wrapped) if isinstance(result, tuple) else wrapped[0]
