"""Emitted source made callable for Triton, which compiles a function only if it can read its text.

The text is registered with `linecache` under a name made of its hash; equal functions are one object, so that equal
groups of different programs share one compiled kernel.
"""

from __future__ import annotations

import hashlib
import linecache
from dataclasses import dataclass
from functools import cache

MODULE = "microtrain.emitted"  # The module name that emitted functions carry in Triton's mangled names


@dataclass(frozen=True)
class Function:
    """One emitted device function: its name, which ends in a hash of its text, the text, and the emitted ones that it
    calls by their names."""

    name: str
    source: str
    calls: tuple[Function, ...] = ()


def function(role: str, parameters: str, lines: list[str], calls: tuple[Function, ...] = ()) -> Function:
    """The function of these statements under a name that no other text has: Triton tells functions apart by name."""
    text = f"({parameters}):\n" + "".join(f"    {line}\n" for line in lines or ["pass"])
    name = f"{role}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return Function(name, f"@triton.jit\ndef {name}{text}", calls)


@cache
def names() -> dict[str, object]:
    """What an emitted function may name: Triton, the device functions of `kernels`, and its templates' programs."""
    import triton
    import triton.language

    from ..kernels import bfloat16, loop, map, math, matmul, philox, reduce, reductions, row

    known: dict[str, object] = {"__name__": MODULE, "triton": triton, "tl": triton.language}
    for module in (bfloat16, loop, math, philox, reductions):
        known.update((name, value) for name, value in vars(module).items() if hasattr(value, "fn"))
    for template in (map, matmul, reduce, row):
        known.update((name, value) for name, value in vars(template).items() if name.endswith("_program"))
    return known


@cache
def jitted(function: Function) -> object:
    """The `@triton.jit` function of an emitted source."""
    file = f"<{MODULE} {function.name}>"
    linecache.cache[file] = (len(function.source), None, function.source.splitlines(keepends=True), file)
    scope = names() | {called.name: jitted(called) for called in function.calls}
    exec(compile(function.source, file, "exec"), scope)
    return scope[function.name]
