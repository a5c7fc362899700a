"""Optimizers and learning-rate schedulers, under PyTorch's names."""

import sys as _sys

from ..arguments import guard as _guard
from . import lr_scheduler
from .adam import Adam, AdamW
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]

_guard(_sys.modules[__name__], __all__, itself=("betas",))
_guard(lr_scheduler, [name for name in vars(lr_scheduler) if name.endswith("LR")], itself=("optimizer",))
_guard(Optimizer, ["load_state_dict"])
_guard(lr_scheduler.LRScheduler, ["load_state_dict"])
