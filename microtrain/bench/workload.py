"""What a workload is: inputs, the code on PyTorch's API, and the same by hand in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Inputs = dict[str, np.ndarray]
"""Data and starting weights by name: float32, and int64 for classes."""

Compile = Callable[[Callable[[], Any]], Callable[[], Any]]
"""What is done to a workload's functions before they run: nothing, or `torch.compile`."""


@dataclass(frozen=True)
class Instance:
    """A workload on one package, ready to run.

    Attributes:
        run: one call: a training step, which returns its loss, or an operation, which returns its result.
        state: what `run` changes, by name.
        optimizer: the optimizer that `run` steps, if it has one.
    """

    run: Callable[[], Any]
    state: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Any = None


@dataclass(frozen=True)
class Workload:
    """Something to time.

    Attributes:
        family: the name by which it is chosen; sizes of one operation share it.
        size: what tells it from others of its family; may be empty.
        about: what a call does.
        inputs: makes data and starting weights from a generator.
        build: makes an Instance from a package with PyTorch's API (`torch` or `microtrain`), the inputs as its tensors,
            and what to do to the functions.
        by_hand: makes an Instance in NumPy alone, derivatives written out, in the dtype of the inputs: the reference in
            float64, a peer in float32.
        steps: calls before the result is checked: 1 where a call changes nothing.
    """

    family: str
    size: str
    about: str
    inputs: Callable[[np.random.Generator], Inputs]
    build: Callable[[Any, Mapping[str, Any], Compile], Instance]
    by_hand: Callable[[Inputs], Instance]
    steps: int = 1

    @property
    def name(self) -> str:
        """Family and size."""
        return f"{self.family} {self.size}".strip()

    @property
    def trains(self) -> bool:
        """Whether a call is a training step."""
        return self.steps > 1


def unchanged(function: Callable[[], Any]) -> Callable[[], Any]:
    """The Compile that does nothing."""
    return function


def results(instance: Instance, steps: int) -> dict[str, np.ndarray]:
    """Run `steps` calls: the last result, as "result", and the state, in NumPy."""
    for _ in range(steps):
        out = instance.run()
    return {name: as_numpy(value) for name, value in {"result": out, **instance.state}.items()}


def as_numpy(value: Any) -> np.ndarray:
    """A copy of a tensor, of either package and on any device, or of an array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.array(value)
