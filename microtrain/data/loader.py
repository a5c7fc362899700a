"""DataLoader: batches of a dataset, shuffled from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from microtrain.data.dataset import Dataset, Subset, TensorDataset, as_generator
from microtrain.tensor import Tensor, stack, tensor


class DataLoader:
    """Iterates over a dataset in batches; each pass over it is one epoch.

    Args:
        dataset: anything with ``len`` and ``[]``; a TensorDataset (or a Subset of one) is gathered a batch at once.
        batch_size: samples a batch.
        shuffle: a new random order each epoch.
        drop_last: leave out a last batch that is not full.
        collate_fn: makes a batch of a list of samples; by default tensors are stacked, numbers become tensors,
            and tuples, lists and dicts keep their form.
        generator: the NumPy generator, or the seed, of the order; if None, drawn from the global generator at each
            epoch, so that ``manual_seed`` fixes it.

    Raises:
        ValueError: a batch size that is not a positive whole number; shuffling an empty dataset.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        generator: np.random.Generator | int | None = None,
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size <= 0:
            raise ValueError(
                f"batch_size should be a positive integer value, but got batch_size={batch_size}"
            )
        if shuffle and len(dataset) == 0:
            raise ValueError("num_samples should be a positive integer value, but got num_samples=0")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        # A seed becomes a generator here, once: the epochs after the first then differ from it.
        self.generator = None if generator is None else as_generator(generator)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        samples = len(self.dataset)
        order = as_generator(self.generator).permutation(samples) if self.shuffle else np.arange(samples)
        for batch in range(len(self)):
            yield self._fetch(order[batch * self.batch_size : (batch + 1) * self.batch_size])

    def _fetch(self, indices: np.ndarray) -> Any:
        if self.collate_fn is not None:
            return self.collate_fn([self.dataset[int(i)] for i in indices])
        source: Dataset = self.dataset
        rows = indices
        while isinstance(source, Subset):
            rows, source = source.indices[rows], source.dataset
        if isinstance(source, TensorDataset):
            return source.take(rows)
        return default_collate([source[int(i)] for i in rows])


def default_collate(batch: Sequence[Any]) -> Any:
    """Makes one batch of samples: tensors are stacked, numbers and arrays become tensors, containers keep their form.

    Raises:
        TypeError: samples of another type.
    """
    if not batch:
        raise IndexError("default_collate: a batch has samples, this one has none")
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(list(batch), 0)
    if isinstance(first, np.ndarray | np.generic | int | float):
        return tensor(np.asarray(batch)) if not isinstance(first, float) else tensor(list(batch))
    if isinstance(first, dict):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, tuple | list):
        return type(first)(default_collate(list(members)) for members in zip(*batch, strict=True))
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts, tuples or lists; "
        f"found {type(first)}"
    )
