"""Elementwise expressions of several inputs: forward, gradient, and inputs that are views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..draws import Draw
from ..limits import Limit
from ..workload import Values, Workload
from .operation import gradient, operation

NAMES = "abcdefgh"


def forward(inputs: int, n: int) -> Workload:
    """a * sigmoid(b) + c * sigmoid(d) + ... of 1, 2, 4 or 8 inputs; of one, a * sigmoid(a)."""
    limit = Limit(bytes=(inputs + 1) * 4 * n, arithmetic=_ops(inputs) * n)
    return operation("map", f"map of {inputs}, {_power(n)}", _about(inputs), _draw(inputs, n),
                     _expression(inputs), _by_hand(inputs), limit)


def backward(inputs: int, n: int) -> Workload:
    """The gradient of the same with respect to every input."""
    def drawn(draw: Draw) -> Values:
        return {**_draw(inputs, n)(draw), "ct": draw.normal(n)}

    def by_hand(xp: Any, v: Values) -> Any:
        found: Values = {}
        for a, b in _pairs(inputs):
            s = 1 / (1 + xp.exp(-v[b]))
            slope = v["ct"] * v[a] * s * (1 - s)
            found |= {a: v["ct"] * s + slope} if a == b else {a: v["ct"] * s, b: slope}
        return tuple(found[name] for name in NAMES[:inputs])

    return gradient("map", f"map gradient of {inputs}, {_power(n)}", f"gradient of {_about(inputs)}", drawn,
                    _expression(inputs), tuple(NAMES[:inputs]), by_hand,
                    Limit(bytes=(2 * inputs + 1) * 4 * n, arithmetic=3 * _ops(inputs) * n))


def transposed(side: int) -> Workload:
    """a.T * sigmoid(b) of two [side, side] matrices."""
    return operation("map", f"map of a.T, {_power(side * side)}", "a.T * sigmoid(b)",
                     lambda draw: {"a": draw.normal(side, side), "b": draw.normal(side, side)},
                     lambda T, v: v["a"].T * T.sigmoid(v["b"]), lambda xp, v: v["a"].T / (1 + xp.exp(-v["b"])),
                     Limit(bytes=12 * side * side, arithmetic=2 * side * side))


def sliced(n: int) -> Workload:
    """a[:, 1:-1] * sigmoid(b): rows that start off an address divisible by 16 bytes."""
    rows = max(n >> 12, 4)
    width = n // rows
    shape = (rows, width + 2)
    return operation("map", f"map of a[:, 1:-1], {_power(n)}", "a[:, 1:-1] * sigmoid(b)",
                     lambda draw: {"a": draw.normal(*shape), "b": draw.normal(rows, width)},
                     lambda T, v: v["a"][:, 1:-1] * T.sigmoid(v["b"]),
                     lambda xp, v: v["a"][:, 1:-1] / (1 + xp.exp(-v["b"])),
                     Limit(bytes=12 * n, arithmetic=2 * n))


def _pairs(inputs: int) -> list[tuple[str, str]]:
    return [(NAMES[i], NAMES[min(i + 1, inputs - 1)]) for i in range(0, inputs, 2)]


def _ops(inputs: int) -> int:
    """Operations an element: a sigmoid and a multiplication for each pair, and the additions."""
    return 3 * len(_pairs(inputs)) - 1


def _about(inputs: int) -> str:
    return " + ".join(f"{a} * sigmoid({b})" for a, b in _pairs(inputs))


def _draw(inputs: int, n: int) -> Callable[[Draw], Values]:
    return lambda draw: {name: draw.normal(n) for name in NAMES[:inputs]}


def _expression(inputs: int) -> Callable[[Any, Mapping[str, Any]], Any]:
    def function(T: Any, v: Mapping[str, Any]) -> Any:
        first, *others = [v[a] * T.sigmoid(v[b]) for a, b in _pairs(inputs)]
        for other in others:
            first = first + other
        return first
    return function


def _by_hand(inputs: int) -> Callable[[Any, Values], Any]:
    return lambda xp, v: sum(v[a] / (1 + xp.exp(-v[b])) for a, b in _pairs(inputs))


def _power(n: int) -> str:
    """2^20 for a power of two."""
    return f"2^{n.bit_length() - 1}" if n & (n - 1) == 0 else str(n)
