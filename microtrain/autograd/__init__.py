"""Derivatives: the walk over the tape, the grad mode, and a user's own functions."""

import sys as _sys

from ..arguments import guard as _guard
from .anomaly import AnomalyError, detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from .api import backward, grad
from .function import Function
from .mode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled

__all__ = ["AnomalyError", "Function", "backward", "detect_anomaly", "enable_grad", "grad", "inference_mode",
           "is_anomaly_enabled", "is_grad_enabled", "no_grad", "set_detect_anomaly", "set_grad_enabled"]

_guard(_sys.modules[__name__], ["grad", "set_detect_anomaly", "detect_anomaly"])
