"""Tensors in every layout: the same values, reached through other strides.

Each is a view of a leaf, which is what is differentiated; so the derivatives of the views take part. The layouts need
values that fit them: those of an expanded tensor are equal along its first axis (`fitting`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

LAYOUTS = ("contiguous", "transposed", "sliced", "expanded")


def fitting(values: np.ndarray, layout: str) -> np.ndarray:
    """`values` as a tensor of this layout holds them: when it is expanded, the first row everywhere."""
    if layout == "expanded" and values.ndim and values.shape[0]:
        return np.ascontiguousarray(np.broadcast_to(values[:1], values.shape))
    return values


def laid_out(T: Any, values: np.ndarray, layout: str, **options: Any) -> tuple[Any, Any]:
    """A leaf, made by `T.tensor` with the options, and a view of it of the values' shape, in a layout.

    `T` is microtrain or torch. A view without axes is contiguous in every layout.

    Raises ValueError for a layout that is none of `LAYOUTS`.
    """
    shape = values.shape
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")
    if not shape or layout == "contiguous":
        base = T.tensor(values, **options)
        return base, base
    if layout == "transposed":
        base = T.tensor(np.ascontiguousarray(values.transpose()), **options)
        return base, base.permute(*range(len(shape) - 1, -1, -1))
    if layout == "sliced":
        base = T.tensor(np.repeat(values, 2, axis=-1), **options)
        return base, base[..., ::2]
    base = T.tensor(values[:1] if shape[0] else values, **options)
    return base, base.expand(shape)
