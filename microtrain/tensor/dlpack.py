"""`from_dlpack`: a tensor from another library's, through DLPack (https://dmlc.github.io/dlpack)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.handle import type_of
from .create import tensor
from .types import Tensor

HOST = (1, 3, 11, 13)
"""DLPack's numbers of memory that the host can read: its own, and what CUDA and ROCm pinned or manage."""


class Capsule:
    """A DLPack capsule as an object that gives it."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0                     # which memory it really is, NumPy reads from the capsule


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor with a copy of another library's array, on the default device.

    PyTorch shares the memory; values are immutable here, so a later change of the array is not seen.

    Args:
        ext_tensor: an object with `__dlpack__` (a NumPy array, a PyTorch tensor in host memory, ...) or a capsule.

    Raises:
        TypeError: it is neither.
        BufferError: it cannot be read: memory of a GPU, a dtype that NumPy lacks, a tensor that requires grad.
    """
    if isinstance(ext_tensor, Tensor):
        ext_tensor.__dlpack__()                       # refuses as it does for others
        return ext_tensor.detach().clone()
    if isinstance(ext_tensor, np.ndarray):
        return tensor(ext_tensor)
    if type(ext_tensor).__name__ == "PyCapsule":
        ext_tensor = Capsule(ext_tensor)
    elif not (hasattr(ext_tensor, "__dlpack__") and hasattr(ext_tensor, "__dlpack_device__")):
        raise TypeError("from_dlpack(): expected an array with __dlpack__ and __dlpack_device__, or a DLPack capsule, "
                        f"not {type_of(ext_tensor)}")
    kind, _ = ext_tensor.__dlpack_device__()
    if kind not in HOST:
        raise BufferError(f"from_dlpack(): {type_of(ext_tensor)} lies in memory that the host cannot read (DLPack's "
                          f"device type {int(kind)}): copy it there first, with .cpu() or the like")
    try:
        array = np.from_dlpack(ext_tensor)
    except (BufferError, RuntimeError, ValueError, TypeError) as error:
        raise BufferError(f"from_dlpack(): {type_of(getattr(ext_tensor, 'capsule', ext_tensor))} cannot be read: "
                          f"{error}") from error
    return tensor(np.array(array))
