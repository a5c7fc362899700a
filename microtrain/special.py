"""Special functions under ``torch.special``'s names; all but `xlog1py` are functions of the package too."""

from . import tensor as _package
from .tensor.special import xlog1py

NAMES = "erf erfc exp2 expm1 log1p log_softmax logit logsumexp round softmax xlogy".split()     # noqa: SIM905
"""Those that have the same name there."""

globals().update({name: getattr(_package, name) for name in NAMES})
expit = getattr(_package, "sigmoid")        # noqa: B009 (made at run time, so mypy does not know it)

__all__ = ["expit", "xlog1py", *NAMES]
