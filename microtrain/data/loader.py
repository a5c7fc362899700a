"""DataLoader: batches of a dataset, shuffled from a seed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from ..tensor import Generator, Tensor, as_tensor, stack, tensor
from .dataset import Dataset, Subset, TensorDataset, as_generator, is_plainly


class DataLoader:
    """Iterates over a dataset in batches; each pass over it is one epoch.

    Args:
        dataset: anything with `len` and `[]`; a TensorDataset (or a Subset of one) is gathered a batch at once.
        batch_size: samples a batch.
        shuffle: a new random order each epoch.
        drop_last: leave out a last batch that is not full.
        collate_fn: makes a batch of a list of samples; by default tensors are stacked, numbers become tensors,
            and tuples, lists and dicts keep their form.
        generator: the generator, ours or NumPy's, or the seed, of the order; if None, drawn from the global generator
            at each epoch, so that `manual_seed` fixes it.

    ValueError for a batch size that is not a positive whole number, and for shuffling an empty dataset.
    """

    def __init__(self, dataset: Dataset, batch_size: int = 1, shuffle: bool = False, *, drop_last: bool = False,
                 collate_fn: Callable[[list[Any]], Any] | None = None,
                 generator: np.random.Generator | Generator | int | None = None) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        if shuffle and len(dataset) == 0:
            raise ValueError("num_samples should be a positive integer value, but got num_samples=0")
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        self.drop_last, self.collate_fn = drop_last, collate_fn
        # A seed becomes a generator here, once: the epochs after the first then differ from it.
        self.generator = as_generator(generator) if isinstance(generator, int) else generator

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        """The batches of an epoch. One that could not be made raises, and the next one is there all the same."""
        return map(self._fetch, self.orders())

    def orders(self) -> Iterator[np.ndarray]:
        """The samples of each batch of an epoch, (batch,) int64, drawn as the batches' are."""
        samples = len(self.dataset)
        order = as_generator(self.generator).permutation(samples) if self.shuffle else np.arange(samples)
        for batch in range(len(self)):
            yield order[batch * self.batch_size : (batch + 1) * self.batch_size]

    def _fetch(self, indices: np.ndarray) -> Any:
        try:
            return self._made(indices)
        except StopIteration as error:          # which would end the epoch without a word
            raise RuntimeError(f"DataLoader: a batch of samples {indices.tolist()} raised StopIteration") from error

    def _made(self, indices: np.ndarray) -> Any:
        if self.collate_fn is not None:
            return self.collate_fn([self.dataset[int(i)] for i in indices])
        source: Any = self.dataset
        rows = indices
        while is_plainly(source, Subset):
            rows, source = source.indices[rows], source.dataset
        if is_plainly(source, TensorDataset):
            return source.take(rows)
        return default_collate([source[int(i)] for i in rows])


def default_collate(batch: Sequence[Any]) -> Any:
    """Makes one batch of samples, by the kind of the first. Tensors and arrays are stacked; numbers become a tensor, of
    the dtype of them all together (Python floats take the default dtype); texts stay a list; dicts, named tuples,
    tuples, lists and other sequences keep their form, each member a batch. TypeError for samples of another type;
    RuntimeError for tensors, arrays or sequences of different sizes; KeyError for a dict without a key of the first."""
    if not batch:
        raise IndexError("default_collate: a batch has samples, this one has none")
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(list(batch), 0)
    if isinstance(first, np.ndarray):
        alike = all(isinstance(a, np.ndarray) and (a.shape, a.dtype) == (first.shape, first.dtype) for a in batch)
        return tensor(np.stack(batch)) if alike else stack([as_tensor(sample) for sample in batch], 0)
    if isinstance(first, np.generic | int | float):
        return tensor(list(batch))
    if isinstance(first, str | bytes):
        return list(batch)
    if isinstance(first, Mapping):
        _alike(batch, Mapping, "a dict")
        try:
            return _in_form({key: default_collate([sample[key] for sample in batch]) for key in first}, first)
        except KeyError as error:
            raise KeyError(f"default_collate: the first sample has a key {error}, another has not") from None
    if isinstance(first, Sequence):
        _alike(batch, Sequence, f"a {type(first).__name__}")
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size, but got "
                               f"{', '.join(str(len(sample)) for sample in batch)}")
        return _in_form([default_collate(list(members)) for members in zip(*batch, strict=True)], first)
    raise TypeError("default_collate: batch must contain tensors, numpy arrays, numbers, texts, dicts, tuples or "
                    f"lists; found {type(first)}")


def _alike(batch: Sequence[Any], wanted: type, name: str) -> None:
    """Raises TypeError where a sample is not of the kind of the first."""
    for sample in batch:
        if not isinstance(sample, wanted):
            raise TypeError(f"default_collate: the first sample is {name}, but another is {type(sample).__name__}")


def _in_form(members: Any, first: Any) -> Any:
    """Collated members in a container of the first sample's type, or a plain one where that cannot be made of them."""
    try:
        if isinstance(first, MutableMapping):       # with whatever else it is made of, a default say
            container = copy.copy(first)
            container.update(members)
            return container
        return type(first)(*members) if hasattr(first, "_fields") else type(first)(members)
    except TypeError:
        return members
