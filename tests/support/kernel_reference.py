"""The templates' NumPy references: the same functions of indices, on whole arrays, with no tiles and no masks.

A reference takes what its template takes, as NumPy functions: the emitted device function
`LOAD(ptrs, scalars, r, c, mask)` becomes `load(r, c)` on index arrays of the same shapes. Random numbers have theirs in
`microtrain.runtime.philox`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.generic]


def map_reference(expr: Callable[[Array], Array], numel: int) -> Array:
    """`expr(i)` at i = 0 to numel - 1; returns [numel]."""
    return expr(np.arange(numel))


def row_reference(body: Callable[[Array, Array], Array], rows: int, cols: int) -> Array:
    """`body(r, c)` with r [rows, 1] and c [1, cols]; returns what it returns, [rows, cols] or [rows, 1]."""
    return body(np.arange(rows)[:, None], np.arange(cols)[None, :])


def reduce_reference(load: Callable[[Array, Array], Array], reduction: np.ufunc, identity: complex, rows: int,
                     cols: int, acc: DTypeLike) -> Array:
    """`load(r, c)` reduced over c by a ufunc (np.add, np.maximum, ...), starting from its identity; [rows, 1]."""
    return reduction.reduce(row_reference(load, rows, cols).astype(acc), axis=1, keepdims=True, initial=identity)


def matmul_reference(load_a: Callable[[int, Array, Array], Array], load_b: Callable[[int, Array, Array], Array],
                     epilogue: Callable[[int, Array, Array, Array], Array], shape: tuple[int, int, int, int],
                     acc: DTypeLike) -> Array:
    """`epilogue(b, m, n, load_a(b, m, k) @ load_b(b, k, n))` for a shape (batch, M, N, K); returns [batch, M, N]."""
    batch, size_m, size_n, size_k = shape
    m, n, k = np.arange(size_m)[:, None], np.arange(size_n)[None, :], np.arange(size_k)
    return np.stack([epilogue(b, m, n, load_a(b, m, k[None, :]).astype(acc) @ load_b(b, k[:, None], n).astype(acc))
                     for b in range(batch)])
