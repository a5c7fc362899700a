"""What the emulator has to say: findings, one a place, and the errors that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MOST = 20
"""Places that are told of; a kernel with more faults than that is stopped."""


@dataclass
class Finding:
    """A fault at one place of a kernel.

    `kind` is one of "out of bounds", "wrong pointer", "use after free", "misaligned", "unwritten", "race",
    "shared race", "asynchronous", "barrier", "undefined".
    """

    kind: str
    message: str
    kernel: str = ""
    source: str = ""       # File, line and column of the source, and where it was inlined, as in the PTX's `.loc`
    instruction: str = ""
    line: int = 0       # Line of the PTX
    program: tuple[int, int, int] = (0, 0, 0)
    thread: int = 0
    address: str = ""       # The place as `name[index]`, or an address in shared memory
    other: str = ""       # The other party of a race
    count: int = 1       # Accesses that were at fault there

    def __str__(self) -> str:
        place = f" at {self.address}" if self.address else ""
        other = f", {self.other}" if self.other else ""
        times = f" ({self.count} accesses)" if self.count > 1 else ""
        source = f"{self.source}: " if self.source else ""
        return (f"{self.kind}: {self.message}{place}{other}: thread {self.thread} of program {self.program}{times}\n"
                f"    {source}{self.instruction} (line {self.line} of the PTX of {self.kernel})")


class EmulatorError(RuntimeError):
    """A kernel did what it must not do, or what the emulator cannot follow; `findings` has the places."""

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__("\n".join([message, *map(str, findings)]))
        self.findings = list(findings)


class UnknownInstruction(EmulatorError):
    """The PTX has instructions that the emulator does not know; each is named with its line."""


@dataclass
class Report:
    """What a launch did: its faults, and how much was executed."""

    findings: list[Finding] = field(default_factory=list)
    thread_instructions: int = 0       # Instructions executed, summed over threads
    programs: int = 0

    def add(self, finding: Finding) -> None:
        """Keep a finding, or count it where its place has one of its kind. Raises when there are too many."""
        for one in self.findings:
            if (one.kind, one.line) == (finding.kind, finding.line):
                one.count += finding.count
                return
        self.findings.append(finding)
        if len(self.findings) >= MOST:
            self.check()

    def check(self) -> None:
        """Raise `EmulatorError` if there are findings."""
        if self.findings:
            names = ", ".join(sorted({one.kernel for one in self.findings}))
            raise EmulatorError(f"{len(self.findings)} faults in {names}:", self.findings)
