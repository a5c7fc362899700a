"""Counting kernels, so that a fusion that is lost fails a test on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..compiler.program import Program
from ..engine.explain import describe_kernels
from ..engine.run import launches


@dataclass
class KernelCount:
    """What was launched inside a `count_kernels` block: `kernels` in all, and the programs they belong to."""

    kernels: int = 0
    programs: list[Program] = field(default_factory=list)

    def add(self, kernels: int, program: Program) -> None:
        """Note one program that was run."""
        self.kernels += kernels
        self.programs.append(program)

    def describe(self) -> str:
        """The kernels, one after the other."""
        return "\n".join(describe_kernels(program) for program in self.programs)


@contextmanager
def count_kernels(at_most: int | None = None, exactly: int | None = None) -> Iterator[KernelCount]:
    """Count the kernels of everything computed inside the block.

    What stays pending is not counted: read a value there.
    On the cpu device, which launches none, the kernels that the same programs would be on a GPU are counted.
    Raises AssertionError, listing the kernels, when there are more than `at_most` or not `exactly` so many.
    """
    count = KernelCount()
    launches.listeners.append(count.add)
    try:
        yield count
    finally:
        launches.listeners.remove(count.add)
    wrong = (at_most is not None and count.kernels > at_most) or (exactly is not None and count.kernels != exactly)
    if wrong:
        limit = f"at most {at_most}" if at_most is not None else f"exactly {exactly}"
        raise AssertionError(f"{count.kernels} kernels were launched, {limit} were expected:\n{count.describe()}")
