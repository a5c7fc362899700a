"""The steps of a run of training: many at once where nothing has to be seen between them, else replayed one by one, or
plain ones where they cannot be replayed. All of them give the same bits."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from operator import is_not
from typing import Any

import numpy as np

from ..compiled import Compiled
from ..compiled.looping import Looping, Rows
from ..data import DataLoader
from ..data.dataset import Subset, TensorDataset, is_plainly
from ..errors import NonFiniteLossError
from ..nn import Module
from ..optim import Optimizer
from ..tensor import Tensor, stack

LossFunction = Callable[[Tensor, Tensor], Tensor]

AT_LEAST = 2
"""Full batches of an epoch from which on they are looped."""

ALONE = 8
"""Steps of an epoch that are made one by one before looping is given up."""


def step(model: Module, loss_fn: LossFunction, optimizer: Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """One step: the loss of a batch, as it was before."""
    optimizer.zero_grad()
    loss = loss_fn(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()


class Steps(Compiled[[Tensor, Tensor], Tensor]):
    """The steps of one run.

    Attributes:
        refused: why they are plain ones, if they are.
        single: why they are not looped, if they are not.
    """

    def __init__(self, model: Module, loss_fn: LossFunction, optimizer: Optimizer) -> None:
        super().__init__(functools.partial(step, model, loss_fn, optimizer), fallback=True)
        self.refused = self.single = ""
        self.looping: Looping | None = None

    @property
    def way(self) -> str:
        """How the steps are made, and why not in a faster way."""
        if self.refused:
            return f"plain ({self.refused})"
        return f"replayed ({self.single})" if self.single else "looped"

    def tell(self, reason: str) -> None:
        """From now on steps are plain ones."""
        self.refused = self.refused or reason.partition(". ")[0]

    def one(self, x: Tensor, y: Tensor) -> Tensor:
        """A step on a batch; its loss."""
        if not self.refused and any(not isinstance(part, Tensor) or part.requires_grad for part in (x, y)):
            self.tell("a batch is not of two tensors that need no gradient")
        return self.function(x, y) if self.refused else self(x, y)

    def epoch(self, loader: Iterable[Any]) -> tuple[np.ndarray, list[int]]:
        """Steps for all batches of a loader: their losses, float64 of shape (steps,), and sizes. Where steps are looped
        the first loss that is not finite is the last one."""
        known, losses, sizes = np.empty(0), [], []
        self.single = "" if self.looping is None else self.looping.why
        found = None if self.refused else self.rows(loader)
        if found is None:
            batches = pairs(loader)
        else:
            dataset, order, size = found
            if not self.single:
                known = self.looped(dataset, order[:len(order) // size * size].reshape(-1, size))
                sizes = [size] * len(known)
                if not np.isfinite(known).all():
                    return known, sizes
            batches = pairs(dataset.take(order[begin:begin + size]) for begin in range(sum(sizes), len(order), size))
        for x, y in batches:
            losses.append(self.one(x, y))
            sizes.append(len(x))
        return np.concatenate([known, read(losses)]) if losses else known, sizes

    def rows(self, loader: Any) -> tuple[TensorDataset, np.ndarray, int] | None:
        """The data set, the rows of an epoch in order, and the batch size, of a loader that takes rows of two tensors
        and does nothing else; None for any other, of which nothing is taken."""
        source: Any = getattr(loader, "dataset", None)
        subsets = []
        while is_plainly(source, Subset):
            subsets.append(source.indices)
            source = source.dataset
        if (type(loader) is not DataLoader or loader.collate_fn is not None or not is_plainly(source, TensorDataset)
                or type(source).take is not TensorDataset.take or len(source.tensors) != 2
                or any(part.requires_grad for part in source.tensors)):
            self.single = "batches are not rows of two tensors"
            return None
        order = np.concatenate([np.empty(0, np.int64), *loader.orders()])
        if len(order) < AT_LEAST * loader.batch_size:
            self.single = "an epoch is one step"
        for indices in subsets:
            order = indices[order]
        rows = source.tensors[0].shape[0]
        if ((order < -rows) | (order >= rows)).any():
            self.single = "an index is out of range"
        order = np.where(order < 0, order + rows, order)
        return source, order, loader.batch_size

    def looped(self, dataset: TensorDataset, table: np.ndarray) -> np.ndarray:
        """Make steps with rows of a data set, as many as can be looped; their losses."""
        rows = Rows(dataset.tensors[0].shape[0], table)
        if self.looping is None or any(map(is_not, self.looping.data, dataset.tensors)):
            # A run has its bits wherever it is gone on with: one launch might add up otherwise than single steps.
            self.looping = Looping(self, dataset.tensors, rows, one_launch=False)
        else:
            self.looping.begin(rows)
        alone = 0
        with suppress(NonFiniteLossError):
            while self.looping.done < len(table) and not (self.refused or self.looping.why):
                self.looping.advance(len(table) - self.looping.done)
                alone += self.looping.loop is None
                if alone > ALONE:
                    self.looping.why = "no step leaves all as it found it"
        self.single = self.looping.why
        return read([self.looping.all()])[0] if self.looping.done else np.empty(0)


def pairs(loader: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """A loader's batches. Raises TypeError for one that is no pair of input and target."""
    for batch in loader:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            of = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
            raise TypeError(f"a loader yields pairs of input and target, not {type(batch).__name__}{of}")
        yield batch[0], batch[1]


def read(losses: list[Tensor]) -> np.ndarray:
    """The values of tensors of one shape, in one transfer."""
    return stack(losses).cpu().numpy().astype(np.float64)
