"""Scans, sorting, and elements picked, replaced or added at indices along one axis."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

from .row import EXACT, EXACTLY, INF, NAN, REDUCTION, Op, Sample, at, distinct, given, named, normal, op, quiet, shaped


def ordered(**attributes: Any) -> Callable[[Generator], list[Sample]]:
    """Distinct values along each axis of three; a 0-d tensor; an axis of no elements beside one that has some."""
    point = attributes | {"dim": 0} | ({"k": 1} if "k" in attributes else {})
    return lambda rng: [*(at(distinct(rng, shape), dim=dim, **attributes) for shape, dim in (
        ((4, 6, 5), 1), ((4, 6, 5), -1), ((7, 3), 0))), at(distinct(rng, ()) + 1.25, **point)]


def factors(rng: Generator) -> list[Sample]:
    """Values whose products neither overflow nor vanish in float16."""
    shapes = [((4, 6, 5), 1), ((3, 7), 0), ((2, 70), -1), ((), 0), ((0, 3), 0)]
    return [Sample((np.asarray(rng.choice([-1, 1], shape) * rng.uniform(0.8, 1.25, shape)),), {"dim": dim}, terms=70)
            for shape, dim in shapes]


SCANNED = given(shaped((4, 6, 5), dim=1, terms=6), shaped((3, 7), dim=0, terms=3), shaped((2, 70), dim=-1, terms=70),
                shaped((), dim=0), shaped((0, 3), dim=0), shaped((2, 0), dim=0))
ZEROS = np.array([[2.0, 3.0, 4.0, 1.5], [2.0, 0.0, 4.0, 3.0], [0.0, 3.0, 0.0, 2.0], [5.0, 2.0, 1.0, 0.0]])
UNORDERED = np.array([[NAN, 1.0, 5.0], [-INF, INF, 0.0], [2.0, NAN, -1.0]])
TIES = np.array([[1.0, 3.0, 3.0, 1.0], [2.0, 2.0, 2.0, 0.5]])


def picking(function: Callable[..., Any], *shapes: tuple[int, ...], index: tuple[int, ...], high: int, name: str,
            **row: Any) -> Op:
    """A row of normal tensors followed by an int64 index below `high`, which repeats."""
    return Op(name, function, lambda rng: [Sample((*normal(rng, *shapes), rng.integers(0, high, index)), terms=8)],
              **{**EXACTLY, **row})


ONCE = np.array([[2, 0, 1], [0, 3, 2]])
"""An index of which no place comes twice along the last axis."""

ORDERING = [
    op("cumsum", SCANNED, tolerance=REDUCTION, integers=True,
       boundary=(at([[1.0, INF, -INF, 2.0], [0.0, NAN, 1.0, 1.0]], dim=1),)),
    op("cumprod", factors, tolerance=REDUCTION, integers=True,
       boundary=(at(ZEROS, dim=1), at(ZEROS, dim=0))),
    # Boundary points are differentiated once; here the second derivative is what leaves two zeros out.
    Op("cumprod of zeros", named("cumprod"), given(at(ZEROS, dim=1, terms=4), at(ZEROS, dim=0, terms=4)),
       tolerance=REDUCTION),
    op("logcumsumexp", SCANNED, tolerance=REDUCTION,
       boundary=(at([[1000.0, 1000.0, 0.0], [-1000.0, 0.0, 5.0]], dim=1),)),
    Op("logcumsumexp of infinities", named("logcumsumexp"), order=0,
       sampler=given(at([[-INF, -INF, 1.0], [0.0, INF, -INF], [1.0, NAN, 2.0]], dim=1))),
    op("sort", ordered(), **EXACTLY,
       boundary=(at(UNORDERED), at(np.zeros((2, 0))), at(np.zeros((0, 3))))),
    Op("sort descending", named("sort"), ordered(descending=True), tolerance=EXACT,
       boundary=(at(UNORDERED, descending=True),)),
    Op("sort of ties", lambda T, x: T.sort(x, stable=True), given(at(TIES)), tolerance=EXACT),
    Op("sort of ties descending", lambda T, x: T.sort(x, stable=True, descending=True), given(at(TIES)),
       tolerance=EXACT),
    op("argsort", ordered(), order=0, tolerance=EXACT, boundary=(at(UNORDERED),)),
    op("msort", given(shaped((5, 3)), shaped((4, 2, 3))), tolerance=EXACT),
    op("topk", ordered(k=3), tolerance=EXACT,
       boundary=(at(UNORDERED, k=2), at(UNORDERED, k=0))),
    Op("topk smallest", named("topk"), ordered(k=2, largest=False), tolerance=EXACT),
    op("kthvalue", ordered(k=2), tolerance=EXACT, boundary=(at(UNORDERED, k=3),)),
    Op("kthvalue keepdim", named("kthvalue"), ordered(k=2, keepdim=True), tolerance=EXACT),
    *(op(name, lambda rng: [at(distinct(rng, (5, 4))), at(distinct(rng, ()) + 1.25), *ordered()(rng),
                            *ordered(keepdim=True)(rng)], tolerance=EXACT,
         boundary=(at(TIES), at(UNORDERED), at(UNORDERED, dim=1), at(np.zeros(0)),
                   at([[NAN, NAN], [NAN, 1.0]], dim=1)))
      for name in ("median", "nanmedian")),
    picking(lambda T, x, i: T.gather(x, 1, i), (3, 4), index=(2, 6), high=4, name="gather"),
    picking(lambda T, x, i: x.gather(0, i), (3, 2, 4), index=(5, 2, 3), high=3, name="gather first"),
    picking(lambda T, x, i: x.gather(-1, i.int()), (4,), index=(), high=4, name="gather 0-d"),
    picking(lambda T, x, i: T.gather(x, 0, i), (4,), index=(0,), high=4, name="gather nothing"),
    picking(lambda T, x, i: T.take_along_dim(x, i - 4, 1), (3, 4), index=(1, 6), high=8, name="take_along_dim"),
    picking(lambda T, x, i: x.take_along_dim(i), (3, 4), index=(2, 5), high=12, name="take_along_dim flat"),
    picking(lambda T, x, i: T.take(x, i - 12), (3, 4), index=(2, 5), high=24, name="take"),
    # PyTorch differentiates only where the source is as large as the index.
    picking(lambda T, x, y, i: T.scatter(x, 1, T.tensor(ONCE.tolist()), y), (3, 4), (2, 3), index=(), high=1,
            name="scatter"),
    picking(lambda T, x, i: x.scatter(0, i, 2.5), (3, 4), index=(2, 3), high=3, name="scatter number", integers=False),
    picking(lambda T, x, y, i: x.scatter(0, i[:1], y), (3, 4), (2, 3), index=(2, 3), high=3, name="scatter larger",
            order=0),
    *(picking(lambda T, x, y, i, how=how: quiet(T.scatter)(x, 1, i, y, reduce=how), (3, 4), (2, 6), index=(2, 5),
              high=4, order=0, name=f"scatter {how}", tolerance=REDUCTION)
      for how in ("add", "multiply")),
    picking(lambda T, x, i: quiet(T.scatter)(x, 0, i, 3, reduce="multiply"), (3, 4), index=(5, 2), high=3, order=0,
            name="scatter multiply number", tolerance=REDUCTION),
    picking(lambda T, x, y, i: T.scatter_add(x, 1, i, y), (3, 4), (2, 5), index=(2, 5), high=4, name="scatter_add",
            tolerance=REDUCTION),
    picking(lambda T, x, y, i: x.clone().scatter_add_(0, i, y), (3, 2, 4), (5, 2, 3), index=(5, 2, 3), high=3,
            name="scatter_add_", tolerance=REDUCTION),
    picking(lambda T, x, y, i: x.scatter_add(0, i, y), (3, 2, 4), (6, 2, 5), index=(5, 2, 4), high=3, order=0,
            name="scatter_add larger", tolerance=REDUCTION),
    picking(lambda T, x, y, i: x.clone().scatter_(0, i, y), (3, 4), (1, 3), index=(1, 3), high=3, name="scatter_"),
    picking(lambda T, x, y, i: T.index_add(x, 1, i, y, alpha=2), (3, 4), (3, 6), index=(6,), high=4, name="index_add",
            tolerance=REDUCTION, integers=False),
    picking(lambda T, x, y, i: x.clone().index_add_(0, i, y), (3, 4), (6, 4), index=(6,), high=3, name="index_add_",
            tolerance=REDUCTION),
    picking(lambda T, x, y, i: T.index_copy(x, -1, T.tensor([3, 1]), y), (2, 3, 4), (2, 3, 2), index=(), high=1,
            name="index_copy"),
    picking(lambda T, x, i: T.index_fill(x, 1, i - 4, 3), (3, 4), index=(2,), high=8, name="index_fill"),
    picking(lambda T, x, v, i: x.index_fill(0, i, v), (3, 4), (), index=(4,), high=3, name="index_fill tensor"),
    picking(lambda T, x, i: T.index_select(x, 1, i), (2, 3, 4), index=(5,), high=3, name="index_select"),
    *(Op(f"masked_scatter {shape}", named("masked_scatter"), tolerance=EXACT, sampler=lambda rng, shape=shape: [
          Sample((rng.standard_normal((4, 3)), rng.random(shape) < 0.5, rng.standard_normal((2, 7))))])
      for shape in ((4, 3), (3,))),
    Op("masked_select", named("masked_select"), tolerance=EXACT, sampler=lambda rng: [
        Sample((rng.standard_normal((4, 3)), rng.random((4, 3)) < 0.5)), Sample((rng.standard_normal((4, 3)),
                                                                                 rng.random(3) < 0.5))]),
]
