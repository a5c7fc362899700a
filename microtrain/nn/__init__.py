"""Layers, losses and the Module they are made of, under PyTorch's names."""

from microtrain.nn import functional, init
from microtrain.nn.activation import Dropout, Flatten, LogSoftmax, ReLU, Sigmoid, Softmax, Softplus, Tanh
from microtrain.nn.container import ModuleList, Sequential
from microtrain.nn.convolution import Conv1d, Conv2d, Fold, Unfold
from microtrain.nn.distance import CosineSimilarity
from microtrain.nn.embedding import Embedding
from microtrain.nn.linear import Identity, Linear
from microtrain.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HingeEmbeddingLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
    SoftMarginLoss,
)
from microtrain.nn.module import Module
from microtrain.nn.normalization import BatchNorm1d, BatchNorm2d, LayerNorm, RMSNorm
from microtrain.nn.padding import (
    CircularPad1d,
    CircularPad2d,
    ConstantPad1d,
    ConstantPad2d,
    ReflectionPad1d,
    ReflectionPad2d,
    ReplicationPad1d,
    ReplicationPad2d,
    ZeroPad1d,
    ZeroPad2d,
)
from microtrain.nn.parameter import Parameter
from microtrain.nn.pooling import AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d

__all__ = [
    "AvgPool1d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "CircularPad1d",
    "CircularPad2d",
    "ConstantPad1d",
    "ConstantPad2d",
    "Conv1d",
    "Conv2d",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "Fold",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "Identity",
    "KLDivLoss",
    "L1Loss",
    "LayerNorm",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "Sequential",
    "Sigmoid",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "Softmax",
    "Softplus",
    "Tanh",
    "Unfold",
    "ZeroPad1d",
    "ZeroPad2d",
    "functional",
    "init",
]
