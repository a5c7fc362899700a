"""Triton kernels such as a user may write, compiled for GPUs that are not there, and launched in the emulator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from microtrain.emulator import Module, Report, launch, parse
from tests.support.ptx_kernels import MEMORY, Buffer

POINTERS = {"float32": "*fp32", "float16": "*fp16", "bfloat16": "*bf16", "float64": "*fp64", "int32": "*i32",
            "int64": "*i64", "int8": "*i8", "float8_e4m3fn": "*fp8e4nv", "float8_e5m2": "*fp8e5", "uint32": "*u32"}


class Compiled(NamedTuple):
    """A kernel's PTX, and what its launch must know."""

    ptx: str
    shared: int
    warps: int
    names: tuple[str, ...]


@cache
def compiled(kernel: Any, types: tuple[str, ...], constants: tuple[tuple[str, Any], ...], target: int, warps: int,
             stages: int) -> Compiled:
    """A kernel for parameters of these types, in order, and constants by name."""
    values = dict(constants)
    names = tuple(name for name in kernel.arg_names if name not in values)
    signature = dict(zip(names, types, strict=True)) | dict.fromkeys(values, "constexpr")
    aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(types) if kind[0] == "*"}
    made = triton.compile(ASTSource(kernel, signature, values, aligned), target=GPUTarget("cuda", target, 32),
                          options={"num_warps": warps, "num_stages": stages})
    return Compiled(made.asm["ptx"], made.metadata.shared, warps, names)


def launched(kernel: Any, arguments: Sequence[Any], grid: int = 1, target: int = 80, warps: int = 4, stages: int = 2,
             edit: Callable[[str], str] | None = None, collect: bool = False, **constants: Any) -> Report:
    """Launch a kernel on buffers and integers; `edit` changes its PTX before."""
    types = tuple(POINTERS[one.array.dtype.name] if isinstance(one, Buffer) else "*fp32" if isinstance(one, Address)
                  else "i32" for one in arguments)
    made = compiled(kernel, types, tuple(constants.items()), target, warps, stages)
    text = made.ptx
    if edit is not None:
        text = edit(made.ptx)
        assert text != made.ptx, "nothing was planted"
    raw = [one.address.to_bytes(8, "little") if isinstance(one, Buffer) else
           one.to_bytes(8, "little") if isinstance(one, Address) else int(one).to_bytes(4, "little", signed=True)
           for one in arguments]
    module = parsed(text)
    entry, = module.entries
    raw += [bytes(8)] * (len(module.functions[entry].parameters) - len(raw))
    return launch(module, entry, (grid,), (32 * warps,), made.shared, raw, MEMORY, dict(enumerate(made.names)),
                  collect=collect)


class Address(int):
    """A pointer as a number."""


@cache
def parsed(text: str) -> Module:
    return parse(text)


def filled(shape: int | tuple[int, ...], name: str, kind: Any = "f4") -> Buffer:
    """A buffer of random numbers."""
    return Buffer(np.random.default_rng(3).standard_normal(shape).astype(kind), name)


def empty(shape: int | tuple[int, ...], name: str, kind: Any = "f4") -> Buffer:
    """A buffer that nobody wrote."""
    return Buffer(np.zeros(shape, kind), name, written=False)


@triton.jit
def double(x, y, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(y + i, tl.load(x + i, mask=i < n, other=0) * 2, mask=i < n)


@triton.jit
def double_unmasked(x, y, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(y + i, tl.load(x + i, mask=i < n, other=0) * 2)


@triton.jit
def double_bare(x, y, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(y + i, tl.load(x + i, mask=i < n) * 2)


@triton.jit
def rows(x, y, stride, out, B: tl.constexpr):
    r, c = tl.program_id(0), tl.arange(0, B)
    tl.store(y + r * out + c, tl.load(x + r * stride + c))


@triton.jit
def far(x, y, stride, B: tl.constexpr):
    i = tl.program_id(0) * stride + tl.arange(0, B)
    tl.store(y + tl.program_id(0) * B + tl.arange(0, B), tl.load(x + i))


@triton.jit
def reverse(x, BARRIER: tl.constexpr, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + B - 1 - i)
    if BARRIER:
        tl.debug_barrier()
    tl.store(x + i, v)


@triton.jit
def through_workspace(x, w, y, step, B: tl.constexpr):
    p, i = tl.program_id(0), tl.arange(0, B)
    tl.store(w + p * step + i, tl.load(x + p * B + i))
    tl.debug_barrier()
    tl.store(y + p * B + i, tl.load(w + p * step + B - 1 - i))


@triton.jit
def softmax(x, y, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    v = tl.load(x + i)
    e = tl.exp(v - tl.max(v, 0))
    tl.store(y + i, e / tl.sum(e, 0))


@triton.jit
def dot(a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, BK: tl.constexpr, TA: tl.constexpr,
        TB: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr):
    i, j = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    acc = tl.zeros((M, N), ACC)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        x = tl.load(a + (k[None, :] * M + i if TA else i * K + k[None, :]))
        y = tl.load(b + (j * K + k[:, None] if TB else k[:, None] * N + j))
        acc = tl.dot(x, y, acc, input_precision=PRECISION, out_dtype=ACC)
    tl.store(c + i * N + j, acc)


@triton.jit
def histogram(x, h, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.atomic_add(h + tl.load(x + i, mask=i < n, other=0), 1, mask=i < n)


@triton.jit
def counted(count, out, LOCK: tl.constexpr, B: tl.constexpr):
    """Each program takes a number: under a lock (the first element), or without."""
    if LOCK:
        while tl.atomic_cas(count, 0, 1) == 1:
            pass
    taken = tl.load(count + 1)
    tl.debug_barrier()
    tl.store(count + 1, taken + 1)
    tl.debug_barrier()
    if LOCK:
        tl.atomic_xchg(count, 0)
    tl.store(out + tl.program_id(0), taken)


@triton.jit
def neighbours(arrived, x, y, programs, WAIT: tl.constexpr, B: tl.constexpr):
    """Each program reads what the next one wrote, after a barrier of the whole grid."""
    p, i = tl.program_id(0), tl.arange(0, B)
    tl.store(x + p * B + i, p + i)
    tl.debug_barrier()
    tl.atomic_add(arrived, 1, sem="release")
    if WAIT:
        while tl.atomic_add(arrived, 0, sem="acquire") < programs:
            pass
    tl.debug_barrier()
    tl.store(y + p * B + i, tl.load(x + (p + 1) % programs * B + i, cache_modifier=".cg"))


@triton.jit
def extremes(x, h, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + i)
    h = h + i * 0
    tl.atomic_max(h, v)
    tl.atomic_min(h + 1, v)


@triton.jit
def bitwise(x, h, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + i)
    h = h + i * 0
    tl.atomic_or(h, v)
    tl.atomic_and(h + 1, v)
    tl.atomic_xor(h + 2, v)


@triton.jit
def ordered(x, y, z, w, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + i)
    tl.store(y + i, tl.sort(v))
    tl.store(z + i, tl.cumsum(v, 0))
    tl.store(w, tl.argmax(v, 0))


@triton.jit
def counts(x, at, y, z, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + i)
    tl.store(y + tl.arange(0, 32), tl.histogram(v, 32))
    tl.store(z + i, tl.gather(v, tl.load(at + i), 0))


@triton.jit
def functions(x, y, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + i)
    a = tl.abs(v) + 1
    tl.store(y + i, tl.sin(v) + tl.cos(v) + tl.exp(v) + tl.log(a) + tl.sqrt(a) + tl.rsqrt(a) + tl.erf(v)
             + tl.floor(v) + tl.ceil(v) + tl.sigmoid(v) + tl.exp2(v) + tl.log2(a))


@triton.jit
def strided(x, y, n, B: tl.constexpr):
    for j in range(tl.program_id(0), n, tl.num_programs(0)):
        i = j * B + tl.arange(0, B)
        tl.store(y + i, tl.load(x + i) * 2)


@triton.jit
def checked(x, B: tl.constexpr):
    tl.device_assert(tl.load(x + tl.arange(0, B)) < 5, "too large")


@triton.jit
def assembled(x, y, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.inline_asm_elementwise("{ .reg .b32 t<2>; shr.u32 t0, $1, 3; popc.b32 $0, t0; }", "=r,r", [tl.load(x + i)],
                                  dtype=tl.int32, is_pure=True, pack=1)
    tl.store(y + i, v)
