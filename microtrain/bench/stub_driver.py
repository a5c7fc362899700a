"""A CUDA driver that launches nothing, for timing and checking what comes before it on a machine without a GPU.

Triton's own launcher, in C, is compiled and linked against it: all that is missing is the GPU. A process in which it is
loaded must not use a real one, so `python -m microtrain.bench.launches` is a process of its own.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STREAM = 0x5EED
"""The integer that stands for the current stream."""

MAX_PARAMETERS = 1024
"""That the library notes of a launch."""

class _Config(ctypes.Structure):
    _fields_ = (("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("shared", ctypes.c_uint),
                ("stream", ctypes.c_void_p), ("attributes", ctypes.c_void_p), ("count", ctypes.c_uint))


@dataclass(frozen=True)
class Launched:
    """What the driver was told in one launch: `parameters` are the kernel's, as unsigned integers of their bits."""

    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_bytes: int
    stream: int
    function: int
    parameters: tuple[int, ...]


def compiler() -> str | None:
    """The C compiler that Triton would use."""
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(folder: Path) -> None:
    """Compile the library into a folder, as the `libcuda.so.1` of a process started with it in LD_LIBRARY_PATH.

    Raises RuntimeError without a C compiler.
    """
    command = compiler()
    if command is None:
        raise RuntimeError("a stub of the driver needs a C compiler, as Triton does: install gcc or set CC")
    subprocess.run([command, "-shared", "-fPIC", "-O1", f"-DMAX_PARAMETERS={MAX_PARAMETERS}",
                    "-Wl,-soname,libcuda.so.1", str(Path(__file__).with_suffix(".c")),
                    "-o", str(folder / "libcuda.so.1")], check=True)


class StubDriver:
    """The library in use by this process, and Triton's driver on top of it: one GPU of compute capability 9.0.

    Raises RuntimeError where another library answers to its name.
    """

    def __init__(self, folder: Path) -> None:
        import triton
        from triton import knobs
        from triton.backends.compiler import GPUTarget
        from triton.backends.nvidia.driver import CudaDriver, CudaLauncher, CudaUtils

        self.library = ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
        if not hasattr(self.library, "launches"):
            raise RuntimeError(f"libcuda.so.1 is not the stub in {folder}: give the process LD_LIBRARY_PATH")
        knobs.nvidia.libcuda_path = str(folder)

        class Driver(CudaDriver):
            def __init__(self) -> None:
                self.utils, self.launcher_cls = CudaUtils(), CudaLauncher

            def get_current_target(self) -> Any:
                return GPUTarget("cuda", 90, 32)

            def get_current_device(self) -> int:
                return 0

            def get_current_stream(self, device: int) -> int:
                return STREAM

        self.triton = Driver()
        triton.runtime.driver.set_active(self.triton)

    @property
    def launches(self) -> int:
        """How many kernels were launched."""
        return ctypes.c_long.in_dll(self.library, "launches").value

    def expect(self, sizes: Sequence[int]) -> None:
        """Read that many parameters, of so many bytes, of the launches that follow; none, and nothing is noted."""
        if len(sizes) > MAX_PARAMETERS:
            raise ValueError(f"{len(sizes)} parameters: the stub notes up to {MAX_PARAMETERS}")
        (ctypes.c_int * MAX_PARAMETERS).in_dll(self.library, "sizes")[:len(sizes)] = list(sizes)
        ctypes.c_int.in_dll(self.library, "expected").value = len(sizes)

    def last(self) -> Launched:
        """The last launch whose parameters were read."""
        config = _Config.in_dll(self.library, "last")
        count = ctypes.c_int.in_dll(self.library, "expected").value
        parameters = (ctypes.c_uint64 * MAX_PARAMETERS).in_dll(self.library, "parameters")
        return Launched(tuple(config.grid), tuple(config.block), config.shared, config.stream or 0,
                        ctypes.c_void_p.in_dll(self.library, "last_function").value or 0, tuple(parameters[:count]))


def environment(folder: Path) -> dict[str, str]:
    """The variables of a process that is to use the library, and import what this one imports."""
    path = [str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(path),
            "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
