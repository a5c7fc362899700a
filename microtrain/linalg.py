"""Linear algebra under `torch.linalg`'s names: products and norms. What needs a factorisation is not there."""

import importlib as _importlib
import sys as _sys

from .arguments import guard as _guard
from .tensor.norms import matrix_norm, norm, vector_norm

_package = _importlib.import_module(".tensor", __package__)      # `from . import tensor` is the function of that name

matmul, diagonal = _package.matmul, _package.diagonal

__all__ = ["diagonal", "matmul", "matrix_norm", "norm", "vector_norm"]
_guard(_sys.modules[__name__], ["matrix_norm", "norm", "vector_norm"])
