"""Matrix products with what fuses into them: a layer's forward, and the two products of its backward."""

from __future__ import annotations

from typing import Any

from ..limits import Format, Limit
from ..workload import Workload
from .operation import ITEMSIZE, operation


def layer(m: int, k: int, n: int, format: Format = "float32") -> Workload:
    """relu(x @ w.T + b): product, bias and activation."""
    def by_hand(xp: Any, v: Any) -> Any:
        return xp.maximum(v["x"] @ v["w"].T + v["b"], 0)

    return operation("matmul", f"layer {_shape(m, k, n, format)}", "relu(linear(x, w, b))",
                     lambda draw: {"x": draw.normal(m, k), "w": draw.normal(n, k), "b": draw.normal(n)},
                     lambda T, v: T.relu(T.nn.functional.linear(v["x"], v["w"], v["b"])), by_hand,
                     _limit((m, k, n), m * k + k * n + n + m * n, 2 * m * n, format), format)


def weight_gradient(m: int, k: int, n: int, format: Format = "float32") -> Workload:
    """dw = dy.T @ x and db = the sum of dy's rows: one pass over dy, if the two are fused."""
    return operation("matmul", f"dw, db {_shape(m, k, n, format)}", "dy.T @ x, dy.sum(0)",
                     lambda draw: {"x": draw.normal(m, k), "dy": draw.normal(m, n)},
                     lambda T, v: (v["dy"].T @ v["x"], v["dy"].sum(0)),
                     lambda xp, v: (v["dy"].T @ v["x"], v["dy"].sum(0)),
                     _limit((n, m, k), m * k + m * n + n * k + n, m * n, format), format)


def input_gradient(m: int, k: int, n: int, format: Format = "float32") -> Workload:
    """dx = (dy @ w), masked where the activation h before it is zero."""
    return operation("matmul", f"dx {_shape(m, k, n, format)}", "(dy @ w) * (h > 0)",
                     lambda draw: {"dy": draw.normal(m, n), "w": draw.normal(n, k), "h": draw.normal(m, k)},
                     lambda T, v: (v["dy"] @ v["w"]) * (v["h"] > 0),
                     lambda xp, v: (v["dy"] @ v["w"]) * (v["h"] > 0),
                     _limit((m, n, k), m * n + n * k + 2 * m * k, m * k, format), format)


def _limit(product: tuple[int, int, int], elements: int, arithmetic: int, format: Format) -> Limit:
    return Limit(bytes=ITEMSIZE[format] * elements, products=(product,), arithmetic=arithmetic)


def _shape(m: int, k: int, n: int, format: Format) -> str:
    return f"{m}x{k}x{n} {format}"
