"""Memory of the devices that run Triton kernels: PyTorch's tensors, of which nothing but storage is used.

The only PyTorch operations are allocation and copies. bfloat16 crosses as its bits, since NumPy has no such type.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from .backend import Buffer, Pointer, Spec

Torch = Any
"""PyTorch, or what stands in for it."""


class TorchDType(Protocol):
    """A dtype of PyTorch's."""

    @property
    def itemsize(self) -> int: ...


@contextmanager
def real_torch(needed: str = "") -> Iterator[None]:
    """Inside the block `import torch` means PyTorch, also in a program that has put microtrain in its place
    (`sys.modules["torch"] = microtrain`). An ImportError becomes a RuntimeError that says what is `needed`, if told.
    Triton's driver asks for PyTorch by name too, when it is started: start it inside."""
    have = sys.modules.get("torch")
    stands_in = have is not None and not hasattr(have, "_C")
    impostors = {name: sys.modules.pop(name) for name in list(sys.modules)
                 if stands_in and (name == "torch" or name.startswith("torch."))}
    try:
        yield
    except ImportError as error:
        if not needed:
            raise
        raise RuntimeError(f"{needed}: pip install 'microtrain[gpu]' ({error})") from error
    finally:
        sys.modules.update(impostors)


class TorchMemory:
    """Buffers as contiguous PyTorch tensors of a node's shape and dtype on one device."""

    def __init__(self, torch: Torch, device: str) -> None:
        self.torch = torch
        self.device = torch.device(device)

    def allocate(self, shape: Sequence[int], dtype: TorchDType) -> Torch:
        """Where all memory of this device comes from."""
        return self.torch.empty(shape, dtype=dtype, device=self.device)

    def empty(self, spec: Spec) -> Torch:
        return self.allocate(spec.shape, getattr(self.torch, spec.dtype.name))

    def workspace(self, size: int) -> Torch:
        return self.allocate((size,), self.torch.uint8)

    def part(self, workspace: Torch, offset: int, spec: Spec) -> Torch:
        part = self.torch.empty(0, dtype=getattr(self.torch, spec.dtype.name), device=self.device)
        return part.set_(workspace.untyped_storage(), offset // spec.dtype.itemsize, spec.shape)

    def rows(self, workspace: Torch, count: int, width: int, spec: Spec) -> Torch:
        part = self.torch.empty(0, dtype=getattr(self.torch, spec.dtype.name), device=self.device)
        strides = [math.prod(spec.shape[axis + 1:]) for axis in range(len(spec.shape))]
        return part.set_(workspace.untyped_storage(), 0, (count, *spec.shape), (width // spec.dtype.itemsize, *strides))

    def pointers(self, memory: list[Buffer], workspace: Torch, parts: Sequence[tuple[int, Spec]]) -> list[Pointer]:
        return [*memory, *[self.part(workspace, offset, spec) for offset, spec in parts]]

    def from_numpy(self, array: np.ndarray) -> Torch:
        host = self.host_tensor(array)
        return self.allocate(host.shape, host.dtype).copy_(host)

    def copy(self, buffer: Torch, into: Torch = None) -> Torch:
        return (self.allocate(buffer.shape, buffer.dtype) if into is None else into).copy_(buffer)

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
        dtype = spec.dtype
        value = float("nan") if dtype.is_floating_point else True if dtype.category == 0 else np.iinfo(dtype.numpy).max
        buffer.copy_(self.host_tensor(np.full(spec.shape, value, dtype.numpy)))

    def synchronize(self) -> None:
        """A launch has finished when it returns."""
