"""Losses from their logits, value and gradient in one call."""

from __future__ import annotations

from typing import Any

from ..draws import Draw
from ..limits import Limit
from ..workload import Values, Workload
from .operation import gradient


def cross_entropy(rows: int, classes: int) -> Workload:
    """Mean cross entropy of rows of logits, and its gradient."""
    def inputs(draw: Draw) -> Values:
        return {"x": draw.normal(rows, classes), "y": draw.classes(classes, rows)}

    def by_hand(xp: Any, v: Values) -> Any:
        z = v["x"] - v["x"].max(1, keepdims=True)
        log_p = z - xp.log(xp.exp(z).sum(1, keepdims=True))
        chosen = v["y"][:, None] == xp.arange(classes)
        return -xp.where(chosen, log_p, 0).sum() / rows, (xp.exp(log_p) - chosen) / rows

    return gradient("loss", f"cross entropy {rows}x{classes}", "cross entropy and its gradient", inputs,
                    lambda T, v: T.nn.functional.cross_entropy(v["x"], v["y"]), ("x",), by_hand,
                    Limit(bytes=8 * rows * classes + 8 * rows, arithmetic=7 * rows * classes), with_value=True)


def bce_with_logits(n: int) -> Workload:
    """Mean binary cross entropy of logits, and its gradient."""
    def inputs(draw: Draw) -> Values:
        return {"x": draw.normal(n), "y": draw.uniform(0.5, n) + 0.5}

    def by_hand(xp: Any, v: Values) -> Any:
        x, y = v["x"], v["y"]
        return ((1 - y) * x + xp.logaddexp(0, -x)).sum() / n, (1 / (1 + xp.exp(-x)) - y) / n

    return gradient("loss", f"BCE with logits {n}", "binary cross entropy with logits and its gradient", inputs,
                    lambda T, v: T.nn.functional.binary_cross_entropy_with_logits(v["x"], v["y"]), ("x",), by_hand,
                    Limit(bytes=12 * n, arithmetic=10 * n), with_value=True)
