"""An emulator of compiled kernels: runs Triton's PTX for sm_80 and sm_90 on NumPy and looks at each access.

    memory = Memory()
    x = memory.allocate(4096, "x")                # a host address; memory.view(x, 4096) are its bytes
    memory.view(x, 4096)[:] = ...
    memory.written(x, 4096)                       # what the host writes must be said
    module = parse(ptx)
    report = launch(module, "kernel", (8, 1, 1), (128, 1, 1), shared_bytes, [raw bytes of each parameter], memory,
                    names={0: "x"}, checks=True)

`launch` raises `EmulatorError` if the kernel did what it must not do (`.findings` has the places, `str` tells them);
with `collect=True` it returns the report instead. Nothing here knows of tensors, of Triton, or of our own kernels.
"""

from .launch import launch
from .memory import Allocation, Memory
from .parse import Module, parse
from .report import EmulatorError, Finding, Report, UnknownInstruction

__all__ = ["Allocation", "EmulatorError", "Finding", "Memory", "Module", "Report", "UnknownInstruction",
           "launch", "parse"]
