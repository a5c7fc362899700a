"""Further elementwise functions: angles, hyperbolics, logarithms, the error function, signs and blends."""

from tests.op_table.elementwise import HALVES, SPECIALS
from tests.op_table.inplace import inplace
from tests.op_table.row import EXACT, INF, NAN, Op, Sample, array, binary, given, named, op, points, shaped, unary

SMALL = points([1e-6, -1e-6, 1e-4, 0.5, -0.5])
LARGE = points([20.5, -20.5, 88.9, -89.2, 200.0, 1e30, -1e30])
AXES = points([0, 0, -0.0, 1, -1, INF, INF, -INF, 3, NAN, 1], [1, -1, -1, 0, -0.0, INF, -INF, -INF, INF, 1, NAN])
ORIGIN = points([0, 0, -0.0, -0.0, 1e-30], [0, -0.0, 0, -0.0, 1e-30])
SUMS = points([0, 1, INF, -INF, INF, NAN, 50, -3], [0, 1, INF, -INF, 2, 1, 2, -50])
PRODUCTS = points([0, 0, 0, 0, 1, 1, NAN, 0.5], [0, -1, -2, NAN, 0, -1, 1, INF])
QUOTIENTS = points([5, -5, 5, -5, 0, -3, -4, 1, 0.0, NAN], [3, 3, -3, -3, 2, 3, 2, INF, 0, 1])
SIGNS = points([0, -0.0, 1, -1, 2, NAN], [-1, 1, -0.0, 0, NAN, -1])

SPECIAL_FUNCTIONS = [
    *(op(name, unary(-0.95, 0.95), integers=True, boundary=(SPECIALS, SMALL), twice=(SPECIALS,))
      for name in ("acos", "asin", "atanh")),
    *(op(name, unary(-4, 4), integers=True, boundary=(SPECIALS, SMALL, LARGE)) for name in ("atan", "asinh")),
    *(op(name, unary(-4, 4), integers=True, boundary=(SPECIALS, SMALL, points([20.5, -20.5, 88.9, -89.2])))
      for name in ("sinh", "cosh")),
    op("acosh", unary(1.05, 9), integers=True, boundary=(SPECIALS, points([1e30, 1.0001, 1.5])),
       twice=(SPECIALS,)),
    *(Op(name, named(name), unary(-0.9, 0.9), method=name) for name in ("arccos", "arcsin", "arctanh")),
    *(Op(name, named(name), unary(1.1, 3), method=name) for name in ("arccosh", "arctan", "arcsinh")),
    op("exp2", unary(-8, 8), integers=True, boundary=(SPECIALS, points([-160.0, 127.5, 130.0, -127.5, 10.0]))),
    op("log2", unary(0.01, 9), integers=True, boundary=(SPECIALS, points([8.0, 0.125, 1e-30, 1.0001]))),
    op("log10", unary(0.01, 9), integers=True, boundary=(SPECIALS, points([1000.0, 0.001, 1e-30, 1.0001]))),
    op("erf", unary(-3, 3), integers=True, boundary=(SPECIALS, SMALL, points([-6.0, 6.0, 27.0]))),
    op("erfc", unary(-3, 3), integers=True, boundary=(SPECIALS, SMALL, points([-6.0, 6.0, 9.5, 27.0]))),
    op("deg2rad", unary(-180, 180), integers=True, boundary=(SPECIALS,)),
    op("rad2deg", unary(), integers=True, boundary=(SPECIALS,)),
    # not at -0, where PyTorch's two formulas differ in sign
    op("logit", unary(0.05, 0.95), boundary=(points([0.0, 1.0, -1.0, INF, NAN, 0.5, 1e-6, 2.0]),)),
    Op("logit eps", lambda T, x: T.logit(x, 0.2), unary(0.05, 0.95), boundary=(points([0.0, 1.0, -1.0, 0.5, NAN]),)),
    Op("logit of limits that cross", lambda T, x: T.logit(x, 0.75), unary(0.3, 0.7), order=1,
       boundary=(points([0.0, 1.0, 0.25, 0.75, 0.8, NAN]),)),
    op("frac", unary(), tolerance=EXACT, integers=True, boundary=(HALVES,)),
    op("sgn", unary(), tolerance=EXACT, integers=True, boundary=(SPECIALS,)),
    op("signbit", unary(), order=0, tolerance=EXACT, integers=True, boundary=(SPECIALS,)),
    op("positive", unary(), tolerance=EXACT, integers=True),
    op("nan_to_num", unary(), tolerance=EXACT, integers=True, boundary=(SPECIALS,)),
    Op("nan_to_num of three", lambda T, x: T.nan_to_num(x, 1.5, 2.5, -0.25), unary(), tolerance=EXACT,
       boundary=(SPECIALS,)),
    op("atan2", binary(), integers=True, boundary=(AXES, ORIGIN), twice=(AXES, ORIGIN)),
    op("hypot", binary(), integers=True, boundary=(AXES, ORIGIN, points([3.0, 1e30, 1e-30], [4.0, 1e30, 1e-30]))),
    # above 0: below, the larger operand and what is added to it cancel
    op("logaddexp", binary(0.2, 3), integers=True, boundary=(SUMS,)),
    op("logaddexp2", binary(0.2, 3), integers=True, boundary=(SUMS,)),
    op("copysign", binary(), integers=True, tolerance=EXACT, boundary=(SIGNS,)),
    Op("copysign number", lambda T, x: T.copysign(x, -0.0), unary(), tolerance=EXACT, integers=True),
    op("xlogy", binary(0.2, 3, 0.2, 3), integers=True, boundary=(PRODUCTS,)),
    Op("xlogy numbers", lambda T, x: T.xlogy(x, 2) + T.xlogy(2.5, x), unary(0.2, 3), integers=True),
    Op("xlog1py", named("special.xlog1py"), binary(0.2, 3, -0.8, 3), integers=True, boundary=(PRODUCTS,)),
    op("fmod", binary(low_b=0.5), integers=True, boundary=(QUOTIENTS, points([1e8, -1e-20, 7e12], [3, 3, -0.7]))),
    Op("fmod number", lambda T, x: T.fmod(x, 0.75), unary(), integers=True),
    Op("div floor", lambda T, x, y: T.div(x, y, rounding_mode="floor"), binary(low_b=0.5), integers=True,
       tolerance=EXACT, boundary=(QUOTIENTS,)),
    Op("div trunc", lambda T, x, y: T.div(x, y, rounding_mode="trunc"), binary(low_b=0.5), integers=True,
       tolerance=EXACT, boundary=(QUOTIENTS,)),
    op("float_power", binary(0.3, 2.0, -2.0, 2.0), integers=True),
    Op("float_power numbers", lambda T, x: T.float_power(x, 3) + T.float_power(2, x), unary(0.3, 2), integers=True),
    op("heaviside", binary(), order=0, tolerance=EXACT, integers=True, boundary=(SIGNS,)),
    op("isclose", binary(), order=0, tolerance=EXACT, integers=True,
       boundary=(points([1, 1, INF, INF, NAN, 0], [1.000001, 1.1, INF, -INF, NAN, 1e-9]),)),
    # broadcast beforehand, as PyTorch 2.11 does not do it right with equal_nan
    Op("isclose nan", lambda T, x, y: T.isclose(*T.broadcast_tensors(x, y), 0.5, 0.25, True), binary(), order=0,
       tolerance=EXACT, integers=True, boundary=(points([1, 1, NAN, NAN], [1.5, 3, NAN, 1]),)),
    op("lerp", given(shaped((5, 7), (5, 7), (5, 7), terms=35), shaped((2, 3), (2, 1), (), terms=6),
                     shaped((), (), ()))),
    Op("lerp number", lambda T, x, y: T.lerp(x, y, 0.3) + T.lerp(x, y, 0.75), binary()),
    op("addcmul", given(shaped((5, 7), (5, 7), (7,), terms=35), shaped((), (3,), (2, 1), terms=6, value=-0.3)),
       integers=True),
    op("addcdiv", given(Sample((array([[1.0, 2.0], [3.0, 4.0]]), array([1.0, -2.0]), array([[4.0], [-0.5]])), terms=4),
                        Sample((array(1.0), array([2.0, 3.0]), array([-4.0, 0.75])), {"value": 0.7}, terms=2)),
       integers=True),
    Op("fill", lambda T, x, y: T.fill(x, y), given(shaped((4, 3), (), terms=12)), tolerance=EXACT),
    Op("fill number", lambda T, x: T.fill(x, 2.5), unary(), tolerance=EXACT, integers=True),
    inplace("atan_", lambda T, x, y: x.atan_()),
    inplace("fmod_", lambda T, x, y: x.fmod_(y)),
    inplace("lerp_", lambda T, x, y: x.lerp_(y, 0.3)),
    inplace("addcmul_", lambda T, x, y: x.addcmul_(y, y, value=2)),
    inplace("addcdiv_", lambda T, x, y: x.addcdiv_(y, y.exp(), value=0.3)),
]  # fmt: skip
