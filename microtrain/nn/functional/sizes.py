"""Sizes given as one number or one for each dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def each(value: Any, n: int, function: str, name: str) -> tuple[int, ...]:
    """`value` as n ints: itself n times, or its n (or one) elements.

    Raises:
        TypeError: not ints.  RuntimeError: another number of them.
    """
    listed = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    for size in listed:
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"{function}(): argument '{name}' must be an int or a sequence of ints, got {value!r}")
    if any(abs(size) >= 2**31 for size in listed):
        raise RuntimeError(f"{function}: {name} is out of range, got {listed}")
    if len(listed) not in (1, n):
        raise RuntimeError(
            f"{function}: expected {name} to be a single integer value or a list of {n} values, but got {listed}"
        )
    return tuple(listed * n if len(listed) == 1 else listed)


def check_positive(sizes: Sequence[int], function: str, name: str) -> None:
    """Raises RuntimeError unless every one of `sizes` is above zero."""
    if min(sizes) <= 0:
        what = "kernel size" if name == "kernel_size" else name
        raise RuntimeError(f"{function}: {what} should be greater than zero, {name} must be greater than zero, "
                           f"but got {min(sizes)}")
