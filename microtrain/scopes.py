"""Blocks that decorate as well: what a function's code does is inside, also where it is suspended and goes on later.

A generator, a coroutine or an asynchronous generator is made long before its code runs, and gives way to other code
whenever it yields or waits. So each of its steps is run in the block, and nothing between them is.
"""

from __future__ import annotations

import functools
import types
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

Block = AbstractContextManager[Any]


def finish(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function that makes a change of several parts, to its end: where an interrupt comes in between (or one
    part fails), the others are made before it is raised. function: called again, it makes what is not made yet."""
    try:
        function(*arguments)
    except BaseException:
        function(*arguments)
        raise


def decorated(function: Callable[..., Any], block: Callable[[], Block]) -> Callable[..., Any]:
    """The function, generator function, coroutine function or asynchronous generator function in a block. Each call
    makes a block of its own, which is entered anew for each step of a generator."""
    import inspect  # where something is decorated, not where the package is imported
    if inspect.isasyncgenfunction(function):
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return _asynchronous(function(*args, **kwargs), block())
    elif inspect.iscoroutinefunction(function):
        @functools.wraps(function)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            return await _awaited(function(*args, **kwargs), block())
    elif inspect.isgeneratorfunction(function):
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return (yield from _steps(function(*args, **kwargs), block()))
    else:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with block():
                return function(*args, **kwargs)
    return wrapped


def _steps(made: Any, block: Block) -> Generator[Any, Any, Any]:
    """Run a generator, or what can be awaited, each of its steps inside a block."""
    step, value = made.send, None
    while True:
        try:
            with block:
                given = step(value)
        except StopIteration as end:
            return end.value
        try:
            step, value = made.send, (yield given)
        except GeneratorExit:
            with block:
                made.close()
            raise
        except BaseException as error:
            step, value = made.throw, error


_awaited = types.coroutine(_steps)


async def _asynchronous(made: AsyncGenerator[Any, Any], block: Block) -> AsyncGenerator[Any, Any]:
    """Run an asynchronous generator, each of its steps inside a block."""
    step: Any = made.asend
    value: Any = None
    while True:
        try:
            given = await _awaited(step(value), block)
        except StopAsyncIteration:
            return
        try:
            step, value = made.asend, (yield given)
        except GeneratorExit:
            await _awaited(made.aclose(), block)
            raise
        except BaseException as error:
            step, value = made.athrow, error
