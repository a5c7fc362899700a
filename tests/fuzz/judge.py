"""Whether a program leaves here what it leaves in PyTorch: every value, every gradient, and where it raises."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from microtrain import settings
from microtrain.testing.closeness import EPSILON, ERROR_FACTOR, difference, exact_difference

from .program import EachAtOnce, Outcome, Program

ROUNDINGS = 32.0
"""Units in the last place of a program's largest number by which any of its results may be off."""

LOST = ("a second time", "Trying to use a saved tensor that has been detached in-place")
"""What PyTorch says of values that it has lost, other than by a change in place."""

READ_DIFFERENTLY = (".prod(", ") ** v", "keepdim=True)")
"""Operations whose derivative reads the result in PyTorch and here the operand (of a power, what is asked for), or the
result before it was shaped. (Of an operand of another dtype than the result's a converted copy is kept here.)"""

MADE_WHEN_READ = ".detach_()"
"""A view whose memory was changed gets its place on the tape anew when it is read, in PyTorch when it is used in a
graph or its `grad_fn` is looked at: where its base is taken off the tape in between they differ in what that is."""

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

    def __init__(self, program: Program, keeping: bool = False) -> None:
        import torch
        within = saving_copies if keeping else nullcontext
        self.program, self.keeping = program, keeping
        self.expected = program.run(torch, within=within)
        # A program of several dtypes cannot be run in float64 alone, where conversions make no copies.
        self.truth = program.run(torch, "float64", within=within) if program.kind != "dtypes" else self.expected
        # PyTorch's error in float64 is measured in float32 and scaled.
        self.coarse = self.expected if program.dtype == "float32" else program.run(torch, "float32", within=within)
        # A derivative that is zero everywhere may be one of zeros or none at all: rules differ in which they give.
        self.twice = any("create_graph" in step.form for step in program.steps)
        halves = {facts.get("dtype") for facts in self.expected.facts.values()} & {"float16", "bfloat16"}
        self.unit = max(EPSILON[str(dtype)] for dtype in {program.dtype, *(halves if program.rounded else ())})
        # A change through `.data`, or of a copy by `copy.copy`, is no version: PyTorch computes a wrong derivative from
        # the changed value, and says so; this package computes the right one, as does PyTorch that saves copies.
        self.unseen = ".data" in program.text or "copy.copy(" in program.text
        self.scale = max([1e-3, *map(_largest, self.truth.values.values())])

    def allowed(self, name: str) -> float:
        own = _largest(self.coarse.values[name] - self.truth.values[name])
        scaled = own * EPSILON[self.program.dtype] / EPSILON["float32"]
        return ERROR_FACTOR * scaled + ROUNDINGS * self.unit * self.scale

    @property
    def looseness(self) -> float:
        """The largest tolerance as a part of the largest value: where it is not small, little is tested."""
        return max((self.allowed(name) for name, value in self.truth.values.items() if value.dtype.kind == "f"),
                   default=0.0) / self.scale

    def failure(self, modes: tuple[str, ...]) -> Failure | None:
        """Run the program in each of `modes`; the first failure, None where there is none."""
        for mode in modes:
            got = outcome(self.program, mode)
            found = self.complaint(got)
            if found is not None and found[0] == "value" and self.unseen:
                found = Oracle(self.program, keeping=True).complaint(got)
            if found is not None and not (mode == MODES[1] and MADE_WHEN_READ in self.program.text):
                kind, what = found
                return Failure(self.program, mode, what, kind)
        return None

    def complaint(self, got: Outcome) -> tuple[str, str] | None:
        """What is wrong with an outcome, and of which kind that is; None where nothing is."""
        expected = self.expected
        if expected.error is not None and got.error is None and self.excused(expected.error):
            return None if self.keeping else Oracle(self.program, keeping=True).complaint(got)
        if (got.line, got.error is None) != (expected.line, expected.error is None):
            mine, theirs = _raised(got, self.program), _raised(expected, self.program)
            return "error", f"raised {mine}, where PyTorch raised {theirs}"
        # How far a backward gets before it raises, and which hooks it calls, is not laid down.
        open_ = {name for name in {*expected.values, *got.values}
                 if expected.error is not None and (".grad" in name or "[" in name)}
        for name, want in expected.values.items():
            if name in open_:
                continue
            if name not in got.values:
                return "missing", f"{name} is None, expected {want.dtype}{list(want.shape)}"
            have, kind = got.values[name], f"{want.dtype}{list(want.shape)}"
            if f"{have.dtype}{list(have.shape)}" != kind:
                return "type", f"{name} is {have.dtype}{list(have.shape)}, expected {kind}"
            if want.dtype.kind == "f":
                wrong = difference(have, want, self.truth.values[name], np.full(want.shape, self.allowed(name)),
                                   self.program.dtype)
            else:
                wrong = exact_difference(have, want, want.dtype.name)
            if wrong is not None:
                return "value", f"{name}, {kind}, {wrong}"
        for name in sorted(got.values.keys() - expected.values.keys() - open_):
            if not (self.twice and np.all(got.values[name] == 0)):
                return "missing", f"{name} is {got.values[name].dtype}{list(got.values[name].shape)}, expected None"
        for name, facts in expected.facts.items():
            if expected.error is not None and ("length" in facts or "[" in name):
                continue
            for fact, want in facts.items():
                have = got.facts[name].get(fact, "an error")
                if have != want and not (self.twice and got.facts[name].get("requires_grad")):
                    return fact, f"{fact} of {name} is {have}, expected {want}"
        return self.attempted(got)

    def excused(self, error: str) -> bool:
        """Whether a backward that PyTorch refuses may go through here, where a value is at hand that is lost there.

        Then it leaves what it leaves in PyTorch where copies are saved. A change of what both need must be noticed.
        """
        if "A view was created in no_grad mode" in error:       # PyTorch looks at values that no gradient needs
            line = str(self.program.steps[self.expected.line]) if self.expected.line is not None else ""
            return "backward(" in line or "autograd.grad(" in line
        if "modified by an inplace operation" in error:
            return self.program.kind != "memory" or any(
                form in self.program.text for form in (*READ_DIFFERENTLY, "no_grad()"))     # a dead end needs no values
        return any(words in error for words in LOST)

    def attempted(self, got: Outcome) -> tuple[str, str] | None:
        """What is wrong with the attempts of an outcome: they raise here as in PyTorch, and in its first words."""
        for line, want in self.expected.attempts.items():
            if first_words(got.attempts.get(line, "nothing")) != first_words(want):
                return "error", f"`{self.program.steps[line]}` raised {got.attempts.get(line, 'nothing')}, where " \
                                f"PyTorch raised {want}"
        for line in got.attempts.keys() - self.expected.attempts.keys():
            return "error", f"`{self.program.steps[line]}` raised {got.attempts[line]}, where PyTorch raised nothing"
        return None


def _largest(values: np.ndarray) -> float:
    """The largest finite magnitude; 0 where there is none, and for what is no float."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) if values.dtype.kind == "f" else 0.0


def saving_copies() -> AbstractContextManager[Any]:
    """A block in which PyTorch keeps copies of the values that derivatives need."""
    from torch.autograd.graph import saved_tensors_hooks
    return saved_tensors_hooks(lambda value: value.detach().clone(), lambda value: value)


def first_words(error: str) -> str:
    """The kind of an error and the first words of what it says, whatever numbers it names (of several wrong elements
    or sizes either package may name either) and by whichever of PyTorch's two names it calls a type."""
    return " ".join(re.sub(r"-?\d+", "#", re.sub(r"CPU(\w+)Type", r"torch.\1Tensor", error)).split()[:5])


def _raised(outcome: Outcome, program: Program) -> str:
    if outcome.error is None or outcome.line is None:
        return "nothing"
    where = program.steps[outcome.line] if outcome.line < len(program.steps) else "the end"
    return f"at `{where}`: {outcome.error}"


def outcome(program: Program, mode: str) -> Outcome:
    """What a program leaves here, run in one of the MODES."""
    import microtrain
    with EachAtOnce() if mode == MODES[2] else settings.fuse(False) if mode == MODES[3] else nullcontext():
        return program.run(microtrain, reading=mode == MODES[1])


def check(program: Program, modes: tuple[str, ...] = MODES[:3]) -> Failure | None:
    """Run a program in PyTorch and here; the first failure, None where there is none."""
    return Oracle(program).failure(modes)
