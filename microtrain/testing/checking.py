"""`check_parity`: a function against PyTorch's, and what is said when they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any

import numpy as np

from .. import settings
from ..tensor.create import default_device
from .calls import probe
from .cases import Sample, samples_of
from .closeness import Tolerance
from .comparison import Finding, Subject
from .diagnosis import diagnose
from .report import SECOND, VALUE, ParityReport, Tally
from .running import LAYOUTS, Trial
from .shrink import shrink

SESSION = ParityReport()
"""All that was compared in this process; what the pytest plugin prints."""

OTHERS = 4
"""Further failing trials that a failure names."""

SHOWN = 8
"""Elements up to which an array is printed in a failure."""


@dataclass(frozen=True)
class Failure:
    """A trial that fails, and the first finding that is wrong."""

    subject: Subject
    trial: Trial
    finding: Finding

    def __str__(self) -> str:
        return f"{self.finding} ({where(self.subject, self.trial)})"


class ParityError(AssertionError):
    """A function differs from its oracle.

    `failures` are all of them, `smallest` the smallest trial that fails in the way of the first, `diagnosis` what it
    may come from, `report` the counts.
    """

    def __init__(self, failures: list[Failure], report: ParityReport) -> None:
        self.failures, self.report = failures, report
        first = failures[0]
        self.diagnosis = diagnose(first.subject, first.trial, first.finding)
        self.smallest, self.steps = shrunk(first)
        super().__init__(self.text())

    def text(self) -> str:
        first = self.failures[0]
        subject, trial = first.subject, self.smallest
        again = [one for one in subject.failures(trial) if one.part == first.finding.part]
        finding = again[0] if self.steps and again else first.finding
        lines = [f"{subject.name}: {finding}", "", f"  in {where(subject, trial)}"]
        lines += [f"  input {i}: {shown(array, trial.dtype)}" for i, array in enumerate(trial.arrays)]
        if trial.sample.attributes:
            lines.append(f"  called with {', '.join(f'{k}={v!r}' for k, v in trial.sample.attributes.items())}")
        if self.steps:
            lines.append(f"  shrunk in {self.steps} steps from {where(subject, first.trial)}")
        if self.diagnosis:
            lines += ["", *(f"  - {sentence}" for sentence in self.diagnosis)]
        others = self.failures[1:]
        if others:
            lines += ["", f"  and {len(others)} more:",
                      *(f"    {one.finding.what}, {where(one.subject, one.trial)}" for one in others[:OTHERS]),
                      *(["    ..."] if len(others) > OTHERS else [])]
        return "\n".join(lines)


def where(subject: Subject, trial: Trial) -> str:
    """A trial in words."""
    layouts = (trial.inputs if trial.inputs == trial.cotangents else
               f"inputs {trial.inputs}, cotangents {trial.cotangents}")
    shapes = ", ".join(str(list(shape)) for shape in trial.sample.shapes)
    return f"{trial.dtype} on {subject.device}, {layouts}, of {shapes or 'nothing'}"


def shown(array: np.ndarray, dtype: str) -> str:
    """An array, with its values where they are few."""
    kind = dtype if array.dtype.kind == "f" else array.dtype.name
    return f"{kind}{list(array.shape)}" + (f" {array.tolist()}" if array.size <= SHOWN else "")


def shrunk(failure: Failure) -> tuple[Trial, int]:
    """The smallest trial that fails in the same part; what only shows in repeated calls stays as it is."""
    subject, finding = failure.subject, failure.finding

    def fails(trial: Trial) -> bool:
        return any(one.part == finding.part for one in subject.failures(trial))

    return shrink(failure.trial, fails) if fails(failure.trial) else (failure.trial, 0)


def check_parity(fn: Callable[..., Any], oracle: Callable[..., Any], inputs: Any, order: int = SECOND,
                 dtypes: Sequence[str] = ("float32", "float64"), devices: Sequence[str] | None = None,
                 layouts: Sequence[str] = LAYOUTS, *, tolerance: Tolerance = Tolerance.REDUCTION,
                 slack: float = 0.0, name: str | None = None, seed: int = 0) -> ParityReport:
    """Compare value, gradient and second gradient of `fn` with those of a PyTorch function.

    PyTorch in float64 is the truth; its own error in the dtype under test says how ill-conditioned a result is, and the
    tolerance follows from that and from the number of terms behind an element (see `closeness`). Beyond single calls,
    it is tried whether a second call gives the same bits, sees inputs that were changed in place, and leaves its inputs
    alone; where kernels are interpreted, whether masked lanes or the order of programs change the bits.

    Args:
        fn: takes microtrain Tensors on the device under test and gives one or a tuple: a function, an
            `autograd.Function` (or its `apply`), a `custom_kernel`. On the device `torch` (or `torch:cuda`) it takes
            PyTorch's tensors: for Triton kernels that are called from PyTorch.
        oracle: the same of PyTorch tensors.
        inputs: NumPy arrays, a `cases.Sample` or several, or a sampler of those (see `cases`). Floating-point arrays
            take the dtype under test and are differentiated, integer and boolean ones are passed on.
        order: how often it is differentiated, 0 to 2.
        dtypes, devices: by name; the device is the default one where none is given.
        layouts: of inputs and cotangents alike, among `running.LAYOUTS`.
        tolerance: of the value; ELEMENTWISE is stricter where elements differ in size, EXACT asks for the same bits.
        slack: the relative error of the oracle's own second gradient, where PyTorch approximates it.
        name: what the report calls it; by default the function's name.
        seed: of the samples and the cotangents.

    Returns:
        The counts; `.text()` is a table.

    Raises ParityError, saying what differs, where, by how much, the smallest case that shows it and what it may come
    from; OracleError where the oracle itself raises; ValueError for an order or a layout that there is not.
    """
    if order not in range(SECOND + 1):
        raise ValueError(f"check_parity(): order must be 0, 1 or 2, not {order!r}")
    fn, oracle = (getattr(one, "apply", one) if isinstance(one, type) else one for one in (fn, oracle))
    name = name or called(fn)
    samples = samples_of(inputs, np.random.default_rng(seed))
    report, failures = ParityReport(), list[Failure]()
    with settings.poison(True):         # an element that no kernel writes is NaN then, not by chance the right value
        for device in devices or (str(default_device()),):
            subject = Subject(name, fn, oracle, device, tolerance, slack)
            trials = list(trials_of(samples, dtypes, layouts, order, seed))
            for trial in trials:
                failures += judge(subject, trial, report)
            if not failures:        # repeated calls, on the largest contiguous trial in the first dtype
                plain = [one for one in trials if (one.dtype, one.inputs) == (trials[0].dtype, trials[0].inputs)]
                trial = max(plain, key=lambda trial: trial.size)
                failures += [Failure(subject, trial, finding) for finding in probe(subject, trial)]
        SESSION.merge(report)
        if failures:
            raise ParityError(failures, report)
    return report


def called(fn: Callable[..., Any]) -> str:
    """A function's name."""
    owner = getattr(fn, "__self__", None)
    found = owner if isinstance(owner, type) else fn
    name = getattr(found, "__name__", None) or getattr(found, "name", None) or type(found).__name__
    return "the function" if name == "<lambda>" else str(name)


def trials_of(samples: Sequence[Sample], dtypes: Sequence[str], layouts: Sequence[str], order: int,
              seed: int) -> Iterator[Trial]:
    """Each sample in each dtype and layout; without axes there is one layout."""
    for (number, sample), dtype in product(enumerate(samples), dtypes):
        deep = any(sample.shapes) or order > VALUE
        for layout in layouts if deep else layouts[:1]:
            yield Trial(sample, dtype, layout, layout, order, seed + number)


def judge(subject: Subject, trial: Trial, report: ParityReport) -> list[Failure]:
    """Enter a trial in the report; its first wrong finding, if any."""
    findings = subject.findings(trial)
    for part, of in groupby(findings, lambda finding: finding.part):
        own = list(of)
        bad = [str(Failure(subject, trial, finding)) for finding in own if finding.wrong][:1]
        report.add(Tally(subject.name, subject.device, trial.dtype, part, tried=1, passed=int(not bad),
                         worst_ulps=max(finding.ulps for finding in own), failures=bad))
    return [Failure(subject, trial, finding) for finding in findings if finding.wrong][:1]
