"""Pictures of training runs; matplotlib is imported when one is drawn."""

from microtrain.viz.pictures import plot_classification, plot_history, plot_regression
from microtrain.viz.style import check_plot_path

__all__ = ["check_plot_path", "plot_classification", "plot_history", "plot_regression"]
