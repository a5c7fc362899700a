"""Whether this machine has a CUDA device, found out without importing PyTorch or starting the driver."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from . import virtual


def installed(package: str) -> bool:
    """Whether a package can be imported, without importing it: not where a finder refuses it (as a test's may), and not
    where `sys.modules` holds None in its place."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


@lru_cache(maxsize=1)
def has_cuda() -> bool:
    """Whether a driver with a device (or a virtual GPU), PyTorch and Triton are here; only then is PyTorch asked."""
    if not (installed("torch") and installed("triton")):
        return False
    from ctypes.util import find_library  # it brings `subprocess`: a sixth of the time that importing us takes

    if not (virtual.wanted() or Path("/dev/nvidia0").exists() or find_library("cuda")):
        return False
    from .cuda import is_available
    return is_available()


_current: list[Callable[[], int]] = []
"""What tells the current GPU, once PyTorch has started CUDA: asked whenever something is made on "cuda"."""


def current_cuda() -> int:
    """The index of the GPU that "cuda" means: PyTorch's current one, the first where PyTorch has not started CUDA."""
    if not _current:
        torch = sys.modules.get("torch")
        if torch is None or not hasattr(torch, "_C") or not torch.cuda.is_initialized():
            return 0
        _current.append(torch.cuda.current_device if torch.cuda.device_count() > 1 else lambda: 0)
    return _current[0]()
