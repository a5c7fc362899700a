"""Rounding to bfloat16, which Triton's interpreter gets wrong: it cuts the digits off instead of rounding."""

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))


@triton.jit
def round_bf16(x):
    """float32 x rounded to the nearest bfloat16, ties to even, as float32; infinities and NaN stay.

    Interpreted, half of the last kept place is added to the bits as an integer; compiled it is one instruction.
    """
    if INTERPRETED:
        bits = x.to(tl.int32, bitcast=True)
        even = (bits + 0x7FFF + ((bits >> 16) & 1)) & -65536
        return tl.where(x == x, even.to(tl.float32, bitcast=True), x)
    else:
        return x.to(tl.bfloat16).to(tl.float32)
