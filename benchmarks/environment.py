"""The machine and the software that figures were measured with."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import microtrain

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Read by the BLAS libraries that NumPy and PyTorch come with, once, when they are loaded."""

PACKAGES = ("numpy", "torch", "triton", "jax", "numba")


def on_one_thread() -> bool:
    """Whether this process was started with every BLAS held to one thread."""
    return all(os.environ.get(variable) == "1" for variable in THREAD_VARIABLES)


def again_on_one_thread(arguments: Sequence[str]) -> int:
    """Run ``benchmarks`` with these arguments in a process whose libraries start with one thread: they read how many
    when they are loaded. It hears of what ends this one. Its status."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    sys.stdout.flush()
    # A group of its own: of what is typed at a terminal it hears from here alone, once.
    process = subprocess.Popen([sys.executable, "-m", "benchmarks", *arguments], process_group=0,
                               env={**os.environ, "PYTHONPATH": path, **dict.fromkeys(THREAD_VARIABLES, "1")})
    try:
        return process.wait()
    except BaseException as error:
        process.send_signal(signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
        return process.wait()


def environment(device: str) -> dict[str, Any]:
    """Device, versions and revision, for a report: what is not known or not there is None."""
    versions = {"python": platform.python_version(), "microtrain": microtrain.__version__}
    return {"device": {"type": device, **(_gpu() if device == "cuda" else _cpu())},
            "system": f"{platform.system()} {platform.machine()}",
            "versions": {**versions, **{package: _version(package) for package in PACKAGES}}, "revision": revision()}


def revision() -> str | None:
    """The git revision of this package's sources, "-dirty" with changes; None outside a repository that holds them."""
    folder = Path(microtrain.__file__).parent
    if _said("git", "-C", str(folder), "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _said("git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _gpu() -> dict[str, Any]:
    from .peers import torch_peers

    driver = _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return {**torch_peers.gpu(), "driver": driver.splitlines()[0] if driver else None}


def _cpu() -> dict[str, Any]:
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"name": models[0] if models else name, "threads": 1 if on_one_thread() else None, "driver": None}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
