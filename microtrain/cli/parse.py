"""Argument types, and a parser that raises instead of printing its usage."""

from __future__ import annotations

import argparse
import math
import re
from typing import Any, NoReturn

from ..data.table import number
from .errors import UsageError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are UsageErrors, so that every error ends in the same single line."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{message} (see {self.prog} --help)")

    def print_help(self, file: Any = None) -> None:
        """Writes the help; argparse's own passes over a stream that cannot be written to."""
        print(self.format_help(), end="", file=file)


def positive_int(text: str) -> int:
    """A whole number of at least 1."""
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"should be a whole number of at least 1, got '{text}'")
    return value


def whole_number(text: str) -> int:
    """A whole number of at least 0."""
    value = _whole(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"should be a whole number of at least 0, got '{text}'")
    return value


def seed(text: str) -> int:
    """A whole number of 64 bits."""
    value = _whole(text)
    if not 0 <= value < 2**64:
        raise argparse.ArgumentTypeError(f"should be a whole number from 0 to 2**64 - 1, got '{text}'")
    return value


def _whole(text: str) -> int:
    """A whole number written with the digits 0 to 9 alone (int() takes more); -1 for anything else."""
    return int(text) if re.fullmatch(r"[0-9]{1,4000}", text) else -1


def _number(text: str) -> float:
    try:
        return number(text)
    except ValueError:
        return math.nan


def positive_float(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"should be a number above 0, got '{text}'")
    return value


def fraction(text: str) -> float:
    """A number from 0 up to, not including, 1."""
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"should be at least 0 and below 1, got '{text}'")
    return value


def open_fraction(text: str) -> float:
    """A number between 0 and 1, neither of them included."""
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"should be between 0 and 1, got '{text}'")
    return value
