"""Turning the tape off and on: context managers and decorators, for each thread."""

from __future__ import annotations

import _io
import functools
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Self, TypeVar

from ..graph.tape import grad_mode
from ..scopes import decorated

F = TypeVar("F", bound=Callable[..., object])
_SUSPENDED = 0x20 | 0x80 | 0x200        # code flags of generators, coroutines and asynchronous generators


class _Mode(_io._IOBase):
    """A block, or a decorated function, in which recording is `enabled` or not.

    A decorated generator or coroutine runs in the mode; what runs between its steps does not.

    To Python it is a file, for how a block of one ends: in C, which calls `close`, a function of C's too. Where one of
    Python's begins an interrupt may come, so an `__exit__` of ours might never run.
    """

    __slots__ = ()
    close: Any = None           # ends the block: gives back the mode, and what ends a block of the same around it
    closed: bool = True         # nothing is to be done when it goes
    enabled = False

    def __new__(cls, function: object = None) -> Any:
        self = super().__new__(cls)
        if function is None:
            return self
        if not callable(function):
            raise TypeError(f"{cls.__name__}(): argument 'function' must be callable, not {type(function).__name__}")
        return self(function)                                   # @no_grad, without parentheses, decorates

    def __enter__(self) -> None:                # type: ignore[override]
        if self.close is None:
            self.close = partial(setattr, grad_mode, "enabled", grad_mode.enabled)
        else:
            self.close = partial(any, map(setattr, (grad_mode, self), ("enabled", "close"),
                                          (grad_mode.enabled, self.close)))
        grad_mode.enabled = self.enabled

    def __call__(self, function: F) -> F:
        enabled = self.enabled
        if isinstance(function, type):
            warnings.warn("Decorating classes is deprecated and will be disabled in future versions. You should only "
                          "decorate functions or methods. To preserve the current behavior of class decoration, you "
                          "can directly decorate the `__init__` method and nothing else.", FutureWarning, stacklevel=2)
        code = getattr(function, "__code__", None)
        if code is None or code.co_flags & _SUSPENDED:
            return decorated(function, lambda: _Resumed(enabled))       # type: ignore[return-value]

        @functools.wraps(function)
        def wrapped(*args: object, **kwargs: object) -> object:
            before, grad_mode.enabled = grad_mode.enabled, enabled
            try:
                return function(*args, **kwargs)
            finally:
                grad_mode.enabled = before
        return wrapped                              # type: ignore[return-value]


class _Resumed:
    """The mode of a suspended function: entered again, it is as that function left it."""

    __slots__ = ("before", "enabled")

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    def __enter__(self) -> None:
        self.before, grad_mode.enabled = grad_mode.enabled, self.enabled

    def __exit__(self, *error: object) -> None:
        self.enabled, grad_mode.enabled = grad_mode.enabled, self.before


class no_grad(_Mode):
    """Operations inside are not recorded on the tape."""

    __slots__ = ()


class enable_grad(_Mode):
    """Operations inside are recorded, also within `no_grad`."""

    __slots__ = ()
    enabled = True


class set_grad_enabled(_Mode):
    """Recording as `mode` says, at once; used as a context manager it is undone at the block's end."""

    __slots__ = ("enabled",)

    def __new__(cls, mode: bool) -> Self:
        self = super().__new__(cls)
        if not isinstance(mode, bool):
            raise TypeError("set_grad_enabled(): argument 'enabled' (position 1) must be bool, not "
                            f"{type(mode).__name__}")
        self.enabled = mode
        self.close = partial(setattr, grad_mode, "enabled", grad_mode.enabled)
        grad_mode.enabled = self.enabled
        return self

    def __enter__(self) -> None:                # type: ignore[override]
        grad_mode.enabled = self.enabled

    def __call__(self, function: F) -> F:
        self.close()                                # as a decorator it changes nothing until the function is called
        return super().__call__(function)


class inference_mode(_Mode):
    """As `no_grad`; with `mode` False, as `enable_grad`."""

    __slots__ = ("enabled",)

    def __new__(cls, mode: object = True) -> Any:
        self = super().__new__(cls)
        self.enabled = False if callable(mode) else not mode
        return self(mode) if callable(mode) else self


def is_grad_enabled() -> bool:
    """Whether operations are recorded on the tape now."""
    return grad_mode.enabled
