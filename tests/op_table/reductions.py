"""Reductions."""

import numpy as np
from numpy.random import Generator

from .row import EXACT, EXACTLY, INF, NAN, REDUCTION, Op, Sample, array, at, given, named, op, reduced, shaped

ONE_DIM = (None, 0, -1, 2)


def factors(rng: Generator) -> list[Sample]:
    """What `reduced` gives, with values whose product of 60 neither overflows nor vanishes in float16."""
    return [at(rng.choice([-1, 1], (shape := s.arrays[0].shape)) * rng.uniform(0.8, 1.25, shape), terms=60,
               **s.attributes) for s in reduced(dims=ONE_DIM)(rng)]


TIES = array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [NAN, 1.0, 5.0], [-INF, -INF, 0.0]])
NOTHING = array([[-INF, -INF, -INF], [-INF, 0.0, 1.0]])
ZEROS = array([[2.0, 3.0, 4.0], [2.0, 0.0, 4.0], [0.0, 3.0, 0.0]])

REDUCTIONS = [
    op("sum", reduced(), tolerance=REDUCTION, integers=True),
    op("mean", reduced(), tolerance=REDUCTION),
    op("var", reduced(dims=(None, 0, -1, (0, 2)), degenerate=False), tolerance=REDUCTION),
    Op("var correction", named("var"), reduced(dims=(None, 1), degenerate=False, correction=0), tolerance=REDUCTION,
       boundary=tuple(at(ZEROS, dim=1, correction=n) for n in (2.5, 3, 4)), twice=(
           at(ZEROS[:, :1], dim=1), at(ZEROS, dim=1, correction=4))),
    op("std", reduced(dims=(None, 0, -1, (0, 2)), degenerate=False), tolerance=REDUCTION,
       boundary=(at(ZEROS[:, :1], dim=1), at(ZEROS[:1] * 0, dim=1))),
    Op("std unbiased", named("std"), reduced(dims=(1, -1), degenerate=False, unbiased=False), tolerance=REDUCTION),
    *(op(name, reduced(dims=ONE_DIM), **EXACTLY,
         boundary=(at(TIES, dim=1), at(TIES[:2]), at(TIES[:2].T, dim=0)))
      for name in ("max", "min")),
    *(op(name, reduced(dims=(0, -1, (0, 2), (-1, -2))), **EXACTLY,
         boundary=(at(TIES[[0, 1, 3]], dim=1), at(TIES[:2], dim=(0, 1))))
      for name in ("amax", "amin")),
    *(Op(f"{name} of NaN", named(name), given(at(TIES, dim=1), at(TIES, dim=(0, 1))), order=0, tolerance=EXACT)
      for name in ("amax", "amin")),
    *(op(name, reduced(dims=ONE_DIM), order=0, tolerance=EXACT, boundary=(at(TIES, dim=1),))
      for name in ("argmax", "argmin")),
    op("prod", factors, tolerance=REDUCTION, integers=True,
       boundary=(at(ZEROS, dim=1), at(ZEROS[:2]), at(ZEROS[:1]))),
    *(op(name, lambda rng: [at(np.round(s.arrays[0] / 3), **s.attributes) for s in reduced(dims=ONE_DIM)(rng)],
         order=0, **EXACTLY, boundary=(at(TIES),))
      for name in ("any", "all")),
    op("logsumexp", reduced(dims=(0, -1, (0, 2))), tolerance=REDUCTION,
       boundary=(at([[1000.0, 1000.0], [-INF, 0.0], [NAN, 1.0], [-INF, -INF]], dim=1),),
       twice=(at(NOTHING[:, :2], dim=1),)),
    *(op(name, given(shaped((4, 9), dim=1), shaped((4, 9), dim=0), shaped((2, 3, 5), dim=-2), shaped((0, 3), dim=1),
                     shaped((), dim=0)), tolerance=REDUCTION,
         boundary=(at([[1000.0, 1000.0, 0.0], [-INF, 0.0, 1.0], [NAN, 1.0, 2.0]], dim=1),),
         twice=(at(NOTHING, dim=1), at(NOTHING[:1], dim=0)))
      for name in ("softmax", "log_softmax")),
]
