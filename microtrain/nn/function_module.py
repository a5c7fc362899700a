"""Layers without weights: a function of `nn.functional` and, as the fields of a dataclass, its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import update_wrapper
from types import FunctionType
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

from ..tensor import Tensor
from .module import Module

C = TypeVar("C", bound=type)


def options(cls: C) -> C:
    """Make a class's annotated names the arguments of its constructor, and attributes of its instances alone."""
    dataclass(eq=False, repr=False, match_args=False)(cls)
    for name in vars(cls)["__dataclass_fields__"]:
        if name in vars(cls):
            delattr(cls, name)      # a parameter of that name is looked for after what the class has
    return cls


@dataclass_transform(eq_default=False, field_specifiers=(field,))
class FunctionModule(Module):
    """Applies the `function` that its class is given to what it is called with, and to its options by their names."""

    _function: ClassVar[Callable[..., Tensor]]
    _options: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, function: Callable[..., Any] | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if function is None:
            return
        cls._function = staticmethod(function)
        cls._options = tuple(vars(options(cls))["__dataclass_fields__"])
        if "forward" not in vars(cls):          # a copy, by whose name Python tells of wrong arguments
            forward: Any = cls.forward
            cls.forward = update_wrapper(FunctionType(forward.__code__, forward.__globals__), forward)  # type: ignore[method-assign]
            cls.forward.__qualname__ = f"{cls.__qualname__}.forward"

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        module = super().__new__(cls)
        Module.__init__(module)         # before the first option is set
        return module

    def _applied(self, *tensors: Tensor) -> Tensor:
        return type(self)._function(*tensors, **{name: getattr(self, name) for name in self._options})
