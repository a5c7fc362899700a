"""The results as bars."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..viz.style import BLUE, GREEN, GREY, ORANGE, Panel, write_panels
from .suite import Result
from .text import microseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZES = ("small", "medium", "large")
COLOURS = (BLUE, ORANGE, GREEN, GREY)
"""Of the contenders in their order, again from the start where there are more."""


def draw(results: Sequence[Result], path: Path, title: str) -> Path:
    """Bars of microseconds a call on a logarithmic axis, with quartiles; training steps left, then operations by size.

    Raises:
        ValueError: no result has a figure.
        ImportError, OSError: as `viz`.
    """
    groups: dict[str, list[Result]] = {}
    seen: Counter[str] = Counter()
    for result in results:
        family, rank = result.workload.family, seen[result.workload.family]
        seen[family] += 1
        if result.comparison.first.time is not None:
            title_of = "training steps" if result.workload.trains else f"operations, {SIZES[rank]}"
            groups.setdefault(title_of, []).append(result)
    panels: list[Panel] = [partial(_panel, title=name, results=group) for name, group in groups.items()]
    if not panels:
        raise ValueError("there are no figures to draw")
    return write_panels(path, title, panels)


def _panel(axes: Axes, title: str, results: Sequence[Result]) -> None:
    from matplotlib.ticker import NullFormatter

    names = list(dict.fromkeys(entry.name for result in results for entry in result.comparison.entries))
    height = 0.8 / len(names)
    shown: list[float] = []
    for place, name in enumerate(names):
        drawn = False
        for row, result in enumerate(results):
            time = next((entry.time for entry in result.comparison.entries if entry.name == name), None)
            if time is None:
                continue
            y = row + (place - (len(names) - 1) / 2) * height
            axes.barh(y, time.median, height * 0.92, color=COLOURS[place % len(COLOURS)], label=None if drawn else name,
                      xerr=[[time.median - time.lower], [time.upper - time.median]],
                      error_kw={"ecolor": "#333333", "elinewidth": 0.8})
            axes.annotate(microseconds(time.median), (time.upper, y), (3, 0), textcoords="offset points", va="center",
                          fontsize=7)
            drawn = True
            shown += (time.lower, time.upper)
    axes.set_xscale("log")
    # A bar begins at a power of ten, and its figure has room beside it.
    axes.set_xlim(10.0 ** math.floor(math.log10(min(shown)) - 0.1), max(shown) * 3)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(results)), [result.workload.name for result in results], fontsize=8.5)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("microseconds a call, logarithmic")
    axes.set_title(title)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.45, -0.14), ncols=len(names))
