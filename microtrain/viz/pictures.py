"""Pictures of a run: its losses, a classifier's scores, a regression's predictions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import shown
from ..train.loop import History
from ..train.metrics import binary_accuracy, r2_score, roc_curve, root_mean_squared_error
from .style import BLUE, GREEN, GREY, ORANGE, whole_numbers, write_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST = 40
"""Characters of a name that are drawn."""


def plot_history(history: History, path: str | Path, title: str = "Training", loss_name: str = "loss") -> Path:
    """Writes a picture of the losses by epoch, and of each metric beside it.

    Args:
        history: of at least one epoch.
        path: ends in .png, .pdf or .svg.
        title: above the picture.
        loss_name: the loss's axis label, with its unit.

    Raises ValueError for an empty history or another suffix, ImportError without matplotlib, OSError where the file
    cannot be written.
    """
    if not len(history):
        raise ValueError("the history is empty: no epoch was run")
    panels = [partial(_loss, history=history, loss_name=loss_name)]
    panels += [partial(_metric, name=_name(name), values=values) for name, values in history.metrics.items()]
    return write_panels(path, title, panels)


def plot_classification(target: np.ndarray, logit: np.ndarray, path: str | Path, *, title: str = "Held-out predictions",
                        class_names: tuple[str, str] = ("class 0", "class 1"), history: History | None = None) -> Path:
    """Writes a picture of a binary classifier's scores: their histogram by class, and the ROC curve.

    Args:
        target: (N,) of 0 and 1, both present.
        logit: (N,), positive for class 1.
        path: ends in .png, .pdf or .svg.
        title: above the picture; the accuracy is added to it.
        class_names: of 0 and of 1.
        history: its losses become a first panel.

    Raises what `plot_history` raises.
    """
    if len(class_names) != 2:
        raise ValueError(f"class_names are of 0 and of 1, two names, got {len(class_names)}")
    class_names = (_name(class_names[0]), _name(class_names[1]))
    panels = [] if history is None else [partial(_loss, history=history, loss_name="binary cross entropy (nats)")]
    panels += [partial(panel, target=target, logit=logit, class_names=class_names) for panel in (_score, _roc)]
    accuracy = binary_accuracy(logit, target)
    wrong = round((1 - accuracy) * len(target))
    return write_panels(path, f"{title}: accuracy {accuracy:.3f} ({wrong} of {len(target)} wrong)", panels)


def plot_regression(target: np.ndarray, prediction: np.ndarray, path: str | Path, *,
                    title: str = "Held-out predictions", quantity: str = "target",
                    history: History | None = None) -> Path:
    """Writes a picture of predicted against true values, and of the residuals.

    Args:
        target: (N,), not constant.
        prediction: (N,), in the target's unit.
        path: ends in .png, .pdf or .svg.
        title: above the picture; R² and the error are added to it.
        quantity: what the target is, with its unit.
        history: its losses become a first panel.

    Raises what `plot_history` raises.
    """
    quantity = _name(quantity)
    losses = "mean squared error (target's variance = 1)"
    panels = [] if history is None else [partial(_loss, history=history, loss_name=losses)]
    panels += [partial(panel, target=target, prediction=prediction, quantity=quantity)
               for panel in (_agreement, _residual)]
    score, error = r2_score(prediction, target), root_mean_squared_error(prediction, target)
    return write_panels(path, f"{title}: R² {score:.3f}, root mean squared error {error:.3g}", panels)


def _name(text: str) -> str:
    """A name as it is drawn: one line, not too long, and not begun with the underscore that hides a legend's entry."""
    text = shown(text)
    text = text if len(text) <= LONGEST else f"{text[:LONGEST - 1]}…"
    return f" {text}" if text.startswith("_") else text


def _loss(axes: Axes, history: History, loss_name: str) -> None:
    epochs = np.arange(1, len(history) + 1)
    mark = "o" if len(history) == 1 else None
    axes.plot(epochs, history.train_loss, color=BLUE, marker=mark, label="training")
    if history.val_loss:
        axes.plot(epochs, history.val_loss, color=ORANGE, marker=mark, label="held out")
    axes.set(title="Loss", xlabel="epoch", ylabel=loss_name)
    losses = history.train_loss + history.val_loss
    if min(losses) > 0 and max(losses) > 20 * min(losses):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    whole_numbers(axes.xaxis)
    axes.legend()


def _metric(axes: Axes, name: str, values: list[float]) -> None:
    axes.plot(np.arange(1, len(values) + 1), values, color=GREEN, marker="o" if len(values) == 1 else None)
    axes.set(title=f"Held-out {name}: {values[-1]:.3f}", xlabel="epoch", ylabel=name)
    whole_numbers(axes.xaxis)


def _score(axes: Axes, target: np.ndarray, logit: np.ndarray, class_names: tuple[str, str]) -> None:
    # Whole bins on either side of 0, so that no bar straddles the threshold.
    low, high = min(float(logit.min()), 0.0), max(float(logit.max()), 0.0)
    width = (high - low) / 36 or 1.0
    bins = width * np.arange(np.floor(low / width) - 1, np.ceil(high / width) + 2)
    for value, color in ((0, BLUE), (1, ORANGE)):
        chosen = logit[target == value]
        axes.hist(chosen, bins.tolist(), color=color, alpha=0.75, label=f"{class_names[value]} ({len(chosen)})")
    axes.axvline(0, color=GREY, linestyle="--", linewidth=1.5, label="decision threshold")
    axes.set(title="Scores by true class", xlabel="logit (log odds)", ylabel="held-out samples")
    whole_numbers(axes.yaxis)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.3)
    axes.legend(loc="upper right")


def _roc(axes: Axes, target: np.ndarray, logit: np.ndarray, class_names: tuple[str, str]) -> None:
    from matplotlib.transforms import Bbox

    false_rate, true_rate, area = roc_curve(logit, target)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.5, label="chance")
    axes.plot(false_rate, true_rate, color=GREEN, label=f"ROC, area {area:.3f}")
    axes.set(title=f"Finding '{class_names[1]}'", xlabel="false positive rate", ylabel="true positive rate",
             xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.34))
    counts = [[int(((logit > 0) == p)[target == t].sum()) for p in (False, True)] for t in (0, 1)]
    table = axes.table(cellText=counts, rowLabels=[f"true {name}" for name in class_names],
                       colLabels=[f"said {name}" for name in class_names], cellLoc="center",
                       bbox=Bbox.from_bounds(0.46, 0.06, 0.52, 0.24), zorder=3)
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    for cell in table.get_celld().values():
        cell.set(edgecolor="#C8C8C8", facecolor="white")


def _agreement(axes: Axes, target: np.ndarray, prediction: np.ndarray, quantity: str) -> None:
    low = min(target.min(), prediction.min())
    high = max(target.max(), prediction.max())
    margin = 0.04 * (high - low)
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=GREY, linestyle="--", linewidth=1.5, label="ideal")
    axes.scatter(target, prediction, color=BLUE, alpha=0.7, s=26, edgecolor="white", linewidth=0.5)
    axes.set(title="Predicted against true", xlabel=f"true {quantity}", ylabel=f"predicted {quantity}")
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.legend(loc="upper left")


def _residual(axes: Axes, target: np.ndarray, prediction: np.ndarray, quantity: str) -> None:
    residual = target - prediction
    error = root_mean_squared_error(prediction, target)
    axes.axhspan(-error, error, color=GREEN, alpha=0.12, label=f"±{error:.3g} (root mean square)")
    axes.axhline(0, color=GREY, linestyle="--", linewidth=1.5)
    axes.scatter(prediction, residual, color=BLUE, alpha=0.7, s=26, edgecolor="white", linewidth=0.5)
    reach = 1.35 * np.abs(residual).max()
    axes.set(title="Residuals", xlabel=f"predicted {quantity}", ylabel="true - predicted", ylim=(-reach, reach))
    axes.legend(loc="upper left")
