"""`Tensor` as annotations and `isinstance` name it, below all that makes or takes tensors.

At run time this is the class from which that of every tensor is derived. A type checker reads `types.pyi`, where
the name is the whole class, with the methods that `tensor_class` binds to it.
"""

from ..graph.node import Node


class Root:
    """What holds a node."""

    __slots__ = ("__dict__", "__weakref__", "node")

    node: Node


Tensor = Root
