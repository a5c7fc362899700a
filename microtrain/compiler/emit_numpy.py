"""The cpu device's compiler: a program becomes one straight-line Python function over NumPy arrays.

The expressions are the `numpy` column of the primitive table. 0-d values are NumPy scalars, whose arithmetic costs a
tenth of a 0-d array's; large temporaries are overwritten in place where they die.
"""

from __future__ import annotations

import contextvars
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

import numpy as np

from .. import ops
from ..graph.dtypes import HALF, bfloat16
from ..graph.node import Kind, buffer_signature
from ..graph.spec import Spec
from ..runtime import numerics
from ..runtime.backend import Buffer
from .build import Builder
from .program import Program, Value

LARGE = 4096  # Elements from which a temporary is worth reusing: below, an allocation costs less than the extra call.


class _Context(threading.local):
    """A context for each thread in which NumPy does not warn: entering it is cheaper than `np.errstate`."""

    def __init__(self) -> None:
        self.run = contextvars.copy_context().run
        self.run(np.seterr, all="ignore")


_context = _Context()
T = TypeVar("T")


def quiet(function: Callable[[list[Buffer]], T], values: list[Buffer]) -> T:
    """Call a plan without NumPy's warnings (its error state is a context variable since NumPy 2.0)."""
    return _context.run(function, values)


class NumpyExecutable:
    """A program as a Python function. `kernels` counts statements, not launches.

    No input is ever written over: arrays may be views of one another, and nobody knows which are.
    """

    donatable: tuple[int, ...] = ()
    passed: tuple[int, ...] = ()

    def __init__(self, program: Program) -> None:
        emitter = Emitter(program)
        self.source = emitter.function()
        made: dict[str, Callable[[list[Buffer]], list[Buffer]]] = {}
        exec(compile(self.source, "<microtrain cpu plan>", "exec"), emitter.namespace, made)
        self.function = made["plan"]
        self.kernels = self.source.count("\n") - 2
        times = Counter(program.outputs)
        self.shared = tuple([k for k, value in enumerate(program.outputs) if times[value] > 1])

    def run(self, values: list[Buffer], free: Collection[int] = ()) -> list[Buffer]:
        """Arrays of the outputs. Floating-point oddities (1/0, log 0) give inf and NaN without a warning."""
        return quiet(self.function, values)

    def describe(self) -> str:
        return self.source


class Emitter:
    """Names, lifetimes and text of one program, and the namespace that its function runs in."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.namespace: dict[str, object] = dict(numerics.NAMESPACE)
        self.names: dict[Value, str] = {}
        self.taken = ""
        self.last: dict[Value, int] = {}
        for i, value in enumerate(program.values):
            for source in value.sources:
                self.last[source] = i
        for value in program.outputs:
            self.last[value] = len(program.values)
        self.owned: set[Value] = set()               # values whose memory this function made and may overwrite
        self.free: dict[Spec, list[str]] = {}       # dead ones, by spec, that a later operation will write into
        self.takers: dict[Spec, int] = {}           # how many operations are still to come that could
        for value in program.values:
            if writes_in_place(value):
                self.takers[value.spec] = self.takers.get(value.spec, 0) + 1
        self.viewed: set[Value] = {s for n in program.values if n.primitive.kind is Kind.VIEW for s in n.sources}
        if any(n.dtype is bfloat16 for n in program.values):
            self.namespace["bfloat16"] = bfloat16.numpy

    def function(self) -> str:
        """The function's source."""
        lines = ["def plan(values):"]
        for i, value in enumerate(self.program.inputs):
            self.names[value] = f"a{i}"
        if self.program.inputs:
            lines.append(f"    {', '.join(f'a{i}' for i in range(len(self.program.inputs)))}, = values")
        for i, value in enumerate(self.program.values):
            if value in self.names or value.primitive is ops.LITERAL or value not in self.last:
                continue
            if self.is_constant(value):
                self.names[value] = self.once(value, i)
                continue
            self.names[value] = f"v{i}"
            lines.append(f"    v{i} = {self.expression(value, i)}")
            gone = self.retire(value, i)
            if gone:
                lines.append(f"    del {', '.join(gone)}")
        outputs = [self.names.get(n) or self.typed(n) for n in self.program.outputs]
        lines.append(f"    return [{', '.join(outputs)}]")
        return "\n".join(lines) + "\n"

    def is_constant(self, value: Value) -> bool:
        """Whether a small value depends on no input: it is computed when the plan is made, once."""
        if value.spec.numel > LARGE or value.primitive is ops.RANDOM_BITS:
            return False
        return bool(value.sources) and all(s.primitive is ops.LITERAL or self.names.get(s, "")[:1] == "c"
                                          for s in value.sources)

    def once(self, value: Value, i: int) -> str:
        """Compute a constant now and give it a name."""
        with np.errstate(all="ignore"):
            self.namespace[f"c{i}"] = eval(self.expression(value, i), self.namespace)
        return f"c{i}"

    def retire(self, value: Value, i: int) -> list[str]:
        """Names to delete after statement i: large values used for the last time, but for those that a later operation
        of the same spec will write into."""
        gone = []
        if writes_in_place(value):
            self.takers[value.spec] -= 1
        for source in dict.fromkeys(value.sources):
            name = self.names.get(source, "")
            if self.last[source] != i or source.spec.numel < LARGE or name[:1] != "v":
                continue
            writable = source in self.owned and source not in self.viewed
            if name != self.taken and writable and self.takers.get(source.spec):
                self.free.setdefault(source.spec, []).append(name)
            else:
                gone.append(name)
        if self.taken and self.taken not in gone:
            gone.append(self.taken)
        self.taken = ""
        return gone

    def typed(self, value: Value) -> str:
        """A literal as a NumPy scalar of its dtype, made once."""
        name = f"k{len(self.namespace)}"
        self.namespace[name] = value.dtype.numpy.type(value.attrs[0])
        return name

    def operand(self, value: Value, weak: bool) -> str:
        if value.primitive is not ops.LITERAL:
            return self.names[value]
        number = value.attrs[0]
        return f"({number!r})" if weak and np.isfinite(number) else self.typed(value)

    def expression(self, value: Value, i: int) -> str:
        primitive, sources = value.primitive, value.sources
        scalar = None if value.shape else primitive.numpy_scalar
        # A bare Python number takes the other operand's dtype, but only beside one that has a dtype (two of three might
        # meet each other first), and in arithmetic: where one of the operands is chosen, the number itself would be the
        # result.
        weak = (primitive.kind is Kind.MAP and primitive is not ops.WHERE and scalar is None and len(sources) > 1
                and sum(s.primitive is ops.LITERAL for s in sources) == 1)
        operands = [self.operand(s, weak) for s in sources]
        template = primitive.numpy
        if not isinstance(template, str):
            template = template(value.spec, *[s.spec for s in sources], *value.attrs)
        template = scalar or template
        if primitive.kind in (Kind.MAP, Kind.REDUCE, Kind.MATMUL) and primitive is not ops.CAST:
            if value.dtype in HALF or (sources[-1].dtype in HALF):
                operands = [f"{o}.astype(float32)" if s.dtype in HALF and o[0] != "(" else o
                            for o, s in zip(operands, sources, strict=True)]
                text = template.format(*operands)
                return f"asarray({text}).astype({value.dtype.name})" if value.dtype in HALF else text
            self.owned.add(value)
        if primitive.kind is Kind.REDUCE and not value.dtype.is_floating_point:
            template = f"{template[:-1]}, dtype={value.dtype.name})"
        if writes_in_place(value):
            self.taken = self.room(value, i)
            if self.taken:
                return primitive.numpy_out.format(*operands, out=self.taken)
        return str(template.format(*operands))

    def room(self, value: Value, i: int) -> str:
        """The name of memory to write a result into: an operand that dies here, else a value that died before.

        Empty where there is none.
        """
        for source in value.sources:
            writable = source in self.owned and source not in self.viewed
            if writable and source.spec is value.spec and self.last[source] == i:
                return self.names[source]
        waiting = self.free.get(value.spec)
        return waiting.pop() if waiting else ""


def writes_in_place(value: Value) -> bool:
    """Whether an operation can write its (large) result into memory that is already there."""
    return bool(value.primitive.numpy_out) and value.spec.numel >= LARGE and value.dtype not in HALF


# --------------------------------------------------------------------------------------- what a kernel means, in NumPy

def evaluated(values: Iterable[Value], reads: Collection[Value]) -> list[Value]:
    """`values` of a kernel and everything inline behind them, up to what it reads; sources first."""
    found = set(values)
    stack = list(found)
    while stack:
        for source in stack.pop().sources:
            if source not in found and source not in reads:
                found.add(source)
                stack.append(source)
    return sorted(found, key=lambda value: value.number)


def reference(reads: Collection[Value], stores: Sequence[Value]) -> NumpyExecutable:
    """The NumPy function of what a kernel reads, in this order, that gives what it stores."""
    builder = Builder()
    new: dict[Value, Value] = {}
    for value in reads:
        signature = value.signature if value.primitive is ops.SCALAR else buffer_signature(value.spec)
        new[value] = builder.value(signature, ())
    for value in evaluated(stores, reads):
        if value.primitive.kind is Kind.LEAF:       # an operand of which no element is read: any value will do
            new[value] = builder.g.filled(0, value.spec)
        else:
            new[value] = builder.value(value.signature, tuple([new[source] for source in value.sources]))
    return NumpyExecutable(builder.program([new[value] for value in stores]))
