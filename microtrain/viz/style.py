"""What the pictures share: colours, the figure, and writing it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import shown
from ..files import check_destination, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

SUFFIXES = (".png", ".pdf", ".svg")

# Okabe & Ito's palette, told apart by the colour-blind as well.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6B6B6B"

_RC = {
    "font.size": 10.5, "axes.titlesize": 11.5, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#E4E4E4", "grid.linewidth": 0.8, "axes.axisbelow": True,
    "axes.edgecolor": "#8A8A8A", "legend.frameon": False, "lines.linewidth": 2.0,
    # A column's name is drawn as it is written: "$x_1$" is no formula here.
    "text.parse_math": False, "text.usetex": False,
}

Panel = Callable[["Axes"], None]


def check_plot_path(path: str | Path) -> Path:
    """Checks, before any work is done, that a picture can be written at `path`.

    Raises ValueError for another suffix than SUFFIXES, ImportError where matplotlib is not installed, OSError where the
    folder is missing or cannot be written to.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: a picture ends in {', '.join(SUFFIXES)}")
    _matplotlib()
    return check_destination(path)


def _matplotlib() -> Any:
    try:
        with _quiet():
            import matplotlib
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'microtrain[plot]'") from error
    return matplotlib


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, matplotlib does not tell the terminal that its cache folder cannot be written to, or that a character of
    a name is in none of its fonts: the picture is drawn all the same, with a box in its place."""
    logger = logging.getLogger("matplotlib")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            yield
    finally:
        logger.setLevel(before)


def write_panels(path: str | Path, title: str, panels: Sequence[Panel], *, columns: int | None = None,
                 size: tuple[float, float] = (5.0, 4.6)) -> Path:
    """Draws panels under a title, side by side or in rows of `columns`, and writes them, whole or not at all.

    size: inches of a panel, across and down. Raises what `check_plot_path` raises.
    """
    path = check_plot_path(path)
    across = columns or len(panels)
    down = -(-len(panels) // across)
    with _matplotlib().rc_context(_RC), _quiet():
        # A Figure of its own, not pyplot's: no window system, no global list of figures that grows.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(across * size[0], down * size[1]), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(down, across, squeeze=False).flat
        for axes, panel in zip(grid, panels, strict=False):
            panel(axes)
            for axis in (axes.xaxis, axes.yaxis):
                _written_out(axis)
        for axes in grid[len(panels):]:
            axes.remove()
        figure.suptitle(shown(title), fontsize=14, fontweight="bold")
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150, format=path.suffix[1:])
    return path


def whole_numbers(axis: Axis) -> None:
    """Puts an axis's ticks on whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins="auto", integer=True))


def _written_out(axis: Axis) -> None:
    """Has a logarithmic axis say 0.01 and 1000, where matplotlib would set powers of ten as formulas."""
    from matplotlib.ticker import LogFormatter

    class WrittenOut(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    if isinstance(axis.get_major_formatter(), LogFormatter):
        axis.set_major_formatter(WrittenOut())
    if isinstance(axis.get_minor_formatter(), LogFormatter):
        axis.set_minor_formatter(WrittenOut(labelOnlyBase=False))
