"""What every device offers, as protocols: mypy holds each of the four to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from ..compiler.launch import Launch
    from ..graph.spec import Spec


class Backend(Protocol):
    """A device's memory. A buffer is whatever the device makes it: an array, a tensor of PyTorch's, a placeholder."""

    def from_numpy(self, array: np.ndarray) -> Any:
        """A buffer with a private copy of `array`, of its shape and dtype."""

    def to_numpy(self, buffer: Any) -> np.ndarray:
        """A buffer's value on the host, read-only. RuntimeError on the null device, which has no values."""

    def synchronize(self) -> None:
        """Wait until everything launched here has run. AcceleratorError where nothing can be run any more."""


class KernelBackend(Backend, Protocol):
    """A device that runs Triton's kernels, or compiles them: cuda, interpret and null."""

    @property
    def arch(self) -> str:
        """The architecture as `kernels.tiles` names it."""

    def empty(self, spec: Spec) -> Any:
        """A buffer for a value, uninitialised. OutOfMemoryError where there is no room for it."""

    def workspace(self, size: int) -> Any:
        """Memory of `size` bytes, of which values are parts. OutOfMemoryError where there is no room for it."""

    def part(self, workspace: Any, offset: int, spec: Spec) -> Any:
        """A value's buffer at an offset in bytes, a multiple of its itemsize, in a workspace."""

    def pointers(self, memory: list[Any], workspace: Any, parts: Sequence[tuple[int, Spec]]) -> list[Any]:
        """What `launch` takes for each buffer (numbers among them stay as they are), then for each part."""

    def poison(self, buffer: Any, spec: Spec) -> None:
        """Fill fresh memory, so that an element that no kernel writes is noticed."""

    def launch(self, launch: Launch, pointers: tuple[Any, ...], scalars: tuple[int, ...]) -> None:
        """Queue one kernel. AcceleratorError where nothing can be run here any more."""
