"""A module whose names a step of another module reads."""

from __future__ import annotations

from typing import Any

RATE = 0.1


class Options:
    rate = 0.1


def scaled(value: Any) -> Any:
    return value * RATE


def rate_of(options: Any = None) -> Any:
    return Options.rate if options is None else options.rate
