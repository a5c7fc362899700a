"""JAX running the workloads as they are written by hand: jitted a call at a time, and many steps in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

# JAX would take three quarters of a GPU's memory when it first looks at it; PyTorch and microtrain need theirs.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp

from ..workload import Instance, Values, Workload, stepping
from .peer import Peer

JITTED = "JAX jit"
LOOPED = "JAX loop"

PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}

AT_ONCE = 100
"""Steps of one call of the loop."""


def builders(device: str) -> dict[str, Peer]:
    """The two ways by name, on microtrain's `device`. Raises RuntimeError where JAX has no such device."""
    where = jax.devices("cuda" if device == "cuda" else "cpu")[0]
    return {JITTED: Peer(lambda workload, values: jitted(workload, values, where)),
            LOOPED: Peer(lambda workload, values: looped(workload, values, where),
                         lambda workload: workload.loop)}


def jitted(workload: Workload, values: Values, where: Any) -> Instance:
    """One call, compiled."""
    step = jax.jit(_call(workload))
    last: list[Any] = []

    def keeping(current: Values) -> tuple[Any, Values]:
        out, changed = step(current)
        last[:] = [out, changed]
        return out, changed

    instance = stepping(keeping, arrays(values, where), workload.state)
    return Instance(instance.run, instance.state, wait=lambda: jax.block_until_ready(last))


def looped(workload: Workload, values: Values, where: Any) -> Instance:
    """Any number of steps in one call, compiled once: as `lax.scan` has them, with a count that it need not know."""
    call, current = _call(workload), arrays(values, where)

    @jax.jit
    def many(steps: Any, first: Values) -> tuple[Any, Values]:
        out, _ = jax.eval_shape(call, first)

        def body(_: Any, carry: tuple[Any, Values]) -> tuple[Any, Values]:
            out, changed = call(carry[1])
            return out, carry[1] | changed
        return jax.lax.fori_loop(0, steps, body, (jnp.zeros(out.shape, out.dtype), first))  # type: ignore[no-any-return]

    state: dict[str, Any] = {name: current[name] for name in workload.state}
    last: list[Any] = []

    def advance(steps: int) -> Any:
        out, changed = many(steps, current)
        current.update(changed)
        state.update((name, current[name]) for name in workload.state)
        last[:] = [out, changed]
        return out

    return Instance(lambda: advance(AT_ONCE), state, wait=lambda: jax.block_until_ready(last), advance=advance,
                    steps=AT_ONCE)


def scanned(workload: Workload, values: Values, where: Any, steps: int) -> Instance:
    """So many steps in one call, by `lax.scan`, and the losses of all; `advance` compiles each other number anew."""
    call, data = _call(workload), arrays(values, where)
    current: dict[str, Any] = {name: data.pop(name) for name in jax.eval_shape(call, data)[1]}
    state = {name: current[name] for name in workload.state}
    last: list[Any] = []

    @partial(jax.jit, static_argnums=0)
    def many(steps: int, first: Values, data: Values) -> tuple[Values, Any]:
        def body(carry: Values, _: Any) -> tuple[Values, Any]:
            out, changed = call(data | carry)
            return changed, out
        return jax.lax.scan(body, first, length=steps)  # type: ignore[no-any-return]

    def advance(steps: int) -> Any:
        after, losses = many(steps, current, data)
        current.update(after)
        state.update((name, after[name]) for name in workload.state)
        last[:] = [after, losses]
        return losses

    return Instance(lambda: advance(steps), state, wait=lambda: jax.block_until_ready(last), advance=advance,
                    steps=steps)


def arrays(values: Values, where: Any) -> dict[str, Any]:
    """JAX's arrays of NumPy's or PyTorch's."""
    return {name: jax.device_put(value if isinstance(value, np.ndarray) else jnp.from_dlpack(value.contiguous()), where)
            for name, value in values.items()}


def _call(workload: Workload) -> Any:
    def call(values: Mapping[str, Any]) -> tuple[Any, Values]:
        with jax.default_matmul_precision(PRECISIONS[workload.format]):
            return workload.by_hand(jnp, dict(values))
    return call
