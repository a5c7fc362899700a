"""The text of a whole loop on the cpu device: a program's statements in one function with a `for` around them.

What depends on values that are the same in every step alone is computed before the loop. The expressions are those of
the plan that runs one step (`emit_numpy`), so each step's values have its bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ... import ops
from ...graph.node import BUFFER, SCALAR
from ...runtime.backend import Buffer
from ..loop import Roles
from ..program import Program, Value
from .emit_numpy import Emitter

Function = Callable[[Sequence[Buffer], Sequence[np.ndarray], int], tuple[tuple[Buffer, ...], int]]
"""A loop: of the inputs, the numbers' tables and the steps, the outputs and how many steps were made (see `Loop`)."""


class LoopEmitter(Emitter):
    """Text of one program's loop."""

    def __init__(self, program: Program, roles: Roles) -> None:
        super().__init__(program, fixed=[value for place, value in enumerate(program.inputs) if
                                         value.primitive is BUFFER and place not in {*roles.carried, *roles.rows}])
        self.roles = roles
        self.namespace |= {"empty": np.empty, "finite": math.isfinite}

    def function(self) -> str:
        """The source of `loop`."""
        inputs, roles = self.program.inputs, self.roles
        numbers = [self.names[value] for value in inputs if value.primitive is SCALAR]
        unpack = [f"{''.join(f'{self.names[value]}, ' for value in inputs)}= values"] if inputs else []
        unpack += [f"{''.join(f'{name}, ' for name in numbers)}= numbers"] if numbers else []
        before = self.prepared()
        step = [line for i, value in enumerate(self.order) if value not in self.names
                and value.primitive is not ops.LITERAL and value in self.last for line in self.statement(value, i)]
        outputs = [self.names.get(value) or self.typed(value) for value in self.program.outputs]
        finite = [] if roles.watched is None else [f"if not finite({outputs[roles.watched]}): break"]
        for place in sorted(roles.history):
            spec = self.program.outputs[place].spec
            before.append(f"t{place} = empty(({', '.join(['steps', *map(str, spec.shape)])},), {spec.dtype.name})")
            step.append(f"t{place}[k] = {outputs[place]}")
        carried = {self.names[inputs[place]]: outputs[after] for place, after in roles.carried.items()}
        for place, name in enumerate(outputs):
            if name in carried:                     # what an input was in this step, not what it is in the next
                step.append(f"o{place} = {name}")
                outputs[place] = f"o{place}"
        if carried:
            step.append(f"{', '.join(carried)} = {', '.join(carried.values())}")
        moving = [*numbers, *[f"a{place}" for place in sorted(roles.rows)]]
        before += [f"t{name} = {name}" for name in moving]
        outputs = [f"t{place}" if place in roles.history else name for place, name in enumerate(outputs)]
        over = ", ".join(["range(steps)", *[f"t{name}" for name in moving]])
        lines = [*before, f"for {', '.join(['k', *moving])} in {f'zip({over})' if moving else over}:",
                 *[f"    {line}" for line in [*step, *finite]]]
        return "\n    ".join(["def loop(values, numbers, steps):", *unpack,
                              *self.laid_out(lines, "otherwise(values, numbers, steps)"),
                              f"return ({''.join(f'{name}, ' for name in outputs)}), k + 1"]) + "\n"

    def statement(self, value: Value, i: int) -> list[str]:
        """The statement that computes a value, and what is let go of after it."""
        name = self.names[value] = f"v{value.number}"
        taken = self.room(value, i) if self.takes(value) else ""
        text = f"{name} = {self.expression(value, taken)}"
        gone = self.retire(value, i, taken)
        return [text, f"del {', '.join(gone)}"] if gone else [text]
