"""Rules for the names under which a Module registers things, and the errors when they are broken."""

from __future__ import annotations

from typing import Any

from ..graph.dtypes import TITLES
from ..tensor import Tensor


def scalar_type_name(tensor: Tensor) -> str:
    """PyTorch's word for a dtype in its error texts: `Float` for float32, `Long` for int64."""
    return TITLES[tensor.dtype.name]


def _type_name(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"torch.{scalar_type_name(value)}Tensor"
    return type(value).__name__


def registration_error(value: Any, verb: str, name: str, expected: str) -> TypeError:
    """The error for a value of the wrong type under a registered name."""
    return TypeError(f"cannot assign '{_type_name(value)}' {verb} '{name}' ({expected})")


def check_name(name: str, kind: str, taken: bool) -> None:
    """Checks a name before anything is registered under it.

    Raises:
        TypeError: not a string.  KeyError: empty, dotted or taken.
    """
    if not isinstance(name, str):
        raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
    if "." in name:
        raise KeyError(f'{kind} name can\'t contain "."' + (f", got: {name}" if kind == "module" else ""))
    if name == "":
        raise KeyError(f'{kind} name can\'t be empty string ""')
    if taken:
        raise KeyError(f"attribute '{name}' already exists")


def indent(text: str) -> str:
    """Indents every line of `text` but the first by two blanks, as nested reprs are printed."""
    return text.replace("\n", "\n  ")
