"""Tools for testing code that runs on microtrain, and functions and kernels that are not microtrain's own.

`check_parity` compares a function with PyTorch's, `gradcheck` and `gradgradcheck` with central differences,
`check_kernel` watches a Triton kernel; see docs/testing.md.
"""

import sys as _sys

from ..arguments import guard as _guard
from ..autograd import AnomalyError, detect_anomaly
from . import cases
from .bridge import as_torch
from .cases import Sample
from .checking import ParityError, check_parity
from .closeness import Tolerance
from .comparison import OracleError
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .interpreter import poison
from .kernels import KernelError, check_kernel
from .report import ParityReport, Tally
from .resources import KernelCount, Memory, count_kernels, needed_memory, peak_memory

__all__ = ["AnomalyError", "GradcheckError", "KernelCount", "KernelError", "Memory", "OracleError", "ParityError",
           "ParityReport", "Sample", "Tally", "Tolerance", "as_torch", "cases", "check_kernel", "check_parity",
           "count_kernels", "detect_anomaly", "gradcheck", "gradgradcheck", "needed_memory", "peak_memory", "poison"]

_guard(_sys.modules[__name__], ["as_torch", "check_parity", "count_kernels", "gradcheck", "gradgradcheck",
                               "needed_memory", "peak_memory", "poison"])
