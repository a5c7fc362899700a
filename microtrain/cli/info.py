"""``microtrain info``: versions, devices at hand, and the environment flags."""

from __future__ import annotations

import argparse
import platform
from importlib import metadata

from microtrain import settings
from microtrain.cli.device import DEVICES, usable

_PACKAGES = ("microtrain", "numpy", "ml_dtypes", "torch", "triton", "matplotlib", "tqdm", "safetensors")


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> int:
    """Prints three short tables."""
    print(f"python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in _PACKAGES:
        print(f"{package:12} {_version(package)}")
    print("\ndevices")
    for device in DEVICES:
        reason = usable(device)
        print(f"{device:12} {'at hand' if reason is None else 'not here: ' + reason}")
    print("\nflags (environment variables)")
    for flag in settings.FLAGS.values():
        print(f"{flag.variable:22} {flag.value!s:8} {flag.__doc__}")
    return 0


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
