"""The lock of the process: held while anything is computed or launched, while a device is loaded, and while a tensor is
changed in place or enters a memory that it shares.

Other operations are recorded without it: what they share (specs, signatures, constants) is interned by
`dict.setdefault`, which gives every thread the same object.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

lock = threading.RLock()

# A process is forked while nobody computes: else the child had a lock that nobody lets go of, and a graph taken apart.
os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def locked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, called by one thread at a time."""
    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with lock:
            return function(*args, **kwargs)
    return wrapped
