"""Memory of the devices that run Triton kernels: PyTorch's tensors, of which nothing but storage is used.

The only PyTorch operations are allocation and copies. bfloat16 crosses as its bits, since NumPy has no such type.
PyTorch itself is handed in by the device, which knows how to import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from .backend import Buffer, Pointer, Spec

Torch = Any
"""PyTorch, or what stands in for it."""


class TorchDType(Protocol):
    """A dtype of PyTorch's."""

    @property
    def itemsize(self) -> int: ...


def poison(spec: Spec) -> np.ndarray:
    """What fresh memory is filled with so that it is conspicuous: NaN, or the largest integer."""
    dtype = spec.dtype
    value = float("nan") if dtype.is_floating_point else True if dtype.category == 0 else np.iinfo(dtype.numpy).max
    return np.full(spec.shape, value, dtype.numpy)


class TorchMemory:
    """Buffers as contiguous PyTorch tensors of a node's shape and dtype on one device."""

    def __init__(self, torch: Torch, device: str) -> None:
        self.torch = torch
        self.device = torch.device(device)

    def allocate(self, shape: Sequence[int], dtype: TorchDType) -> Torch:
        """Memory, uninitialised: where all of this device's comes from."""
        return self.torch.empty(shape, dtype=dtype, device=self.device)

    def empty(self, spec: Spec) -> Torch:
        """Memory for a value."""
        return self.allocate(spec.shape, getattr(self.torch, spec.dtype.name))

    def workspace(self, size: int) -> Torch:
        """Memory of `size` bytes, of which values are parts."""
        return self.allocate((size,), self.torch.uint8)

    def part(self, workspace: Torch, offset: int, spec: Spec) -> Torch:
        """A value's memory at an offset in bytes, a multiple of its itemsize, in a workspace."""
        part = self.torch.empty(0, dtype=getattr(self.torch, spec.dtype.name), device=self.device)
        return part.set_(workspace.untyped_storage(), offset // spec.dtype.itemsize, spec.shape)

    def pointers(self, memory: list[Buffer], workspace: Torch, parts: Sequence[tuple[int, Spec]]) -> list[Pointer]:
        """What `launch` takes for each memory object (numbers among them stay as they are), then for each part."""
        return [*memory, *[self.part(workspace, offset, spec) for offset, spec in parts]]

    def from_numpy(self, array: np.ndarray) -> Torch:
        """A private copy of `array` on the device."""
        host = self.host_tensor(array)
        return self.allocate(host.shape, host.dtype).copy_(host)

    def to_numpy(self, buffer: Torch) -> np.ndarray:
        """A value as a read-only array on the host; on a CPU device over the same memory."""
        if buffer.device.type != "cpu":
            buffer = self.torch.empty(buffer.shape, dtype=buffer.dtype).copy_(buffer)
        if buffer.dtype is self.torch.bfloat16:
            import ml_dtypes
            array = buffer.view(self.torch.int16).numpy().view(ml_dtypes.bfloat16)
        else:
            array = buffer.numpy()
        array.flags.writeable = False
        return array

    def host_tensor(self, array: np.ndarray) -> Torch:
        """An array as a CPU tensor, over the same memory where that is contiguous and may be written to."""
        array = np.require(array, requirements=("C", "W"))
        if array.dtype.name == "bfloat16":
            return self.torch.from_numpy(array.view(np.int16)).view(self.torch.bfloat16)
        return self.torch.from_numpy(array)

    def poison(self, buffer: Torch, spec: Spec) -> None:
        """Fill fresh memory, so that an element that no kernel writes is noticed."""
        buffer.copy_(self.host_tensor(poison(spec)))

    def synchronize(self) -> None:
        """Wait until everything launched here has run."""
