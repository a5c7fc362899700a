"""Scores of predictions, computed in float64 by NumPy from values already read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray], float]


def _same_shape(prediction: np.ndarray, target: np.ndarray) -> None:
    for array in (prediction, target):
        if array.dtype.kind not in "biuf":
            raise TypeError(f"scores are of arrays of numbers, not of {array.dtype}")
    if prediction.shape != target.shape:
        raise ValueError(f"prediction has shape {prediction.shape} but target has {target.shape}")


def binary_accuracy(logit: np.ndarray, target: np.ndarray) -> float:
    """The share of logits whose sign (positive: class 1) is the target's class, 0 or 1. Shapes are equal."""
    _same_shape(logit, target)
    return float(((logit > 0) == (target > 0.5)).mean())


def accuracy(logits: np.ndarray, target: np.ndarray) -> float:
    """The share of rows of (N, C) whose largest entry is at the class index in target, (N,); ValueError for others."""
    if logits.ndim != 2 or target.shape != logits.shape[:1]:
        raise ValueError(f"expected (N, C) and (N,), got {logits.shape} and {target.shape}")
    return float((logits.argmax(axis=1) == target).mean())


def r2_score(prediction: np.ndarray, target: np.ndarray) -> float:
    """1 - (sum of squared errors) / (sum of squares about the target's mean); 1 is perfect, 0 the mean's. Shapes equal.

    Raises:
        ValueError: shapes that differ; a constant target, for which it is not defined.
    """
    _same_shape(prediction, target)
    prediction, target = prediction.astype(np.float64), target.astype(np.float64)
    if not target.size or np.ptp(target) == 0:      # of 0.1, say, the mean may be another number
        raise ValueError("R² is not defined for a constant target")
    spread = float(((target - target.mean()) ** 2).sum())
    return 1 - float(((target - prediction) ** 2).sum()) / spread


def root_mean_squared_error(prediction: np.ndarray, target: np.ndarray) -> float:
    """sqrt(mean((prediction - target)²)), in the target's unit. ValueError unless shapes equal."""
    _same_shape(prediction, target)
    return float(np.sqrt(((prediction.astype(np.float64) - target) ** 2).mean()))


def roc_curve(score: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """False and true positive rates at every threshold, from (0, 0) to (1, 1), and the area under the curve.

    Args:
        score: (N,), larger for class 1.
        target: (N,) of 0 and 1, both present.

    Returns:
        Two (thresholds + 1,) arrays and the area; tied scores make one threshold.

    Raises:
        ValueError: shapes that differ; one class alone.
    """
    _same_shape(score, target)
    positive = target > 0.5
    if positive.all() or not positive.any():
        raise ValueError("a ROC curve needs both classes in the target")
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hits = np.cumsum(positive[order])[ends]
    true_rate = np.append(0.0, hits / positive.sum())
    false_rate = np.append(0.0, (ends + 1 - hits) / (~positive).sum())
    area = float((np.diff(false_rate) * (true_rate[1:] + true_rate[:-1]) / 2).sum())
    return false_rate, true_rate, area
