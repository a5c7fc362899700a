"""Layers, losses and the Module they are made of, under PyTorch's names."""

import sys as _sys
from types import FunctionType as _FunctionType

from ..arguments import guard as _guard
from . import functional, init
from .activation import *
from .container import *
from .convolution import *
from .embedding import *
from .linear import *
from .losses import *
from .module import Module
from .normalization import *
from .padding import *
from .parameter import Parameter
from .pooling import *

__all__ = ["Module", "Parameter", "functional", "init"]
for _name, _value in [*globals().items()]:
    if isinstance(_value, _FunctionType) and _name[0] != "_":
        del globals()[_name]                            # `functional` has it
    elif isinstance(_value, type) and _name not in ("_FunctionType", *__all__):
        __all__.append(_name)

_guard(_sys.modules[__name__], __all__, but=("Module", "Parameter"), itself=("delta",))
_guard(Module, ["add_module", "apply", "buffers", "cuda", "load_state_dict", "named_buffers", "named_modules",
                "named_parameters", "register_buffer", "register_module", "register_parameter", "requires_grad_",
                "state_dict"], itself=("name", "module", "param", "tensor", "state_dict"))
_guard(init, [name for name in vars(init) if (name.endswith("_") and name[0] != "_") or name == "calculate_gain"])
