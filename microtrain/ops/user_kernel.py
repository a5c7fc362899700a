"""A user's own kernel in the graph: a node that reads whole arrays in memory and writes whole arrays.

The first output is the node of the call itself; each further one is a node that names the call and its own number.
Nothing is known of what happens inside, so nothing fuses with it, and its derivative is not a rule of the table but the
user's (see `tensor.custom`).
"""

from __future__ import annotations

from typing import Any

from ..graph.dtypes import OBJECTS, DType
from ..graph.node import Kind, Node, Primitive, record
from ..graph.spec import Shape


class KernelCall:
    """How one kernel is called on inputs of given shapes and dtypes.

    `kernel` is a `@triton.jit` function; it is handed the inputs' pointers, the outputs' pointers, `scalars` in order,
    and `constants` (constexprs) and `options` (num_warps, num_stages) by name.
    """

    __slots__ = ("constants", "grid", "kernel", "name", "options", "outputs", "scalars")

    def __init__(self, name: str, kernel: Any, grid: tuple[int, ...], outputs: tuple[tuple[Shape, DType], ...],
                 scalars: tuple[int | float, ...], constants: dict[str, object], options: dict[str, int]) -> None:
        self.name, self.kernel, self.grid, self.outputs = name, kernel, grid, outputs
        self.scalars, self.constants, self.options = scalars, constants, options


OBJECTS.add(KernelCall)
CALL = Primitive("custom_kernel", Kind.USER_KERNEL, lambda *arguments: arguments[-1].outputs[0], differentiable=False)
OUTPUT = Primitive("output", Kind.USER_KERNEL, lambda first, call, number: call.outputs[number], differentiable=False)


def record_call(call: KernelCall, inputs: tuple[Node, ...]) -> list[Node]:
    """Record a call; one node for each output."""
    first = record(CALL, inputs, (call,))
    return [first, *[output(first, number) for number in range(1, len(call.outputs))]]


def output(first: Node, number: int) -> Node:
    """Output `number` (1 or more) of the call that `first` is."""
    return record(OUTPUT, (first,), (first.attrs[0], number))
