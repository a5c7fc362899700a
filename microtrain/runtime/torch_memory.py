"""Memory of the devices that run Triton kernels: PyTorch's tensors, of which nothing but storage is used.

The only PyTorch operations are allocation and copies. bfloat16 crosses as its bits, since NumPy has no such type.
PyTorch itself is handed in by the device, which knows how to import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..graph.spec import Spec


def poison(spec: Spec) -> np.ndarray:
    """What fresh memory is filled with so that it is conspicuous: NaN, or the largest integer."""
    dtype = spec.dtype
    value = float("nan") if dtype.is_floating_point else True if dtype.category == 0 else np.iinfo(dtype.numpy).max
    return np.full(spec.shape, value, dtype.numpy)


class TorchMemory:
    """Buffers as contiguous PyTorch tensors of a node's shape and dtype on one device."""

    def __init__(self, torch: Any, device: str) -> None:
        self.torch = torch
        self.device = torch.device(device)

    def empty(self, spec: Spec) -> Any:
        """Memory for a value, uninitialised."""
        return self.torch.empty(spec.shape, dtype=getattr(self.torch, spec.dtype.name), device=self.device)

    def from_numpy(self, array: np.ndarray) -> Any:
        """A private copy of `array` on the device."""
        host = self.host_tensor(array)
        return self.torch.empty(host.shape, dtype=host.dtype, device=self.device).copy_(host)

    def to_numpy(self, buffer: Any) -> np.ndarray:
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

    def host_tensor(self, array: np.ndarray) -> Any:
        """An array as a CPU tensor, over the same memory where that is contiguous and may be written to."""
        array = np.require(array, requirements=("C", "W"))
        if array.dtype.name == "bfloat16":
            return self.torch.from_numpy(array.view(np.int16)).view(self.torch.bfloat16)
        return self.torch.from_numpy(array)

    def poison(self, buffer: Any, spec: Spec) -> None:
        """Fill fresh memory, so that an element that no kernel writes is noticed."""
        buffer.copy_(self.host_tensor(poison(spec)))

    def synchronize(self) -> None:
        """Wait until everything launched here has run."""
