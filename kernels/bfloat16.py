"""bfloat16, which kernels hold in float32: Triton's interpreter does not round to it, and loses its subnormals.

Interpreted, the conversions are done on the bits, of which bfloat16 has float32's upper half; compiled, each is one
instruction. Both round to nearest, ties to even, and keep infinities and NaN.
"""

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))


@triton.jit
def rounded_bits(x):
    """The bits of float32 x (int32) rounded to the upper 16: half of the last kept place is added to them."""
    bits = x.to(tl.int32, bitcast=True)
    even = bits + 0x7FFF + ((bits >> 16) & 1)
    return tl.where(x == x, even, bits | 0x400000) & -65536


@triton.jit
def round_bf16(x):
    """float32 x rounded to bfloat16, as float32."""
    if INTERPRETED:
        return rounded_bits(x).to(tl.float32, bitcast=True)
    else:
        return x.to(tl.bfloat16).to(tl.float32)


@triton.jit
def to_bf16(x):
    """float32 x rounded to bfloat16, to be stored."""
    if INTERPRETED:
        return (rounded_bits(x) >> 16).to(tl.int16).to(tl.bfloat16, bitcast=True)
    else:
        return x.to(tl.bfloat16)


@triton.jit
def from_bf16(x):
    """bfloat16 x, as loaded, as float32."""
    if INTERPRETED:
        return (x.to(tl.int16, bitcast=True).to(tl.int32) << 16).to(tl.float32, bitcast=True)
    else:
        return x.to(tl.float32)
