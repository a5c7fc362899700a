"""Layers and losses as functions, under `torch.nn.functional`'s names: each stands beside its module's file."""

from types import FunctionType as _FunctionType

from .activation import *
from .convolution import *
from .embedding import *
from .function_module import checked as _checked
from .linear import *
from .losses import *
from .normalization import *
from .padding import *
from .pooling import *

__all__ = []
for _name, _value in [*globals().items()]:
    if isinstance(_value, _FunctionType) and _name[0] != "_":
        globals()[_name] = _checked(_value)
        __all__.append(_name)
    elif _name[0] != "_":
        del globals()[_name]
