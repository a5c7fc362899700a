"""What an activation is: a function of `nn.functional` that is one node, and the module that holds its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arguments import guarded
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


class Activation(FunctionModule):
    """A module of one function of a tensor, and what it says of its options: `inplace` only where it holds.

    The function is guarded. Those that look at their arguments themselves, as most steps of a training call them, are
    called by a `forward` of the class's own.
    """

    def __init_subclass__(cls, function: Callable[..., Any] | None = None, **more: Any) -> None:
        super().__init_subclass__(function if function is None else guarded(function, itself=()), **more)

    def forward(self, input: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return self._applied(input)

    def extra_repr(self) -> str:
        settings = [f"{name}={getattr(self, name)!r}" for name in self._options if name != "inplace"]
        return ", ".join([*settings, *["inplace=True"] * getattr(self, "inplace", False)])


def kept(space: dict[str, Any], names: list[str], functions: bool) -> list[str]:
    """Of an activations' module's names, which have come into a namespace, its functions or its classes; out go others.

    What they are called tells them apart: no class has a name of small letters.
    """
    for name in names:
        if name.islower() is not functions:
            del space[name]
    return [name for name in names if name.islower() is functions]
