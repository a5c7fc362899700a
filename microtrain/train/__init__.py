"""Training: the loop, its history and progress, scores and checkpoints."""

import sys as _sys

from ..arguments import guard as _guard
from . import checkpoint, metrics
from .loop import DivergedError, History, evaluate, fit, predict
from .progress import Progress, make_progress

__all__ = ["DivergedError", "History", "Progress", "checkpoint", "evaluate", "fit", "make_progress", "metrics",
           "predict"]

_guard(_sys.modules[__name__], __all__)
_guard(checkpoint, ["load", "load_training", "save", "save_training"], itself=("state_dict",))
_guard(metrics, ["accuracy", "binary_accuracy", "r2_score", "roc_curve", "root_mean_squared_error"])
