"""`microtrain info`: versions, devices at hand, and the environment flags."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from importlib import metadata

from .. import settings
from ..errors import shown
from ..tensor import default_device
from .parse import DEVICES

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
        reason = _unusable(device)
        print(f"{device:12} {'at hand' if reason is None else 'not here: ' + reason}")
    print("\nflags (environment variables)")
    for flag in settings.FLAGS.values():
        print(f"{flag.variable:27} {_set_to(flag):8} {flag.__doc__}")
    return 0


def _set_to(flag: settings.Flag) -> str:
    """A flag as its variable would be set to have what is in force."""
    if flag is settings.device:
        return str(flag.value or default_device())
    return str(int(flag.value)) if isinstance(flag.value, bool) else str(flag.value) or "-"


_PROBE = """
import sys
from microtrain.cli.parse import usable
sys.exit(usable(sys.argv[1]))
"""


def _unusable(device: str) -> str | None:
    """Why `device` cannot be used, or None.

    Asked in a process of its own, as one process either interprets kernels or compiles them.
    """
    # The package is found from there as it is from here, installed or not.
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    environment = {**os.environ, "MICROTRAIN_DEVICE": device, "PYTHONPATH": path}
    probe = subprocess.run([sys.executable, "-c", _PROBE, device], env=environment, capture_output=True, text=True,
                           check=False)
    said = probe.stderr.strip().splitlines() or ["it ended without a word"]
    return None if probe.returncode == 0 else shown(said[-1])


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
