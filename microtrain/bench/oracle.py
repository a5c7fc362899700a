"""Is a result right? Against float64, within a small multiple of the error that float32 is seen to make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .comparison import WrongResult
from .workload import Inputs, Workload, results

SLACK = 4.0
"""Times the float32 error seen: another order of summation or another exponential is as right."""

NEIGHBOURS = 4
"""Inputs nearby at which the float32 error is seen as well, since at one alone it may be zero by luck."""

NEARBY = 1e-3
"""Relative distance of those inputs."""

Values = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Oracle:
    """The right values by name, in float64, and the largest error allowed in any element of each."""

    expected: Values
    allowed: Mapping[str, float]

    def judge(self, values: Values) -> float:
        """The largest share of an allowed error. Raises WrongResult, naming the value, above 1, for NaN, or for another
        shape or set of names."""
        if values.keys() != self.expected.keys():
            raise WrongResult(f"values {sorted(values)} instead of {sorted(self.expected)}")
        worst = 0.0
        for name, value in values.items():
            expected, allowed = self.expected[name], self.allowed[name]
            if value.shape != expected.shape:
                raise WrongResult(f"{name} has shape {value.shape} instead of {expected.shape}")
            error = _error(value, expected)
            if not error <= allowed:
                raise WrongResult(f"{name} is off by {error:.3g}, allowed is {allowed:.3g}")
            worst = max(worst, error / allowed if allowed else 0.0)
        return worst


def oracle(workload: Workload, inputs: Inputs, float32: Callable[[Inputs], Values]) -> Oracle:
    """The oracle of a workload at `inputs`.

    The right values are the workload by hand in float64. Allowed is SLACK times the largest error of `float32`, which
    computes the same in float32, there and at NEIGHBOURS inputs nearby, and of one rounding of the largest element.
    """
    rng = np.random.default_rng(1)
    expected = _in_float64(workload, inputs)
    allowed = {name: SLACK * float(np.finfo(np.float32).eps) * float(np.abs(value).max(initial=0.0))
               for name, value in expected.items()}
    for nearby in (inputs, *(_nudged(inputs, rng) for _ in range(NEIGHBOURS))):
        right = expected if nearby is inputs else _in_float64(workload, nearby)
        for name, value in float32(nearby).items():
            allowed[name] = max(allowed[name], SLACK * _error(value, right[name]))
    return Oracle(expected, allowed)


def _in_float64(workload: Workload, inputs: Inputs) -> Values:
    wide = {name: value.astype(np.float64) if value.dtype == np.float32 else value for name, value in inputs.items()}
    return results(workload.by_hand(wide), workload.steps)


def _nudged(inputs: Inputs, rng: np.random.Generator) -> Inputs:
    def nudge(value: np.ndarray) -> np.ndarray:
        if value.dtype != np.float32:
            return value
        return np.asarray(value * (1 + NEARBY * rng.uniform(-1, 1, value.shape)), np.float32)

    return {name: nudge(value) for name, value in inputs.items()}


def _error(value: np.ndarray, expected: np.ndarray) -> float:
    """The largest absolute difference; NaN where either is NaN."""
    return float(np.abs(value.astype(np.float64) - expected).max(initial=0.0))
