"""Datasets: samples by index."""

from __future__ import annotations

import bisect
import itertools
import operator
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..tensor import Generator, Tensor, randint, tensor


class Dataset:
    """Base of the datasets: `len(dataset)` and `dataset[i]`."""

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} has no __len__")


def is_plainly(dataset: Any, kind: Any) -> bool:
    """Whether a dataset gives its samples as `kind` does: it is one, and no class in between has its own way."""
    return isinstance(dataset, kind) and type(dataset).__getitem__ is kind.__getitem__


class TensorDataset(Dataset):
    """Samples along dimension 0 of one or more tensors; ValueError for none, or for different numbers of samples."""

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise ValueError("TensorDataset needs at least one tensor")
        sizes = [t.shape[0] if t.dim() else 0 for t in tensors]
        if any(t.dim() == 0 for t in tensors) or len(set(sizes)) > 1:
            shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
            raise ValueError(f"Size mismatch between tensors: the first dimensions of {shapes} should be equal")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def take(self, indices: np.ndarray) -> tuple[Tensor, ...]:
        """The samples `indices`, (batch,) int64, as one batch: a gather for each tensor, none for each sample."""
        rows = tensor(indices, device=self.tensors[0].device)
        return tuple(t[rows] for t in self.tensors)


class Subset(Dataset):
    """The samples `indices`, integers (else TypeError), of another dataset."""

    def __init__(self, dataset: Dataset, indices: Sequence[int] | np.ndarray) -> None:
        self.dataset = dataset
        found = np.asarray(indices.cpu() if isinstance(indices, Tensor) else indices)
        if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
            raise TypeError(f"Subset: indices should be a sequence of integers, not {found.dtype}: {indices!r}")
        self.indices = found.astype(np.int64)

    def __getitem__(self, index: Any) -> Any:
        chosen = self.indices[index]
        return self.dataset[chosen.tolist()]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset):
    """Datasets one after the other."""

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        if not datasets:
            raise ValueError("datasets should not be an empty iterable")
        for dataset in datasets:
            if not hasattr(type(dataset), "__len__"):
                raise TypeError(f"ConcatDataset(): datasets have a length, but one is {type(dataset).__name__}")
        self.datasets = list(datasets)
        self._ends = list(itertools.accumulate(len(dataset) for dataset in self.datasets))

    def __getitem__(self, index: int) -> Any:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        which = bisect.bisect_right(self._ends, position)
        return self.datasets[which][position - (self._ends[which - 1] if which else 0)]

    def __len__(self) -> int:
        return self._ends[-1]


def random_split(dataset: Dataset, lengths: Sequence[float],
                 generator: np.random.Generator | Generator | int | None = None) -> list[Subset]:
    """Splits a dataset at random.

    Args:
        dataset: the dataset.
        lengths: whole numbers that add up to `len(dataset)`, or fractions that add up to 1 (what is left
            by rounding down goes to the first parts, one sample each), else ValueError.
        generator: a generator, ours or NumPy's, or a seed; drawn from the global generator if None.
    """
    if not isinstance(lengths, Iterable) or isinstance(lengths, str | bytes):
        raise TypeError(f"random_split(): argument 'lengths' must be tuple of floats, not {type(lengths).__name__}")
    wanted = list(lengths)
    for length in wanted:
        if isinstance(length, str | bytes | None):
            raise TypeError(f"random_split(): argument 'lengths' must be numbers, not {type(length).__name__}")
    sizes = _sizes(wanted, len(dataset))
    order = as_generator(generator).permutation(len(dataset))
    ends = list(itertools.accumulate(sizes))
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _sizes(lengths: list[Any], total: int) -> list[int]:
    whole = all(hasattr(length, "__index__") for length in lengths)
    if whole:
        lengths = [operator.index(length) for length in lengths]
    if any(length < 0 for length in lengths):
        raise ValueError(f"lengths should not be negative, got {lengths}")
    if whole and not (total != 1 and lengths == [1]):
        if sum(lengths) != total:
            raise ValueError("Sum of input lengths does not equal the length of the input dataset!")
        return lengths
    if not abs(sum(lengths) - 1) <= 1e-9:
        raise ValueError(f"fractions should add up to 1, got {lengths}")
    sizes = [int(length * total) for length in lengths]
    for i in range(total - sum(sizes)):
        sizes[i % len(sizes)] += 1
    if 0 in sizes:
        warnings.warn(f"Length of split at index {sizes.index(0)} is 0. This might result in an empty dataset.",
                      stacklevel=4)
    return sizes


def as_generator(generator: np.random.Generator | Generator | int | None) -> np.random.Generator:
    """A NumPy generator: itself, of a seed, or of one drawn from a generator of ours, the global one if None."""
    if isinstance(generator, np.random.Generator):
        return generator
    if generator is None or isinstance(generator, Generator):
        generator = int(randint(0, 2**31 - 1, (1,), generator=generator, device="cpu").item())
    return np.random.default_rng(generator)
