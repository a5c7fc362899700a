"""Scalar device functions that emitted expressions call, elementwise on float32 and float64 tiles.

Operands are tensors of one dtype (not Python numbers), broadcast against each other; float16 and bfloat16 arrive as
float32 and are rounded on store. Everything is made of `tl` operations that run interpreted and compiled, on NVIDIA and
AMD alike; `libdevice` does not exist in the interpreter. The hardware's fast forms are avoided where they lose digits:
on NVIDIA `tl.exp` on float32 errs by about 1.2 |x| ulp, `/` is `div.full`, and `tl.sqrt` is `sqrt.approx`.

"ulp" in a docstring is the largest error in the interpreter, as float32 / float64, measured against NumPy's float64 and
longdouble by `tests/kernels/test_kernels.py`, which holds them to it. Reduced arguments and scaled powers of two follow
W. Cody and W. Waite, Software Manual for the Elementary Functions (1980).
"""

import triton
import triton.language as tl

from .arithmetic import *  # noqa: F403
from .arithmetic import div, exp2_int, neg, reciprocal, sqrt
from .special import *  # noqa: F403

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def scalar_i64(value):
    """An int64 member of `scalars`, which Triton may have narrowed to int32 or to the constant 1."""
    return tl.zeros([], tl.int64) + value


@triton.jit
def scalar_f64(bits):
    """The float64 whose bits an int64 member of `scalars` holds."""
    return scalar_i64(bits).to(tl.float64, bitcast=True)


@triton.jit
def scalar_f32(bits):
    """The float32 nearest to `scalar_f64(bits)`."""
    return scalar_f64(bits).to(tl.float32)


@triton.jit
def rsqrt(x):
    """1 / sqrt(x); inf at 0. ulp: 1.5 / 1.5."""
    return reciprocal(sqrt(x))


@triton.jit
def expm1_reduced(x):
    """(n, exp(r) - 1) where x = n log(2) + r and |r| <= log(2) / 2: log(2) in two parts, then a Taylor polynomial."""
    n = tl.floor(x * LOG2_E + 0.5)
    if x.dtype == tl.float32:
        r = (x - n * 0.693359375) + n * 2.12194440e-4
        p = 1 / 5040 + r * (1 / 40320)
        p = 1 / 24 + r * (1 / 120 + r * (1 / 720 + r * p))
    else:
        r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6
        p = 1 / 479001600 + r * (1 / 6227020800 + r * (1 / 87178291200))
        p = 1 / 362880 + r * (1 / 3628800 + r * (1 / 39916800 + r * p))
        p = 1 / 720 + r * (1 / 5040 + r * (1 / 40320 + r * p))
        p = 1 / 24 + r * (1 / 120 + r * p)
    return n, r + r * r * (1 / 2 + r * (1 / 6 + r * p))


@triton.jit
def exp(x):
    """e**x. ulp: 1.25 / 1; on NVIDIA 2.5 / 1, of which 2 are those of `ex2`.

    With x = n log(2) + r it is 2**n 2**(r / log(2)). A sum with 1.5 * 2**23 is a whole number, n in its low bits. Where
    2**n would not be a normal number n stays behind, and r is larger. log(2) is in two parts, of which the first times
    n is exact, fused or not.
    """
    if x.dtype == tl.float32:
        shifted = tl.minimum(tl.maximum(x * LOG2_E, -126.0), 126.0) + 12582912.0
        n = shifted - 12582912.0
        r = tl.fma(n, tl.full(n.shape, -0.693359375, tl.float32), x)
        scale = ((shifted.to(tl.int32, bitcast=True) << 23) + 0x3F800000).to(tl.float32, bitcast=True)
        return tl.exp2(tl.fma(r, tl.full(n.shape, LOG2_E, tl.float32), n * 3.0613186e-4)) * scale
    else:
        return tl.exp(x)


@triton.jit
def expm1(x):
    """e**x - 1 without cancellation near 0. ulp: 1.5 / 2."""
    if x.dtype == tl.float32:
        n, p = expm1_reduced(tl.minimum(tl.maximum(x, -30.0), 89.0))
    else:
        n, p = expm1_reduced(tl.minimum(tl.maximum(x, -60.0), 710.0))
    half = exp2_int(n - 1, x)  # half of 2**n, which overflows before the result does
    y = (half * p + (half - 0.5)) * 2
    return tl.where((x != x) | (x == 0), x, y)


@triton.jit
def log(x):
    """Natural logarithm; -inf at 0, NaN below. ulp: 3 / 1, the 3 being NumPy's float32 log."""
    return tl.log(x)        # of subnormal numbers too: compiled for either make it scales them first


@triton.jit
def log1p(x):
    """log(1 + x) without cancellation near 0: the rounding of u = 1 + x is undone by x / (u - 1). ulp: 4 / 2.5.

    W. Kahan's form, as in D. Goldberg, What Every Computer Scientist Should Know (1991), theorem 4.
    """
    u = 1 + x
    y = log(u) * div(x, u - 1)
    return tl.where(u == 1, x, tl.where(u == float("inf"), u, y))


@triton.jit
def sigmoid(x):
    """1 / (1 + e**-x), with relative accuracy in both tails. ulp: 2.5 / 2.5."""
    e = exp(-tl.abs(x))
    return div(tl.where(x < 0, e, 1), 1 + e)


@triton.jit
def softplus(x):
    """log(1 + e**x), finite for every finite x. ulp: 4 / 3."""
    return log1p(exp(-tl.abs(x))) + tl.where(x > 0, x, 0)


@triton.jit
def tanh(x):
    """Hyperbolic tangent, by e = expm1(-2 |x|) and -e / (2 + e). ulp: 3 / 3."""
    e = expm1(-2 * tl.abs(x))
    y = div(neg(e), 2 + e)
    return tl.where(x == 0, x, tl.where(x < 0, neg(y), y))


@triton.jit
def sin(x):
    """Sine of x in radians, computed in float64 as on the cpu device, so that float32 is right to the last bit but for
    ties. ulp: 0.51 / 1."""
    return tl.sin(x.to(tl.float64)).to(x.dtype)


@triton.jit
def cos(x):
    """Cosine of x in radians, computed in float64. ulp: 0.51 / 1."""
    return tl.cos(x.to(tl.float64)).to(x.dtype)


@triton.jit
def tan(x):
    """Tangent of x in radians, computed in float64. ulp: 0.51 / 3."""
    wide = x.to(tl.float64)
    return div(tl.sin(wide), tl.cos(wide)).to(x.dtype)


@triton.jit
def maximum(x, y):
    """The larger of two; NaN if either is. For bool, `or`."""
    if x.dtype == tl.int1:
        return x | y
    else:
        return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def minimum(x, y):
    """The smaller of two; NaN if either is. For bool, `and`."""
    if x.dtype == tl.int1:
        return x & y
    else:
        return tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def relu(x):
    """max(x, 0); NaN stays."""
    return tl.maximum(x, 0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def bitwise_not(x):
    """~x for integers, `not x` for bool."""
    if x.dtype == tl.int1:
        return x == 0
    elif x.dtype == tl.uint8:
        return (255 - x).to(tl.uint8)           # the interpreter has no -1 of bytes
    else:
        return ~x


@triton.jit
def clamp(x, low, high):
    """min(max(x, low), high): high where low > high, NaN where x is."""
    return minimum(maximum(x, low), high)
