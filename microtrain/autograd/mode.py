"""Turning the tape off and on: context managers and decorators, for each thread."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from ..graph.tape import grad_mode

F = TypeVar("F", bound=Callable[..., Any])


class _Mode:
    """A block, or a decorated function, in which recording is `enabled` or not."""

    __slots__ = ("before",)
    before: bool
    enabled = False

    def __new__(cls, function: Any = None) -> Any:
        self = object.__new__(cls)
        if function is None:
            return self
        if not callable(function):
            raise TypeError(f"{cls.__name__}(): argument 'function' must be callable, not {type(function).__name__}")
        return self(function)                                   # @no_grad, without parentheses, decorates

    def __enter__(self) -> None:
        self.before = grad_mode.enabled
        grad_mode.enabled = self.enabled

    def __exit__(self, *error: object) -> None:
        grad_mode.enabled = self.before

    def __call__(self, function: F) -> F:
        enabled = self.enabled

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            before, grad_mode.enabled = grad_mode.enabled, enabled
            try:
                return function(*args, **kwargs)
            finally:
                grad_mode.enabled = before
        return wrapped                              # type: ignore[return-value]


class no_grad(_Mode):
    """Operations inside are not recorded on the tape."""

    __slots__ = ()


class enable_grad(_Mode):
    """Operations inside are recorded, also within `no_grad`."""

    __slots__ = ()
    enabled = True


class inference_mode(no_grad):
    """As `no_grad`."""

    __slots__ = ()


class set_grad_enabled(_Mode):
    """Recording as `mode` says, at once; used as a context manager it is undone at the block's end."""

    __slots__ = ("enabled",)

    def __new__(cls, mode: bool) -> Any:
        self = object.__new__(cls)
        if not isinstance(mode, bool):
            raise TypeError("set_grad_enabled(): argument 'enabled' (position 1) must be bool, not "
                            f"{type(mode).__name__}")
        self.enabled = mode
        self.before = grad_mode.enabled
        grad_mode.enabled = self.enabled
        return self

    def __enter__(self) -> None:
        grad_mode.enabled = self.enabled

    def __call__(self, function: F) -> F:
        grad_mode.enabled = self.before             # as a decorator it changes nothing until the function is called
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Whether operations are recorded on the tape now."""
    return grad_mode.enabled
