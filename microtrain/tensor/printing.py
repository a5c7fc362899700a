"""How a tensor looks when printed: PyTorch's repr, from a NumPy array.

The rules, in the order in which they apply:

1. More than ``threshold`` elements: only ``edgeitems`` entries at both ends of each dimension are shown, and only
   those decide the format.
2. The finite, nonzero values decide the notation. Scientific when the largest magnitude is over 1000 times the
   smallest, or over 1e8, or the smallest is under 1e-4 (``sci_mode`` overrides); else ``5.`` when all of them are
   integers; else ``precision`` digits after the point.
3. The widest of those values decides the column width; zeros, infinities and NaNs are padded to it but do not widen it.
4. Rows break at ``linewidth``, counting the indent but not the closing brackets.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite
from typing import Any

import numpy as np

PREFIX = "tensor("


@dataclass(frozen=True)
class PrintOptions:
    """What ``set_printoptions`` sets: digits, elements, entries, characters, and None where the values decide."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PROFILES = {"default": PrintOptions(), "short": PrintOptions(precision=2, edgeitems=2),
            "full": PrintOptions(threshold=inf)}
_options = PrintOptions()


def set_printoptions(precision: int | None = None, threshold: float | None = None, edgeitems: int | None = None,
                     linewidth: int | None = None, profile: str | None = None, sci_mode: bool | None = None) -> None:
    """Change how tensors are printed from now on; what is None stays, but ``sci_mode`` None lets the values decide.

    Args:
        precision: digits after the point.
        threshold: number of elements above which a tensor is summarised.
        edgeitems: entries shown at both ends of each dimension of a summarised tensor.
        linewidth: characters in a line.
        profile: ``default``, ``short`` or ``full``, applied before the other arguments; ValueError for another.
        sci_mode: scientific notation always (True) or never (False).
    """
    global _options
    if profile is not None and profile not in PROFILES:
        raise ValueError(f"set_printoptions(): unknown profile {profile!r}; known profiles: {', '.join(PROFILES)}")
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _options = replace(_options if profile is None else PROFILES[profile], sci_mode=sci_mode, **changes)


def get_printoptions() -> dict[str, int | bool | None]:
    """The present options, as keyword arguments for ``set_printoptions``."""
    return asdict(_options)


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """``set_printoptions(**options)`` for the length of a ``with`` block."""
    global _options
    before = _options
    set_printoptions(**options)
    try:
        yield
    finally:
        _options = before


def format_array(array: np.ndarray, dtype_name: str, suffixes: list[str]) -> str:
    """The repr of a tensor with these values (boolean, integer or floating), letter for letter as PyTorch writes it.

    `dtype_name` is ``"float64"`` or ``"torch.float64"``; `suffixes` are what follows the values, such as
    ``"grad_fn=<SubBackward0>"``, those of a device before the size and the dtype.
    """
    options, name = _options, dtype_name.removeprefix("torch.")
    devices = [suffix for suffix in suffixes if suffix.startswith("device=")]
    described = []
    if (array.size == 0 and array.ndim != 1) or (array.size and not options.edgeitems):
        described.append(f"size={tuple(array.shape)}")
    # A literal of these dtypes gives them back, but an empty tensor shows no element that could imply int64 or bool.
    if name != "float32" and (name not in ("int64", "bool") or array.size == 0):
        described.append(f"dtype=torch.{name}")
    text = PREFIX + (_format_values(array, options) if array.size else "[]")
    column = len(text) - text.rfind("\n") + 1
    for suffix in [*devices, *described, *(suffix for suffix in suffixes if suffix not in devices)]:
        if column + len(suffix) + 2 > options.linewidth:
            text += ",\n" + " " * len(PREFIX) + suffix
            column = len(PREFIX) + len(suffix)
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text + ")"


def _format_values(array: np.ndarray, options: PrintOptions) -> str:
    most, edge = options.threshold, options.edgeitems
    if array.size > most and array.ndim and not edge:
        return "[...]"
    # float64 holds every value of the narrower floating dtypes, and formats as Python's floats do.
    values = array if array.dtype.kind in "biu" else array.astype(np.float64)
    # Where a dimension of the summary takes its dots: None where it is shown whole.
    gaps = [edge if array.size > most and length > 2 * edge else None for length in array.shape]
    for axis, gap in enumerate(gaps):
        if gap is not None:
            values = np.delete(values, np.s_[gap:-gap], axis)
    texts, width = _format_elements(values, options)
    cells = np.array([text.rjust(width) for text in texts], dtype=object).reshape(values.shape)
    return _nest(cells, gaps, width, len(PREFIX), options.linewidth)


def _format_elements(values: np.ndarray, options: PrintOptions) -> tuple[list[str], int]:
    """The text of every element, in order, and the column width (which infinities and NaNs may exceed)."""
    flat = values.ravel().tolist()
    if values.dtype.kind in "biu":
        texts = [str(value) for value in flat]
        return texts, max(map(len, texts))
    deciding = values[np.isfinite(values) & (values != 0)]
    magnitudes, scientific = np.abs(deciding), options.sci_mode
    if deciding.size and scientific is None:
        with np.errstate(over="ignore"):
            smallest, largest = magnitudes.min(), magnitudes.max()
            scientific = bool(largest / smallest > 1e3 or largest > 1e8 or smallest < 1e-4)
    if deciding.size and scientific:
        spec, point = f".{options.precision}e", ""
    elif np.array_equal(deciding, np.ceil(deciding)):
        spec, point = ".0f", "."
    else:
        spec, point = f".{options.precision}f", ""
    width = max((len(format(value, spec) + point) for value in deciding.tolist()), default=1)
    return [format(value, spec) + (point if isfinite(value) else "") for value in flat], width


def _nest(cells: np.ndarray, gaps: list[int | None], width: int, indent: int, linewidth: int) -> str:
    """Lay the cells out in brackets; ``indent`` is the column at which the outer bracket stands."""
    if not gaps:
        return str(cells.item())
    gap, *inner = gaps
    if not inner:
        entries = list(cells)
        if gap is not None:
            entries.insert(gap, " ...")
        per_line = max(1, (linewidth - indent) // (width + 2))
        lines = [", ".join(entries[i : i + per_line]) for i in range(0, len(entries), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = [_nest(part, inner, width, indent + 1, linewidth) for part in cells]
    if gap is not None:
        parts.insert(gap, "...")
    return "[" + ("," + "\n" * len(inner) + " " * (indent + 1)).join(parts) + "]"
