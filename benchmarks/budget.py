"""Time for a whole run: what no longer fits is dropped, and said to be."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """Seconds, and what workloads of each family have cost so far.

    A workload fits if as much is left as the dearest of its family took: sizes differ, but most of the cost is
    compiling, which does not.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock = seconds, clock
        self.start = clock()
        self.dearest: dict[str, float] = {}

    def left(self) -> float:
        """Seconds."""
        return self.seconds - (self.clock() - self.start)

    def refusal(self, family: str) -> str | None:
        """Why a workload of a family no longer fits; None if it does."""
        left, needed = self.left(), self.dearest.get(family, 0.0)
        if left > needed:
            return None
        return (f"out of time: of {self.seconds:g} s {max(left, 0):.0f} were left, and one of family {family} took up "
                f"to {needed:.0f}")

    def spent(self, family: str, seconds: float) -> None:
        """Note what a workload took."""
        self.dearest[family] = max(self.dearest.get(family, 0.0), seconds)
