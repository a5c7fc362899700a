"""The cpu device: NumPy arrays as memory. Buffers are never written to once a node holds them."""

from __future__ import annotations

import numpy as np

from .backend import Buffer


class CpuBackend:
    """Memory of the cpu device. A 0-d value may be a NumPy scalar: its arithmetic is ten times faster."""

    def from_numpy(self, array: np.ndarray) -> Buffer:
        return array.copy()[()] if array.ndim == 0 else np.array(array, order="C")

    def to_numpy(self, buffer: Buffer) -> np.ndarray:
        array = np.asarray(buffer)
        if any(step < 0 for step in array.strides):
            array = np.ascontiguousarray(array)         # a reversed view is a surprise to many a library
        view = array.view()
        view.flags.writeable = False
        return view

    def synchronize(self) -> None:
        """NumPy has finished when it returns."""
