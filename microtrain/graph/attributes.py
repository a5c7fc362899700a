"""What an operation's attributes may be: numbers, dtypes and tuples of them, made of Python's own types.

Attributes become text: of NumPy expressions, of kernels. So none is taken that could say what its text is, or that is
no number to begin with. It costs nothing where it is asked for: once for each signature, when it is first inferred.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .dtypes import DType

PLAIN = frozenset((int, float, bool, type(None)))

OBJECTS: set[type] = {DType}
"""Classes of the graph's own whose instances are attributes."""

WORDS = frozenset(("mean", "sum", "none"))
"""All text that is an attribute."""


def number(value: object, operation: str = "") -> bool | int | float:
    """A number as one of Python's own types: subclasses say what their text is, NumPy's have other types.

    Raises TypeError for what is no number.
    """
    if type(value) in PLAIN and isinstance(value, int | float):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return value.item()
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise TypeError(f"{operation or 'an operation'}: a number is needed, not {type(value).__name__}")


def plain(value: object, operation: str) -> Any:
    """An attribute, its numbers as Python's own. Raises TypeError for what an attribute cannot be."""
    kind = type(value)
    if kind in PLAIN or kind in OBJECTS or (kind is str and value in WORDS):
        return value
    if isinstance(value, tuple):
        parts = tuple([plain(part, operation) for part in tuple.__iter__(value)])
        same = kind is tuple and all(new is old for new, old in zip(parts, value, strict=True))
        return value if same else parts
    return number(value, operation)
