"""Many random programs, in several processes: how many of each kind there were, and each failure made small.

PyTorch itself crashes on some programs: what a process was at is known, it counts as a failure, and a fresh process
goes on behind it.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from .grower import SMALL, USUAL
from .growth import program
from .judge import MODES, Oracle
from .shrink import shrink


class Verdict(NamedTuple):
    """What is told of a program: its kind, whether PyTorch raised in it, what is wrong (a text), if anything."""

    seed: int
    kind: str
    refused: bool
    wrong: str | None


@dataclass
class Tally:
    """What there was so far: programs by kind, those in which PyTorch raises something, and failures."""

    programs: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    failures: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        self.programs[verdict.kind] += 1
        self.refused += verdict.refused
        self.failures += [verdict] * (verdict.wrong is not None)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.programs.items()))
        return f"{self.programs.total()} programs ({kinds}), in {self.refused} of them PyTorch raises; " \
               f"{len(self.failures)} failed"


def modes(seed: int, device: str) -> tuple[str, ...]:
    """Every program runs as it is written, and on `cpu` in another way too; where that is dear, one in two does."""
    fused, read, at_once, unfused = MODES
    if device == "cpu":
        return (fused, read if seed % 2 else at_once)
    return (fused, unfused) if seed % 2 else (fused,)


def examine(seed: int, device: str, kind: str | None = None) -> Verdict:
    """Make the program of a seed, run it in both packages, and where they differ make it small."""
    made = program(seed, USUAL if device == "cpu" else SMALL, kind)
    oracle = Oracle(made)
    failure = oracle.failure(modes(seed, device))
    refused = bool(oracle.expected.attempts) or oracle.expected.error is not None
    return Verdict(seed, made.kind, refused, None if failure is None else str(shrink(failure)))


def run(seeds: Iterable[int], device: str, kind: str | None = None, processes: int = 2,
        tell: Callable[[Verdict, Tally], None] = lambda verdict, tally: None) -> Tally:
    """Examine the programs of seeds, every so many in each of some processes; `tell` hears of each as it is done."""
    tally, seeds = Tally(), list(seeds)
    for verdict in verdicts([seeds[i::processes] for i in range(min(processes, len(seeds)))], device, kind):
        tally.add(verdict)
        tell(verdict, tally)
    return tally


def verdicts(shares: list[list[int]], device: str, kind: str | None) -> Iterator[Verdict]:
    """Verdicts as processes, one a share, come to them."""
    context = multiprocessing.get_context("spawn")
    started: dict[Any, tuple[Any, list[int]]] = {}         # by the end of a pipe: a process, and what it has left

    def start(seeds: list[int]) -> None:
        end, other = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(other, seeds, device, kind), daemon=True)
        process.start()
        other.close()
        started[end] = process, seeds

    for share in shares:
        start(share)
    while started:
        for end in wait(list(started)):
            process, left = started[end]
            try:
                verdict = end.recv()
                left.remove(verdict.seed)
                yield verdict
            except EOFError:
                del started[end]
                process.join()
                if left:                    # it went down with the program that it was at
                    yield Verdict(left[0], "crashed", False, f"the process ended with {process.exitcode}")
                    if left[1:]:
                        start(left[1:])


def work(end: Connection, seeds: list[int], device: str, kind: str | None) -> None:
    import torch
    torch.set_num_threads(1)
    for seed in seeds:
        end.send(examine(seed, device, kind))
    end.close()
