"""The cpu device's compiler: a program becomes one straight-line Python function over NumPy arrays.

The expressions are the `numpy` column of the primitive table. 0-d values are NumPy scalars, whose arithmetic costs a
tenth of a 0-d array's; large temporaries are overwritten in place where they die.
"""

from __future__ import annotations

import contextvars
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import numpy as np

from ... import ops
from ...graph.dtypes import HALF, bfloat16, bool_, float32, float64
from ...graph.node import Kind
from ...graph.spec import Spec
from ...runtime import numerics
from ...runtime.backend import Buffer
from ...runtime.numerics import LONE
from ..program import Program, Value
from .emit_map import OtherLayout, function, laid_out
from .fused_maps import FUSED
from .overwrite import Overwriting, memories

LARGE = 4096  # Elements from which a temporary is worth reusing: below, an allocation costs less than the extra call.

GIVEN = 1 << 16  # Elements from which memory is worth giving away: who does so asks about it, and holds signals off.


class _Context(threading.local):
    """A context for each thread in which NumPy does not warn: entering it is cheaper than `np.errstate`."""

    def __init__(self) -> None:
        self.run = contextvars.copy_context().run
        self.run(np.seterr, all="ignore")


_context = _Context()
T = TypeVar("T")


def quiet(function: Callable[..., T], *arguments: object) -> T:
    """Call a plan without NumPy's warnings (its error state is a context variable since NumPy 2.0)."""
    return _context.run(function, *arguments)


class NumpyExecutable:
    """A program as a Python function. `kernels` counts statements, not launches.

    in_place: whether large outputs may be written over inputs that are given away. Arrays may be views of one another,
        and nobody here knows which are: who gives one away answers for it that nobody else sees its memory.
    fixed: places of inputs that are the same in many runs: what depends on them and on constants alone is what
        `prepare` gives.
    carried: places of inputs, each with the place of the output that is its value in the next run.
    otherwise: the same program without fused operations, which runs where the inputs are not laid out as in C.
    takes_each: whether `function` takes the inputs one by one, and nothing else: it writes over none, and all of it is
        run each time. Otherwise it takes a list of them, the places that are given away, and what `prepare` gave.
    """

    def __init__(self, program: Program, in_place: bool = False, fixed: Collection[int] = (),
                 carried: Mapping[int, int] | None = None, otherwise: NumpyExecutable | None = None) -> None:
        known = {program.inputs[k] for k in fixed}
        if not any(value.shape for value in dependent(program, known)):
            known = set()                       # a number is computed in less time than it is known for the same
        emitter = Emitter(program, in_place, known,
                          {program.outputs[after]: program.inputs[k] for k, after in (carried or {}).items()})
        emitter.otherwise = None if otherwise is None else otherwise.within
        self.source = emitter.functions()
        made: dict[str, Callable[..., list[Buffer]]] = {}
        exec(compile(self.source, "<microtrain cpu plan>", "exec"), emitter.namespace, made)
        self.function, self.hoisted, self.takes_each = made["plan"], made.get("prepare"), emitter.takes_each
        self.kernels = self.source.count("\n    ") - 1
        self.donatable = tuple([k for k, value in enumerate(program.inputs) if value in emitter.over.values()])
        memory = memories(program)
        times = Counter([memory[value] for value in program.outputs])
        self.passed = tuple([k for k, value in enumerate(program.inputs) if value in times])
        self.shared = tuple([k for k, value in enumerate(program.outputs)
                             if memory[value] is not value or times[value] > 1 or value in program.inputs])

    def run(self, values: list[Buffer], free: Collection[int] = (), kept: list[Buffer] | None = None) -> list[Buffer]:
        """Arrays of the outputs. Floating-point oddities (1/0, log 0) give inf and NaN without a warning.

        kept: what `prepare` gave for these fixed inputs; by default it is computed.
        """
        if kept is None and self.hoisted is not None:
            kept = quiet(self.hoisted, values)
        return quiet(self.function, *values) if self.takes_each else quiet(self.function, values, free, kept)

    def within(self, values: list[Buffer], free: Collection[int] = ()) -> list[Buffer]:
        """As `run`, for who has already seen to it that NumPy does not warn."""
        if self.takes_each:
            return self.function(*values)
        return self.function(values, free, None if self.hoisted is None else self.hoisted(values))

    def prepare(self, values: list[Buffer]) -> list[Buffer]:
        """What depends on the fixed inputs alone; the other values do not matter."""
        return [] if self.hoisted is None else quiet(self.hoisted, values)

    def describe(self) -> str:
        return self.source


class Emitter:
    """Names, lifetimes and text of one program, and the namespace that its functions run in."""

    def __init__(self, program: Program, in_place: bool = False, fixed: Collection[Value] = (),
                 before: Mapping[Value, Value] | None = None) -> None:
        self.program = program
        self.otherwise: Callable[..., object] | None = None      # what is done where inputs are not laid out as in C
        self.namespace: dict[str, object] = dict(numerics.NAMESPACE)
        self.names: dict[Value, str] = {value: f"a{i}" for i, value in enumerate(program.inputs)}
        self.fixed, self.hoisted = fixed, dependent(program, fixed)
        found = Overwriting(program, writes_in_place, fixed, GIVEN if in_place else math.inf, before or {})
        self.over, self.order, self.late = found.over, (*found.first, *found.last), set(found.last)
        self.last: dict[Value, int] = {}
        for i, value in enumerate(self.order):
            for source in value.sources:
                self.last[source] = i
        for value in program.outputs:
            self.last[value] = len(program.values)
        self.memory: list[str] = []                 # statements: what is taken before anything is written over
        self.owned: set[Value] = set()               # values whose memory this function made and may overwrite
        self.free: dict[Spec, list[str]] = {}       # dead ones, by spec, that a later operation will write into
        self.takers: dict[Spec, int] = {}           # how many operations are still to come that could
        for value in program.values:
            if self.takes(value):
                self.takers[value.spec] = self.takers.get(value.spec, 0) + 1
        self.viewed: set[Value] = {s for n in program.values if n.primitive.kind is Kind.VIEW for s in n.sources}
        if any(n.dtype is bfloat16 for n in program.values):
            self.namespace["bfloat16"] = bfloat16.numpy

    def functions(self) -> str:
        """The source of `plan`, and of `prepare` where anything is hoisted."""
        prepared = self.prepared()
        body: list[str] = []
        ends: list[str] = []
        for i, value in enumerate(self.order):
            if value in self.names or value.primitive is ops.LITERAL or value not in self.last:
                continue
            if value in self.late:
                ends += self.statement(value, i)
            else:
                body += self.statement(value, i)
        if ends:
            over = [self.names[donor][1:] for donor in self.over.values()]
            ends = ["try:", *[f"    {line}" for line in ends], "except BaseException:",
                    f"    for k in {', '.join(over)},:", "        if k in free: values[k] = None", "    raise"]
        outputs = [self.names.get(n) or self.typed(n) for n in self.program.outputs]
        inputs = ", ".join(f"a{i}" for i in range(len(self.program.inputs)))
        unpack = [f"{inputs}, = values"] if inputs else []
        needed = [self.names[value] for value in self.kept()]
        self.takes_each = not needed and not ends and not self.memory
        head = [f"def plan({inputs}):"] if self.takes_each else ["def plan(values, free, kept):", *unpack]
        body = [*([f"{', '.join(needed)}, = kept"] if needed else []), *body, *self.memory]
        body = self.laid_out(body, f"otherwise({f'[{inputs}]' if self.takes_each else 'values, free'})")
        lines = [*head, *body, *ends, f"return [{', '.join(outputs)}]"]
        if needed:
            prepared = self.laid_out(prepared, f"[None] * {len(needed)}", self.fixed)
            lines = ["def prepare(values):", *unpack, *prepared, f"return [{', '.join(needed)}]", *lines]
        return "".join([f"{line}\n" if line.startswith("def") else f"    {line}\n" for line in lines])

    def laid_out(self, lines: list[str], instead: str, inputs: Collection[Value] | None = None) -> list[str]:
        """Lines that return what `instead` says where an array is not laid out as in C: of some inputs, by default all,
        or (which should not be) of what they make."""
        if self.otherwise is None:
            return lines
        shaped = [value for value in self.program.inputs if value.shape and (inputs is None or value in inputs)]
        name = f"laid_out_{len(self.namespace)}"
        self.namespace |= {name: laid_out(tuple([value.spec for value in shaped])), "otherwise": self.otherwise,
                           "OtherLayout": OtherLayout}
        given = ", ".join([self.names[value] for value in shaped])
        return ["try:", f"    if not {name}({given}): raise OtherLayout", *[f"    {line}" for line in lines],
                f"except OtherLayout: return {instead}"]

    def statement(self, value: Value, i: int) -> list[str]:
        """The statement that computes a value, the i-th of all, and what is let go of after it."""
        name = self.names[value] = f"v{value.number}"
        taken = self.room(value, i) if self.takes(value) else ""
        if value in self.late and not taken:
            self.memory.append(f"{name} = {self.place(value)}")
            text = ("" if value.primitive is not FUSED else f"{name} = ") + self.expression(value, name)
        else:
            text = f"{name} = {self.expression(value, taken)}"
        gone = self.retire(value, i, taken)
        return [*safely(text), f"del {', '.join(gone)}"] if gone else safely(text)

    def prepared(self) -> list[str]:
        """Name what no run has to compute: constants are computed now; and the statements of what is hoisted."""
        lines = []
        for value in self.program.values:
            if value not in self.names and self.is_constant(value):
                self.names[value] = self.once(value)
            elif value in self.hoisted:
                self.names[value] = f"h{value.number}"
                lines.append(f"{self.names[value]} = {self.expression(value)}")
        self.owned.clear()
        return lines

    def kept(self) -> list[Value]:
        """Of what is hoisted, that which `plan` reads."""
        found = {source for value in self.program.values if value not in self.hoisted for source in value.sources}
        return [value for value in self.hoisted if value in found and self.names[value][0] == "h"]

    def place(self, value: Value) -> str:
        """Memory for a value that is written among the last."""
        fresh = f"empty({value.shape!r}, {value.dtype.name})"
        donor = self.names.get(self.over.get(value, value), "")
        return f"{donor} if {donor[1:]} in free else {fresh}" if value in self.over else fresh

    def takes(self, value: Value) -> bool:
        """Whether a value is written into memory of this function's that is there."""
        return writes_in_place(value) and value not in self.over and value not in self.hoisted

    def is_constant(self, value: Value) -> bool:
        """Whether a small value depends on no input: it is computed when the plan is made, once."""
        if value.spec.numel > LARGE or value.primitive is ops.RANDOM_BITS:
            return False
        return bool(value.sources) and all(s.primitive is ops.LITERAL or self.names.get(s, "")[:1] == "c"
                                          for s in value.sources)

    def once(self, value: Value) -> str:
        """Compute a constant now and give it a name."""
        name = f"c{value.number}"
        with np.errstate(all="ignore"):
            self.namespace[name] = eval(self.expression(value), self.namespace)
        return name

    def retire(self, value: Value, i: int, taken: str) -> list[str]:
        """Names to delete after statement i, which has written into `taken`: large values used for the last time, but
        for those that a later operation of the same spec will write into."""
        gone = []
        if self.takes(value):
            self.takers[value.spec] -= 1
        for source in dict.fromkeys(value.sources):
            name = self.names.get(source, "")
            if self.last[source] != i or source.spec.numel < LARGE or name[:1] != "v":
                continue
            writable = source in self.owned and source not in self.viewed
            if name != taken and writable and self.takers.get(source.spec):
                self.free.setdefault(source.spec, []).append(name)
            else:
                gone.append(name)
        if taken and taken not in gone:
            gone.append(taken)
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

    def expression(self, value: Value, out: str = "") -> str:
        """The text of a value, written into the memory of the name `out` where there is one."""
        primitive, sources = value.primitive, value.sources
        if primitive is FUSED:
            self.owned.add(value)
            name = f"fused{value.number}"
            self.namespace[name] = function(value.attrs[0].program)
            operands = [self.operand(source, False) for source in sources]
            return f"{name}({', '.join([*operands, out or f'empty({value.shape!r}, {value.dtype.name})'])})"
        scalar = None if value.shape else primitive.numpy_scalar
        half = value.dtype in HALF or (bool(sources) and sources[-1].dtype in HALF)
        # A bare Python number takes the other operand's dtype, but only beside one that has a dtype (two of three might
        # meet each other first), and in arithmetic: where one of the operands is chosen, the number itself would be the
        # result. Two NumPy scalars meet in half the time that one and a number take.
        weak = (primitive.kind is Kind.MAP and primitive is not ops.WHERE and scalar is None and len(sources) > 1
                and (bool(value.shape) or half)
                and sum(s.primitive is ops.LITERAL for s in sources) == 1)
        operands = [self.operand(s, weak) for s in sources]
        template = primitive.numpy
        if not isinstance(template, str):
            template = template(value.spec, *[s.spec for s in sources], *value.attrs)
        template = self.masking(value) or template
        if value.dtype is bool_ and not value.shape:
            template = LONE_TRUTHS.get(primitive, template)
        into = primitive.numpy_out
        if value.dtype in (float32, float64) and primitive in (ops.SUM, ops.RELU):
            template, into = self.beside(value, template, into)
        if scalar is not None:
            dtype = float32 if value.dtype in HALF else value.dtype
            self.namespace |= {f"one_{dtype.name}": dtype.numpy.type(1), f"zero_{dtype.name}": dtype.numpy.type(0)}
            template = scalar.replace("{one}", f"one_{dtype.name}").replace("{zero}", f"zero_{dtype.name}")
        if primitive.kind in (Kind.MAP, Kind.REDUCE, Kind.MATMUL) and primitive is not ops.CAST:
            if half:
                operands = [f"{o}.astype(float32)" if s.dtype in HALF and o[0] != "(" else o
                            for o, s in zip(operands, sources, strict=True)]
                text = template.format(*operands)
                return f"asarray({text}).astype({value.dtype.name})" if value.dtype in HALF else text
            self.owned.add(value)
        if primitive.kind is Kind.REDUCE and not value.dtype.is_floating_point:
            template = f"{template[:-1]}, dtype={value.dtype.name})"
        if out:
            return into.format(*operands, out=out)
        return str(template.format(*operands))

    def beside(self, value: Value, template: str, into: str) -> tuple[str, str]:
        """The texts of a sum or of a relu, which take less beside an array of ones or of zeros: NumPy's sums along the
        first of two axes, or of a few elements each, take three times what a product takes, and its maximum with a
        number three times that with an array."""
        x = value.sources[0]
        if value.primitive is ops.RELU:
            shape = value.shape if value.spec.numel <= 4 * LARGE else value.shape[-1:]
            if not shape or math.prod(shape) < numerics.FEW:
                return template, into
            text = f"maximum({{0}}, {self.constant('zeros', shape, value)}"
            return f"{text})", f"{text}, out={{out}})"
        axes = value.attrs[0]
        if len(x.shape) == 2 and len(axes) == 1 and x.shape[axes[0]] <= (GIVEN, numerics.FEW)[axes[0]]:
            one = self.constant("ones", (x.shape[axes[0]],), value)
            return (f"{{0}}.dot({one})" if axes[0] else f"{one}.dot({{0}})"), into
        return template, into

    def constant(self, function: str, shape: tuple[int, ...], value: Value) -> str:
        """A name for an array of ones or zeros, of a value's dtype."""
        name = f"{function}_{'_'.join(map(str, shape))}_{value.dtype.name}"
        self.namespace.setdefault(name, getattr(np, function)(shape, value.dtype.numpy))
        return name

    def masking(self, value: Value) -> str:
        """The text of a large choice between a value and 0: a branch for each element costs six times a mask."""
        if value.primitive is ops.WHERE and value.spec.numel >= LARGE and value.dtype in (float32, float64):
            for kept, other, text in ((1, 2, "masked({1}, {0})"), (2, 1, "masked({2}, ~{0})")):
                zero = value.sources[other]
                if zero.primitive is ops.LITERAL and str(zero.attrs[0]) in ("0", "0.0") \
                        and value.sources[kept].spec is value.spec:
                    return text
        return ""

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


LONE_TRUTHS = {ops.BITWISE_AND: "({0} and {1})", ops.BITWISE_OR: "({0} or {1})", ops.BITWISE_XOR: "({0} != {1})"}
"""Expressions of two booleans without axes, NumPy's: in a tenth of the time that its own functions take."""

QUICK = re.compile("lone_(" + "|".join(LONE.split()) + r")\(")
SIGMOID = re.compile(r"lone_sigmoid\((\w+)\)")


def safely(statement: str) -> list[str]:
    """A statement with the C library's functions called at once, and again by those that raise nothing where they do:
    a try costs nothing, a call in between as much as the function."""
    quick = SIGMOID.sub(r"(1.0 / (1.0 + quick_exp(-float(\1))))", QUICK.sub(r"quick_\1(", statement))
    return [statement] if quick == statement else ["try: " + quick, "except (ValueError, OverflowError): " + statement]


def dependent(program: Program, fixed: Collection[Value]) -> dict[Value, None]:
    """What depends on fixed inputs and constants alone. An output is not among it: it may be written over later."""
    known = {*fixed, *[value for value in program.values if value.primitive is ops.LITERAL]} if fixed else set()
    found: dict[Value, None] = {}
    for value in program.values:
        if (value.sources and known.issuperset(value.sources) and value not in program.outputs
                and value.primitive is not ops.RANDOM_BITS):
            known.add(value)
            found[value] = None
    return found


def writes_in_place(value: Value) -> bool:
    """Whether an operation can write its (large) result into memory that is already there."""
    return bool(value.primitive.numpy_out) and value.spec.numel >= LARGE and value.dtype not in HALF
