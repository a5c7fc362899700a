"""Triton's interpreter, told not to do again what it has done: kernels take two thirds of the time."""

from __future__ import annotations

import inspect
from functools import cache, wraps
from typing import Any


def patch_once() -> None:
    """Have what is to be patched in the language looked up once, and patched once in each launch of a kernel: Triton
    looks through all of it at each call of a function in the kernel too, and finds nothing left."""
    import triton.language as tl
    from triton.runtime import interpreter
    patch, launch = interpreter._patch_lang, interpreter.GridExecutor.__call__
    done: set[tuple[bool, ...]] = set()

    @cache
    def builtins(package: Any) -> list[tuple[str, Any]]:
        return [(name, member) for name, member in inspect.getmembers(package) if tl.core.is_builtin(member)]

    def patch_builtins(package: Any, builder: Any, scope: Any) -> None:
        for name, member in builtins(package):
            interpreter._patch_attr(package, name, member, builder, scope)

    def patched(function: Any) -> Any:
        seen = tuple(any(value is language for value in function.__globals__.values()) for language in (tl, tl.core))
        if seen in done:
            return interpreter._LangPatchScope()
        done.add(seen)
        return patch(function)

    @wraps(launch)
    def launched(self: Any, *arguments: Any, **named: Any) -> Any:
        done.clear()
        try:
            return launch(self, *arguments, **named)
        finally:
            done.clear()                # the language is as it was before

    interpreter._patch_builtin, interpreter._patch_lang = patch_builtins, patched
    interpreter.GridExecutor.__call__ = launched
