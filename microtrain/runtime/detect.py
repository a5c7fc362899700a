"""Whether this machine has a CUDA device, found out without importing PyTorch or starting the driver."""

from __future__ import annotations

import ctypes.util
import importlib.util
from functools import lru_cache
from pathlib import Path

from . import virtual


@lru_cache(maxsize=1)
def has_cuda() -> bool:
    """Whether a driver with a device (or a virtual one), PyTorch and Triton are all here; only then is PyTorch asked."""
    if not (virtual.wanted() or Path("/dev/nvidia0").exists() or ctypes.util.find_library("cuda")):
        return False
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("triton") is None:
        return False
    from .cuda import is_available
    return is_available()
