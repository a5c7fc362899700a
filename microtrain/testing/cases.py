"""What a function is tried on: shapes that catch, values that catch, and samplers that give them.

A sampler is a function of a NumPy generator that gives samples; `unary`, `binary`, `matrices`, `rows` and `special`
make one. The shapes are those at which kernels break: a prime number of elements, a block and one less and more, no
element, one element, no axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.random import Generator

from .closeness import EPSILON, NORMAL, TINY

Shape = tuple[int, ...]
Pair = tuple[Shape, Shape]


@dataclass(frozen=True)
class Sample:
    """The values of a function's tensors, its keyword arguments, and the number of terms behind an element.

    Floating-point arrays take the dtype under test and are differentiated, but for those whose positions are in
    `constant`; integer and boolean ones (indices, masks, targets) keep their dtype. Where `terms` is None it is told
    from the sizes.
    """

    arrays: tuple[np.ndarray, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    terms: int | None = None
    constant: tuple[int, ...] = ()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return tuple(array.shape for array in self.arrays)

    @property
    def differentiated(self) -> tuple[int, ...]:
        return tuple(i for i, array in enumerate(self.arrays) if array.dtype.kind == "f" and i not in self.constant)


Sampler = Callable[[Generator], Iterable[Sample]]

SHAPES: tuple[Shape, ...] = ((7, 13), (), (0, 3), (1,), (2, 3, 5), (127,), (128,), (129,), (1023,), (1025,))
"""Primes, a block of 128 or 1024 elements and one less and one more, nothing, one element, no axis."""

BROADCASTS: tuple[Pair, ...] = (((5, 7), (5, 7)), ((4, 1, 5), (3, 1)), ((), (6,)), ((2, 3), ()), ((0, 3), (1, 3)),
                                ((1,), (1, 1)), ((127,), (127,)), ((1025,), (1,)))
"""Pairs that broadcast along a leading axis, a middle one, all of them, or none."""

ROWS: tuple[Shape, ...] = ((3, 7), (1, 1), (2, 127), (2, 129), (3, 1025), (0, 5), (5, 1))
"""Rows to reduce along the last axis."""

PRODUCTS: tuple[Pair, ...] = (((5, 7), (7, 3)), ((1, 1), (1, 1)), ((17, 33), (33, 15)), ((31, 1), (1, 65)),
                              ((0, 3), (3, 2)), ((16, 16), (16, 16)))
"""Matrices (m, k) and (k, n)."""

HUGE: Shape = (2 ** 31 + 11,)
"""More elements than a 32-bit index can tell: for a GPU, in a test of its own (`@pytest.mark.gpu`)."""


def special_values(dtype: str = "float32") -> np.ndarray:
    """Both zeros, subnormals, the smallest normal and the largest number, one and its neighbour, infinities, NaN.

    float64 (19,), each a number of `dtype`; of each its negative too.
    """
    largest = {"float16": 65504.0, "bfloat16": (2 - 2.0 ** -7) * 2.0 ** 127, "float32": (2 - 2.0 ** -23) * 2.0 ** 127,
               "float64": math.ldexp(2 - 2.0 ** -52, 1023)}[dtype]
    positive = [0.0, TINY[dtype], NORMAL[dtype] / 2, NORMAL[dtype], 0.5, 1.0, 1.0 + EPSILON[dtype], largest, math.inf]
    return np.array([*positive, *[-x for x in positive], math.nan])


def _sampler(draw: Callable[[Generator, Shape], Any], shapes: Iterable[Iterable[Shape]],
             attributes: dict[str, Any] | None = None) -> Sampler:
    """For each of the shapes' groups a sample of so many arrays, also where there is no axis."""
    return lambda rng: [Sample(tuple(np.asarray(draw(rng, shape)) for shape in group), dict(attributes or {}))
                        for group in shapes]


def _within(low: float, high: float) -> Callable[[Generator, Shape], Any]:
    return lambda rng, shape: rng.uniform(low, high, shape)


def unary(low: float = -3.0, high: float = 3.0, shapes: Sequence[Shape] = SHAPES, **attributes: Any) -> Sampler:
    """One array from a range, in shapes that catch."""
    return _sampler(_within(low, high), [(shape,) for shape in shapes], attributes)


def binary(low: float = -3.0, high: float = 3.0, shapes: Sequence[Pair] = BROADCASTS, **attributes: Any) -> Sampler:
    """Two arrays from a range, in shapes that broadcast."""
    return _sampler(_within(low, high), shapes, attributes)


def alike(count: int, low: float = -3.0, high: float = 3.0, shapes: Sequence[Shape] = SHAPES) -> Sampler:
    """So many arrays of one shape, for kernels that do not broadcast."""
    return _sampler(_within(low, high), [(shape,) * count for shape in shapes])


def rows(shapes: Sequence[Shape] = ROWS, **attributes: Any) -> Sampler:
    """One array of rows, standard normal."""
    return _sampler(Generator.standard_normal, [(shape,) for shape in shapes], attributes)


def matrices(shapes: Sequence[Pair] = PRODUCTS) -> Sampler:
    """Two matrices that can be multiplied, standard normal."""
    return _sampler(Generator.standard_normal, shapes)


def special(count: int = 1, dtype: str = "float32") -> Sampler:
    """Special values: of each of `count` arrays every one, in all combinations."""
    return lambda rng: [Sample(tuple(np.array(list(product(special_values(dtype), repeat=count))).T))]


def given(*samples: Sample | Sampler) -> Sampler:
    """Chosen samples, and those of other samplers, one after the other."""
    return lambda rng: (found for one in samples for found in ([one] if isinstance(one, Sample) else one(rng)))


def samples_of(inputs: Any, rng: Generator) -> list[Sample]:
    """What a user gave: a sampler, a sample or several, or the arrays of one.

    Raises TypeError for anything else, ValueError where there is no sample.
    """
    if isinstance(inputs, Sample):
        return [inputs]
    if callable(inputs):
        inputs = inputs(rng)
    listed = list(inputs) if isinstance(inputs, Iterable) and not isinstance(inputs, np.ndarray) else [inputs]
    if not listed:
        raise ValueError("check_parity(): there is nothing to try: inputs gave no sample")
    if all(isinstance(one, Sample) for one in listed):
        return listed
    if all(isinstance(one, np.ndarray | float | int | np.generic) for one in listed):
        return [Sample(tuple(np.asarray(one) for one in listed))]
    names = ", ".join(sorted({type(one).__name__ for one in listed}))
    raise TypeError("check_parity(): inputs must be NumPy arrays, Samples or a sampler that gives Samples, not "
                    f"{names}")
