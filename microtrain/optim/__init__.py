"""Optimizers and learning-rate schedulers, under PyTorch's names."""

from microtrain.optim import lr_scheduler
from microtrain.optim.adam import Adam, AdamW
from microtrain.optim.optimizer import Optimizer
from microtrain.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]
