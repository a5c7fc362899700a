"""What is given to a command: arguments' types and devices, and a parser that raises instead of printing its usage."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from ..data.table import number
from ..tensor import tensor

N = TypeVar("N", int, float)

DEVICES = ("cpu", "cuda", "interpret")


class UsageError(Exception):
    """The command line asks for something that cannot be done; the message says what and what would work."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are UsageErrors, so that every error ends in the same single line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def print_help(self, file: Any = None) -> None:
        """Writes the help; argparse's own passes over a stream that cannot be written to."""
        print(self.format_help(), end="", file=file)


def _whole(text: str) -> int:
    """A whole number written with the digits 0 to 9 alone (int() takes more); -1 for anything else."""
    return int(text) if re.fullmatch(r"[0-9]{1,4000}", text) else -1


def _number(text: str) -> float:
    try:
        return number(text)
    except ValueError:
        return math.nan


def _kind(read: Callable[[str], N], holds: Callable[[N], bool], wanted: str) -> Callable[[str], N]:
    """The type of an argument: what `read` makes of its text, if it `holds`."""
    def kind(text: str) -> N:
        value = read(text)
        if not holds(value):
            raise argparse.ArgumentTypeError(f"should be {wanted}, got '{text}'")
        return value

    return kind


positive_int = _kind(_whole, lambda n: n >= 1, "a whole number of at least 1")
whole_number = _kind(_whole, lambda n: n >= 0, "a whole number of at least 0")
seed = _kind(_whole, lambda n: 0 <= n < 2**64, "a whole number from 0 to 2**64 - 1")
positive_float = _kind(_number, lambda x: x > 0 and math.isfinite(x), "a number above 0")
fraction = _kind(_number, lambda x: 0 <= x < 1, "at least 0 and below 1")
open_fraction = _kind(_number, lambda x: 0 < x < 1, "between 0 and 1")


def usable(device: str) -> str | None:
    """Why `device` cannot be used on this machine, or None if it can."""
    try:
        tensor([1.0], device=device).sum().item()
    except (RuntimeError, ImportError, ValueError, OSError, AssertionError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None


def check_device(device: str) -> None:
    """Raises UsageError, with the reason, unless a value can be computed on `device`."""
    reason = usable(device)
    if reason is not None:
        raise UsageError(f"device '{device}' cannot be used here: {reason}")
