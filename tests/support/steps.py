"""Steps of training as programs: recorded once, with what their inputs and outputs are from one step to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import microtrain as mt
from microtrain.compiler.loop import Roles
from microtrain.compiler.program import Executable, Program
from microtrain.engine.plans import plans
from microtrain.engine.step import NUMBERS
from microtrain.graph.node import SCALAR


@dataclass(frozen=True)
class Looped:
    """A program, its roles in a loop, its inputs' first values, and a table for each of its numbers."""

    program: Program
    roles: Roles
    values: list[Any]
    numbers: list[np.ndarray]
    steps: int

    def singly(self, executable: Executable) -> tuple[list[Any], int]:
        """What a loop gives, by so many single runs."""
        values, history = list(self.values), {place: list[Any]() for place in self.roles.history}
        moving = [place for place, value in enumerate(self.program.inputs) if value.primitive is SCALAR]
        for k in range(self.steps):
            for place, table in zip(moving, self.numbers, strict=True):
                values[place] = table[k]
            for place in self.roles.rows:
                values[place] = self.values[place][k]
            outputs = executable.run(list(values))
            for place, seen in history.items():
                seen.append(outputs[place])
            for place, after in self.roles.carried.items():
                values[place] = outputs[after]
            if self.roles.watched is not None and not np.isfinite(outputs[self.roles.watched]):
                break
        for place, seen in history.items():
            outputs[place] = np.stack(seen)
        return outputs, k + 1


def tables(values: Sequence[Any], kinds: Sequence[str], dtypes: Sequence[Any], steps: int) -> list[np.ndarray]:
    """Of each number what it is in each step: a seed counts, another shrinks a little."""
    with np.errstate(over="ignore"):
        return [np.array([value + k if kind == "seed" else value * (1 - k / 64) for k in range(steps)]).astype(dtype)
                for value, kind, dtype in zip(values, kinds, dtypes, strict=True)]


def looped(step: Callable[[], mt.Tensor], state: Callable[[], dict[str, mt.Tensor]], steps: int = 5,
           rows: dict[mt.Tensor, np.ndarray] | None = None) -> Looped:
    """A loop of what `step` does, which gives a loss; `state` has what changes, by name, `rows` what is another value
    in each step. The loss is in `history`."""
    step().tolist()                                 # an optimizer makes its state in its first step
    before = {name: one.node for name, one in state().items()}
    loss = step()
    changed = {name: (before[name], one.node) for name, one in state().items()}
    roots = dict.fromkeys([loss.node, *[after for _, after in changed.values()]])
    found, order = plans.find(roots, loss.node.device)
    assert found is not None
    found = found.of(order, changed)
    inputs, outputs = found.ports[:len(found.inputs)], found.ports[len(found.inputs):]
    scalars = [port for port in inputs if port.kind in NUMBERS]
    given = {tensor.node: table for tensor, table in (rows or {}).items()}
    values = [given.get(order[port.place], order[port.place].buffer) for port in inputs]
    at = [order[port.place] for port in outputs].index(loss.node)
    return Looped(found.program, Roles(
        carried={place: port.becomes for place, port in enumerate(inputs) if port.becomes is not None},
        rows=frozenset(place for place, port in enumerate(inputs) if order[port.place] in given),
        history=frozenset({at})), values,
        tables([port.value for port in scalars], [port.kind for port in scalars],
               [port.spec.dtype.numpy for port in scalars], steps), steps)


def watched(loop: Looped) -> Looped:
    """The same loop, which ends where its loss is not finite."""
    [place] = loop.roles.history
    return replace(loop, roles=replace(loop.roles, watched=place))
