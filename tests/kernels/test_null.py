"""Device functions compiled for targets with no GPU, without spills, and what cannot be compiled.

The templates with what the compiler emits for them are judged by `tests.budgets` and `test_matmul_kernels`.
"""

import os
import subprocess
import sys

import pytest
import triton
import triton.language as tl

from microtrain.kernels import math as km
from microtrain.kernels.map import map_kernel
from microtrain.runtime import resources as compiled_for

pytestmark = [pytest.mark.budgets,
              pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels")]


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
        compiled_for.compile_for("sm_90", functions, {}, {})


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
