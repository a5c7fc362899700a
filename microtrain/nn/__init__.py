"""Layers, losses and the Module they are made of, under PyTorch's names."""

from microtrain.nn import functional, init
from microtrain.nn.activation import Dropout, Flatten, LogSoftmax, ReLU, Sigmoid, Softmax, Softplus, Tanh
from microtrain.nn.container import ModuleList, Sequential
from microtrain.nn.linear import Identity, Linear
from microtrain.nn.loss import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from microtrain.nn.module import Module
from microtrain.nn.parameter import Parameter

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "L1Loss",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "functional",
    "init",
]
