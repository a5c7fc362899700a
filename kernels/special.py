"""Device functions of angles, signs and logarithms, elementwise on float32 and float64 tiles.

As in `math`, which offers these names too; "ulp" is measured the same way, by the same test.
"""

import triton
import triton.language as tl

from .arithmetic import div, neg, significand

HALF_PI = tl.constexpr(1.5707963267948966)
LOG10_2_HIGH = tl.constexpr(0.30102999566361177)        # 40 bits, so that its product with an exponent is exact
LOG10_2_REST = tl.constexpr(3.694239077158931e-13)
LOG10_E = tl.constexpr(0.4342944819032518)


@triton.jit
def signbit(x):
    """Whether the sign bit of x is set: below 0, but also for -0 and for NaN with a minus."""
    if x.dtype == tl.float32:
        return x.to(tl.int32, bitcast=True) < 0
    elif x.dtype == tl.float64:
        return x.to(tl.int64, bitcast=True) < 0
    else:
        return x < 0


@triton.jit
def log2(x):
    """Logarithm to base 2, exact at its powers; float32 is computed in float64. ulp: 0.51 / 1."""
    return tl.log2(x.to(tl.float64)).to(x.dtype)


@triton.jit
def log10(x):
    """Logarithm to base 10, exact at its powers; float32 is computed in float64. ulp: 0.51 / 2.

    The exponent's part is exact, and what is left is small: as in K. C. Ng's log10 of fdlibm (1993).
    """
    wide = x.to(tl.float64)
    e, m = significand(wide)
    y = e * LOG10_2_HIGH + (e * LOG10_2_REST + tl.log(m) * LOG10_E)
    y = tl.where(wide == float("inf"), wide, tl.where(wide == 0, float("-inf"), y))
    return tl.where(wide >= 0, y, float("nan")).to(x.dtype)


@triton.jit
def atan2(y, x):
    """The angle of the point (x, y), in (-pi, pi] but for -pi where y is -0; zeros and infinities as in C.
    ulp: 2 / 2.

    With b the larger and a the smaller of |x| and |y|, and c the quarter nearest to a / b, the angle atan(a / b) is
    atan(c) + atan(t), t = (a - c b) / (b + c a), and |t| <= 1/8 leaves a short Taylor series.
    """
    y, x = tl.broadcast(y, x)
    steep = tl.abs(y) > tl.abs(x)
    b = tl.where(steep, tl.abs(y), tl.abs(x))
    a = tl.where(steep, tl.abs(x), tl.abs(y))
    a = tl.where(b == float("inf"), tl.where(a == b, 1.0, 0.0), a)
    b = tl.where((b == float("inf")) | (b == 0), 1.0, b)
    scale = tl.where(b > 1e30, 0.0625, tl.where(b < 1e-30, 16777216.0, 1.0)).to(x.dtype)
    a = a * scale
    b = b * scale
    quarters = ((8 * a >= b).to(x.dtype) + (8 * a >= 3 * b).to(x.dtype)
                + (8 * a >= 5 * b).to(x.dtype) + (8 * a >= 7 * b).to(x.dtype))
    c = quarters * 0.25
    t = div(a - c * b, b + c * a)
    z = t * t
    if x.dtype == tl.float32:
        p = 1 / 5 - z * (1 / 7 - z * (1 / 9))
    else:
        p = 1 / 13 - z * (1 / 15 - z * (1 / 17 - z * (1 / 19)))
        p = 1 / 5 - z * (1 / 7 - z * (1 / 9 - z * (1 / 11 - z * p)))
    rest = -t * z * (1 / 3 - z * p)
    at_c = tl.where(c == 1, 0.7853981633974483, c * 0)          # beside a tensor a number has the tensor's dtype
    at_c = tl.where(c == 0.25, 0.24497866312686414, tl.where(c == 0.5, 0.4636476090008061, tl.where(
        c == 0.75, 0.6435011087932844, at_c)))
    angle = at_c + (t + rest)
    angle = tl.where(steep, neg(angle) + HALF_PI, angle)
    angle = tl.where(signbit(x), neg(angle) + 2 * HALF_PI, angle)
    angle = tl.where(signbit(y), neg(angle), angle)
    return tl.where((x != x) | (y != y), x + y, angle)
