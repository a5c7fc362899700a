"""Layers, losses and the Module they are made of, under PyTorch's names."""

import sys as _sys

from ..arguments import guard as _guard
from . import functional, init
from . import piecewise as _piecewise
from . import smooth as _smooth
from .activation import kept as _kept
from .container import ModuleList, Sequential
from .convolution import Conv1d, Conv2d, Fold, Unfold
from .distance import CosineSimilarity
from .embedding import Embedding
from .linear import Dropout, Flatten, Identity, Linear
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
from .piecewise import *  # noqa: F403
from .pooling import AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d
from .smooth import *  # noqa: F403

__all__ = ["AvgPool1d", "AvgPool2d", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d",
           "CircularPad1d", "CircularPad2d", "ConstantPad1d", "ConstantPad2d", "Conv1d", "Conv2d", "CosineSimilarity",
           "CrossEntropyLoss", "Dropout", "Embedding", "Flatten", "Fold", "HingeEmbeddingLoss", "HuberLoss",
           "Identity", "KLDivLoss", "L1Loss", "LayerNorm", "Linear", "MSELoss", "MaxPool1d", "MaxPool2d", "Module",
           "ModuleList", "NLLLoss", "Parameter", "RMSNorm", "ReflectionPad1d", "ReflectionPad2d", "ReplicationPad1d",
           "ReplicationPad2d", "Sequential", "SmoothL1Loss", "SoftMarginLoss", "Unfold", "ZeroPad1d", "ZeroPad2d",
           "functional", "init"]
for _module in (_piecewise, _smooth):
    __all__ += _kept(globals(), _module.__all__, functions=False)

_guard(_sys.modules[__name__], __all__, but=("Module", "Parameter"), itself=("delta",))
_guard(Module, ["add_module", "apply", "buffers", "cuda", "load_state_dict", "named_buffers", "named_modules",
                "named_parameters", "register_buffer", "register_module", "register_parameter", "requires_grad_",
                "state_dict"], itself=("name", "module", "param", "tensor", "state_dict"))
_guard(init, [name for name in vars(init) if (name.endswith("_") and name[0] != "_") or name == "calculate_gain"])
