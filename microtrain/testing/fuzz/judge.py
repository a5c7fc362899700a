"""Whether a program leaves here what it leaves in PyTorch: every value, every gradient, and where it raises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import settings
from ..closeness import EPSILON, ERROR_FACTOR, difference, exact_difference
from .program import EachAtOnce, Outcome, Program

ROUNDINGS = 32.0
"""Units in the last place of a program's largest number by which any of its results may be off."""

MODES = ("fused", "each value read", "each operation at once", "a kernel for each operation")
"""How a program is run here: as it is written; with every value read as soon as it is made; with every operation,
those of the backward too, computed as it is recorded; in one go but with fusion off (on `cpu` nothing would differ)."""


@dataclass(frozen=True)
class Failure:
    """A program, how it was run, and what was wrong."""

    program: Program
    mode: str
    what: str
    kind: str

    def __str__(self) -> str:
        return f"{self.what} ({self.mode})\n\n{self.program}"


class Oracle:
    """PyTorch's results, the same in float64, and how far a right result may be from them.

    The tolerance of a result is a few times PyTorch's own largest error in it, and ROUNDINGS units in the last place of
    the largest value of the whole program, for what is left where large terms cancel.
    """

    def __init__(self, program: Program) -> None:
        import torch
        self.program = program
        self.expected = program.run(torch)
        self.truth = program.run(torch, "float64")
        # PyTorch's error in float64 is measured in float32 and scaled.
        self.coarse = self.expected if program.dtype == "float32" else program.run(torch, "float32")
        # A derivative that is zero everywhere may be one of zeros or none at all: rules differ in which they give.
        self.twice = any("create_graph" in step.form for step in program.steps)
        self.scale = max([1e-3, *map(_largest, self.truth.values.values())])

    def allowed(self, name: str) -> float:
        """How far any element of a result may lie from the truth."""
        dtype = self.program.dtype
        own = _largest(self.coarse.values[name] - self.truth.values[name]) * EPSILON[dtype] / EPSILON["float32"]
        return ERROR_FACTOR * own + ROUNDINGS * EPSILON[dtype] * self.scale

    @property
    def looseness(self) -> float:
        """The largest tolerance as a part of the largest value: where it is not small, little is tested."""
        return max((self.allowed(name) for name, value in self.truth.values.items() if value.dtype.kind == "f"),
                   default=0.0) / self.scale

    def failure(self, modes: tuple[str, ...]) -> Failure | None:
        """Run the program in each of `modes`; the first failure, None where there is none."""
        for mode in modes:
            found = self.complaint(outcome(self.program, mode))
            if found is not None:
                kind, what = found
                return Failure(self.program, mode, what, kind)
        return None

    def complaint(self, got: Outcome) -> tuple[str, str] | None:
        """What is wrong with an outcome, and of which kind that is; None where nothing is."""
        expected = self.expected
        if expected.error is not None and got.error is None:
            return None         # PyTorch has lost a value that is needed, and here it is at hand
        if (got.line, got.error is None) != (expected.line, expected.error is None):
            mine, theirs = _raised(got, self.program), _raised(expected, self.program)
            return "error", f"raised {mine}, where PyTorch raised {theirs}"
        for name, want in expected.values.items():
            if expected.error is not None and ".grad" in name:
                continue            # how far a backward gets before it raises is not laid down
            if name not in got.values:
                return "missing", f"{name} is None, expected {want.dtype}{list(want.shape)}"
            have = got.values[name]
            if have.dtype != want.dtype or have.shape != want.shape:
                return "type", f"{name} is {have.dtype}{list(have.shape)}, expected {want.dtype}{list(want.shape)}"
            if want.dtype.kind == "f":
                wrong = difference(have, want, self.truth.values[name], np.full(want.shape, self.allowed(name)),
                                   self.program.dtype)
            else:
                wrong = exact_difference(have, want, want.dtype.name)
            if wrong is not None:
                return "value", f"{name}, {want.dtype}{list(want.shape)}, {wrong}"
        for name in sorted(got.values.keys() - expected.values.keys()):
            if not (self.twice and np.all(got.values[name] == 0)):
                return "missing", f"{name} is {got.values[name].dtype}{list(got.values[name].shape)}, expected None"
        for name in sorted(got.tracked ^ expected.tracked):
            if not (self.twice and name in got.tracked):
                return "tracked", f"{name} {'requires grad' if name in got.tracked else 'does not require grad'}, " \
                                  "unlike PyTorch's"
        return None


def _largest(values: np.ndarray) -> float:
    """The largest finite magnitude; 0 where there is none, and for what is no float."""
    if values.dtype.kind != "f":
        return 0.0
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def _raised(outcome: Outcome, program: Program) -> str:
    if outcome.error is None or outcome.line is None:
        return "nothing"
    where = program.steps[outcome.line] if outcome.line < len(program.steps) else "the end"
    return f"at `{where}`: {outcome.error}"


def outcome(program: Program, mode: str) -> Outcome:
    """What a program leaves here, run in one of the MODES."""
    import microtrain
    if mode == MODES[1]:
        return program.run(microtrain, reading=True)
    if mode == MODES[2]:
        with EachAtOnce():
            return program.run(microtrain)
    if mode == MODES[3]:
        with settings.fuse(False):
            return program.run(microtrain)
    return program.run(microtrain)


def check(program: Program, modes: tuple[str, ...] = MODES[:3]) -> Failure | None:
    """Run a program in PyTorch and here; the first failure, None where there is none."""
    return Oracle(program).failure(modes)
