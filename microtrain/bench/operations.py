"""Single operations at a few sizes: what one kernel takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .workload import Compile, Inputs, Instance, Workload


def elementwise(n: int) -> Workload:
    """x * sigmoid(x) + y: three operations that fuse."""
    def by_hand(v: Inputs) -> np.ndarray:
        return v["x"] / (1 + np.exp(-v["x"])) + v["y"]

    return _operation("map", str(n), "x * sigmoid(x) + y", {"x": (n,), "y": (n,)},
                      lambda T, v: v["x"] * T.sigmoid(v["x"]) + v["y"], by_hand)


def softmax(rows: int, width: int) -> Workload:
    """Softmax of each row."""
    def by_hand(v: Inputs) -> np.ndarray:
        e = np.exp(v["x"] - v["x"].max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    return _operation("softmax", f"{rows}x{width}", "softmax of rows", {"x": (rows, width)},
                      lambda T, v: T.softmax(v["x"], 1), by_hand)


def full_sum(n: int) -> Workload:
    """The sum of squares. No cancellation, so that float32 has a small error and the check is sharp."""
    return _operation("sum", str(n), "sum of squares of all elements", {"x": (n,)},
                      lambda T, v: (v["x"] * v["x"]).sum(), lambda v: np.square(v["x"]).sum())


def linear(rows: int, inner: int, columns: int) -> Workload:
    """A matrix product with a bias added to its rows."""
    return _operation("matmul", f"{rows}x{inner}x{columns}", "x @ w + b",
                      {"x": (rows, inner), "w": (inner, columns), "b": (columns,)},
                      lambda T, v: v["x"] @ v["w"] + v["b"], lambda v: v["x"] @ v["w"] + v["b"])


def _operation(family: str, size: str, about: str, shapes: Mapping[str, tuple[int, ...]],
               function: Callable[[Any, Mapping[str, Any]], Any], by_hand: Callable[[Inputs], Any]) -> Workload:
    def inputs(rng: np.random.Generator) -> Inputs:
        return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}

    def build(T: Any, tensors: Mapping[str, Any], compiled: Compile) -> Instance:
        return Instance(compiled(lambda: function(T, tensors)))

    return Workload(family, size, about, inputs, build, lambda arrays: Instance(lambda: by_hand(arrays)))
