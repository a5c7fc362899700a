"""Which rows of the table a test covers, and words and memory to test them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.ptx_kernels import Buffer

RNG = np.random.default_rng(11)
N = 64
COVERED: set[str] = set()


def covers(rows: str) -> Callable[[Any], Any]:
    """The rows that a test is of."""
    COVERED.update(rows.split())
    return lambda test: test


def words(n: int = N) -> np.ndarray:
    return RNG.integers(0, 2**32, n, dtype="u4")


def empty(shape: Any, kind: str = "u4") -> Buffer:
    return Buffer(np.zeros(shape, kind), "y", written=False)


THREAD = "mov.u32 %r0, %tid.x; mov.u32 %r9, global_smem; shl.b32 %r1, %r0, 2; add.u32 %r8, %r9, %r1;"
