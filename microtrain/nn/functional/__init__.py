"""Layers and losses as functions, under `torch.nn.functional`'s names."""

import sys as _sys

from ...arguments import guard as _guard
from .activation import (
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
from .margin_loss import hinge_embedding_loss, soft_margin_loss
from .normalization import batch_norm, layer_norm, normalize, rms_norm
from .padding import pad
from .piecewise import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    prelu,
    relu6,
    softshrink,
    threshold,
)
from .pooling import avg_pool1d, avg_pool2d, max_pool1d, max_pool2d
from .smooth import (
    celu,
    elu,
    gelu,
    glu,
    logsigmoid,
    mish,
    selu,
    silu,
    softmin,
    softsign,
    tanhshrink,
)

__all__ = ["avg_pool1d", "avg_pool2d", "batch_norm", "binary_cross_entropy", "binary_cross_entropy_with_logits", "celu",
           "check_dense", "check_dropout_probability", "conv1d", "conv2d", "cosine_similarity", "cross_entropy",
           "dropout", "elu", "embedding", "fold", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh",
           "hinge_embedding_loss", "huber_loss", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "linear",
           "log_softmax", "logsigmoid", "max_pool1d", "max_pool2d", "mish", "mse_loss", "nll_loss", "normalize",
           "one_hot", "pad", "prelu", "relu", "relu6", "rms_norm", "scaled_dot_product_attention", "selu", "sigmoid",
           "silu", "smooth_l1_loss", "soft_margin_loss", "softmax", "softmin", "softplus", "softshrink", "softsign",
           "tanh", "tanhshrink", "threshold", "unfold"]

_guard(_sys.modules[__name__], __all__, but=(
    "binary_cross_entropy_with_logits", "cross_entropy", "linear", "log_softmax", "mse_loss", "relu", "sigmoid",
    "softmax", "tanh"))
