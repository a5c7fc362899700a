"""Elementwise functions: of one tensor, of several, of tensors and numbers."""

import numpy as np

from .row import EXACT, EXACTLY, INF, NAN, Op, Sample, Sampler, at, binary, given, named, op, shaped, unary
from .views import inplace

SPECIALS = at([0.0, -0.0, INF, -INF, NAN, 1.0, -1.0])
MEETINGS = at([1, 2, NAN, 3, 0.0], [1, 3, 1, NAN, 0.0])
HALVES = at([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.0, -0.0, INF, NAN])
TINY = at([1e-6, -1e-6, 1e-4])
SMALL = at([1e-6, -1e-6, 1e-4, 0.5, -0.5])
LARGE = at([20.5, -20.5, 88.9, -89.2])
HUGE = at([20.5, -20.5, 88.9, -89.2, 200.0, 1e30, -1e30])
AXES = at([0, 0, -0.0, 1, -1, INF, INF, -INF, 3, NAN, 1], [1, -1, -1, 0, -0.0, INF, -INF, -INF, INF, 1, NAN])
ORIGIN = at([0, 0, -0.0, -0.0, 1e-30], [0, -0.0, 0, -0.0, 1e-30])
SUMS = at([0, 1, INF, -INF, INF, NAN, 50, -3], [0, 1, INF, -INF, 2, 1, 2, -50])
PRODUCTS = at([0, 0, 0, 0, 1, 1, NAN, 0.5], [0, -1, -2, NAN, 0, -1, 1, INF])
QUOTIENTS = at([5, -5, 5, -5, 0, -3, -4, 1, 0.0, NAN], [3, 3, -3, -3, 2, 3, 2, INF, 0, 1])
SIGNS = at([0, -0.0, 1, -1, 2, NAN], [-1, 1, -0.0, 0, NAN, -1])
CLAMPED = (at([0.5, 0, 1, NAN]),)


def maps(names: str, sampler: Sampler, *boundary: Sample, integers: bool = True, **row: object) -> list[Op]:
    """A row for each function that is a method too, at chosen those of SPECIALS where none are given."""
    return [op(name, sampler, integers=integers, boundary=boundary or (SPECIALS,), **row) for name in names.split()]


ELEMENTWISE_FUNCTIONS = [
    *maps("neg abs sign sgn nan_to_num", unary(), tolerance=EXACT),
    *maps("exp", unary(-8, 8), SPECIALS, at([-100.0, 88.0, 100.0])),
    *maps("log sqrt", unary(0.01, 9)),
    *maps("log1p", unary(-0.9, 5), SPECIALS, TINY, integers=False),
    *maps("expm1", unary(-6, 6), SPECIALS, TINY, integers=False),
    *maps("rsqrt", unary(0.05, 9), integers=False),
    *maps("reciprocal", unary(0.2, 5)),
    *maps("sin cos", unary(-9, 9), integers=False),
    *maps("tan", unary(-1.4, 1.4), integers=False),
    *maps("tanh", unary(-4, 4), SPECIALS, at([1e-5, 30.0, -30.0]), integers=False),
    *maps("sigmoid", unary(-8, 8), SPECIALS, at([-100.0, 100.0, -30.0, 30.0])),
    *maps("relu", unary(), integers=False),
    *maps("square rad2deg", unary()),
    *maps("deg2rad", unary(-180, 180)),
    *maps("floor ceil round frac", unary(), HALVES, tolerance=EXACT),
    *maps("acos asin atanh", unary(-0.95, 0.95), SPECIALS, SMALL, twice=(SPECIALS,)),
    *maps("atan asinh", unary(-4, 4), SPECIALS, SMALL, HUGE),
    *maps("sinh cosh", unary(-4, 4), SPECIALS, SMALL, LARGE),
    *maps("acosh", unary(1.05, 9), SPECIALS, at([1e30, 1.0001, 1.5]), twice=(SPECIALS,)),
    *(op(name, unary(-0.9, 0.9)) for name in ("arccos", "arcsin", "arctanh")),
    *(op(name, unary(1.1, 3)) for name in ("arccosh", "arctan", "arcsinh")),
    *maps("exp2", unary(-8, 8), SPECIALS, at([-160.0, 127.5, 130.0, -127.5, 10.0])),
    *maps("log2", unary(0.01, 9), SPECIALS, at([8.0, 0.125, 1e-30, 1.0001])),
    *maps("log10", unary(0.01, 9), SPECIALS, at([1000.0, 0.001, 1e-30, 1.0001])),
    *maps("erf", unary(-3, 3), SPECIALS, SMALL, at([-6.0, 6.0, 27.0])),
    *maps("erfc", unary(-3, 3), SPECIALS, SMALL, at([-6.0, 6.0, 9.5, 27.0])),
    # not at -0, where PyTorch's two formulas differ in sign
    *maps("logit", unary(0.05, 0.95), at([0.0, 1.0, -1.0, INF, NAN, 0.5, 1e-6, 2.0]), integers=False),
    Op("logit eps", lambda T, x: T.logit(x, 0.2), unary(0.05, 0.95), boundary=(at([0.0, 1.0, -1.0, 0.5, NAN]),)),
    Op("logit of limits that cross", lambda T, x: T.logit(x, 0.75), unary(0.3, 0.7), order=1,
       boundary=(at([0.0, 1.0, 0.25, 0.75, 0.8, NAN]),)),
    *maps("signbit", unary(), order=0, tolerance=EXACT),
    op("positive", unary(), **EXACTLY),
    Op("nan_to_num of three", lambda T, x: T.nan_to_num(x, 1.5, 2.5, -0.25), unary(), tolerance=EXACT,
       boundary=(SPECIALS,)),
    Op("softplus", named("nn.functional.softplus"), unary(-8, 8), boundary=(at([0.0, 19.0, 21.0, -40.0, NAN]),)),
    op("clamp", unary(min=-1.0, max=0.75), **EXACTLY,
       boundary=(at([-1.0, 0.75, 2.0, -3.0, NAN, 0.0], min=-1.0, max=0.75),)),
    Op("clamp min", lambda T, x: T.clamp(x, min=0.5), unary(), tolerance=EXACT, boundary=CLAMPED),
    Op("clamp max", lambda T, x: x.clamp(max=0.5), unary(), tolerance=EXACT, boundary=CLAMPED),
    *maps("maximum minimum", binary(), MEETINGS, tolerance=EXACT),
    op("pow", binary(0.3, 2.0, -2.0, 2.0)),
    *maps("atan2", binary(), AXES, ORIGIN, twice=(AXES, ORIGIN)),
    *maps("hypot", binary(), AXES, ORIGIN, at([3.0, 1e30, 1e-30], [4.0, 1e30, 1e-30])),
    # above 0: below, the larger operand and what is added to it cancel
    *maps("logaddexp logaddexp2", binary(0.2, 3), SUMS),
    *maps("copysign", binary(), SIGNS, tolerance=EXACT),
    Op("copysign number", lambda T, x: T.copysign(x, -0.0), unary(), **EXACTLY),
    *maps("xlogy", binary(0.2, 3, 0.2, 3), PRODUCTS),
    Op("xlogy numbers", lambda T, x: T.xlogy(x, 2) + T.xlogy(2.5, x), unary(0.2, 3), integers=True),
    Op("xlog1py", named("special.xlog1py"), binary(0.2, 3, -0.8, 3), integers=True, boundary=(PRODUCTS,)),
    *maps("fmod", binary(low_b=0.5), QUOTIENTS, at([1e8, -1e-20, 7e12], [3, 3, -0.7])),
    Op("fmod number", lambda T, x: T.fmod(x, 0.75), unary(), integers=True),
    *(Op(f"div {way}", lambda T, x, y, way=way: T.div(x, y, rounding_mode=way), binary(low_b=0.5), **EXACTLY,
         boundary=(QUOTIENTS,)) for way in ("floor", "trunc")),
    op("float_power", binary(0.3, 2.0, -2.0, 2.0), integers=True),
    Op("float_power numbers", lambda T, x: T.float_power(x, 3) + T.float_power(2, x), unary(0.3, 2), integers=True),
    *maps("heaviside", binary(), SIGNS, order=0, tolerance=EXACT),
    *maps("isclose", binary(), at([1, 1, INF, INF, NAN, 0], [1.000001, 1.1, INF, -INF, NAN, 1e-9]), order=0,
          tolerance=EXACT),
    # broadcast beforehand, as PyTorch 2.11 does not do it right with equal_nan
    Op("isclose nan", lambda T, x, y: T.isclose(*T.broadcast_tensors(x, y), 0.5, 0.25, True), binary(), order=0,
       **EXACTLY, boundary=(at([1, 1, NAN, NAN], [1.5, 3, NAN, 1]),)),
    op("lerp", given(shaped((5, 7), (5, 7), (5, 7), terms=35), shaped((2, 3), (2, 1), (), terms=6),
                     shaped((), (), ()))),
    Op("lerp number", lambda T, x, y: T.lerp(x, y, 0.3) + T.lerp(x, y, 0.75), binary()),
    op("addcmul", given(shaped((5, 7), (5, 7), (7,), terms=35), shaped((), (3,), (2, 1), terms=6, value=-0.3)),
       integers=True),
    op("addcdiv", given(at([[1.0, 2.0], [3.0, 4.0]], [1.0, -2.0], [[4.0], [-0.5]], terms=4),
                        at(1.0, [2.0, 3.0], [-4.0, 0.75], value=0.7, terms=2)), integers=True),
    Op("fill", lambda T, x, y: T.fill(x, y), given(shaped((4, 3), (), terms=12)), tolerance=EXACT),
    Op("fill number", lambda T, x: T.fill(x, 2.5), unary(), **EXACTLY),
    Op("where", lambda T, c, a, b: T.where(c, a, b), tolerance=EXACT, sampler=lambda rng: [
        Sample((rng.random(c) < 0.5, rng.standard_normal(a), np.asarray(rng.standard_normal(b))))
        for c, a, b in (((5, 7), (5, 7), (5, 7)), ((4, 1, 1), (3, 1), (2,)), ((0, 2), (1, 2), ()))]),
    Op("where scalar", lambda T, c, a: T.where(c, a, 0.5), tolerance=EXACT,
       sampler=lambda rng: [Sample((rng.random((5, 7)) < 0.5, rng.standard_normal((5, 7))))]),
    Op("map over views", lambda T, x, y, z: (x.t() + y[::2]) * z.unsqueeze(0).expand(5, 4) - x.flip(0).t().exp(),
       given(shaped((4, 5), (10, 4), (4,), terms=5))),
    inplace("atan_", lambda T, x, y: x.atan_()),
    inplace("fmod_", lambda T, x, y: x.fmod_(y)),
    inplace("lerp_", lambda T, x, y: x.lerp_(y, 0.3)),
    inplace("addcmul_", lambda T, x, y: x.addcmul_(y, y, value=2)),
    inplace("addcdiv_", lambda T, x, y: x.addcdiv_(y, y.exp(), value=0.3)),
]
