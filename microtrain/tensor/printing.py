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

__all__ = ["format_array", "get_printoptions", "printoptions", "set_printoptions"]

SCIENTIFIC_RATIO = 1e3
SCIENTIFIC_ABOVE = 1e8
SCIENTIFIC_BELOW = 1e-4
# What a literal of these dtypes gives back when it is read again, so that the dtype need not be said.
UNNAMED_DTYPES = frozenset({"float32", "int64", "bool"})
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
        profile: ``default``, ``short`` or ``full``, applied before the other arguments.
        sci_mode: scientific notation always (True) or never (False).

    Raises:
        ValueError: no such profile.
    """
    global _options
    if profile is not None and profile not in PROFILES:
        raise ValueError(f"set_printoptions(): unknown profile {profile!r}; known profiles: {', '.join(PROFILES)}")
    base = _options if profile is None else PROFILES[profile]
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _options = replace(base, sci_mode=sci_mode, **changes)


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
    """The repr of a tensor with these values, letter for letter as PyTorch writes it.

    Args:
        array: the values, any shape; boolean, integer or floating (``ml_dtypes.bfloat16`` included).
        dtype_name: ``"float64"`` or ``"torch.float64"``; named in the text unless a literal implies it.
        suffixes: what follows the values, such as ``"grad_fn=<SubBackward0>"``; those that start with ``device=``
            come before the size and the dtype, as in PyTorch.
    """
    options = _options
    name = dtype_name.removeprefix("torch.")
    devices = [suffix for suffix in suffixes if suffix.startswith("device=")]
    described = []
    if (array.size == 0 and array.ndim != 1) or (array.size and not options.edgeitems):
        described.append(f"size={tuple(array.shape)}")
    # An empty tensor shows no element that could imply int64 or bool.
    if name not in UNNAMED_DTYPES or (array.size == 0 and name != "float32"):
        described.append(f"dtype=torch.{name}")
    others = [suffix for suffix in suffixes if not suffix.startswith("device=")]

    text = PREFIX + (_format_values(array, options) if array.size else "[]")
    return _append(text, [*devices, *described, *others], options.linewidth)


def _append(text: str, suffixes: list[str], linewidth: int) -> str:
    """Add suffixes, each on the present line where it fits, and close the bracket."""
    parts = [text]
    column = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if column + len(suffix) + 2 > linewidth:
            parts.append(",\n" + " " * len(PREFIX) + suffix)
            column = len(PREFIX) + len(suffix)
        else:
            parts.append(", " + suffix)
            column += len(suffix) + 2
    return "".join(parts) + ")"


def _format_values(array: np.ndarray, options: PrintOptions) -> str:
    summarise = array.size > options.threshold
    if summarise and array.ndim and not options.edgeitems:
        return "[...]"
    # float64 holds every value of the narrower floating dtypes, and formats as Python's floats do.
    values = array if array.dtype.kind in "biu" else array.astype(np.float64)
    if summarise:
        for axis, length in enumerate(array.shape):
            values = values.take(_edges(length, options.edgeitems), axis=axis)
    texts, width = _format_elements(values, options)
    cells = np.array([text.rjust(width) for text in texts], dtype=object).reshape(values.shape)
    # Where a dimension of the summary takes its dots: None where it is shown whole.
    gaps = [options.edgeitems if summarise and length > 2 * options.edgeitems else None for length in array.shape]
    return _nest(cells, gaps, width, len(PREFIX), options.linewidth)


def _edges(length: int, edgeitems: int) -> list[int]:
    """The positions shown of a summarised dimension."""
    if length <= 2 * edgeitems:
        return list(range(length))
    return [*range(edgeitems), *range(length - edgeitems, length)]


def _format_elements(values: np.ndarray, options: PrintOptions) -> tuple[list[str], int]:
    """The text of every element, in order, and the column width (which infinities and NaNs may exceed)."""
    flat = values.ravel().tolist()
    if values.dtype.kind in "biu":
        texts = [str(value) for value in flat]
        return texts, max(map(len, texts))
    deciding = values[np.isfinite(values) & (values != 0)]
    spec, point = _float_format(deciding, options)
    width = max((len(format(value, spec) + point) for value in deciding.tolist()), default=1)
    return [format(value, spec) + (point if isfinite(value) else "") for value in flat], width


def _float_format(deciding: np.ndarray, options: PrintOptions) -> tuple[str, str]:
    """The format specification of floats, and the point that marks whole numbers as floats; from rule 2."""
    if deciding.size == 0:
        return ".0f", "."
    magnitudes = np.abs(deciding)
    smallest, largest = magnitudes.min(), magnitudes.max()
    scientific = options.sci_mode
    if scientific is None:
        with np.errstate(over="ignore"):
            spread = largest / smallest
        scientific = spread > SCIENTIFIC_RATIO or largest > SCIENTIFIC_ABOVE or smallest < SCIENTIFIC_BELOW
    if scientific:
        return f".{options.precision}e", ""
    if np.array_equal(deciding, np.ceil(deciding)):
        return ".0f", "."
    return f".{options.precision}f", ""


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
