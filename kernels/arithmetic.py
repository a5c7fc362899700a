"""Arithmetic device functions: what is exact or correctly rounded, and what is built from exponents and remainders.

As in `math`, which offers these names too, operands are tensors of one dtype, broadcast against each other; float16 and
bfloat16 arrive as float32. Both run interpreted and compiled alike. Functions that compare their operands broadcast
them first: in the interpreter the comparison of two scalars keeps their dtype, and spread over a tile it is no mask.
"""

import triton
import triton.language as tl

SQRT_2 = tl.constexpr(1.4142135623730951)


@triton.jit
def neg(x):
    """-x. Triton's own minus is 0 - x, which makes 0 of 0 where -0 is meant."""
    if x.dtype.is_floating():
        return x * -1.0
    else:
        return -x


@triton.jit
def div(x, y):
    """x / y, correctly rounded (IEEE), for floats."""
    if x.dtype == tl.float32 and y.dtype == tl.float32:
        return tl.div_rn(x, y)
    else:
        return x / y


@triton.jit
def reciprocal(x):
    """1 / x, correctly rounded."""
    return div(tl.full(x.shape, 1, x.dtype), x)


@triton.jit
def sqrt(x):
    """Square root, correctly rounded; NaN below 0."""
    if x.dtype == tl.float32:
        return tl.sqrt_rn(x)
    else:
        return tl.sqrt(x)


@triton.jit
def floor(x):
    """The largest integer at or below x; integers as they are."""
    if x.dtype.is_floating():
        return tl.floor(x)
    else:
        return x


@triton.jit
def ceil(x):
    """The smallest integer at or above x; integers as they are."""
    if x.dtype.is_floating():
        return tl.ceil(x)
    else:
        return x


@triton.jit
def trunc(x):
    """x without its fraction; integers as they are."""
    if x.dtype.is_floating():
        return tl.where(x < 0, tl.ceil(x), tl.floor(x))
    else:
        return x


@triton.jit
def round(x):
    """The nearest integer, halves to the even one; integers as they are.

    Adding and taking away 2**23 (2**52) rounds in the adder; numbers at or above that have no fraction.
    """
    if x.dtype == tl.float32:
        return round_by(x, 8388608.0)
    elif x.dtype == tl.float64:
        return round_by(x, 4503599627370496.0)
    else:
        return x


@triton.jit
def round_by(x, magic):
    """`round` for floats that have no fraction from `magic` on."""
    y = (tl.abs(x) + magic) - magic
    signed = tl.where(y == 0, x * 0, tl.where(x < 0, neg(y), y))         # x * 0 is a zero of x's sign, also for -0
    return tl.where(tl.abs(x) < magic, signed, x)


@triton.jit
def sign(x):
    """-1, 0 or 1 in the dtype of x; 0 for NaN, as in PyTorch."""
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@triton.jit
def exp2_int(n, like):
    """2**n in the dtype of `like` for integral floats n, from its exponent field; -126 <= n <= 127 (-1022, 1023)."""
    if like.dtype == tl.float32:
        return ((n.to(tl.int32) + 127) << 23).to(tl.float32, bitcast=True)
    else:
        return ((n.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)


@triton.jit
def fmod_exact(x, y):
    """x - trunc(x / y) * y for float64, exact while |x / y| < 2**260, as it is for all normal float32: multiples of y
    that are as far above are taken off first."""
    x = fmod_near(x, y * 4.113761393303015e62)          # 2**208
    x = fmod_near(x, y * 9.134385233318143e46)          # 2**156
    x = fmod_near(x, y * 2.028240960365167e31)          # 2**104
    x = fmod_near(x, y * 4503599627370496.0)            # 2**52
    return fmod_near(x, y)


@triton.jit
def fmod_near(x, y):
    """x - trunc(x / y) * y for float64, exact while |x / y| < 2**52: the product's rounding error is recovered.

    Dekker's product (1971), as a fused multiply-add is not fused in the interpreter.
    """
    q = trunc(x / y)
    q_high = (q.to(tl.int64, bitcast=True) & -134217728).to(tl.float64, bitcast=True)  # 26 bits
    y_high = (y.to(tl.int64, bitcast=True) & -134217728).to(tl.float64, bitcast=True)
    q_low = q - q_high
    y_low = y - y_high
    p = q * y
    error = ((q_high * y_high - p) + q_high * y_low + q_low * y_high) + q_low * y_low
    r = (x - p) - error
    # The quotient may have been rounded up to the next integer.
    r = tl.where((r != 0) & (x != 0) & ((r < 0) != (x < 0)), tl.where((r < 0) != (y < 0), r + y, r - y), r)
    infinite = (tl.abs(y) == float("inf")) & (tl.abs(x) != float("inf"))
    return tl.where(infinite | (x == 0) & (y == y) & (y != 0), x, r)


@triton.jit
def floor_divide(x, y):
    """floor(x / y) in the common dtype of x and y. Floats: as PyTorch, from the exact remainder; x / y where y is 0.

    Integers: Python's `//`; where y is 0 the result is 0.
    """
    x, y = tl.broadcast(x, y)
    if x.dtype.is_floating():
        a = x.to(tl.float64)
        b = y.to(tl.float64)
        r = fmod_exact(a, b)
        q = (a - r) / b
        q = tl.where((r != 0) & ((r < 0) != (b < 0)), q - 1, q)
        q = tl.where(q == 0, tl.where((a < 0) != (b < 0), q * 0.0, q), tl.floor(q + 0.5))
        return tl.where(b == 0, a / b, q).to(x.dtype)
    else:
        safe = tl.where(y == 0, 1, y)
        q = x // safe
        q = tl.where((q * safe != x) & ((x < 0) != (y < 0)), q - 1, q)
        return tl.where(y == 0, 0, q).to(x.dtype)


@triton.jit
def remainder(x, y):
    """x - floor(x / y) * y, with the sign of y, in the common dtype. Floats: NaN where y is 0; integers: 0 there."""
    x, y = tl.broadcast(x, y)
    if x.dtype.is_floating():
        a = x.to(tl.float64)
        b = y.to(tl.float64)
        r = fmod_exact(a, b)
        return tl.where((r != 0) & ((r < 0) != (b < 0)), r + b, r).to(x.dtype)
    else:
        safe = tl.where(y == 0, 1, y)
        r = x - (x // safe) * safe
        r = tl.where((r != 0) & ((r < 0) != (y < 0)), r + y, r)
        return tl.where(y == 0, 0, r).to(x.dtype)


@triton.jit
def pow(x, y):
    """x**y in the common dtype of x and y, with C's and PyTorch's special cases: x**0 and 1**y are 1 even for NaN,
    a negative base gives NaN unless y is integral.

    float32 goes through float64. ulp: 0.51 / 2 + |y log2(m)| for m in [0.7, 1.42], the significand of x.
    Integers: repeated squaring, wrapping; a negative exponent gives 0, but for the bases 1 and -1.
    """
    x, y = tl.broadcast(x, y)
    if x.dtype.is_floating():
        return pow_float(x.to(tl.float64), y.to(tl.float64)).to(x.dtype)
    else:
        return pow_int(x, y, x.dtype.primitive_bitwidth)


@triton.jit
def significand(size):
    """(e, m), both float64, such that size = 2**e m and m lies in [0.7, 1.42]; size float64, positive and finite."""
    subnormal = size < 2.2250738585072014e-308
    bits = tl.where(subnormal, size * 18014398509481984.0, size).to(tl.int64, bitcast=True)
    e = (bits >> 52) - tl.where(subnormal, 1077, 1023)
    m = ((bits & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000).to(tl.float64, bitcast=True)
    high = m > SQRT_2
    return tl.where(high, e + 1, e).to(tl.float64), tl.where(high, m * 0.5, m)


@triton.jit
def pow_float(x, y):
    """`pow` for float64.

    With |x| = 2**e m and m near 1, y log2(|x|) = y e + y log2(m); the first product is split so that its integral part
    is exact and goes into the exponent. Rounding y log2(|x|) as one number would cost as many ulp as it has units.
    """
    size = tl.abs(x)
    power = tl.minimum(tl.maximum(y, -1.1805916207174113e21), 1.1805916207174113e21)  # 2**70: settles any size != 1
    e, m = significand(size)
    y_high = (power.to(tl.int64, bitcast=True) & -2048).to(tl.float64, bitcast=True)  # 42 bits, and e has 11
    t = y_high * e
    n = tl.floor(t + 0.5)
    rest = (power - y_high) * e + power * tl.log2(m)
    carry = tl.floor(rest + 0.5)
    n = tl.minimum(tl.maximum(n + carry, -1200.0), 1200.0)
    half = tl.floor(n * 0.5)
    result = tl.exp2((t - tl.floor(t + 0.5)) + (rest - carry)) * exp2_int(half, x) * exp2_int(n - half, x)
    # 0 and infinity, as base or as exponent, then NaN and the sign.
    infinity = float("inf")
    grows = tl.where((size > 1) == (y > 0), infinity, 0.0)
    result = tl.where((size == 0) | (size == infinity) | (tl.abs(y) == infinity), grows, result)
    result = tl.where((x != x) | (y != y), x + y, tl.where(size == 1, 1.0, result))
    integral = tl.floor(y) == y
    odd = integral & (tl.floor(y * 0.5) * 2 != y)
    negative = x.to(tl.int64, bitcast=True) < 0
    result = tl.where(negative & odd, neg(result), result)
    undefined = (x < 0) & (size != infinity) & (y == y) & (integral == 0)
    result = tl.where(undefined, float("nan"), result)
    return tl.where((y == 0) | (x == 1), 1.0, result)


@triton.jit
def pow_int(x, y, BITS: tl.constexpr):
    """`pow` for integers: one squaring for each bit of the exponent."""
    base = x
    rest = tl.where(y < 0, 0, y).to(x.dtype)
    result = tl.full(base.shape, 1, x.dtype)
    for _ in range(BITS):
        result = tl.where((rest & 1) == 1, result * base, result).to(x.dtype)
        base = (base * base).to(x.dtype)
        rest = (rest >> 1).to(x.dtype)
    if x.dtype.is_int_signed():
        inverse = tl.where(x == 1, 1, tl.where(x == -1, 1 - 2 * (y & 1), 0))
        result = tl.where(y < 0, inverse, result).to(x.dtype)
    return result
