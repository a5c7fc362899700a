"""The smallest failing case: from one that fails, smaller ones that still do, until none of the steps helps.

Nothing is known of the function. An axis length that occurs in several arrays is taken to be one thing (the k of two
matrices), and is made smaller in all of them at once; a step that does not fit is one that the oracle refuses, and is
not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from .cases import Sample
from .running import Trial

TRIES = 80
"""At most so many smaller cases are run."""


def shrink(trial: Trial, fails: Callable[[Trial], bool], tries: int = TRIES) -> tuple[Trial, int]:
    """A smallest trial that still fails, and the number of steps that led to it. `fails` must not raise."""
    steps = 0
    progress = True
    while progress:
        progress = False
        for smaller in candidates(trial):
            if tries == 0:
                return trial, steps
            tries -= 1
            if fails(smaller):
                trial, steps, progress = smaller, steps + 1, True
                break
    return trial, steps


def candidates(trial: Trial) -> Iterator[Trial]:
    """Simpler trials, the simplest first: of layout, then of shape, then of values."""
    plain = replace(trial, inputs="contiguous"), replace(trial, cotangents="contiguous")
    for simpler in (replace(plain[0], cotangents="contiguous"), *plain):
        if simpler != trial:
            yield simpler
    for arrays in (*fewer_axes(trial.sample), *shorter_axes(trial.sample), *simpler_values(trial.sample)):
        yield trial.with_arrays(np.ascontiguousarray(array).reshape(array.shape) for array in arrays)


def fewer_axes(sample: Sample) -> Iterator[list[np.ndarray]]:
    """The first element, or the last, along the first axis of all arrays, or of those with most axes."""
    depth = max((array.ndim for array in sample.arrays), default=0)
    if depth == 0:
        return
    deepest = [array.ndim == depth for array in sample.arrays]
    every = [array.ndim > 0 for array in sample.arrays]
    for chosen in (every, deepest) if every != deepest else (deepest,):
        if all(array.shape[0] > 0 for array, taken in zip(sample.arrays, chosen, strict=True) if taken):
            for end in (0, -1):
                yield [np.asarray(array[end]) if taken else array
                       for array, taken in zip(sample.arrays, chosen, strict=True)]


def shorter_axes(sample: Sample) -> Iterator[list[np.ndarray]]:
    """One length of axis, wherever it occurs, made 1, half, or one less, from either end; the longest first."""
    lengths = sorted({n for array in sample.arrays for n in array.shape if n > 1}, reverse=True)
    for length in lengths:
        for fewer in dict.fromkeys((1, length // 2, length - 1)):
            for kept in (slice(fewer), slice(length - fewer, None)):
                yield [array[tuple(kept if n == length else slice(None) for n in array.shape)]
                       for array in sample.arrays]


def simpler_values(sample: Sample) -> Iterator[list[np.ndarray]]:
    """One array of floats made of ones, or of halves, or of short numbers."""
    for i, array in enumerate(sample.arrays):
        if array.dtype.kind != "f" or not array.size:
            continue
        with np.errstate(invalid="ignore", over="ignore"):
            simple = (np.ones_like(array), np.full_like(array, 0.5), np.round(array), np.round(array * 4) / 4)
        for values in simple:
            if not np.array_equal(values, array, equal_nan=True) and simplicity(values) < simplicity(array):
                yield [values if j == i else other for j, other in enumerate(sample.arrays)]


def simplicity(values: np.ndarray) -> tuple[int, int]:
    """How many different values there are, and how many digits they take: less is simpler."""
    different = np.unique(values)
    return len(different), sum(len(repr(float(value))) for value in different[:64])
