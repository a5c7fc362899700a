"""The interpret device: the kernels of the cuda device, run by Triton's interpreter on CPU tensors."""

from __future__ import annotations

import os
import sys

import numpy as np

from ..kernels.tiles import INTERPRET
from .backend import Launch, Pointer
from .torch_memory import Torch, TorchMemory, real_torch


def choose_interpreter() -> None:
    """Make Triton interpret every kernel that is decorated from now on. Raises RuntimeError where Triton was imported
    without it: its own functions, and what was decorated so far, would be compiled."""
    library = sys.modules.get("triton.language.standard")
    if library is not None and type(library.sum).__name__ != "InterpretedFunction":
        raise RuntimeError(
            "the interpret device needs Triton's interpreter, which is chosen when Triton is first imported, and it "
            "was imported without: set MICROTRAIN_DEVICE=interpret and import microtrain before triton, or set "
            "TRITON_INTERPRET=1 too")
    os.environ["TRITON_INTERPRET"] = "1"


def import_torch() -> Torch:
    """PyTorch. Raises RuntimeError, saying what to install, without it or Triton."""
    with real_torch("the interpret device needs PyTorch (a CPU build will do) and Triton"):
        import torch
        import triton  # noqa: F401
    return torch


class InterpretBackend(TorchMemory):
    """CPU tensors as memory and Triton's interpreter as the processor. A launch has finished when it returns."""

    arch = INTERPRET
    timer = None
    requeuing = None

    def __init__(self) -> None:
        choose_interpreter()
        super().__init__(import_torch(), "cpu")

    def launch(self, launch: Launch, pointers: tuple[Pointer, ...], scalars: tuple[int, ...]) -> None:
        """Run one kernel. Floating-point oddities (1/0, log 0) give inf and NaN without a warning, as on a GPU."""
        with np.errstate(all="ignore"):
            launch.function[launch.grid](*launch.arguments(pointers, scalars))
