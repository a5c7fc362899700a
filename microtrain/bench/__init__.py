"""Benchmarks that check before they time, and hold what they find against the machine.

`compare` times functions of your own against each other, and against bytes or operations. ``python -m microtrain
bench`` times maps, rows, losses, products, updates and training steps against PyTorch and JAX and against measured
ceilings; each workload is written once, against PyTorch's API, and runs on both.
"""

from .command import configure, run
from .comparison import Comparison, Entry, Failure, WrongResult
from .limits import Bound
from .own import compare
from .timing import Quantiles

__all__ = ["Bound", "Comparison", "Entry", "Failure", "Quantiles", "WrongResult", "compare", "configure", "run"]
