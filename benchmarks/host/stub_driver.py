"""The virtual GPU's driver launching nothing, for timing and checking what comes before a launch.

Triton's own launcher, in C, is compiled and linked against it: all that is missing is the GPU. A process in which it is
loaded must not use a real one, so `python -m benchmarks.host.launch_costs` is a process of its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microtrain.runtime.virtual.device import ATTRIBUTES
from microtrain.runtime.virtual.libcuda import MAX_PARAMETERS, Config, LibCuda, build, compiler, triton_driver_class

__all__ = ["STREAM", "Launched", "StubDriver", "build", "compiler", "environment"]

STREAM = 0x5EED
"""The integer that stands for the current stream."""


@dataclass(frozen=True)
class Launched:
    """What the driver was told in one launch: `parameters` are the kernel's, as unsigned integers of their bits."""

    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_bytes: int
    stream: int
    function: int
    parameters: tuple[int, ...]


class StubDriver(LibCuda):
    """The library in use by this process, and Triton's driver on top of it: one GPU of compute capability 9.0.

    Raises RuntimeError where another library answers to its name.
    """

    def __init__(self, folder: Path) -> None:
        import triton

        super().__init__(folder)
        self.describe(ATTRIBUTES["sm_90"])
        self.triton = triton_driver_class()(self, 90, lambda: STREAM, None)
        triton.runtime.driver.set_active(self.triton)

    def expect(self, sizes: Sequence[int]) -> None:
        """Read that many parameters, of so many bytes, of the launches that follow; none, and nothing is noted."""
        if len(sizes) > MAX_PARAMETERS:
            raise ValueError(f"{len(sizes)} parameters: the stub notes up to {MAX_PARAMETERS}")
        (ctypes.c_int * MAX_PARAMETERS).in_dll(self.library, "sizes")[:len(sizes)] = list(sizes)
        ctypes.c_int.in_dll(self.library, "expected").value = len(sizes)

    def last(self) -> Launched:
        """The last launch whose parameters were read."""
        config = Config.in_dll(self.library, "last")
        count = ctypes.c_int.in_dll(self.library, "expected").value
        parameters = (ctypes.c_uint64 * MAX_PARAMETERS).in_dll(self.library, "parameters")
        return Launched(tuple(config.grid), tuple(config.block), config.shared, config.stream or 0,
                        ctypes.c_void_p.in_dll(self.library, "last_function").value or 0, tuple(parameters[:count]))


def environment(folder: Path) -> dict[str, str]:
    """The variables of a process that is to use the library, and import what this one imports."""
    path = [str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(path),
            "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
