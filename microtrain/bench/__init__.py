"""Benchmarks that check before they time.

`compare` times functions of your own against each other. ``python -m microtrain bench`` times training steps and single
operations against PyTorch; each workload is written once, against PyTorch's API, and runs on both.
"""

from .command import configure, run
from .comparison import Comparison, Entry, Failure, WrongResult, compare
from .timing import Quantiles

__all__ = ["Comparison", "Entry", "Failure", "Quantiles", "WrongResult", "compare", "configure", "run"]
