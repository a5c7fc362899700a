"""The text of a whole loop on the cpu device: a program's statements in one function with a `for` around them.

What depends on values that are the same in every step alone is computed before the loop. The expressions are those of
the plan that runs one step (`emit_numpy`), so each step's values have its bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .. import ops
from ..runtime.backend import Buffer
from .emit_numpy import Emitter, writes_in_place
from .loop import Roles
from .program import Program

Function = Callable[[Sequence[Buffer], Sequence[np.ndarray], int], tuple[tuple[Buffer, ...], int]]
"""A loop: of the inputs, the numbers' tables and the steps, the outputs and how many steps were made (see `Loop`)."""


class LoopEmitter(Emitter):
    """Text of one program's loop. Values that are computed before it are named `f`, so no step writes over them."""

    def __init__(self, program: Program, roles: Roles) -> None:
        super().__init__(program)
        self.roles = roles
        self.namespace["finite"] = math.isfinite
        changing = {value for place, value in enumerate(program.inputs)
                    if value.primitive is ops.SCALAR or place in roles.carried or place in roles.rows}
        self.changing = changing.copy()
        for value in program.values:
            if not self.changing.isdisjoint(value.sources):
                self.changing.add(value)

    def function(self) -> str:
        inputs, roles = self.program.inputs, self.roles
        before = [f"{''.join(f'a{i}, ' for i in range(len(inputs)))}= values"] if inputs else []
        numbers = [self.names[value] for value in inputs if value.primitive is ops.SCALAR]
        before += [f"{''.join(f'{name}, ' for name in numbers)}= numbers"] if numbers else []
        used = [(i, value) for i, value in enumerate(self.program.values)
                if value not in self.names and value.primitive is not ops.LITERAL and value in self.last]
        for i, value in used:
            if self.is_constant(value):
                self.names[value] = self.once(value)
            elif value not in self.changing:
                before.append(f"f{i} = {self.expression(value)}")
                self.names[value] = f"f{i}"
                self.owned.discard(value)
                self.takers[value.spec] = self.takers.get(value.spec, 0) - writes_in_place(value)
        step = [line for i, value in used if value not in self.names for line in self.statement(value, i)]
        outputs = [self.names.get(value) or self.typed(value) for value in self.program.outputs]
        for place in sorted(roles.history):
            spec = self.program.outputs[place].spec
            before.append(f"h{place} = empty(({', '.join(['steps', *map(str, spec.shape)])},), {spec.dtype.name})")
            step.append(f"h{place}[k] = {outputs[place]}")
        carried = {self.names[inputs[place]]: outputs[after] for place, after in roles.carried.items()}
        finite = [] if roles.watched is None else [f"if not finite({outputs[roles.watched]}): break"]
        for place, name in enumerate(outputs):
            if name in carried:                     # what an input was in this step, not what it is in the next
                step.append(f"o{place} = {name}")
                outputs[place] = f"o{place}"
        if carried:
            step.append(f"{', '.join(carried)} = {', '.join(carried.values())}")
        moving = [*numbers, *[f"a{place}" for place in sorted(roles.rows)]]
        tables = [f"t{name}" for name in moving]
        outputs = [f"h{place}" if place in roles.history else name for place, name in enumerate(outputs)]
        return "\n    ".join(["def loop(values, numbers, steps):", *before,
                              *[f"{table} = {name}" for table, name in zip(tables, moving, strict=True)],
                              f"for {', '.join(['k', *moving])} in {each(tables)}:",
                              *[f"    {line}" for line in [*step, *finite]],
                              f"return ({''.join(f'{name}, ' for name in outputs)}), k + 1"]) + "\n"


def each(tables: list[str]) -> str:
    """What a loop runs over: its steps, with a row of each table."""
    return f"zip({', '.join(['range(steps)', *tables])})" if tables else "range(steps)"
