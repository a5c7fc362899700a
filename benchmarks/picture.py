"""The results as bars, against the peers and the limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from microtrain.bench.text import microseconds
from microtrain.viz.style import BLUE, GREEN, GREY, ORANGE, Panel, write_panels

from .suite import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (BLUE, ORANGE, GREEN, GREY, "#CC79A7", "#E69F00", "#56B4E9")
"""Of the contenders in their order."""

IN_A_PANEL = 12
"""Workloads at most: beyond it a family goes on in the next panel."""

COLUMNS = 3
PANEL_WIDTH, ROW_HEIGHT, AROUND = 6.2, 0.13, 1.6
"""Inches: of a panel across, of a bar down, and of a panel's title, axis and legend together."""
LEGEND = -0.55
"""Inches from the axis up to the legend."""


def draw(results: Sequence[Result], path: Path, title: str) -> Path:
    """Bars of microseconds a call on a logarithmic axis, with quartiles and the limit as a black line, by family.

    Raises:
        ValueError: no result has a figure.
        ImportError, OSError: as `viz`.
    """
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.comparison.first.time is not None:
            groups.setdefault(result.subject.family, []).append(result)
    parts = [(family, group[start:start + IN_A_PANEL])
             for family, group in groups.items() for start in range(0, len(group), IN_A_PANEL)]
    if not parts:
        raise ValueError("there are no figures to draw")
    names = list(dict.fromkeys(entry.name for result in results for entry in result.comparison.entries
                               if entry.time is not None))
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    bars = max(16, *(sum(len(_timed(result)) + 1 for result in group) for _, group in parts))
    panels: list[Panel] = [partial(_panel, title=family, results=group, colours=colours, bars=bars)
                           for family, group in parts]
    return write_panels(path, title, panels, columns=min(COLUMNS, len(panels)),
                        size=(PANEL_WIDTH, AROUND + ROW_HEIGHT * bars))


def _timed(result: Result) -> list[str]:
    return [entry.name for entry in result.comparison.entries if entry.time is not None]


def _panel(axes: Axes, title: str, results: Sequence[Result], colours: dict[str, str], bars: int
           ) -> None:
    from matplotlib.ticker import NullFormatter

    shown: list[float] = []
    labelled: set[str] = set()
    middles, y = [], 0.0
    for result in results:
        top = y
        for name in _timed(result):
            entry = result.comparison[name]
            time = entry.time
            assert time is not None
            axes.barh(y, time.median, 0.92, color=colours[name], label=None if name in labelled else name,
                      xerr=[[time.median - time.lower], [time.upper - time.median]],
                      error_kw={"ecolor": "#333333", "elinewidth": 0.8})
            axes.annotate(microseconds(time.median), (time.upper, y), (3, 0), textcoords="offset points", va="center",
                          fontsize=6.5)
            labelled.add(name)
            shown += (time.lower, time.upper)
            y += 1
        least = result.comparison.least
        if least is not None:
            axes.plot([least.time] * 2, [top - 0.5, y - 0.5], color="black", linewidth=1.6,
                      label=None if "limit" in labelled else "limit")
            labelled.add("limit")
            shown.append(least.time)
        middles.append((top + y - 1) / 2)
        y += 1
    axes.set_xscale("log")
    # A bar begins at a power of ten, and its figure has room beside it.
    axes.set_xlim(10.0 ** math.floor(math.log10(min(shown)) - 0.1), max(shown) * 3)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(middles, [result.subject.name for result in results], fontsize=8)
    axes.set_ylim(bars, -1)        # a bar is as thick in every panel
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("microseconds a call, logarithmic")
    axes.set_title(title)
    axes.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.4, LEGEND / (ROW_HEIGHT * bars)), ncols=4)
