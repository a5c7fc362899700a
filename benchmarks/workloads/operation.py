"""What maps, rows, losses and products share: a function of tensors that changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..draws import Draw
from ..limits import Format, Limit
from ..workload import Compile, Instance, Values, Workload

ITEMSIZE = {"float32": 4, "tf32": 4, "bfloat16": 2}
"""Bytes of an element by format."""


def operation(family: str, name: str, about: str, inputs: Callable[[Draw], Values],
              function: Callable[[Any, Mapping[str, Any]], Any], by_hand: Callable[[Any, Values], Any], limit: Limit,
              format: Format = "float32") -> Workload:
    """A workload whose call is `function(T, tensors)`; `by_hand(xp, values)` gives the same."""
    def build(T: Any, tensors: Mapping[str, Any], compiled: Compile) -> Instance:
        return Instance(compiled(lambda: function(T, tensors)))

    return Workload(family=family, name=name, about=about, limit=limit, format=format, inputs=inputs, build=build,
                    by_hand=lambda xp, values: (by_hand(xp, values), {}))


def gradient(family: str, name: str, about: str, inputs: Callable[[Draw], Values],
             function: Callable[[Any, Mapping[str, Any]], Any], wanted: tuple[str, ...],
             by_hand: Callable[[Any, Values], Any], limit: Limit, with_value: bool = False) -> Workload:
    """A workload whose call differentiates `function(T, tensors)` with respect to `wanted`.

    The cotangent is the input "ct", or one where there is none. The call returns the gradients, after the value when
    `with_value`. Only the forward is compiled; its backward then is as well.
    """
    def build(T: Any, tensors: Mapping[str, Any], compiled: Compile) -> Instance:
        leaves = {name: tensors[name].clone().requires_grad_() for name in wanted}
        forward = compiled(lambda: function(T, {**tensors, **leaves}))
        cotangent = tensors.get("ct")

        def run() -> Any:
            out = forward()
            found = T.autograd.grad(out, list(leaves.values()), cotangent)
            return (out.detach(), *found) if with_value else tuple(found)

        return Instance(run)

    return Workload(family=family, name=name, about=about, limit=limit, inputs=inputs, build=build,
                    by_hand=lambda xp, values: (by_hand(xp, values), {}))
