"""Is a result right? Against float64, within a small multiple of the error that its format is seen to make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from microtrain.bench.comparison import WrongResult

from .memory import Memory
from .workload import Values, Workload

SLACK = 4.0
"""Times the error seen: another order of summation or another exponential is as right."""

NEIGHBOURS = 4
"""Inputs nearby at which the error is seen as well, since at one alone it may be zero by luck."""

NEARBY = 1e-3
"""Relative distance of those inputs."""

MANY = 1 << 20
"""Elements from which the inputs alone show the error: no luck spares so many."""

EPSILON = {"float32": 2.0**-23, "tf32": 2.0**-10, "bfloat16": 2.0**-7}
"""The spacing of numbers at 1: what one rounding costs, of a result in float32 and bfloat16."""


@dataclass(frozen=True)
class Oracle:
    """The right values by name, in float64, and the largest error allowed in any element of each."""

    memory: Memory
    expected: Values
    allowed: Mapping[str, float]

    def judge(self, values: Mapping[str, Any]) -> float:
        """The largest share of an allowed error. Raises WrongResult, naming the value, above 1, for NaN, or for another
        shape or set of names."""
        if values.keys() != self.expected.keys():
            raise WrongResult(f"values {sorted(values)} instead of {sorted(self.expected)}")
        worst = 0.0
        for name, value in values.items():
            expected, allowed = self.expected[name], self.allowed[name]
            found = self.memory.wide(value)
            if tuple(found.shape) != tuple(expected.shape):
                raise WrongResult(f"{name} has shape {tuple(found.shape)} instead of {tuple(expected.shape)}")
            error = self.memory.largest(found - expected)
            if not error <= allowed:
                raise WrongResult(f"{name} is off by {error:.3g}, allowed is {allowed:.3g}")
            worst = max(worst, error / allowed if allowed else 0.0)
        return worst


def oracle(workload: Workload, inputs: Values, memory: Memory, narrow: Callable[[Values], Mapping[str, Any]]) -> Oracle:
    """The oracle of a workload at `inputs`.

    Allowed is SLACK times the largest error of `narrow`, which computes the same in the workload's format, there and
    at NEIGHBOURS inputs nearby, and of one rounding of the largest element to the result's dtype. The roundings of TF32
    are those of its operands: they are seen in `narrow` alone, and so is their absence.
    """
    expected = memory.right(workload, inputs)
    rounding = EPSILON["bfloat16" if workload.format == "bfloat16" else "float32"]
    allowed = {name: SLACK * rounding * memory.largest(value) for name, value in expected.items()}
    few = sum(value.size if isinstance(value.size, int) else value.numel() for value in inputs.values()) < MANY
    for number in range(1 + NEIGHBOURS if few else 1):
        nearby = memory.nudged(inputs, number, NEARBY) if number else inputs
        right = memory.right(workload, nearby) if number else expected
        for name, value in narrow(nearby).items():
            allowed[name] = max(allowed[name], SLACK * memory.largest(memory.wide(value) - right[name]))
    return Oracle(memory, expected, allowed)
