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
from microtrain.nn.functional.attention import scaled_dot_product_attention
from microtrain.nn.functional.class_loss import cross_entropy, nll_loss, one_hot
from microtrain.nn.functional.convolution import conv1d, conv2d, fold, unfold
from microtrain.nn.functional.distance import cosine_similarity
from microtrain.nn.functional.elementwise_loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from microtrain.nn.functional.embedding import check_dense, embedding
from microtrain.nn.functional.margin_loss import hinge_embedding_loss, soft_margin_loss
from microtrain.nn.functional.normalization import batch_norm, layer_norm, normalize, rms_norm
from microtrain.nn.functional.padding import pad
from microtrain.nn.functional.pooling import avg_pool1d, avg_pool2d, max_pool1d, max_pool2d

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "check_dense",
    "check_dropout_probability",
    "conv1d",
    "conv2d",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "embedding",
    "fold",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "linear",
    "log_softmax",
    "max_pool1d",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "relu",
    "rms_norm",
    "scaled_dot_product_attention",
    "sigmoid",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softplus",
    "tanh",
    "unfold",
]
