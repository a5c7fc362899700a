"""Pictures of training runs; matplotlib is imported when one is drawn."""

import sys as _sys

from ..arguments import guard as _guard
from .pictures import plot_classification, plot_history, plot_regression
from .style import check_plot_path

__all__ = ["check_plot_path", "plot_classification", "plot_history", "plot_regression"]

_guard(_sys.modules[__name__], __all__)
