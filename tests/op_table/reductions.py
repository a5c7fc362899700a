"""Reductions."""

import numpy as np
from numpy.random import Generator

from tests.op_table.row import EXACT, INF, NAN, REDUCTION, Op, Sample, array, given, named, op, reduced, shaped

ONE_DIM = (None, 0, -1, 2)


def factors(rng: Generator) -> list[Sample]:
    """What `reduced` gives, with values whose product of 60 neither overflows nor vanishes in float16."""
    return [
        Sample((np.asarray(rng.choice([-1, 1], values.shape) * rng.uniform(0.8, 1.25, values.shape)),), attributes, 60)
        for values, attributes in ((s.arrays[0], s.attributes) for s in reduced(dims=ONE_DIM)(rng))
    ]


TIES = array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [NAN, 1.0, 5.0], [-INF, -INF, 0.0]])
NOTHING = array([[-INF, -INF, -INF], [-INF, 0.0, 1.0]])
ZEROS = array([[2.0, 3.0, 4.0], [2.0, 0.0, 4.0], [0.0, 3.0, 0.0]])

REDUCTIONS = [
    op("sum", reduced(), tolerance=REDUCTION, integers=True),
    op("mean", reduced(), tolerance=REDUCTION),
    op("var", reduced(dims=(None, 0, -1, (0, 2)), degenerate=False), tolerance=REDUCTION),
    Op("var correction", named("var"), reduced(dims=(None, 1), degenerate=False, correction=0), tolerance=REDUCTION,
       boundary=tuple(Sample((ZEROS,), {"dim": 1, "correction": n}) for n in (2.5, 3, 4)), twice=(
           Sample((ZEROS[:, :1],), {"dim": 1}), Sample((ZEROS,), {"dim": 1, "correction": 4}))),
    op("std", reduced(dims=(None, 0, -1, (0, 2)), degenerate=False), tolerance=REDUCTION,
       boundary=(Sample((ZEROS[:, :1],), {"dim": 1}), Sample((ZEROS[:1] * 0,), {"dim": 1}))),
    Op("std unbiased", named("std"), reduced(dims=(1, -1), degenerate=False, unbiased=False), tolerance=REDUCTION),
    *(
        op(name, reduced(dims=ONE_DIM), tolerance=EXACT, integers=True,
           boundary=(Sample((TIES,), {"dim": 1}), Sample((TIES[:2],)), Sample((TIES[:2].T,), {"dim": 0})))
        for name in ("max", "min")
    ),
    *(
        op(name, reduced(dims=(0, -1, (0, 2), (-1, -2))), tolerance=EXACT, integers=True,
           boundary=(Sample((TIES[[0, 1, 3]],), {"dim": 1}), Sample((TIES[:2],), {"dim": (0, 1)})))
        for name in ("amax", "amin")
    ),
    *(
        Op(f"{name} of NaN", named(name), given(Sample((TIES,), {"dim": 1}), Sample((TIES,), {"dim": (0, 1)})), order=0,
           tolerance=EXACT)
        for name in ("amax", "amin")
    ),
    *(
        op(name, reduced(dims=ONE_DIM), order=0, tolerance=EXACT, boundary=(Sample((TIES,), {"dim": 1}),))
        for name in ("argmax", "argmin")
    ),
    op("prod", factors, tolerance=REDUCTION, integers=True,
       boundary=(Sample((ZEROS,), {"dim": 1}), Sample((ZEROS[:2],)), Sample((ZEROS[:1],)))),
    *(
        op(name, lambda rng: [Sample((np.round(s.arrays[0] / 3),), s.attributes) for s in reduced(dims=ONE_DIM)(rng)],
           order=0, integers=True, tolerance=EXACT, boundary=(Sample((TIES,)),))
        for name in ("any", "all")
    ),
    op("logsumexp", reduced(dims=(0, -1, (0, 2))), tolerance=REDUCTION,
       boundary=(Sample((array([[1000.0, 1000.0], [-INF, 0.0], [NAN, 1.0], [-INF, -INF]]),), {"dim": 1}),),
       twice=(Sample((NOTHING[:, :2],), {"dim": 1}),)),
    *(
        op(name, given(shaped((4, 9), dim=1), shaped((4, 9), dim=0), shaped((2, 3, 5), dim=-2), shaped((0, 3), dim=1),
                       shaped((), dim=0)), tolerance=REDUCTION,
           boundary=(Sample((array([[1000.0, 1000.0, 0.0], [-INF, 0.0, 1.0], [NAN, 1.0, 2.0]]),), {"dim": 1}),),
           twice=(Sample((NOTHING,), {"dim": 1}), Sample((NOTHING[:1],), {"dim": 0})))
        for name in ("softmax", "log_softmax")
    ),
]  # fmt: skip
