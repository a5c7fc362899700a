"""The training loop, and what it measured epoch by epoch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import TensorDataset, is_plainly
from ..files import replacing
from ..nn import Module
from ..nn.state import snapshot
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler
from ..scopes import finish
from ..tensor import Tensor, no_grad
from .checkpoint import check_checkpoint_path, load_training, save_training
from .metrics import Metric
from .progress import Progress, Silent, make_progress
from .steps import LossFunction, Steps, pairs, read

Callback = Callable[[int, "History"], Any]


@dataclass
class History:
    """One entry an epoch in each list: means of the loss over the samples, measured on each batch before the step that
    it causes, and over the validation samples after the epoch, if there are any; metrics of those by name; and the
    epoch's wall time in seconds, validation included. `steps` says how the last epoch's were made: "looped", many at
    once; "replayed" one by one, or "plain", with the reason why not in a faster way."""

    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    steps: str = field(default="", compare=False)

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
        """What was measured, as plain lists and dicts."""
        return {name: value for name, value in asdict(self).items() if name != "steps"}

    def save(self, path: str | Path) -> None:
        """Writes `to_dict` as JSON, whole or not at all; OSError where it cannot be written."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")


class DivergedError(RuntimeError):
    """The loss is no longer a finite number: `loss` is the first, of `batch` (from 1) in `epoch` (from 1)."""

    def __init__(self, epoch: int, batch: int, loss: float, lr: float, data: str | None = None) -> None:
        self.epoch, self.batch, self.loss = epoch, batch, loss
        super().__init__(f"the loss became {loss} in epoch {epoch}, batch {batch}: " + (
            data or f"training diverged; try a learning rate below {lr:g}, such as {lr / 10:g}, and features scaled "
            "to unit variance"))


def fit(model: Module, loss_fn: LossFunction, optimizer: Optimizer, train_loader: Iterable[tuple[Tensor, Tensor]],
        val_loader: Iterable[tuple[Tensor, Tensor]] | None = None, *, epochs: int,
        metrics: Mapping[str, Metric] | None = None, callbacks: Iterable[Callback] = (),
        scheduler: LRScheduler | None = None, patience: int | None = None, checkpoint: str | Path | None = None,
        progress: bool | Progress = True) -> History:
    """Trains `model` for `epochs` passes over `train_loader`.

    Steps are compiled (`microtrain.compile`), and those of an epoch looped where the loader is a DataLoader that takes
    rows of two tensors and does nothing else. They have the bits of plain steps, which are made where the model or the
    loss does something in Python at each call. `History.steps` says which it was.

    Args:
        model, loss_fn, optimizer: a step lowers `loss_fn(model(x), y)`, a scalar that is a mean over the batch.
        train_loader: yields `(x, y)`; iterated once an epoch.
        val_loader: measured after each epoch, in evaluation mode.
        epochs: at least 1.
        metrics: name to a function of NumPy arrays (prediction, target), measured on `val_loader`.
        callbacks: called with (epoch from 1, history) after each epoch; one that returns True ends the run.
        scheduler: stepped after each epoch, before the callbacks.
        patience: stop when the validation loss has not fallen for so many epochs, and put the parameters of
            the best epoch back.
        checkpoint: a file, .safetensors or .npz, that is written after each epoch. Where it exists, the run goes on
            from it, with the same bits as if it had not been interrupted (`checkpoint.save_training` says what is
            kept), and `epochs` counts those of before.
        progress: whether to show it on stderr; or a display of your own.

    Returns:
        The losses, metrics and times by epoch. DivergedError for a loss that is not finite; ValueError for epochs or
        patience below 1, patience or metrics without a validation loader, no batches and the checkpoint of another
        run; OSError for a checkpoint that cannot be written.
    """
    if epochs < 1:
        raise ValueError(f"epochs should be at least 1, got {epochs}")
    if patience is not None and patience < 1:
        raise ValueError(f"patience should be at least 1, got {patience}")
    if val_loader is None and (patience is not None or metrics):
        raise ValueError("patience and metrics are measured on val_loader, which is None")
    own = make_progress(epochs) if progress is True else Silent()
    display = own if isinstance(progress, bool) else progress
    history = History(metrics={name: [] for name in metrics or ()})
    callbacks = list(callbacks)
    for function in (loss_fn, *callbacks, *(metrics or {}).values()):
        if not callable(function):
            raise TypeError("fit(): loss_fn, metrics and callbacks are functions, but one is "
                            f"{type(function).__name__}")
    best_state: dict[str, Any] = {}
    ended = False
    steps = Steps(model, loss_fn, optimizer)
    loaders = [train_loader] if val_loader is None else [train_loader, val_loader]
    if checkpoint is not None and (checkpoint := check_checkpoint_path(checkpoint)).exists():
        history, best_state, ended = _resumed(
            load_training(checkpoint, model, optimizer, scheduler=scheduler, loaders=loaders), history, checkpoint)
    try:
        for epoch in range(len(history) + 1, 1 if ended else epochs + 1):
            start = time.perf_counter()
            model.train()
            history.train_loss.append(_train_epoch(steps, optimizer, train_loader, epoch))
            history.steps = steps.way
            if val_loader is not None:
                val_loss, scores = evaluate(model, loss_fn, val_loader, metrics)
                history.val_loss.append(val_loss)
                for name, score in scores.items():
                    history.metrics[name].append(score)
            history.seconds.append(time.perf_counter() - start)
            display.update(epoch, history.last())
            if patience is not None and history.best_epoch == epoch - 1:
                best_state = snapshot(model.state_dict())
            if scheduler is not None:
                scheduler.step()
            stop = [callback(epoch, history) is True for callback in callbacks]
            ended = any(stop) or (patience is not None and epoch - 1 - history.best_epoch >= patience)
            if checkpoint is not None:
                save_training(checkpoint, model, optimizer, scheduler=scheduler, loaders=loaders,
                              history=history.to_dict(), best_state=best_state, ended=ended)
            if ended:
                break
    finally:
        display.close()
    if history.steps:
        own.note(f"steps: {history.steps}")
    if best_state:
        model.load_state_dict(best_state)
    return history


def _resumed(kept: dict[str, Any], new: History, path: str | Path) -> tuple[History, dict[str, Any], bool]:
    """What `fit` saved beside the run: the history, the best parameters, whether it had ended early."""
    if set(kept) != {"history", "best_state", "ended"}:
        raise ValueError(f"{path} holds a run that fit did not save: give another name")
    history = History(**kept["history"])
    if set(history.metrics) != set(new.metrics):
        raise ValueError(f"{path} holds a run with the metrics {', '.join(history.metrics) or 'none'}, not "
                         f"{', '.join(new.metrics) or 'none'}")
    return history, kept["best_state"], kept["ended"]


def _train_epoch(steps: Steps, optimizer: Optimizer, loader: Iterable[tuple[Tensor, Tensor]], epoch: int) -> float:
    """One pass with a step for each batch; the mean loss over its samples."""
    values, sizes = steps.epoch(loader)
    if not sizes:
        raise ValueError("the training loader yields no batches")
    for batch, value in enumerate(values, start=1):
        if not math.isfinite(value):
            rate = max(float(group["lr"]) for group in optimizer.param_groups)
            raise DivergedError(epoch, batch, float(value), rate, _not_finite(loader))
    return float(np.average(values, weights=sizes))


def _not_finite(loader: Iterable[tuple[Tensor, Tensor]]) -> str | None:
    """Where the data is not finite, if it is not; an iterator that is used up is not asked."""
    dataset = getattr(loader, "dataset", None)
    known = isinstance(dataset, TensorDataset) and is_plainly(dataset, TensorDataset)
    batches: Iterable[Any] = [dataset.tensors] if dataset is not None and known else loader
    for batch, members in enumerate(batches, start=1):
        for what, member in zip(("input", "target"), members, strict=False):
            values = member.detach().cpu().numpy()
            for place in np.argwhere(~np.isfinite(values))[:1]:
                at = ", ".join(map(str, place))
                return (f"the data is not finite: {what}[{at}]{'' if known else f' of batch {batch}'} is "
                        f"{float(values[tuple(place)]):g}; leave such samples out, or fill in a number")
    return None


def evaluate(model: Module, loss_fn: LossFunction, loader: Iterable[tuple[Tensor, Tensor]],
             metrics: Mapping[str, Metric] | None = None) -> tuple[float, dict[str, float]]:
    """The mean loss over the samples of `loader` and the metrics over all of them, in evaluation mode. ValueError for
    no batches."""
    for function in (metrics or {}).values():
        if not callable(function):
            raise TypeError(f"evaluate(): metrics are functions, but one is {type(function).__name__}")
    losses, sizes, predictions, targets = [], [], [], []
    with _evaluating(model):
        for x, y in pairs(loader):
            output = model(x)
            losses.append(loss_fn(output, y))
            sizes.append(len(x))
            if metrics:
                predictions.append(output.cpu().numpy())
                targets.append(y.cpu().numpy())
        if not losses:
            raise ValueError("the validation loader yields no batches")
        loss = float(np.average(read(losses), weights=sizes))
    if not metrics:
        return loss, {}
    prediction, target = np.concatenate(predictions), np.concatenate(targets)
    return loss, {name: metric(prediction, target) for name, metric in metrics.items()}


def predict(model: Module, x: Tensor) -> np.ndarray:
    """The model's output for `x`, in evaluation mode and without a graph, as an array."""
    with _evaluating(model):
        output: np.ndarray = model(x).cpu().numpy()
    return output


@contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode without gradients; then each module in the mode that it was in, frozen ones in theirs."""
    modes = [(module, module.training) for module in model.modules()]

    def restore() -> None:
        for module, mode in modes:
            module.training = mode

    try:
        with no_grad():
            model.eval()
            yield
    finally:
        finish(restore)
