from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..graph.node import Node

if TYPE_CHECKING:               # always so here; it tells mypy in which order to read the files of this circle
    from .tensor_class import Tensor as Tensor

class Root:
    node: Node

Operand = Tensor | float
Dims = int | Sequence[int] | None
Sizes = int | Sequence[int]
