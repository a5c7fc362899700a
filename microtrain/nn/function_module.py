"""Modules made of functions, which `nn.functional` has too: each without weights is a row that names its function.

What of the function's arguments is no tensor that it needs is an option of the module: an argument of its constructor,
kept as an attribute (as a buffer where it is a tensor), handed on in each call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ..arguments import guarded
from ..tensor import empty
from .module import Module
from .parameter import Parameter, registered

LOOKING = frozenset(("binary_cross_entropy_with_logits", "cross_entropy", "linear", "log_softmax", "mse_loss", "relu",
                     "sigmoid", "softmax", "tanh"))
"""Functions that look at their arguments themselves, as most steps of a training call them."""


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as `nn.functional` has it: guarded, or looking at its arguments itself."""
    if function.__name__ in LOOKING:
        return function
    made: Callable[..., Any] = guarded(function)
    made.__module__ = f"{__package__}.functional"       # where pickle finds it
    return made


class FunctionModule(Module):
    """Base of the rows: applies the `function` of its class to what it is called with and to its options.

    A row without a docstring has its function's. `__post_init__`, where there is one, looks at the options.

    Args:
        function: with the tensors that it needs first.
        options: their names, where not all that the function has, or in another order.
        shown: those that the repr tells, "*" for all; by default as the base.
    """

    _options: ClassVar[tuple[str, ...]] = ()
    _shown: ClassVar[str] = ""
    _called_with: ClassVar[int | None] = None       # so many of the tensors that the function needs; all, if None

    if TYPE_CHECKING:
        def __init__(self, *options: Any, **named: Any) -> None: ...

    def __init_subclass__(cls, function: Callable[..., Any] | None = None, options: str = "*",
                          shown: str | None = None) -> None:
        super().__init_subclass__()
        cls._shown = cls._shown if shown is None else shown
        if function is not None:
            cls.__doc__ = cls.__doc__ or f"`functional.{function.__name__}` as a module.\n\n    {function.__doc__}"
            cls._options = _written(cls, function, options)

    def extra_repr(self) -> str:
        names = self._options if self._shown == "*" else self._shown.split()
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def _written(cls: type[FunctionModule], function: Callable[..., Any], names: str) -> tuple[str, ...]:
    """Give a row its constructor and `forward`, written out: they cost what those written by hand do. Its options."""
    signature = inspect.signature(function)
    known = signature.parameters
    tensors = [value for value in known.values() if value.annotation == "Tensor" and value.default is value.empty]
    tensors = tensors[: cls._called_with]
    options = [known[name] for name in (list(known)[len(tensors):] if names == "*" else names.split())]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = [value.name for value in tensors]
    for value in options:
        in_place = value.kind is not value.KEYWORD_ONLY and list(known).index(value.name) == len(given)
        given.append(f"self.{value.name}" if in_place else f"{value.name}=self.{value.name}")
    lines = [f"def __init__{inspect.Signature([itself, *options], return_annotation='None')}:",
             "    Module.__init__(self)"]
    lines += [f"    self.register_buffer({value.name!r}, {value.name})" if value.annotation == "Tensor | None" else
              f"    self.{value.name} = {value.name}" for value in options]
    lines += ["    self.__post_init__()"] * hasattr(cls, "__post_init__")
    lines += [f"def forward{signature.replace(parameters=[itself, *tensors])}:",
              f"    return function({', '.join(given)})"]
    made: dict[str, Any] = {"Module": Module, "function": checked(function), "__name__": cls.__module__}
    exec(compile("\n".join(lines), f"<{cls.__name__}>", "exec", dont_inherit=True), made)
    for name in ("__init__", "forward"):
        if name not in vars(cls):
            made[name].__qualname__ = f"{cls.__qualname__}.{name}"
            setattr(cls, name, made[name])
    return tuple(value.name for value in options)


class Layer(FunctionModule):
    """Base of what has a weight, and maybe a bias: its function is called with one tensor, and with its attributes."""

    _called_with = 1
    weight: Parameter = registered()
    bias: Parameter | None = registered()

    def make_parameters(self, device: Any, dtype: Any, **shapes: tuple[int, ...] | None) -> None:
        """Registers parameters of these names and shapes, None where there is none, and gives them their values."""
        for name, shape in shapes.items():
            self.register_parameter(name, None if shape is None else
                                    Parameter.adopt(empty(*shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Gives the parameters the values that they start from."""
        raise NotImplementedError
