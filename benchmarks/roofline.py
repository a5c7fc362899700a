"""The results under the machine's roof: operations a second against operations a byte."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from microtrain.bench.limits import Ceilings, Format
from microtrain.viz.style import write_panels

from .picture import COLOURS
from .suite import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS: tuple[Format, ...] = ("bfloat16", "tf32", "float32")
SIZE = (9.0, 6.4)

Point = tuple[str, float, float]
"""A family, operations a byte, operations a microsecond."""


def points(results: Sequence[Result]) -> list[Point]:
    """Those of microtrain's figures that have both bytes and operations."""
    return [(result.subject.family, result.subject.limit.work / result.subject.limit.bytes,
             result.subject.limit.work / time.median)
            for result in results
            if (time := result.comparison.first.time) and result.subject.limit.bytes and result.subject.limit.work]


def roofs(ceilings: Ceilings) -> tuple[float | None, dict[Format, float]]:
    """Bytes a microsecond, and operations a microsecond by format, of what could be measured."""
    rates = {format: ceilings.rate(format) for format in FORMATS}
    return ceilings.bandwidth(), {format: rate for format, rate in rates.items() if rate}


def roofline(results: Sequence[Result], ceilings: Ceilings, path: Path, title: str) -> Path:
    """Draw it. Operations are those of the expression, a sigmoid being one; bytes are the limit's.

    Raises:
        ImportError, OSError: as `viz`.
    """
    return write_panels(path, title, [partial(_panel, found=points(results), ceilings=ceilings)], size=SIZE)


def _panel(axes: Axes, found: list[Point], ceilings: Ceilings) -> None:
    bandwidth, rates = roofs(ceilings)
    intensities = [x for _, x, _ in found] or [1.0]
    low, high = min(intensities) / 2, max(intensities) * 2
    highest = max(rates.values(), default=None)
    if bandwidth is not None:
        knee = min(highest / bandwidth, high) if highest else high
        axes.plot([low, max(knee, low)], [low * bandwidth, max(knee, low) * bandwidth], color="black", linewidth=1.5)
        middle = (low * max(knee, low)) ** 0.5
        axes.annotate(f"copy {bandwidth / 1e3:.4g} GB/s", (middle, middle * bandwidth), (-6, 4),
                      textcoords="offset points", fontsize=8, ha="right", va="bottom")
    for format, rate in rates.items():
        start = max(low, rate / bandwidth) if bandwidth else low
        axes.plot([start, max(high, start)], [rate] * 2, color="black", linewidth=1.5)
        axes.annotate(f"matmul {format} {rate / 1e6:.3g} TFLOP/s", (max(high, start), rate), (0, 3),
                      textcoords="offset points", fontsize=8, ha="right", va="bottom")
    families = list(dict.fromkeys(family for family, _, _ in found))
    for place, family in enumerate(families):
        xs, ys = zip(*[(x, y) for name, x, y in found if name == family], strict=True)
        axes.scatter(xs, ys, s=26, color=COLOURS[place % len(COLOURS)], label=family, zorder=3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations a byte of what has to be read and written")
    axes.set_ylabel("operations a microsecond")
    axes.set_title("achieved, under what a copy and a matrix product achieve")
    if families:
        axes.legend(fontsize=8)
