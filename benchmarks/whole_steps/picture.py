"""The steps as bars of time over PyTorch's: left of the line at 1 what is faster, right of it what is slower."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from microtrain.bench.text import microseconds
from microtrain.viz.style import BLUE, GREY, ORANGE, Panel, write_panels

from .contenders import IN_ONE_CALL, LOOPED, PLAIN, REPLAYED
from .results import Result, cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS = (PLAIN, REPLAYED, LOOPED)
COLUMNS, SIZE = 2, (4.7, 3.0)


def draw(results: Sequence[Result], path: Path) -> Path:
    """A panel a model. In each, those that return to Python after every step, then those that take many in one call;
    the fastest of either in bold.

    Raises:
        ImportError, OSError: as `viz`.
    """
    timed = [result for result in results if result.comparison.first.time is not None]
    panels: list[Panel] = [partial(_panel, result=result) for result in timed]
    return write_panels(path, "A training step's time over PyTorch's, on one core of a CPU", panels,
                        columns=min(COLUMNS, len(panels)), size=SIZE)


def _panel(axes: Axes, result: Result) -> None:
    from matplotlib.ticker import NullFormatter

    others = result.comparison.others
    found = {entry.name: ratio for entry in others if (ratio := result.ratio(entry)) is not None}
    labels, y = {}, 0
    for many in (False, True):
        if many:
            labels[y] = "many steps a call:"
            y += 1
        group = [entry for entry in others if (entry.name in IN_ONE_CALL) is many]
        best = min((entry.name for entry in group if entry.name in found), key=lambda name: found[name].median,
                   default="")
        for entry in group:
            ratio, at, faster = found.get(entry.name), 1.0, False
            if ratio is not None:
                axes.barh(y, ratio.median - 1, 0.8, left=1, color=BLUE if entry.name in OURS else GREY,
                          xerr=[[ratio.median - ratio.lower], [ratio.upper - ratio.median]],
                          error_kw={"ecolor": ORANGE, "elinewidth": 1.0})
                faster = ratio.median < 1
                at = ratio.lower if faster else ratio.upper
            axes.annotate(cell(result, entry), (at, y), (-4 if faster else 4, 0), textcoords="offset points",
                          va="center", ha="right" if faster else "left", fontsize=8.5,
                          fontweight="bold" if entry.name == best else "normal")
            labels[y] = entry.name
            y += 1
    axes.axvline(1, color="black", linewidth=1.2)
    axes.set_xscale("log")
    medians = [ratio.median for ratio in found.values()]
    # Beside the longest bars there is room for a figure.
    left, right = min([*medians, 0.5]), max([*medians, 1.5])
    axes.set_xlim(left * (left / right) ** 0.36, right * (right / left) ** 0.15)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(list(labels), list(labels.values()), fontsize=8.5)
    axes.set_ylim(y - 0.3, -0.7)
    axes.grid(visible=False, axis="y")
    time = result.comparison.first.time
    assert time is not None
    axes.set_title(f"{result.row.workload.name} (PyTorch {microseconds(time.median)} us)", fontsize=9.5)
    axes.set_xlabel("faster  ·  PyTorch = 1, logarithmic  ·  slower", fontsize=8.5)
