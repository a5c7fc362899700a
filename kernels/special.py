"""Device functions of angles, signs, logarithms and the error function, elementwise on float32 and float64 tiles.

As in `math`, which offers these names too; "ulp" is measured the same way, by the same test.

From NEAR on `erfc` is W. J. Cody's: Rational Chebyshev approximations for the error function, Mathematics of
Computation 23 (1969), with the coefficients of his program CALERF, highest power first; their error is below 1e-16.
"""

import triton
import triton.language as tl

from .arithmetic import div, neg, significand

HALF_PI = tl.constexpr(1.5707963267948966)
LOG10_2_HIGH = tl.constexpr(0.30102999566361177)        # 40 bits, so that its product with an exponent is exact
LOG10_2_REST = tl.constexpr(3.694239077158931e-13)
LOG10_E = tl.constexpr(0.4342944819032518)
NEAR, FAR = tl.constexpr(0.46875), tl.constexpr(4.0)
INVERSE_SQRT_PI = tl.constexpr(0.5641895835477563)

# erfc(x) / exp(-x^2) from NEAR to FAR
MIDDLE_OVER = tl.constexpr((2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
                            2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
                            1.23033935479799725e3))
MIDDLE_UNDER = tl.constexpr((1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
                             1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
                             1.23033935480374942e3))
# and beyond, at z = 1 / x^2: (1 / sqrt(pi) - z R(z)) / x
FAR_OVER = tl.constexpr((1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
                         1.60837851487422766e-2, 6.58749161529837803e-4))
FAR_UNDER = tl.constexpr((1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1, 6.05183413124413191e-2,
                          2.33520497626869185e-3))


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


@triton.jit
def polynomial(z, COEFFICIENTS: tl.constexpr, COUNT: tl.constexpr):
    """Horner's rule, the highest power first."""
    total = z * COEFFICIENTS[0] + COEFFICIENTS[1]
    for i in tl.static_range(2, COUNT):
        total = total * z + COEFFICIENTS[i]
    return total


@triton.jit
def erf(x):
    """The error function: CUDA's and ROCm's own, the interpreter's being the C library's. ulp: 1 / 1."""
    return tl.erf(x)


@triton.jit
def erfc(x):
    """1 - erf(x) with relative accuracy in the tail; float32 is computed in float64. ulp: 0.51 / 6.

    exp(-x^2) is taken in two factors, the first of a number whose square is exact, as in his program.
    """
    wide = x.to(tl.float64)
    size = tl.where(tl.abs(wide) > 30, 30.0, tl.abs(wide))          # it is 0 from 27 on
    near = size <= NEAR
    far = size > FAR
    z = tl.where(far, 1 / (size * size), size)
    over = tl.where(far, polynomial(z, FAR_OVER, 6), polynomial(z, MIDDLE_OVER, 9))
    under = tl.where(far, polynomial(z, FAR_UNDER, 6), polynomial(z, MIDDLE_UNDER, 9))
    ratio = over / under
    coarse = tl.floor(size * 16) * 0.0625
    decay = tl.exp(-coarse * coarse) * tl.exp(-(size - coarse) * (size + coarse))
    tail = decay * tl.where(far, (z * -ratio + INVERSE_SQRT_PI) / size, ratio)
    y = tl.where(near, 1 - tl.erf(size), tail)
    return tl.where(wide < 0, 2 - y, y).to(x.dtype)
