"""Timing of your own functions and kernels that checks before it times, and holds what it finds against the machine.

`compare` times functions against each other, and against the bytes or operations that they cannot do without.
"""

from .compare import compare
from .comparison import Comparison, Entry, Failure, WrongResult
from .limits import Bound
from .timing import Quantiles

__all__ = ["Bound", "Comparison", "Entry", "Failure", "Quantiles", "WrongResult", "compare"]
