"""Tools for testing code that runs on microtrain."""

from ..autograd import AnomalyError, detect_anomaly
from .counting import KernelCount, count_kernels

__all__ = ["AnomalyError", "KernelCount", "count_kernels", "detect_anomaly"]
