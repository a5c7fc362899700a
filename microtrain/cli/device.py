"""The --device argument."""

from __future__ import annotations

import argparse

from ..tensor import tensor
from .errors import UsageError

DEVICES = ("cpu", "cuda", "interpret")


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--device`."""
    parser.add_argument("--device", choices=DEVICES,
                        help="where to run (default: MICROTRAIN_DEVICE, else cuda where there is one, else cpu)")


def usable(device: str) -> str | None:
    """Why `device` cannot be used on this machine, or None if it can."""
    try:
        tensor([1.0], device=device).sum().item()
    except (RuntimeError, ImportError, ValueError, OSError, AssertionError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None


def check_device(device: str) -> None:
    """Raises UsageError, with the reason, unless a value can be computed on `device`."""
    reason = usable(device)
    if reason is not None:
        raise UsageError(f"device '{device}' cannot be used here: {reason}")
