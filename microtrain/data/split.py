"""Splitting arrays into a part to train on and a part held out, and bringing features to one scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .table import DataError


def train_test_split(*arrays: np.ndarray, test_fraction: float = 0.2, seed: int = 0,
                     stratify: np.ndarray | None = None) -> list[np.ndarray]:
    """Splits arrays of the same length along dimension 0, at random.

    Args:
        arrays: each (rows, ...).
        test_fraction: the share held out, between 0 and 1; rounded to whole rows.
        seed: the same seed gives the same split.
        stratify: (rows,) class labels; each class is split in the same proportion.

    Returns:
        `[a_train, a_test, b_train, b_test, ...]`, rows in random order. ValueError for no arrays, lengths that differ,
        or a fraction outside (0, 1); DataError where a part would be empty, or a class missing from a part.
    """
    if not arrays:
        raise ValueError("at least one array is needed")
    rows = len(arrays[0])
    lengths = [len(array) for array in (*arrays, *([] if stratify is None else [stratify]))]
    if len(set(lengths)) > 1:
        raise ValueError(f"arrays of different lengths: {', '.join(map(str, lengths))}")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction should be between 0 and 1, got {test_fraction}")
    rng = np.random.default_rng(seed)
    labels = np.zeros(rows) if stratify is None else np.asarray(stratify)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    test_parts, train_parts = [], []
    for group in groups:
        held_out = round(len(group) * test_fraction)
        if held_out in (0, len(group)):
            of_class = "" if stratify is None else " of one class"
            raise DataError(f"{len(group)} rows{of_class} cannot be split with test fraction {test_fraction}: "
                            "a part would be empty")
        shuffled = rng.permutation(group)
        test_parts.append(shuffled[:held_out])
        train_parts.append(shuffled[held_out:])
    test = rng.permutation(np.concatenate(test_parts))
    train = rng.permutation(np.concatenate(train_parts))
    return [part for array in arrays for part in (array[train], array[test])]


ROUNDING = 1e-12
"""Of a column's largest number: what its float64 mean may be wrong by, and more."""


@dataclass(frozen=True)
class Standardiser:
    """Takes off a mean and divides by a standard deviation, (columns,) float64; 1 where a column is constant."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray) -> Standardiser:
        """Measures mean and standard deviation (of the population, ddof 0) of `values`, (rows, ...). A column that
        differs from its mean by rounding alone is constant."""
        std = values.std(axis=0)
        return cls(values.mean(axis=0), np.where(std > ROUNDING * np.abs(values).max(axis=0, initial=0), std, 1.0))

    def transform(self, values: np.ndarray) -> np.ndarray:
        """(rows, ...) in the data's units to numbers of no unit."""
        return (values - self.mean) / self.std

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Back to the data's units."""
        return values * self.std + self.mean


def standardise(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """`[train, *others]`, float64, scaled by column so that `train` has mean 0 and standard deviation 1. Measured on
    `train` alone, so that nothing of a held-out part leaks into training."""
    for part in (train, *others):
        if part.dtype.kind not in "biuf":
            raise TypeError(f"standardise(): arrays of numbers are scaled, not of {part.dtype}")
    scaler = Standardiser.fit(train)
    return [scaler.transform(part) for part in (train, *others)]
