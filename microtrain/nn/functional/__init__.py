"""Layers and losses as functions, under `torch.nn.functional`'s names."""

import sys as _sys

from ...arguments import guard as _guard
from .. import piecewise as _piecewise
from .. import smooth as _smooth
from ..activation import kept as _kept
from ..piecewise import *  # noqa: F403
from ..smooth import *  # noqa: F403
from .attention import scaled_dot_product_attention
from .class_loss import cross_entropy, nll_loss, one_hot
from .convolution import conv1d, conv2d, fold, unfold
from .distance import cosine_similarity
from .elementwise_loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from .embedding import check_dense, embedding
from .linear import check_dropout_probability, dropout, linear
from .margin_loss import hinge_embedding_loss, soft_margin_loss
from .normalization import batch_norm, layer_norm, normalize, rms_norm
from .padding import pad
from .pooling import avg_pool1d, avg_pool2d, max_pool1d, max_pool2d

__all__ = ["avg_pool1d", "avg_pool2d", "batch_norm", "binary_cross_entropy",
           "binary_cross_entropy_with_logits", "check_dense", "check_dropout_probability", "conv1d", "conv2d",
           "cosine_similarity", "cross_entropy", "dropout", "embedding", "fold", "hinge_embedding_loss", "huber_loss",
           "kl_div", "l1_loss", "layer_norm", "linear", "max_pool1d", "max_pool2d", "mse_loss", "nll_loss",
           "normalize", "one_hot", "pad", "rms_norm", "scaled_dot_product_attention", "smooth_l1_loss",
           "soft_margin_loss", "unfold"]
for _module in (_piecewise, _smooth):
    __all__ += _kept(globals(), _module.__all__, functions=True)

_guard(_sys.modules[__name__], __all__, but=(
    "binary_cross_entropy_with_logits", "cross_entropy", "linear", "log_softmax", "mse_loss", "relu", "sigmoid",
    "softmax", "tanh"))
