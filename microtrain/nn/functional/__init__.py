"""Layers and losses as functions, under ``torch.nn.functional``'s names."""

from microtrain.nn.functional.activation import (
    check_dropout_probability,
    dropout,
    linear,
    log_softmax,
    relu,
    sigmoid,
    softmax,
    softplus,
    tanh,
)
from microtrain.nn.functional.class_loss import cross_entropy, nll_loss, one_hot
from microtrain.nn.functional.elementwise_loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    l1_loss,
    mse_loss,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "check_dropout_probability",
    "cross_entropy",
    "dropout",
    "l1_loss",
    "linear",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    "tanh",
]
