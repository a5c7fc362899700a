"""Tools for testing code that runs on microtrain."""

from .counting import KernelCount, count_kernels

__all__ = ["KernelCount", "count_kernels"]
