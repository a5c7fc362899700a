"""What an activation is: a function that is one node, and the row of its module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..runtime.lock import lock
from ..tensor import Tensor
from ..tensor.operands import floats_only, in_float32, node_of
from ..tensor.storage import wrap
from .function_module import FunctionModule


def single(operation: Callable[..., Any], name: str, accept: Any = floats_only,
           widen: Any = in_float32) -> Callable[..., Tensor]:
    """A function of a tensor and numbers that is one node; `inplace` overwrites the tensor, through its twin."""
    operation = widen(operation)

    def function(input: Tensor, *numbers: float, inplace: bool = False) -> Tensor:
        x = accept(node_of(input, name), name)
        if not inplace:
            return wrap(operation(x, *numbers))
        with lock:
            input.check_inplace()
            return input.assign(operation(input.twin().node, *numbers), name + "_")
    return function


class Activation(FunctionModule, shown="*"):
    """The module of an activation; its repr tells of `inplace` only where it holds."""

    def extra_repr(self) -> str:
        return super().extra_repr().removesuffix("inplace=False").removesuffix(", ")
