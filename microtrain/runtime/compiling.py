"""Compiling a kernel before it is launched: the same for the GPU at hand, which runs it, and for a named one.

Triton's `ASTSource` takes a kernel's arguments as three dictionaries:

- `signature`: name -> type, in the order of the parameters: `"*fp32"` for a pointer, `"i32"`, `"i64"`, `"constexpr"`;
  a tuple parameter has a tuple of them, `"ptrs": ("*fp32", "*fp32")`, and the empty tuple is allowed;
- `constexprs`: name -> value of each `"constexpr"` parameter;
- `attrs`: path -> hints, where a path counts parameters from 0 and then the members of a tuple: that the second member
  of the first parameter is divisible by 16 is `(0, 1): [["tt.divisibility", 16]]`. `divisible_by_16` writes them.
  Without the hint on the pointers *and* on the sizes that bound the mask, accesses are as narrow as one element.

So what is compiled depends on the launch alone, never on the numbers of one call as it does in `kernel[grid](...)`,
which would make a constant of a learning rate of 1 and an even one of 0.5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from types import ModuleType
from typing import Any

from .compile_cache import sealed
from .ptxas import KEY

Signature = Mapping[str, str | tuple[str, ...]]
Attributes = dict[tuple[int, ...], list[list[object]]]

ALIGNMENT = 16
"""Bytes by which the address of every buffer is divisible: what the widest access of a thread needs."""

POINTERS = {"bool": "*i1", "uint8": "*u8", "int8": "*i8", "int16": "*i16", "int32": "*i32", "int64": "*i64",
            "float16": "*fp16", "bfloat16": "*bf16", "float32": "*fp32", "float64": "*fp64"}
"""How Triton's signatures write a pointer to each dtype."""


def divisible_by_16(signature: Signature, names: Iterable[str] = ()) -> Attributes:
    """The hint that every pointer's address, and each integer parameter in `names`, is divisible by 16. Raises
    ValueError for a name that is no parameter."""
    unknown = sorted(set(names) - set(signature))
    if unknown:
        raise ValueError(f"no parameter named {', '.join(unknown)}; the signature has {', '.join(signature)}")
    hint = [["tt.divisibility", ALIGNMENT]]
    attrs: Attributes = {}
    for position, (name, kind) in enumerate(signature.items()):
        if isinstance(kind, tuple):
            attrs.update({(position, k): hint for k, member in enumerate(kind) if member.startswith("*")})
        elif kind.startswith("*") or name in names:
            attrs[(position,)] = hint
    return attrs


def settle(fn: object, within: tuple[object, ...] = ()) -> None:
    """Have Triton hash a `@triton.jit` function after those that it calls, directly or as members of a module. Into its
    key Triton takes the constants that callees name only of those whose own key was asked for before: another process,
    which compiled other things, would not find the kernel."""
    from triton.runtime import JITFunction

    if isinstance(fn, JITFunction) and fn.hash is None and fn not in within:
        names = fn.fn.__code__.co_names
        for named in [fn.__globals__.get(name) for name in names]:
            for callee in [vars(named).get(name) for name in names] if isinstance(named, ModuleType) else [named]:
                settle(callee, (*within, fn))
        _ = fn.cache_key


@cache
def source_class() -> type:
    """The class of what is compiled: Triton's, which is imported only where a kernel is."""
    from triton.compiler import ASTSource

    class Source(ASTSource):
        def hash(self) -> str:
            # Of functions in a tuple Triton takes the names alone, and would find a kernel whose helpers have changed.
            within = [member.cache_key for value in self.constants.values() if isinstance(value, tuple)
                      for member in value if hasattr(member, "cache_key")]
            return hashlib.sha256("-".join([super().hash(), *within, KEY]).encode()).hexdigest()

    return Source


def compile_kernel(fn: object, signature: Signature, constexprs: Mapping[str, object], attrs: Attributes,
                   options: Mapping[str, object], target: object = None) -> Any:
    """Triton's CompiledKernel of a `@triton.jit` function for a GPUTarget, by default the GPU at hand. Raises
    RuntimeError where Triton was loaded for its interpreter, and Triton's own errors."""
    import triton

    if not isinstance(fn, triton.runtime.JITFunction):
        raise RuntimeError("kernels cannot be compiled in this process: they were loaded for Triton's interpreter "
                           "(TRITON_INTERPRET=1, which MICROTRAIN_DEVICE=interpret sets); start a process without it"
                           if triton.knobs.runtime.interpret else f"not a @triton.jit function: {fn!r}")
    for value in (*constexprs.values(), fn):
        for member in value if isinstance(value, tuple) else (value,):
            settle(member)

    source = source_class()(fn, signature=dict(signature), constexprs=dict(constexprs), attrs=attrs)
    with sealed:
        return triton.compile(source, target=target, options=dict(options))
