"""What a GPU's approximate instructions and tensor cores compute, held against float64: the emulator's model of them.

    python -m benchmarks.hardware

For each function: the largest error in ulps of float32, the share of results that are correctly rounded, and what the
instruction makes of subnormal numbers, zeros, infinities and NaN. For `tl.dot`: how TF32 rounds its operands, and how
many bits of a product survive beside a larger sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from microtrain.kernels import math as ours
from microtrain.kernels.arithmetic import exp2_int

FUNCTIONS: dict[str, tuple[str, Callable[[Any], Any], tuple[float, float]]] = {
    "ex2.approx.f32": ("ex2.approx.f32", torch.exp2, (-20.0, 20.0)),
    "ex2.approx.f32, |x| <= 0.5": ("ex2.approx.f32", torch.exp2, (-0.5, 0.5)),
    "ex2.approx.ftz.f32": ("ex2.approx.ftz.f32", torch.exp2, (-20.0, 20.0)),
    "lg2.approx.f32": ("lg2.approx.f32", torch.log2, (1e-6, 1e6)),
    "lg2.approx.f32, near 1": ("lg2.approx.f32", torch.log2, (0.5, 2.0)),
    "rcp.approx.f32": ("rcp.approx.f32", torch.reciprocal, (1e-3, 1e3)),
    "rcp.approx.ftz.f32": ("rcp.approx.ftz.f32", torch.reciprocal, (1e-3, 1e3)),
    "sqrt.approx.f32": ("sqrt.approx.f32", torch.sqrt, (1e-3, 1e3)),
    "rsqrt.approx.f32": ("rsqrt.approx.f32", torch.rsqrt, (1e-3, 1e3)),
    "sin.approx.f32": ("sin.approx.f32", torch.sin, (-3.14159, 3.14159)),
    "cos.approx.f32": ("cos.approx.f32", torch.cos, (-3.14159, 3.14159)),
    "tanh.approx.f32": ("tanh.approx.f32", torch.tanh, (-5.0, 5.0)),
}
SPECIAL = (0.0, -0.0, 1e-40, -1e-40, 1.1754944e-38, float("inf"), float("-inf"), float("nan"), 1.0, -1.0, 128.0, -126.5,
           -149.0, -151.0, 3.4e38)
COUNT = 1 << 22


@triton.jit
def apply_kernel(x_ptr, y_ptr, n, ASM: tl.constexpr, BLOCK: tl.constexpr):
    """One instruction on n float32 numbers."""
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs, mask=offs < n, other=0)
    y = tl.inline_asm_elementwise(ASM, "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    tl.store(y_ptr + offs, y, mask=offs < n)


@triton.jit
def dot_kernel(a_ptr, b_ptr, c_ptr, out_ptr, N: tl.constexpr, K: tl.constexpr, PRECISION: tl.constexpr):
    """out = c + a @ b, (N, K) and (K, N), in one program."""
    i, j, k = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :], tl.arange(0, K)
    a = tl.load(a_ptr + i * K + k[None, :])
    b = tl.load(b_ptr + k[:, None] * N + j)
    c = tl.load(c_ptr + i * N + j)
    tl.store(out_ptr + i * N + j, tl.dot(a, b, c, input_precision=PRECISION))


LOG2_E, LOG2_E_LOW, LN_2 = tl.constexpr(1.44269502), tl.constexpr(1.92596299e-8), tl.constexpr(0.693147181)


@triton.jit
def exp_fused(x):
    """`kernels.math.exp` with its multiplications and additions fused."""
    x = tl.minimum(tl.maximum(x, -104.0), 89.0)
    n = tl.floor(tl.fma(x, LOG2_E, 0.5 + tl.zeros_like(x)))
    r = tl.fma(n, -0.693359375 + tl.zeros_like(x), x)
    r = tl.fma(n, 2.12194440e-4 + tl.zeros_like(x), r)
    p = tl.fma(r, 1 / 40320 + tl.zeros_like(x), 1 / 5040 + tl.zeros_like(x))
    p = tl.fma(r, p, 1 / 720 + tl.zeros_like(x))
    p = tl.fma(r, p, 1 / 120 + tl.zeros_like(x))
    p = tl.fma(r, p, 1 / 24 + tl.zeros_like(x))
    p = tl.fma(r, p, 1 / 6 + tl.zeros_like(x))
    p = tl.fma(r, p, 0.5 + tl.zeros_like(x))
    p = tl.fma(r * r, p, r)
    half = tl.floor(n * 0.5)
    return ((1 + p) * exp2_int(half, x)) * exp2_int(n - half, x)


@triton.jit
def exp_reduced(x):
    """2^n ex2(f) with |f| <= 1/2 and log2(e) in two parts."""
    x = tl.minimum(tl.maximum(x, -104.0), 89.0)
    n = tl.floor(tl.fma(x, LOG2_E, 0.5 + tl.zeros_like(x)))
    f = tl.fma(x, LOG2_E_LOW, tl.fma(x, LOG2_E, -n))
    half = tl.floor(n * 0.5)
    return (tl.exp2(f) * exp2_int(half, x)) * exp2_int(n - half, x)


@triton.jit
def exp_corrected(x):
    """ex2(t), t = x log2(e) rounded, and what the rounding cut off as a factor."""
    t = x * LOG2_E
    low = tl.fma(x, LOG2_E_LOW, tl.fma(x, LOG2_E, -t))
    y = tl.exp2(t)
    return tl.where(tl.abs(t) < 200, tl.fma(y, low * LN_2, y), y)


@triton.jit
def exp_hardware(x):
    """Triton's own."""
    return tl.exp(x)


EXPONENTIALS = {"kernels.math.exp": ours.exp, "fused": exp_fused, "ex2 of the fraction": exp_reduced,
                "ex2, corrected": exp_corrected, "tl.exp": exp_hardware}
TIMES = 64


@triton.jit
def exponential_kernel(x_ptr, y_ptr, n, FUNCTION: tl.constexpr, TIMES: tl.constexpr, BLOCK: tl.constexpr):
    """A function of n float32 numbers, TIMES at once: the sum of its values at x + i / 64."""
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs, mask=offs < n, other=0)
    y = tl.zeros_like(x)
    for i in range(TIMES):
        y += FUNCTION(x + i * 0.015625)
    tl.store(y_ptr + offs, y, mask=offs < n)


def exponentials() -> None:
    """Errors and costs of ways to compute exp."""
    x = torch.empty(COUNT, device="cuda").uniform_(-87.0, 88.0)
    right = torch.exp(x.double())
    spacing = torch.exp2(torch.floor(torch.log2(right)) - 23).clamp_min(2.0**-149)
    special = torch.tensor((0.0, -0.0, float("inf"), float("-inf"), float("nan"), 88.8, -88.0, -103.0, -104.5),
                           device="cuda")
    y = torch.empty_like(x)
    for name, function in EXPONENTIALS.items():
        def call(times: int, x: torch.Tensor = x, function: Any = function) -> Any:
            return exponential_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, x.numel(), function, times, 1024,
                                                                       enable_fp_fusion=False)
        call(1)
        ulps = ((y.double() - right) / spacing).abs()
        exponential_kernel[(1,)](special, y, len(special), function, 1, 1024, enable_fp_fusion=False)
        at = [f"{value:.4g}" for value in y[: len(special)].tolist()]
        kernel = call(TIMES)
        us = triton.testing.do_bench(lambda call=call: call(TIMES), return_mode="median") * 1e3
        print(f"{name:22} {ulps.max().item():.2f} ulps, {us / TIMES:.3f} us for 2^22 "
              f"({COUNT * TIMES / us / 1e3:.0f} G/s, {kernel.n_regs} registers); "
              f"at 0, -0, inf, -inf, NaN, 88.8, -88, -103, -104.5: {', '.join(at)}")


def applied(instruction: str, x: torch.Tensor) -> torch.Tensor:
    """The instruction on each element of a float32 tensor on the GPU."""
    y = torch.empty_like(x)
    apply_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, x.numel(), f"{instruction} $0, $1;", 1024)
    return y


def dot(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, precision: str) -> torch.Tensor:
    """c + a @ b in one program. a: (n, k), b: (k, n), c: (n, n) float32."""
    out = torch.empty_like(c)
    dot_kernel[(1,)](a, b, c, out, c.shape[0], a.shape[1], precision)
    return out


def functions() -> None:
    """The table of functions."""
    for name, (instruction, truth, (low, high)) in FUNCTIONS.items():
        x = torch.empty(COUNT, device="cuda").uniform_(low, high)
        right = truth(x.double())
        got = applied(instruction, x)
        rounded = right.float()
        spacing = (torch.nextafter(rounded.abs(), torch.tensor(float("inf"), device="cuda")) - rounded.abs()).double()
        ulps = ((got.double() - right) / spacing).abs()
        print(f"{name:28} [{low:g}, {high:g}]: {ulps.max().item():.3f} ulps at {x[ulps.argmax()].item():.9g}, "
              f"absolute {(got.double() - right).abs().max().item():.3g}, "
              f"{(got == rounded).float().mean().item():.1%} correctly rounded")
        special = torch.tensor(SPECIAL, device="cuda")
        print("    " + ", ".join(f"{a:.9g}: {b:.9g}" for a, b in zip(SPECIAL, applied(instruction, special).tolist(),
                                                                     strict=True)))


def tf32(x: torch.Tensor, nearest: bool) -> torch.Tensor:
    """float32 numbers cut to TF32's 10 bits, or rounded to nearest with ties away from zero."""
    bits = x.view(torch.int32)
    return ((bits + (0x1000 if nearest else 0)) & ~0x1FFF).view(torch.float32)


def products(n: int = 64, k: int = 32) -> None:
    """How operands are rounded, and what of a sum is kept."""
    a, b = torch.randn(n, k, device="cuda"), torch.randn(k, n, device="cuda")
    zero = torch.zeros(n, n, device="cuda")
    got = dot(a, b, zero, "tf32").double()
    for how, nearest in (("cut", False), ("to nearest, ties away", True)):
        right = tf32(a, nearest).double() @ tf32(b, nearest).double()
        print(f"tf32 operands {how}: largest error {(got - right).abs().max().item():.3g}, mean "
              f"{(got - right).mean().item():.3g}")
    for dtype in (torch.bfloat16, torch.float16):
        x, y = a.to(dtype), b.to(dtype)
        right = x.double() @ y.double()
        for scale in (0.0, 1.0, 1024.0):
            c = torch.full((n, n), scale, device="cuda")
            error = dot(x, y, c, "ieee").double() - (right + scale)
            print(f"{dtype} beside {scale:g}: largest error {error.abs().max().item():.3g}, mean "
                  f"{error.mean().item():.3g}")
    # One product of 2^-e beside 1 from the accumulator, and beside 1 from another product.
    for where in ("the accumulator", "another product"):
        kept = []
        for e in range(18, 30):
            x, y = torch.zeros(n, k, device="cuda", dtype=torch.bfloat16), torch.zeros(k, n, device="cuda",
                                                                                       dtype=torch.bfloat16)
            x[:, 0], y[0, :] = 2.0 ** -(e // 2), 2.0 ** -(e - e // 2)
            c = zero.clone()
            if where == "the accumulator":
                c += 1
            else:
                x[:, 1], y[1, :] = 1, 1
            x[:, 2], y[2, :] = x[:, 0], y[0, :]         # twice 2^-e: seen where one of them alone would be cut
            kept.append(f"2^-{e}: {(dot(x, y, c, 'ieee')[0, 0].item() - 1) * 2.0**23:g}")
        print(f"two products of 2^-e beside 1 in {where}, in units of 2^-23: {', '.join(kept)}")


if __name__ == "__main__":
    print(torch.cuda.get_device_name())
    functions()
    exponentials()
    products()
