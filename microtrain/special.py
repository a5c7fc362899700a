"""Special functions under ``torch.special``'s names; most are functions of the package too."""

from .tensor import (
    erf,
    erfc,
    exp2,
    expm1,
    log1p,
    log_softmax,
    logit,
    logsumexp,
    round,
    sigmoid,
    softmax,
    xlogy,
)
from .tensor.special import xlog1py

expit = sigmoid

__all__ = ["erf", "erfc", "exp2", "expit", "expm1", "log1p", "log_softmax", "logit", "logsumexp", "round", "softmax",
           "xlog1py", "xlogy"]
