"""Functions in C that a replay cannot stand for: they give another value each time, or have an effect elsewhere."""

from __future__ import annotations

import builtins
import contextvars
import datetime
import io
import random
import types
from typing import Any

CLOCKS = ("time", "posix", "nt", "_socket", "_uuid")
"""Modules in C whose functions give another value each time, or change the world."""

WORLD = {"print": "prints", "input": "asks for input", "open": "opens a file", "eval": "evaluates text",
         "exec": "runs text", "globals": "looks at all global names", "locals": "looks at all local names",
         "breakpoint": "stops for a debugger"}
"""Python's own functions that a replay would leave out, or that see what is not seen here, in words."""

STATEFUL = (random.Random, io.IOBase, contextvars.ContextVar)
"""Objects in C whose methods give another value each time, or change the world."""


def stateful(called: Any) -> str:
    """What a function in C does that a replay would leave out, or get another value from; "" for any other."""
    owner = getattr(called, "__self__", None)
    module = owner.__name__ if isinstance(owner, types.ModuleType) else ""
    if isinstance(owner, types.ModuleType | None) and (what := WORLD.get(getattr(called, "__name__", ""))) is not None \
            and getattr(builtins, called.__name__, None) is called:
        return what
    if (module in CLOCKS or isinstance(owner, STATEFUL) or owner is datetime.datetime or owner is datetime.date
            or type(owner).__module__.startswith("numpy.random")):
        return "calls what gives another value each time, or has an effect outside of it"
    return ""
