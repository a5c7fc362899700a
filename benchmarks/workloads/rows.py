"""Reductions and normalisations of rows, and sums of columns and of everything."""

from __future__ import annotations

from typing import Any

from ..limits import Limit
from ..workload import Values, Workload
from .operation import operation

EPSILON = 1e-5


def row_sum(rows: int, width: int) -> Workload:
    """Sum of squares of each row: no cancellation, so that float32 has a small error and the check is sharp."""
    return _of_rows("row sum", "sum of squares of rows", rows, width, 2, False,
                    lambda T, x: (x * x).sum(1), lambda xp, x: (x * x).sum(1))


def softmax(rows: int, width: int) -> Workload:
    """Softmax of each row."""
    def by_hand(xp: Any, x: Any) -> Any:
        e = xp.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)
    return _of_rows("softmax", "softmax of rows", rows, width, 5, True, lambda T, x: T.softmax(x, 1), by_hand)


def log_softmax(rows: int, width: int) -> Workload:
    """Logarithm of the softmax of each row."""
    return _of_rows("log-softmax", "log-softmax of rows", rows, width, 5, True,
                    lambda T, x: T.nn.functional.log_softmax(x, 1),
                    lambda xp, x: x - _logsumexp(xp, x)[:, None])


def logsumexp(rows: int, width: int) -> Workload:
    """Logarithm of the sum of the exponentials of each row."""
    return _of_rows("logsumexp", "logsumexp of rows", rows, width, 4, False, lambda T, x: T.logsumexp(x, 1),
                    _logsumexp)


def layer_norm(rows: int, width: int) -> Workload:
    """Layer norm of each row, with weight and bias."""
    def by_hand(xp: Any, v: Values) -> Any:
        centred = v["x"] - v["x"].mean(1, keepdims=True)
        return centred / xp.sqrt((centred * centred).mean(1, keepdims=True) + EPSILON) * v["w"] + v["b"]

    return operation("row", f"layer norm {rows}x{width}", "layer norm of rows, with weight and bias",
                     lambda draw: {"x": draw.normal(rows, width), "w": draw.normal(width), "b": draw.normal(width)},
                     lambda T, v: T.nn.functional.layer_norm(v["x"], (width,), v["w"], v["b"], EPSILON), by_hand,
                     Limit(bytes=8 * (rows + 1) * width, arithmetic=7 * rows * width))


def column_sum(rows: int, width: int) -> Workload:
    """Sum of squares of each column."""
    return operation("row", f"column sum {rows}x{width}", "sum of squares of columns",
                     lambda draw: {"x": draw.normal(rows, width)},
                     lambda T, v: (v["x"] * v["x"]).sum(0), lambda xp, v: (v["x"] * v["x"]).sum(0),
                     Limit(bytes=4 * (rows + 1) * width, arithmetic=2 * rows * width))


def full_sum(n: int) -> Workload:
    """Sum of squares of all elements."""
    return operation("row", f"full sum {n}", "sum of squares of all elements", lambda draw: {"x": draw.normal(n)},
                     lambda T, v: (v["x"] * v["x"]).sum(), lambda xp, v: (v["x"] * v["x"]).sum(),
                     Limit(bytes=4 * (n + 1), arithmetic=2 * n))


def _logsumexp(xp: Any, x: Any) -> Any:
    largest = x.max(1, keepdims=True)
    return xp.log(xp.exp(x - largest).sum(1)) + largest[:, 0]


def _of_rows(name: str, about: str, rows: int, width: int, ops: int, writes_rows: bool, function: Any,
             by_hand: Any) -> Workload:
    written = rows * width if writes_rows else rows
    return operation("row", f"{name} {rows}x{width}", about, lambda draw: {"x": draw.normal(rows, width)},
                     lambda T, v: function(T, v["x"]), lambda xp, v: by_hand(xp, v["x"]),
                     Limit(bytes=4 * (rows * width + written), arithmetic=ops * rows * width))
