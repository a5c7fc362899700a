"""Special functions under `torch.special`'s names; all but `xlog1py` are functions of the package too."""

import importlib as _importlib

from .tensor.special import xlog1py

NAMES = "erf erfc exp2 expm1 log1p log_softmax logit logsumexp round softmax xlogy".split()     # noqa: SIM905
"""Those that have the same name there."""

_package = _importlib.import_module(".tensor", __package__)      # `from . import tensor` is the function of that name

globals().update({name: getattr(_package, name) for name in NAMES})
expit = _package.sigmoid

__all__ = ["expit", "xlog1py", *NAMES]
