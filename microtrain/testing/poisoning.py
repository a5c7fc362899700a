"""Making what a kernel must not rely on conspicuous."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from .. import settings
from .interpreter import interpreting, poisoned_lanes


@contextmanager
def poison() -> Iterator[None]:
    """Inside, fresh memory is NaN (integers: the largest), and so are masked lanes that a kernel says nothing of.

    An element that no kernel writes is NaN then, and what it is computed from it. Where kernels are interpreted, so are
    the masked lanes of a `tl.load` without `other=`: the interpreter has zeros there, a GPU anything.
    """
    with ExitStack() as stack:
        stack.enter_context(settings.poison(True))
        if interpreting():
            stack.enter_context(poisoned_lanes())
        yield
