"""Who takes the steps, on which models, and the check that each passes before it is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

import microtrain
from microtrain.bench.timing import Contender
from microtrain.compiled import running
from microtrain.compiler.cpu import loop_numpy
from microtrain.engine.run import flush
from microtrain.graph.spec import Device

from ..memory import HostMemory
from ..oracle import Oracle, oracle
from ..workload import Instance, Values, Workload, by_hand, unchanged
from ..workloads import steps

CHECKED_STEPS = 10

TORCH, TORCH_COMPILED = "PyTorch", "torch.compile"
PLAIN, REPLAYED, LOOPED = "microtrain", "mt.compile", "compiled.loop"
JAX_JIT, JAX_SCAN = "JAX jit", "JAX scan"
NUMPY, NUMBA = "NumPy by hand", "numba by hand"

IN_ONE_CALL = (LOOPED, JAX_SCAN, NUMBA)
"""Those that take many steps in one call. The others return to Python after each."""


@dataclass(frozen=True)
class Row:
    """A model's step.

    Attributes:
        at_once: steps of one call, for those that take many.
        loop: the function of `numpy_loops` and `numba_loops`; where there is none NumPy runs the workload by hand.
    """

    workload: Workload
    at_once: int
    loop: str = ""


def rows(tiny: bool = False) -> list[Row]:
    """The models, small ones first; tiny: of sizes that show only that everything runs."""
    found = [Row(steps.perceptron(), 10_000, "perceptron")]
    if tiny:
        found += [Row(steps.logistic(8, 4), 20, "logistic"), Row(steps.mlp(8, (4, 8, 3), momentum=False), 20, "mlp"),
                  Row(steps.mlp(8, (4, 8, 3)), 20, "mlp"), Row(steps.convolution(2, 3), 2)]
    else:
        found += [Row(steps.logistic(256, 64), 1000, "logistic"),
                  Row(steps.mlp(64, (64, 64, 10), momentum=False), 200, "mlp"),
                  Row(steps.mlp(128, (784, 128, 10)), 20, "mlp"), Row(steps.convolution(64, 8), 5),
                  Row(steps.logistic(262_144, 256), 4, "logistic")]
    return [replace(row, workload=replace(row.workload, steps=CHECKED_STEPS)) for row in found]


class Histories(HostMemory):
    """The right losses of all steps, and the state after them."""

    def right(self, workload: Workload, values: Values) -> Values:
        return history(self.in_float64(workload, values), workload.steps)


def history(instance: Instance, count: int) -> Values:
    """Take `count` steps: their losses, read after the last one, and the state."""
    if instance.advance is not None:
        losses = instance.advance(count).tolist()
    else:
        losses = [loss.item() for loss in [instance.run() for _ in range(count)]]
    return {"losses": np.array(losses), **instance.state}


def judge(row: Row, inputs: Values) -> Oracle:
    """What is right, in float64, and how far PyTorch in float32 is seen to be off."""
    def in_torch(nearby: Values) -> Values:
        return history(on_torch(row, nearby), row.workload.steps)

    return oracle(row.workload, inputs, Histories(), in_torch)


def makers(row: Row, inputs: Values, right: Oracle, slow: bool = True) -> dict[str, Callable[[], Contender]]:
    """The contenders of a row by name, PyTorch first; each is made when it is called. slow: also `torch.compile`, which
    takes its C++ compiler half a minute."""
    builds: dict[str, Callable[[Row, Values], Instance]] = {
        TORCH: on_torch, TORCH_COMPILED: on_torch_compiled, PLAIN: on_microtrain, REPLAYED: replayed, LOOPED: looped,
        JAX_JIT: jitted, JAX_SCAN: scanned, NUMPY: in_numpy}
    if not slow:
        del builds[TORCH_COMPILED]
    if row.loop:
        builds[NUMBA] = partial(looping, "numba_loops")
    return {name: partial(contender, partial(build, row, inputs), right) for name, build in builds.items()}


def contender(make: Callable[[], Instance], right: Oracle) -> Contender:
    """An instance, checked on its first steps and timed on its later ones."""
    instance = make()
    return Contender(instance.run, lambda: right.judge(history(instance, CHECKED_STEPS)),
                     instance.wait or (lambda: None), instance.steps)


def on_torch(row: Row, inputs: Values) -> Instance:
    """Operation by operation."""
    from ..peers import torch_peers

    return torch_peers.eager(row.workload, inputs, "cpu")


def on_torch_compiled(row: Row, inputs: Values) -> Instance:
    """Forward, and so backward, and the update compiled."""
    from ..peers import torch_peers

    return torch_peers.compiled(row.workload, inputs, "cpu")


def on_microtrain(row: Row, inputs: Values) -> Instance:
    """Recorded anew in each step."""
    instance = row.workload.build(microtrain, Histories().tensors(row.workload, inputs, "cpu"), unchanged)
    return replace(instance, wait=partial(flush, Device("cpu").resolved))


def often() -> None:
    """Have what is run often be machine code within the steps that are checked, as it is in those that are timed."""
    running.MANY = loop_numpy.OFTEN = loop_numpy.MANY = CHECKED_STEPS // 2


def replayed(row: Row, inputs: Values) -> Instance:
    """The step under `mt.compile`, called with its data."""
    often()
    plain = on_microtrain(row, inputs)
    step, data = microtrain.compile(_step(plain)), plain.data
    return replace(plain, run=lambda: step(*data))


def looped(row: Row, inputs: Values) -> Instance:
    """`row.at_once` of these in one call."""
    often()
    plain = on_microtrain(row, inputs)
    step = microtrain.compile(_step(plain))
    return many(lambda count: step.loop(plain.data, steps=count), row.at_once, plain)


def _step(plain: Instance) -> Callable[..., Any]:
    assert plain.step is not None
    return plain.step


def many(advance: Callable[[int], Any], at_once: int, like: Instance) -> Instance:
    """So many steps in one call; state and waiting as another has them."""
    return replace(like, run=lambda: advance(at_once), advance=advance, steps=at_once)


def jitted(row: Row, inputs: Values) -> Instance:
    """The step by hand, compiled by XLA."""
    from ..peers import jax_peers

    return jax_peers.jitted(row.workload, inputs, jax_peers.jax.devices("cpu")[0])


def scanned(row: Row, inputs: Values) -> Instance:
    """`row.at_once` of these in one call."""
    from ..peers import jax_peers

    return jax_peers.scanned(row.workload, inputs, jax_peers.jax.devices("cpu")[0], row.at_once)


def in_numpy(row: Row, inputs: Values) -> Instance:
    """As somebody would write it; a convolution as the reference has it."""
    return looping("numpy_loops", row, inputs) if row.loop else by_hand(row.workload, np, inputs)


def looping(module: str, row: Row, inputs: Values) -> Instance:
    """A loop of one of the modules beside this one."""
    loop = getattr(import_module(f"{__package__}.{module}"), row.loop)
    changed = {name: value.copy() for name, value in inputs.items()}
    return many(lambda count: loop(count, **changed), row.at_once,
                Instance(lambda: None, {name: changed[name] for name in row.workload.state}))
