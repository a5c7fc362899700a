"""Layers, losses and the Module they are made of, under PyTorch's names."""

import sys as _sys

from ..arguments import guard as _guard
from . import functional, init
from .activation import Dropout, Flatten, LogSoftmax, ReLU, Sigmoid, Softmax, Softplus, Tanh
from .container import ModuleList, Sequential
from .convolution import Conv1d, Conv2d, Fold, Unfold
from .distance import CosineSimilarity
from .embedding import Embedding
from .linear import Identity, Linear
from .loss import (
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
from .module import Module
from .normalization import BatchNorm1d, BatchNorm2d, LayerNorm, RMSNorm
from .padding import (
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
from .parameter import Parameter
from .piecewise import (
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    PReLU,
    ReLU6,
    Softshrink,
    Threshold,
)
from .pooling import AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d
from .smooth import CELU, ELU, GELU, GLU, SELU, LogSigmoid, Mish, SiLU, Softmin, Softsign, Tanhshrink

__all__ = ["CELU", "ELU", "GELU", "GLU", "SELU", "AvgPool1d", "AvgPool2d", "BCELoss", "BCEWithLogitsLoss",
           "BatchNorm1d", "BatchNorm2d", "CircularPad1d", "CircularPad2d", "ConstantPad1d", "ConstantPad2d", "Conv1d",
           "Conv2d", "CosineSimilarity", "CrossEntropyLoss", "Dropout", "Embedding", "Flatten", "Fold", "Hardshrink",
           "Hardsigmoid", "Hardswish", "Hardtanh", "HingeEmbeddingLoss", "HuberLoss", "Identity", "KLDivLoss", "L1Loss",
           "LayerNorm", "LeakyReLU", "Linear", "LogSigmoid", "LogSoftmax", "MSELoss", "MaxPool1d", "MaxPool2d", "Mish",
           "Module", "ModuleList", "NLLLoss", "PReLU", "Parameter", "RMSNorm", "ReLU", "ReLU6", "ReflectionPad1d",
           "ReflectionPad2d", "ReplicationPad1d", "ReplicationPad2d", "Sequential", "SiLU", "Sigmoid", "SmoothL1Loss",
           "SoftMarginLoss", "Softmax", "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink",
           "Threshold", "Unfold", "ZeroPad1d", "ZeroPad2d", "functional", "init"]

_guard(_sys.modules[__name__], __all__, but=("Module", "Parameter"), itself=("delta",))
_guard(Module, ["add_module", "apply", "buffers", "cuda", "load_state_dict", "named_buffers", "named_modules",
                "named_parameters", "register_buffer", "register_module", "register_parameter", "requires_grad_",
                "state_dict"], itself=("name", "module", "param", "tensor", "state_dict"))
_guard(init, [name for name in vars(init) if (name.endswith("_") and name[0] != "_") or name == "calculate_gain"])
