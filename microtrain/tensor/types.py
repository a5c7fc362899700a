"""`Tensor` and other kinds of arguments, as annotations and `isinstance` name them, below all that takes them.

At run time `Tensor` is the class from which that of every tensor is derived. A type checker reads `types.pyi`, where
the name is the whole class, with the methods that `tensor_class` binds to it.
"""

from collections.abc import Sequence

from ..graph.node import Node


class Root:
    """What holds a node."""

    __slots__ = ("__dict__", "__weakref__", "node")

    node: Node


Tensor = Root
Operand = Root | float
"""A tensor or a number, which goes with one; a function looks for itself."""
Dims = int | Sequence[int] | None
"""An axis, several, or by default all."""
Sizes = int | Sequence[int]
"""Sizes or axes given one by one, or as one sequence."""
