"""What a training run measured, epoch by epoch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..files import replacing


@dataclass
class History:
    """One entry an epoch in each list: means of the loss over the samples, measured on each batch before the step that
    it causes, and over the validation samples after the epoch, if there are any; metrics of those by name; and the
    epoch's wall time in seconds, validation included.
    """

    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        """The number of epochs."""
        return len(self.train_loss)

    @property
    def best_epoch(self) -> int:
        """The epoch (from 0) of the lowest validation loss, or training loss without validation; ValueError for none.
        """
        losses = self.val_loss or self.train_loss
        if not losses:
            raise ValueError("the history is empty: no epoch was run")
        return min(range(len(losses)), key=losses.__getitem__)

    def last(self) -> dict[str, float]:
        """The last epoch's values by name."""
        values = {"train loss": self.train_loss[-1]}
        if self.val_loss:
            values["val loss"] = self.val_loss[-1]
        return values | {name: series[-1] for name, series in self.metrics.items()}

    def to_dict(self) -> dict[str, object]:
        """Plain lists and dicts."""
        return asdict(self)

    def save(self, path: str | Path) -> None:
        """Writes `to_dict` as JSON, whole or not at all; OSError where it cannot be written."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")
