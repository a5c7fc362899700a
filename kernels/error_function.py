"""The error function and its complement, elementwise on float32 and float64 tiles; `math` offers them too.

From NEAR on the complement is W. J. Cody's: Rational Chebyshev approximations for the error function, Mathematics of
Computation 23 (1969), with the coefficients of his program CALERF, highest power first; their error is below 1e-16.
"""

import triton
import triton.language as tl

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
