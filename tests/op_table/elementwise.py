"""Elementwise functions."""

import numpy as np

from tests.op_table.row import EXACT, INF, NAN, Op, Sample, array, binary, given, named, op, points, shaped, unary

SPECIALS = points([0.0, -0.0, INF, -INF, NAN, 1.0, -1.0])
MEETINGS = points([1, 2, NAN, 3, 0.0], [1, 3, 1, NAN, 0.0])
HALVES = points([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.0, -0.0, INF, NAN])

ELEMENTWISE_FUNCTIONS = [
    op("neg", unary(), tolerance=EXACT, integers=True, boundary=(SPECIALS,)),
    op("abs", unary(), tolerance=EXACT, integers=True, boundary=(SPECIALS,)),
    op("exp", unary(-8, 8), integers=True, boundary=(SPECIALS, points([-100.0, 88.0, 100.0]))),
    op("log", unary(0.01, 9), integers=True, boundary=(SPECIALS,)),
    op("log1p", unary(-0.9, 5), boundary=(SPECIALS, points([1e-6, -1e-6, 1e-4]))),
    op("expm1", unary(-6, 6), boundary=(SPECIALS, points([1e-6, -1e-6, 1e-4]))),
    op("sqrt", unary(0.01, 9), integers=True, boundary=(SPECIALS,)),
    op("rsqrt", unary(0.05, 9), boundary=(SPECIALS,)),
    op("reciprocal", unary(0.2, 5), integers=True, boundary=(SPECIALS,)),
    op("sin", unary(-9, 9), boundary=(SPECIALS,)),
    op("cos", unary(-9, 9), boundary=(SPECIALS,)),
    op("tan", unary(-1.4, 1.4), boundary=(SPECIALS,)),
    op("tanh", unary(-4, 4), boundary=(SPECIALS, points([1e-5, 30.0, -30.0]))),
    op("sigmoid", unary(-8, 8), integers=True, boundary=(SPECIALS, points([-100.0, 100.0, -30.0, 30.0]))),
    op("relu", unary(), boundary=(SPECIALS,)),
    op("square", unary(), integers=True, boundary=(SPECIALS,)),
    op("sign", unary(), tolerance=EXACT, integers=True, boundary=(SPECIALS,)),
    op("floor", unary(), tolerance=EXACT, integers=True, boundary=(HALVES,)),
    op("ceil", unary(), tolerance=EXACT, integers=True, boundary=(HALVES,)),
    op("round", unary(), tolerance=EXACT, integers=True, boundary=(HALVES,)),
    Op("softplus", named("nn.functional.softplus"), unary(-8, 8), boundary=(points([0.0, 19.0, 21.0, -40.0, NAN]),)),
    op("clamp", unary(min=-1.0, max=0.75), tolerance=EXACT, integers=True,
       boundary=(Sample((array([-1.0, 0.75, 2.0, -3.0, NAN, 0.0]),), {"min": -1.0, "max": 0.75}),)),
    Op("clamp min", lambda T, x: T.clamp(x, min=0.5), unary(), tolerance=EXACT, boundary=(points([0.5, 0, 1, NAN]),)),
    Op("clamp max", lambda T, x: x.clamp(max=0.5), unary(), tolerance=EXACT, boundary=(points([0.5, 0, 1, NAN]),)),
    op("maximum", binary(), tolerance=EXACT, integers=True, boundary=(MEETINGS,)),
    op("minimum", binary(), tolerance=EXACT, integers=True, boundary=(MEETINGS,)),
    op("pow", binary(0.3, 2.0, -2.0, 2.0)),
    Op("where", lambda T, c, a, b: T.where(c, a, b), tolerance=EXACT, sampler=lambda rng: [
        Sample((rng.random(c) < 0.5, rng.standard_normal(a), np.asarray(rng.standard_normal(b))))
        for c, a, b in (((5, 7), (5, 7), (5, 7)), ((4, 1, 1), (3, 1), (2,)), ((0, 2), (1, 2), ()))]),
    Op("where scalar", lambda T, c, a: T.where(c, a, 0.5), tolerance=EXACT,
       sampler=lambda rng: [Sample((rng.random((5, 7)) < 0.5, rng.standard_normal((5, 7))))]),
    Op("map over views", lambda T, x, y, z: (x.t() + y[::2]) * z.unsqueeze(0).expand(5, 4) - x.flip(0).t().exp(),
       given(shaped((4, 5), (10, 4), (4,), terms=5))),
]  # fmt: skip
