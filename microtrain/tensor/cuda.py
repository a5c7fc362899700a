"""`microtrain.cuda`: what PyTorch programs ask of `torch.cuda`."""

from __future__ import annotations

from typing import Any

from ..runtime import backend
from ..runtime.detect import has_cuda


def is_available() -> bool:
    """Whether there is a CUDA device that can be used (a driver, PyTorch and Triton)."""
    return has_cuda()


def device_count() -> int:
    """How many CUDA devices there are."""
    return backend("cuda", 0).count() if has_cuda() else 0


def synchronize(device: Any = None) -> None:
    """Wait until everything launched on a CUDA device has run."""
    backend("cuda", 0 if device is None else int(device)).synchronize()


def manual_seed(seed: int) -> None:
    """Seed the default generator, which all devices share."""
    from .random import manual_seed as seed_all
    seed_all(seed)


manual_seed_all = manual_seed
