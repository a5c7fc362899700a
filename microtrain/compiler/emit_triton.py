"""From a group to the source of the `@triton.jit` functions that its template takes.

A template in `kernels` is the skeleton: index arithmetic, masks, tiles and the order of a reduction. What is written
here is the expression alone, one statement an operation, with literal sizes, so that Triton folds the indices.
"""

from __future__ import annotations

import hashlib

from .. import ops
from ..graph import dtypes
from ..graph.dtypes import DType
from ..graph.node import Kind
from ..kernels.tiles import index_bits
from .emit_value import COMPUTE, Arguments, Body, rounded
from .jit import Function
from .program import Value
from .templates.template import Group, Kernel, Schedule


def emit(group: Group, schedule: Schedule) -> Kernel:
    """The kernel of a group."""
    scalars = [value for value in group.reads if value.primitive is ops.SCALAR]
    pointers = in_memory(group)
    largest = max([*[part.template.numel for part in group.parts], *[value.spec.numel for value in pointers]])
    kernel = Kernel(group, pointers, scalars, index_bits(largest) == 64)
    arguments = Arguments({value: k for k, value in enumerate(pointers)},
                          {value: k for k, value in enumerate(scalars)}, kernel.index_type)

    def begin(masks: dict[frozenset[str], str], part: Group | None = None, given: Arguments | None = None) -> Body:
        made = Body(part or group, given or arguments, masks, schedule.place)
        made.fenced = overwrites(part or group, schedule)
        kernel.bodies.append(made)
        return made

    group.template.write(kernel, begin)
    for noted in {id(made.arguments): made.arguments.touches for made in kernel.bodies}.values():
        for statement, touches in noted.items():
            kernel.touches.setdefault(statement, []).extend(touches)
    return kernel


def overwrites(group: Group, schedule: Schedule) -> bool:
    """Whether a kernel with more than one result may be given the memory of an input that it reads for one of them.

    Threads that hold an element twice must then have loaded it before another one stores it. With a single result,
    which an element reaches only through the thread that stores it, there is nobody to disturb.
    """
    given = {value.spec for value in group.reads if value.primitive is ops.BUFFER}
    outputs = schedule.program.outputs
    return len(group.stores) > 1 and any(value.spec in given for value in group.stores if value in outputs)


def in_memory(group: Group) -> list[Value]:
    """The buffers that a kernel reads, then those that it writes."""
    return [*[value for value in group.reads if value.primitive is not ops.SCALAR], *group.stores]


# ------------------------------------------------------------------------------------------- what templates write with

def function(role: str, parameters: str, lines: list[str]) -> Function:
    """The function of these statements under a name that no other text has: Triton tells functions apart by name."""
    text = f"({parameters}):\n" + "".join(f"    {line}\n" for line in lines or ["pass"])
    name = f"{role}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return Function(name, f"@triton.jit\ndef {name}{text}")


def finished(group: Group, body: Body, members: list[Value]) -> list[str]:
    """The statements that compute `members` of a group and store what it stores."""
    for value in members:
        if value.primitive.kind is Kind.REDUCE:
            body.registers[value] = group.template.reduced(body, value, group.members[value])
        else:
            body.member(value)
    if body.fenced:
        body.lines.append("tl.debug_barrier()")
    for value in group.stores:
        body.store(value)
    return body.lines


def accumulator(dtype: DType) -> str:
    """The type in which a reduction or a product of a dtype is accumulated."""
    small = dtype.category < 2 and dtype.itemsize < 4
    return "tl.int32" if small else COMPUTE[dtype]


def settled(expression: str, dtype: DType) -> str:
    """An accumulated result in the compute type of its dtype, rounded as if stored."""
    if dtype is dtypes.bool_:
        return f"({expression} != 0)"
    if accumulator(dtype) != COMPUTE[dtype]:
        return f"{expression}.to({COMPUTE[dtype]})"
    return rounded(expression, dtype)
