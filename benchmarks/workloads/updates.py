"""The step of an optimizer alone: gradients are at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..draws import Draw
from ..limits import Limit
from ..workload import Compile, Instance, Values, Workload

STEPS = 3
LR, MOMENTUM = 0.01, 0.9
BETAS, EPSILON = (0.9, 0.999), 1e-8
SGD_BYTES, ADAM_BYTES = 20, 28
"""A parameter: parameter, gradient and state (one value, or two) are read, parameter and state written."""


def sgd(sizes: Sequence[int]) -> Workload:
    """SGD with momentum over tensors of the given sizes."""
    def by_hand(xp: Any, v: Values) -> tuple[Any, Values]:
        changed: Values = {}
        for i in range(len(sizes)):
            velocity = MOMENTUM * v[f"v{i}"] + v[f"g{i}"]
            changed |= {f"v{i}": velocity, f"p{i}": v[f"p{i}"] - LR * velocity}
        return changed["p0"], changed

    def inputs(draw: Draw) -> Values:
        return {name: value for i, n in enumerate(sizes) for name, value in
                ((f"p{i}", draw.normal(n)), (f"g{i}", draw.normal(n)), (f"v{i}", draw.zeros(n)))}

    return _update("SGD", "optim.SGD(momentum=0.9).step()", sizes, inputs,
                   lambda T, parameters: T.optim.SGD(parameters, lr=LR, momentum=MOMENTUM), by_hand, SGD_BYTES, 4)


def adam(sizes: Sequence[int]) -> Workload:
    """Adam over tensors of the given sizes."""
    def by_hand(xp: Any, v: Values) -> tuple[Any, Values]:
        t = v["t"] + 1
        changed = {"t": t}
        for i in range(len(sizes)):
            g = v[f"g{i}"]
            m = BETAS[0] * v[f"m{i}"] + (1 - BETAS[0]) * g
            s = BETAS[1] * v[f"s{i}"] + (1 - BETAS[1]) * g * g
            step = m / (1 - BETAS[0] ** t) / (xp.sqrt(s / (1 - BETAS[1] ** t)) + EPSILON)
            changed |= {f"m{i}": m, f"s{i}": s, f"p{i}": v[f"p{i}"] - LR * step}
        return changed["p0"], changed

    def inputs(draw: Draw) -> Values:
        return {"t": draw.zeros()} | {name: value for i, n in enumerate(sizes) for name, value in (
            (f"p{i}", draw.normal(n)), (f"g{i}", draw.normal(n)), (f"m{i}", draw.zeros(n)), (f"s{i}", draw.zeros(n)))}

    return _update("Adam", "optim.Adam().step()", sizes, inputs,
                   lambda T, parameters: T.optim.Adam(parameters, lr=LR, betas=BETAS, eps=EPSILON), by_hand,
                   ADAM_BYTES, 13)


def _update(name: str, about: str, sizes: Sequence[int], inputs: Any, optimizer_of: Any, by_hand: Any,
            bytes_each: int, ops: int) -> Workload:
    def build(T: Any, tensors: Mapping[str, Any], compiled: Compile) -> Instance:
        parameters = {f"p{i}": tensors[f"p{i}"].clone().requires_grad_() for i in range(len(sizes))}
        for i, parameter in enumerate(parameters.values()):
            parameter.grad = tensors[f"g{i}"]
        optimizer = optimizer_of(T, list(parameters.values()))
        update = compiled(optimizer.step)

        def run() -> Any:
            update()
            return parameters["p0"]

        return Instance(run, parameters, optimizer)

    total = sum(sizes)
    many = f"{total} in {len(sizes)}"
    return Workload(family="update", name=f"{name} {many}", about=about, inputs=inputs, build=build, by_hand=by_hand,
                    limit=Limit(bytes=bytes_each * total, launches=1, arithmetic=ops * total),
                    state=tuple(f"p{i}" for i in range(len(sizes))), steps=STEPS)
