"""Parameter: a leaf tensor that a Module registers when it is assigned as an attribute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ..tensor import Tensor, empty

if TYPE_CHECKING:
    from collections.abc import Callable


class Parameter(Tensor):
    """A tensor to be trained. Shares the memory of `data`; is a leaf whatever made `data`. RuntimeError for an integer
    or bool `data`, unless `requires_grad` is False."""

    __slots__ = ()

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Self:
        if data is not None and not isinstance(data, Tensor):
            raise TypeError(f"Parameter(): argument 'data' (position 1) must be Tensor, not {type(data).__name__}")
        return cls.adopt((empty(0) if data is None else data).detach(), requires_grad)

    @classmethod
    def adopt(cls, leaf: Tensor, requires_grad: bool = True) -> Self:
        """Turns a tensor that nobody else holds into a parameter itself. Unlike `Parameter(leaf)` no second tensor sees
        the memory then, so an update need not look for one."""
        leaf.requires_grad_(requires_grad)
        leaf.__class__ = cls
        return leaf  # type: ignore[return-value]

    def __copy__(self) -> Self:
        """Another parameter of the same memory."""
        return type(self)(self.data, self.requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A parameter in a memory of its own, without the gradient."""
        if id(self) not in memo:
            memo[id(self)] = self.adopt(self.detach().clone(), self.requires_grad)
        return memo[id(self)]

    def __reduce__(self) -> Any:
        make, arguments, *rest = super().__reduce__()
        return (_restored, (type(self), make, arguments), *rest)

    __init__: Callable[..., None] = object.__init__

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Registered:
    """Where a layer's parameter is looked for before `__getattr__`, which Python calls only once it has failed. Says
    nothing of a parameter that is registered no more: what else goes by the name is found as ever."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, module: Any, owner: type) -> Any:
        if module is None:
            return self
        try:
            return module._parameters[self.name]
        except KeyError:
            raise AttributeError(self.name) from None


def registered() -> Any:
    """What a layer's class has under its parameter's name."""
    return Registered()


def _restored(kind: type[Parameter], make: Callable[..., Tensor], arguments: tuple[Any, ...]) -> Parameter:
    leaf = make(*arguments)
    return kind.adopt(leaf, leaf.requires_grad)
