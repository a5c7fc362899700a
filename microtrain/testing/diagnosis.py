"""What a failure may come from: cheap experiments on the failing trial, each of which may have a sentence to say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from .closeness import EPSILON
from .comparison import Finding, Subject
from .report import GRADIENT, VALUE
from .running import Run, Trial

LENGTHS = (16, 256, 4096)
"""Of a reduction, at which its error is measured."""


def diagnose(subject: Subject, trial: Trial, finding: Finding) -> list[str]:
    """What the experiments say. None of them raises."""
    said = list[str | None]()
    for experiment in EXPERIMENTS:
        with suppress(Exception):       # an experiment that cannot be done says nothing
            said.append(experiment(subject, trial, finding))
    return [sentence for sentence in said if sentence]


def passes(subject: Subject, trial: Trial, part: int) -> bool:
    """Whether a part of a trial is right. Raises where the oracle raises."""
    return not any(finding.wrong for finding in subject.findings(trial) if finding.part <= part)


def earlier_parts(subject: Subject, trial: Trial, finding: Finding) -> str | None:
    """The value may be right where the gradient is wrong."""
    if finding.part == VALUE or not passes(subject, replace(trial, order=finding.part - 1), finding.part - 1):
        return None
    return ("the value is right: the derivative is at fault" if finding.part == GRADIENT else
            "value and gradient are right: the derivative of the backward is at fault")


def layout(subject: Subject, trial: Trial, finding: Finding) -> str | None:
    """Whose layout it is."""
    if trial.inputs == trial.cotangents == "contiguous" or not passes(
            subject, replace(trial, inputs="contiguous", cotangents="contiguous"), finding.part):
        return None
    by_cotangents = not passes(subject, replace(trial, inputs="contiguous"), finding.part)
    by_inputs = not passes(subject, replace(trial, cotangents="contiguous"), finding.part)
    whose = (f"inputs or cotangents that are {trial.inputs}" if by_cotangents == by_inputs else
             f"cotangents that are {trial.cotangents}" if by_cotangents else f"inputs that are {trial.inputs}")
    return f"fails only for {whose}: strides are ignored, or memory is taken to be contiguous"


def flat(finding: Finding) -> tuple[np.ndarray, np.ndarray, float]:
    """What was got and what was expected, flat, and the epsilon. Raises ValueError where they are not of one shape."""
    if finding.got is None or finding.expected is None or finding.got.shape != finding.expected.shape:
        raise ValueError("there is nothing to compare")
    a, b = (array.astype(np.float64).ravel() for array in (finding.got, finding.expected))
    return a, b, EPSILON.get(finding.got.dtype.name, 1e-6)


def constant_factor(subject: Subject, trial: Trial, finding: Finding) -> str | None:
    """Everything may be off by the same factor."""
    a, b, epsilon = flat(finding)
    kept = np.isfinite(a) & np.isfinite(b) & (b != 0)
    if kept.sum() < 2 or a[~kept & (b == 0)].any():
        return None
    ratios = a[kept] / b[kept]
    factor = float(np.median(ratios))
    few = 64 * epsilon * max(1.0, abs(factor))
    if np.abs(ratios - factor).max() > few or abs(factor - 1) <= few:
        return None
    return "is zero everywhere" if factor == 0 else f"is {factor:.6g} times the oracle's everywhere"


def exchanged_inputs(subject: Subject, trial: Trial, finding: Finding) -> str | None:
    """Two inputs of one shape may be taken for each other, or their gradients."""
    sample = trial.sample
    for i, j in combinations(sample.differentiated, 2):
        if sample.shapes[i] != sample.shapes[j]:
            continue

        def swapped(*tensors: Any, i: int = i, j: int = j, **attributes: Any) -> Any:
            order = list(tensors)
            order[i], order[j] = tensors[j], tensors[i]
            return subject.oracle(*order, **attributes)

        if finding.part == VALUE and passes(replace(subject, oracle=swapped), replace(trial, order=VALUE), VALUE):
            return f"agrees when inputs {i} and {j} are exchanged"
        if finding.part == GRADIENT:
            first = replace(trial, order=GRADIENT)
            got = subject.attempt(first)
            a, b = sample.differentiated.index(i), sample.differentiated.index(j)
            mine = list(got.parts[GRADIENT])
            mine[a], mine[b] = mine[b], mine[a]
            again = Run(got.parts | {GRADIENT: mine}, got.live)
            if not any(one.wrong for one in subject.against(again, first)):
                return f"agrees when the gradients of inputs {i} and {j} are exchanged"
    return None


def broadcasting(subject: Subject, trial: Trial, finding: Finding) -> str | None:
    """The gradient of a broadcast input is a sum over the axes along which it was."""
    sample = trial.sample
    if finding.part == VALUE or len(sample.arrays) < 2 or finding.number >= len(sample.differentiated):
        return None
    shape = np.broadcast_shapes(*sample.shapes)
    own = sample.shapes[sample.differentiated[finding.number]]
    if own == shape:
        return None
    whole = [np.ascontiguousarray(np.broadcast_to(a, shape)) for a in sample.arrays]
    if not passes(subject, trial.with_arrays(whole), finding.part):
        return None
    lead = len(shape) - len(own)
    axes = [axis for axis, n in enumerate(shape) if axis < lead or own[axis - lead] != n]
    return (f"passes where no input is broadcast: input {sample.differentiated[finding.number]}, {list(own)}, is "
            f"broadcast to {list(shape)}, and its gradient must be summed over axes {axes}")


def accumulation(subject: Subject, trial: Trial, finding: Finding) -> str | None:
    """The error of a reduction may grow with its length."""
    if finding.difference is None or not np.isfinite(finding.ulps):
        return None
    longest = max((n for shape in trial.sample.shapes for n in shape), default=0)
    if longest < 2:
        return None
    measured = []
    for length in LENGTHS:
        arrays = tuple(array[np.ix_(*(np.arange(length) % n if n == longest else np.arange(n) for n in array.shape))]
                       for array in trial.sample.arrays)
        longer = replace(trial, sample=replace(trial.sample, arrays=arrays, terms=None))
        same = [one for one in subject.findings(longer) if (one.part, one.number) == (finding.part, finding.number)]
        measured.append(same[0].ulps)
    if not np.isfinite(measured).all() or measured[-1] < 8 * max(1.0, measured[0]):
        return None
    figures = ", ".join(f"{ulps:.3g} at {length}" for ulps, length in zip(measured, LENGTHS, strict=True))
    wider = "float32" if trial.dtype in ("float16", "bfloat16") else "a tree, or in a wider dtype"
    return f"the error grows with the length of the reduction: {figures} (in ulps): accumulate in {wider}"


def other_dtypes(subject: Subject, trial: Trial, finding: Finding) -> str | None:
    """A formula that is right in float32 may lose half precisions."""
    if trial.dtype not in ("float16", "bfloat16") or not passes(subject, replace(trial, dtype="float32"), finding.part):
        return None
    return f"passes in float32: the formula is right, what is lost is lost in {trial.dtype}"


def not_a_number(subject: Subject, trial: Trial, finding: Finding) -> str | None:
    """A NaN comes from somewhere."""
    miss = finding.difference
    if miss is None or np.isfinite(miss.got) or not np.isfinite(miss.expected):
        return None
    found = "NaN" if np.isnan(miss.got) else "an infinity"
    values = [float(array[miss.index]) for array in trial.arrays if finding.got is not None
              and array.shape == finding.got.shape]
    at = f" where the inputs are {', '.join(map(str, values))}" if values else ""
    hint = ("; where() differentiates both of its branches, so the one not taken must be finite too"
            if finding.part != VALUE else "")
    return f"gives {found}{at}, and the oracle does not: a boundary of the formula{hint}"


def last_elements(subject: Subject, trial: Trial, finding: Finding) -> str | None:
    """What is wrong may be the end of the array alone."""
    a, b, _ = flat(finding)
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~(np.abs(a - b) <= 1e-2 * (np.abs(b) + np.abs(b[np.isfinite(b)]).max(initial=0.0))))
    if not wrong.size or wrong[0] == 0 or wrong[-1] != a.size - 1 or wrong.size < 0.5 * (a.size - wrong[0]):
        return None
    return (f"only the end is wrong, from element {int(wrong[0])} of {a.size} on: the last block is not computed: is "
            "the grid rounded up?")


EXPERIMENTS: tuple[Callable[[Subject, Trial, Finding], str | None], ...] = (
    earlier_parts, layout, constant_factor, exchanged_inputs, broadcasting, accumulation, other_dtypes, not_a_number,
    last_elements)
