"""Scalar device functions that emitted expressions call, elementwise on float32 and float64 tiles.

Operands are tensors of one dtype (not Python numbers), broadcast against each other; float16 and bfloat16 arrive as
float32 and are rounded on store. Everything is made of `tl` operations that run interpreted and compiled, on NVIDIA and
AMD alike; `libdevice` does not exist in the interpreter. The hardware's fast forms are avoided where they lose digits:
on NVIDIA `tl.exp` on float32 errs by about 1.2 |x| ulp, `/` is `div.full`, `tl.sqrt` is `sqrt.approx`, and `tl.log`
takes subnormal numbers for 0.

"ulp" in a docstring is the largest error in the interpreter, as float32 / float64, measured against NumPy's float64 and
longdouble by `tests/test_kernels.py`, which holds them to it. Reduced arguments and scaled powers of two follow W. Cody
and W. Waite, Software Manual for the Elementary Functions (1980).
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
SQRT_2 = tl.constexpr(1.4142135623730951)


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
def rsqrt(x):
    """1 / sqrt(x); inf at 0. ulp: 1.5 / 1.5."""
    return reciprocal(sqrt(x))


@triton.jit
def exp2_int(n, like):
    """2**n in the dtype of `like` for integral floats n, from its exponent field; -126 <= n <= 127 (-1022, 1023)."""
    if like.dtype == tl.float32:
        return ((n.to(tl.int32) + 127) << 23).to(tl.float32, bitcast=True)
    else:
        return ((n.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)


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
    """e**x. ulp: 1 / 1."""
    if x.dtype == tl.float32:
        # Beyond these bounds the result is 0 or inf; inside them each half of the scale is a normal number.
        n, p = expm1_reduced(tl.minimum(tl.maximum(x, -104.0), 89.0))
        half = tl.floor(n * 0.5)
        y = ((1 + p) * exp2_int(half, x)) * exp2_int(n - half, x)
        return tl.where(x != x, x, y)
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
    if x.dtype == tl.float32:
        subnormal = x < 1.1754943508222875e-38
        return tl.log(tl.where(subnormal, x * 16777216.0, x)) - tl.where(subnormal, 16.635532333438686, 0.0)
    else:
        return tl.log(x)


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
    """Sine of x in radians. ulp: 1.5 / 1."""
    return tl.sin(x)


@triton.jit
def cos(x):
    """Cosine of x in radians. ulp: 1.5 / 1."""
    return tl.cos(x)


@triton.jit
def tan(x):
    """Tangent of x in radians. ulp: 3 / 3."""
    return div(tl.sin(x), tl.cos(x))


@triton.jit
def erf(x):
    """The error function."""
    return tl.erf(x)


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
    return tl.where(tl.abs(x) < magic, tl.where(x < 0, neg(y), y), x)


@triton.jit
def sign(x):
    """-1, 0 or 1 in the dtype of x; 0 for NaN, as in PyTorch."""
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


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
    else:
        return ~x


@triton.jit
def clamp(x, low, high):
    """min(max(x, low), high): high where low > high, NaN where x is."""
    return minimum(maximum(x, low), high)


@triton.jit
def fmod_exact(x, y):
    """x - trunc(x / y) * y for float64, exact while |x / y| < 2**53: the product's rounding error is recovered.

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
    if x.dtype.is_floating():
        return pow_float(x.to(tl.float64), y.to(tl.float64)).to(x.dtype)
    else:
        return pow_int(x, y, x.dtype.primitive_bitwidth)


@triton.jit
def pow_float(x, y):
    """`pow` for float64.

    With |x| = 2**e m and m near 1, y log2(|x|) = y e + y log2(m); the first product is split so that its integral part
    is exact and goes into the exponent. Rounding y log2(|x|) as one number would cost as many ulp as it has units.
    """
    size = tl.abs(x)
    power = tl.minimum(tl.maximum(y, -1.1805916207174113e21), 1.1805916207174113e21)  # 2**70: settles any size != 1
    subnormal = size < 2.2250738585072014e-308
    bits = tl.where(subnormal, size * 18014398509481984.0, size).to(tl.int64, bitcast=True)
    e = (bits >> 52) - tl.where(subnormal, 1077, 1023)
    m = ((bits & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000).to(tl.float64, bitcast=True)
    high = m > SQRT_2
    m = tl.where(high, m * 0.5, m)
    e = tl.where(high, e + 1, e).to(tl.float64)
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
    base, rest = tl.broadcast(x, tl.where(y < 0, 0, y).to(x.dtype))
    result = tl.full(base.shape, 1, x.dtype)
    for _ in range(BITS):
        result = tl.where((rest & 1) == 1, result * base, result).to(x.dtype)
        base = (base * base).to(x.dtype)
        rest = (rest >> 1).to(x.dtype)
    if x.dtype.is_int_signed():
        inverse = tl.where(x == 1, 1, tl.where(x == -1, 1 - 2 * (y & 1), 0))
        result = tl.where(y < 0, inverse, result).to(x.dtype)
    return result
