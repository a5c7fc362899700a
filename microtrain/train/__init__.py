"""Training: the loop, its history and progress, scores, checkpoints and two ready-made tasks."""

from microtrain.train import checkpoint, metrics, tasks
from microtrain.train.history import History
from microtrain.train.loop import DivergedError, evaluate, fit, predict
from microtrain.train.progress import Progress, make_progress

__all__ = [
    "DivergedError",
    "History",
    "Progress",
    "checkpoint",
    "evaluate",
    "fit",
    "make_progress",
    "metrics",
    "predict",
    "tasks",
]
