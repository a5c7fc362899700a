"""microtrain: train small models with fused Triton kernels, in PyTorch's words.

A Tensor operation records a node; nothing runs until a value is needed; then forward, backward and update are compiled
together into a few kernels (or, on a machine without a GPU, into one NumPy function).
"""

# ruff: noqa: E402 (imports below a call)
import importlib as _importlib
import math as _math
import os as _os
from typing import Any as _Any

from . import command as _command

_command.begin()        # before NumPy is imported, which takes a while

from . import autograd as autograd
from . import settings as settings
from . import tensor as _tensor_layer
from .errors import AcceleratorError as AcceleratorError
from .errors import CompileError as CompileError
from .errors import NonFiniteLossError as NonFiniteLossError
from .errors import OutOfMemoryError as OutOfMemoryError
from .errors import missing as _missing
from .tensor import *  # noqa: F403
from .tensor import tensor as tensor

__version__ = "0.1.0"

settings.check()

# Triton decides when it decorates a kernel; a user's own are decorated after this import and before the first tensor.
if _os.environ.get("MICROTRAIN_DEVICE") == "interpret":
    _os.environ.setdefault("TRITON_INTERPRET", "1")

device = _tensor_layer.Device
dtype = _tensor_layer.DType
bool = _tensor_layer.bool_
half, float, double = _tensor_layer.float16, _tensor_layer.float32, _tensor_layer.float64
short, int, long = _tensor_layer.int16, _tensor_layer.int32, _tensor_layer.int64
pi, e, inf, nan = _math.pi, _math.e, _math.inf, _math.nan

_LAZY = {"nn": ".nn", "optim": ".optim", "data": ".data", "train": ".train", "viz": ".viz", "bench": ".bench",
         "testing": ".testing", "kernels": ".kernels", "cuda": ".tensor.cuda",
         "special": ".special", "linalg": ".linalg", "random": ".random"}
"""Parts that are imported when first used, so that `import microtrain` costs little."""


def __getattr__(name: str) -> _Any:
    if name in _LAZY:
        module = _importlib.import_module(_LAZY[name], __name__)
        globals()[name] = module
        return module
    if name == "compile":
        from .compiled import compile
        globals()[name] = compile
        return compile
    if name == "explain":
        from .engine.explain import explain
        globals()[name] = explain
        return explain
    raise _missing("module 'microtrain'", name)
