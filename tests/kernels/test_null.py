"""Budgets of the templates, compiled for every target with no GPU: no spills, and 16-byte accesses where sizes divide.

Fails where the budget is broken on purpose, too: a strided load and a kernel with more values than registers.
"""

import os
import subprocess
import sys

import pytest
import triton
import triton.language as tl

from microtrain.kernels import math as km
from microtrain.kernels import philox, reductions, tiles
from microtrain.kernels.map import map_kernel
from microtrain.kernels.reduce import reduce_kernel
from microtrain.kernels.row import row_kernel
from microtrain.runtime import resources as compiled_for

pytestmark = [pytest.mark.budgets,
              pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels")]
N = tl.constexpr(1024)


def compile_template(target, kernel, ptrs, scalars, sizes, constexprs, num_warps, num_stages=3, divisible=True):
    """Compile with the hints that the real launch gives: aligned pointers and sizes divisible by 16."""
    signature = {"ptrs": ptrs, "scalars": scalars, **sizes, **dict.fromkeys(constexprs, "constexpr")}
    signature = {name: signature[name] for name in kernel.arg_names}
    attrs = compiled_for.divisible_by_16(signature, sizes if divisible else ())
    return compiled_for.compile_for(target, kernel, signature, constexprs, attrs, num_warps, num_stages)


def within_budget(resources, registers=255):
    """No spills, and every access as wide as the machine has (16 bytes; AMD splits some)."""
    return (resources.spills == 0 and 0 < resources.registers <= registers and resources.load_bits >= 128
            and resources.store_bits >= 64)


# ------------------------------------------------------------------------------------------------------------- map


@triton.jit
def gelu_like(ptrs, scalars, i, mask):
    x = tl.load(ptrs[0] + i, mask=mask, other=0.0)
    y = tl.load(ptrs[1] + i, mask=mask, other=0.0)
    tl.store(ptrs[2] + i, x * km.sigmoid(y) + km.scalar_f32(scalars[0]), mask=mask)


@triton.jit
def bfloat16_tanh(ptrs, scalars, i, mask):
    x = tl.load(ptrs[0] + i, mask=mask, other=0.0).to(tl.float32)
    tl.store(ptrs[1] + i, km.tanh(x).to(tl.bfloat16), mask=mask)


@triton.jit
def dropout(ptrs, scalars, i, mask):
    x = tl.load(ptrs[0] + i, mask=mask, other=0.0)
    keep = philox.philox_bits(scalars[0], scalars[1], i) < 2147483648
    tl.store(ptrs[1] + i, tl.where(keep, x, 0), mask=mask)


@triton.jit
def every_other(ptrs, scalars, i, mask):
    x = tl.load(ptrs[0] + 2 * i, mask=mask, other=0.0)
    tl.store(ptrs[1] + i, x, mask=mask)


MAPS = {"sigmoid product": (gelu_like, ("*fp32",) * 3, ("i64",)), "bfloat16 tanh": (bfloat16_tanh, ("*bf16",) * 2, ()),
        "dropout": (dropout, ("*fp32",) * 2, ("i64", "i64"))}


def compile_map(target, expr, ptrs, scalars, index=tl.int32, divisible=True):
    tile = tiles.map_tile(1 << 24, itemsize=2 if "*bf16" in ptrs else 4)
    constexprs = {"EXPR": expr, "BLOCK": tile.block, "INDEX": index}
    numel = {"numel": "i32" if index is tl.int32 else "i64"}
    return compile_template(target, map_kernel, ptrs, scalars, numel, constexprs, tile.num_warps, divisible=divisible)


@pytest.mark.parametrize("target", compiled_for.TARGETS)
@pytest.mark.parametrize(("name", "index"), [*((name, tl.int32) for name in MAPS), ("sigmoid product", tl.int64)])
def test_map_is_within_budget(name, index, target):
    resources = compile_map(target, *MAPS[name], index)
    assert within_budget(resources, registers=64)
    assert set(resources.loads) == {128} and set(resources.stores) == {128}


@pytest.mark.parametrize("target", compiled_for.TARGETS)
def test_a_strided_load_is_caught(target):
    resources = compile_map(target, every_other, ("*fp32",) * 2, ())
    assert resources.store_bits == 128
    assert set(resources.loads) != {128}
    assert min(resources.loads) < 128


@pytest.mark.parametrize("target", compiled_for.TARGETS)
def test_without_the_hint_on_the_size_accesses_are_narrow(target):
    resources = compile_map(target, *MAPS["sigmoid product"], divisible=False)
    assert resources.load_bits == 32 and not within_budget(resources)


# ------------------------------------------------------------------------------------------------- row and reduce


@triton.jit
def softmax_backward(ptrs, scalars, r, c, row_mask, mask):
    at = r * 16384 + c
    x = tl.load(ptrs[0] + at, mask=mask, other=0.0)
    g = tl.load(ptrs[1] + at, mask=mask, other=0.0)
    e = km.exp(x - reductions.row_max(x, mask))
    y = km.div(e, reductions.row_sum(e, mask))
    tl.store(ptrs[2] + at, y * (g - reductions.row_sum(g * y, mask)), mask=mask)


@triton.jit
def load_along_columns(ptrs, scalars, r, c, mask):
    return tl.load(ptrs[0] + r * (N * N) + c, mask=mask, other=0.0)


@triton.jit
def load_along_rows(ptrs, scalars, r, c, mask):
    return tl.load(ptrs[0] + c * N + r, mask=mask, other=0.0)


@triton.jit
def store_row(ptrs, scalars, r, acc, row_mask):
    tl.store(ptrs[1] + r, acc, mask=row_mask)


REDUCTIONS = {"sum": (reductions.combine_sum, reductions.finish_sum, 0.0),
              "max": (reductions.combine_max, reductions.finish_max, float("-inf")),
              "min": (reductions.combine_min, reductions.finish_min, float("inf")),
              "prod": (reductions.combine_prod, reductions.finish_prod, 1.0)}


@pytest.mark.parametrize("target", compiled_for.TARGETS)
def test_the_longest_row_is_within_budget(target):
    tile = tiles.row_tile(4096, tiles.ROW_MAX)
    constexprs = {"BODY": softmax_backward, "COLS": tiles.ROW_MAX, "BLOCK_R": tile.block_r, "BLOCK_C": tile.block_c,
                  "INDEX": tl.int32}
    resources = compile_template(target, row_kernel, ("*fp32",) * 3, (), {"rows": "i32"}, constexprs, tile.num_warps)
    assert within_budget(resources, registers=128)
    assert set(resources.loads) == {128} and set(resources.stores) == {128}


def test_a_planted_spill_is_caught():
    target, cols = "sm_90", 4096
    constexprs = {"BODY": softmax_backward, "COLS": cols, "BLOCK_R": 1, "BLOCK_C": cols, "INDEX": tl.int32}
    resources = compile_template(target, row_kernel, ("*fp32",) * 3, (), {"rows": "i32"}, constexprs, num_warps=1)
    assert resources.spills > 0 and not within_budget(resources)


@pytest.mark.parametrize("target", compiled_for.TARGETS)
@pytest.mark.parametrize("along_rows", [False, True])
@pytest.mark.parametrize("name", list(REDUCTIONS))
def test_reduce_is_within_budget(name, along_rows, target):
    tile = tiles.reduce_tile(1024, 1 << 20, along_rows=along_rows)
    combine, finish, identity = REDUCTIONS[name]
    constexprs = {"LOAD": load_along_rows if along_rows else load_along_columns, "COMBINE": combine, "FINISH": finish,
                  "EPILOGUE": store_row, "IDENTITY": identity, "ACC": tl.float32, "BLOCK_R": tile.block_r,
                  "BLOCK_C": tile.block_c, "INDEX": tl.int32}
    sizes = {"rows": "i32", "cols": "i32"}
    resources = compile_template(target, reduce_kernel, ("*fp32",) * 2, (), sizes, constexprs, tile.num_warps)
    assert resources.spills == 0 and resources.registers <= 64 and set(resources.loads) == {128}


# ------------------------------------------------------------------------------------------------------------ math


@triton.jit
def unary_kernel(ptrs, FN: tl.constexpr):
    i = tl.program_id(0) * 1024 + tl.arange(0, 1024)
    tl.store(ptrs[1] + i, FN(tl.load(ptrs[0] + i)))


@triton.jit
def binary_kernel(ptrs, FN: tl.constexpr):
    i = tl.program_id(0) * 1024 + tl.arange(0, 1024)
    tl.store(ptrs[1] + i, FN(tl.load(ptrs[0] + i), tl.load(ptrs[2] + i)))


FLOAT = (
    "neg reciprocal sqrt rsqrt exp expm1 log log1p sigmoid softplus tanh sin cos tan erf floor ceil trunc round sign"
)
INTEGER = "neg floor ceil trunc round sign relu bitwise_not"
BINARY = "floor_divide remainder pow maximum minimum"


def functions(pointer):
    unary, binary = (FLOAT + " relu", "div " + BINARY) if "fp" in pointer else (INTEGER, BINARY)
    return [(name, unary_kernel) for name in unary.split()] + [(name, binary_kernel) for name in binary.split()]


@pytest.mark.parametrize(
    ("pointer", "target"),
    [("*fp32", "sm_90"), ("*fp64", "sm_90"), ("*fp32", "gfx942"), ("*i64", "sm_90"), ("*u8", "gfx942")],
)
def test_every_device_function_compiles_without_spills(pointer, target):
    for name, kernel in functions(pointer):
        signature = {"ptrs": (pointer,) * 3, "FN": "constexpr"}
        resources = compiled_for.compile_for(target, kernel, signature, {"FN": getattr(km, name)})
        assert resources.spills == 0, name
        assert resources.load_bits == (32 if pointer == "*u8" else 128), name


# ---------------------------------------------------------------------------------------------------------- errors


def test_an_unknown_target_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown target 'sm_42'; known: sm_80, sm_90, sm_100, gfx942"):
        compiled_for.compile_for("sm_42", map_kernel, {}, {})


def test_a_plain_function_is_refused():
    with pytest.raises(RuntimeError, match="not a @triton"):
        compiled_for.compile_for("sm_90", within_budget, {}, {})


def test_a_hint_for_no_parameter_is_refused():
    with pytest.raises(ValueError, match="no parameter named rows; the signature has ptrs, numel"):
        compiled_for.divisible_by_16({"ptrs": ("*fp32",), "numel": "i32"}, ["rows"])


def test_interpreted_kernels_are_refused():
    code = ("from microtrain.kernels.map import map_kernel\nfrom microtrain.runtime.resources import compile_for\n"
            "compile_for('sm_90', map_kernel, {}, {})")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "they were loaded for Triton's interpreter (TRITON_INTERPRET=1" in done.stderr.splitlines()[-1]
