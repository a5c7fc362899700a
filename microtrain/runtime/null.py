"""The null device, which compiles kernels for a GPU that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .backend import Launch, Spec
from .resources import TARGETS, Resources, compile_launch

if TYPE_CHECKING:
    import numpy as np


class Nowhere:
    """What stands for memory on the null device."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.shape, self.dtype = shape, dtype


class NullBackend:
    """No memory and no processor: launching a kernel compiles it for `target`, and notes its Resources there."""

    timer = None
    requeuing = None

    def __init__(self, target: str = "sm_90") -> None:
        if target not in TARGETS:
            raise ValueError(f"unknown target {target!r}; known: {', '.join(TARGETS)}")
        self.target = self.arch = target
        self.resources: dict[Launch, Resources] = {}

    def empty(self, spec: Spec) -> Nowhere:
        return Nowhere(spec.shape, spec.dtype.name)

    def workspace(self, size: int) -> Nowhere:
        return Nowhere((size,), "uint8")

    def part(self, workspace: object, offset: int, spec: Spec) -> Nowhere:
        return self.empty(spec)

    def pointers(self, memory: list[object], workspace: object, parts: Sequence[tuple[int, Spec]]) -> list[object]:
        return [*memory, *[self.part(workspace, offset, spec) for offset, spec in parts]]

    def from_numpy(self, array: np.ndarray) -> Nowhere:
        return Nowhere(array.shape, array.dtype.name)

    def rows(self, workspace: object, count: int, width: int, spec: Spec) -> Nowhere:
        return Nowhere((count, *spec.shape), spec.dtype.name)

    def copy(self, buffer: object, into: object = None) -> object:
        return buffer

    def to_numpy(self, buffer: object) -> np.ndarray:
        raise RuntimeError(f"the null device compiles kernels (for {self.target}) and computes nothing: a tensor there "
                           "has no values to read; use device='cpu', 'interpret' or 'cuda' for those")

    def poison(self, buffer: object, spec: Spec) -> None:
        """There is nothing to fill."""

    def launch(self, launch: Launch, pointers: tuple[object, ...], scalars: tuple[int, ...]) -> None:
        if launch not in self.resources:
            self.resources[launch] = compile_launch(self.target, launch)

    def synchronize(self) -> None:
        """Nothing runs."""
