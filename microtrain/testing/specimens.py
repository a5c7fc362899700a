"""What a program that was run would launch on a GPU, and a kernel compiled for one target, without a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ..compiler.emit_triton import emit
from ..compiler.program import Program
from ..compiler.schedule import schedule
from ..compiler.templates.matmul import operand_kind
from ..compiler.templates.template import Kernel, Launch
from ..engine.run import launches
from ..graph import dtypes
from ..runtime.compiling import POINTERS
from ..runtime.resources import Resources, compile_launch

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Specimen:
    """A kernel, and where it came from: the text that makes it again."""

    kernel: Kernel
    origin: str

    @property
    def template(self) -> str:
        """The name of its template."""
        return self.kernel.group.template.name

    @property
    def kind(self) -> str:
        """Its template and, where that changes what it needs, the kind of numbers: what the table is looked up by."""
        if self.template == "matmul":
            return f"matmul, {operand_kind(self.kernel)}"
        double = any(node.dtype is dtypes.float64 for node in self.kernel.pointers)
        return f"{self.template}, float64" if double else self.template

    @property
    def pointers(self) -> tuple[str, ...]:
        """The types of its pointers, as Triton writes them."""
        return tuple([POINTERS[node.dtype.name] for node in self.kernel.pointers])

    @property
    def text(self) -> str:
        """What tells it from others: the emitted functions and what else follows from its program."""
        kernel = self.kernel
        sources = [function.source for function in kernel.emitted]
        return "\n".join([self.template, *sources, str(kernel.constants), str(self.pointers), kernel.index_type])

    def launch(self, target: str) -> Launch:
        """Its launch with the tile for a target of `resources.TARGETS`."""
        return self.kernel.launch(target)

    def compiled(self, launch: Launch, target: str) -> Resources:
        """What a launch of it uses on a target."""
        return compile_launch(target, launch)


def specimens(program: Program, origin: str) -> Iterator[Specimen]:
    """The kernels of a simplified program."""
    groups = schedule(program)
    for group in groups:
        if group.template.ours:
            yield Specimen(emit(group, groups), origin)


@contextmanager
def watched(see: Callable[[Program], None]) -> Iterator[None]:
    """Tell `see` of every program that is computed inside the block."""
    def listener(_: int, program: Program) -> None:
        see(program)
    launches.listeners.append(listener)
    try:
        yield
    finally:
        launches.listeners.remove(listener)


def compiled_at_once(specimens: Sequence[Specimen], work: Callable[[Specimen], T]) -> list[T]:
    """What `work` makes of each, as many at once as there are cores: Triton's compilers let each other run."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        return list(pool.map(work, specimens))
    finally:
        pool.shutdown(cancel_futures=True)      # an interrupt does not wait for what has not begun
