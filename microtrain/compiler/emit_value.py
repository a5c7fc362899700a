"""The statements of one emitted device function: values of nodes at symbolic coordinates, loads, masks and stores.

Values are held in their *compute type*: half precisions in float32, rounded after every operation, so that a fused
kernel gives the bits of the unfused ones; booleans, bytes in memory, as `tl.int1`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .. import ops
from ..graph import dtypes
from ..graph.dtypes import HALF, DType
from ..graph.node import Kind
from .access import Guard, accesses
from .index import Coords, Index, Loaded, Var, bases, combine, linear, size_of, split, text
from .program import Value

STORAGE = {d: f"tl.{d.name}" for d in dtypes.DTYPES.values()} | {dtypes.bool_: "tl.uint8"}
COMPUTE = STORAGE | {dtypes.bool_: "tl.int1"} | dict.fromkeys(HALF, "tl.float32")


class Touch(NamedTuple):
    """A load or a store as it was written: the element of `value` at `at`, where the guards hold.

    `sizes` has the symbols whose blocks it is a tile of, and how many values each has in all.
    """

    value: Value
    at: Index
    guards: tuple[Guard, ...]
    sizes: dict[str, int]


@dataclass
class Arguments:
    """What a kernel is given: a place in `ptrs` for each buffer, one in `scalars` for each run-time number."""

    pointers: dict[Value, int]
    scalars: dict[Value, int]
    index_type: str


class Region(Protocol):
    """What a function is written for: a group, as far as it asks."""

    members: dict[Value, Index]
    stores: list[Value]

    def computes(self, value: Value, coords: Coords) -> bool:
        """Whether the element of `value` at `coords` is at hand."""

    def size(self, symbol: str) -> int:
        """How many values a symbol has."""


class Body:
    """One device function being written, for kernels of `group`.

    `masks` names the boundary mask for a set of the template's symbols; a single symbol is compared with its size.
    `owners` names the mask under which one of several programs stores what varies with those symbols alone.
    `touches` notes what was loaded and stored, by which statement; `fenced` asks for a barrier between the two.
    `flat`: what varies with rows alone is computed as a vector, [BLOCK_R]; `tall` names what is [BLOCK_R, 1] all the
    same, `forms` the other form of a value, once there is one.
    """

    def __init__(self, group: Region, arguments: Arguments, masks: dict[frozenset[str], str],
                 place: Mapping[Value, Region], fenced: bool, flat: bool = False) -> None:
        self.group, self.arguments, self.masks, self.place, self.fenced = group, arguments, masks, place, fenced
        self.flat = flat
        self.tall: set[str] = {"r"}
        self.forms: dict[str, str] = {"r": "flat_r"}
        self.narrowed: dict[str, str] = {}
        self.owners: dict[frozenset[str], str] = {}
        self.lines: list[str] = []
        self.known: dict[tuple[Value, Coords, tuple[Guard, ...]], str] = {}
        self.registers: dict[Value, str] = {}
        self.symbols: dict[str, frozenset[str]] = {}
        self.touches: list[tuple[str, Touch]] = []

    # ------------------------------------------------------------------------------------------------------- statements

    def let(self, expression: str, symbols: Iterable[str]) -> str:
        """A statement that names an expression varying with the given symbols."""
        name = f"v{len(self.symbols)}"
        self.lines.append(f"{name} = {expression}")
        self.symbols[name] = frozenset(symbols)
        return name

    def vector(self, symbols: Container[str]) -> bool:
        """Whether what varies with `symbols` is computed as a vector."""
        return self.flat and "r" in symbols and "c" not in symbols

    def shaped(self, name: str, symbols: Container[str]) -> str:
        """A value or a symbol as an operand of what varies with `symbols`: where values of rows are flat, in its form
        for that."""
        own = self.symbols.get(name, frozenset((name,)))
        if not self.vector(own) or (name in self.tall) == ("c" in symbols):
            return name
        if name not in self.forms:
            self.forms[name] = self.let(f"flat({name})" if name in self.tall else f"spread({name}, r)", own)
            if name not in self.tall:
                self.tall.add(self.forms[name])
        return self.forms[name]

    def value(self, value: Value, coords: Coords, guards: tuple[Guard, ...] = ()) -> str:
        """The name of the element of `value` at `coords`, computed where `guards` hold (elsewhere: anything)."""
        key = (value, coords, guards)
        name = self.known.get(key)
        if name is None:
            if not value.spec.numel:
                name = self.number(0, value.dtype)
            elif value in self.registers and self.group.computes(value, coords):
                name = self.registers[value]
            elif value.primitive is ops.BUFFER or self.place.get(value, self.group) is not self.group:
                name = self.load(value, linear(coords, value.shape), guards)
            else:
                name = self.expression(value, coords, guards)
            self.known[key] = name
        return name

    def finished(self, members: Iterable[Value], reduced: Callable[[Body, Value, Index], str]) -> list[str]:
        """All statements, with those that compute members of the group at their positions and store what it stores."""
        for value in members:
            position = self.group.members[value]
            if value.primitive.kind is Kind.REDUCE:
                self.registers[value] = reduced(self, value, position)
            else:
                coords = split(position, value.shape)
                self.registers[value] = self.known[value, coords, ()] = self.expression(value, coords, ())
        if self.fenced:
            self.lines.append("tl.debug_barrier()")
        for value in self.group.stores:
            self.store(value)
        return self.lines

    def load(self, value: Value, index: Index, guards: tuple[Guard, ...]) -> str:
        """A load; masked by the boundary of its symbols and the guards."""
        within = frozenset().union(*[self.condition(guard, guards[:i])[1] for i, guard in enumerate(guards)])
        address, symbols = self.address(index, guards, within, offset=True)
        missing, symbols = within - symbols, symbols | within
        address += "".join(f" + {self.shaped(symbol, symbols)} * 0" for symbol in sorted(missing))
        conditions = [self.condition(guard, guards[:i], symbols)[0] for i, guard in enumerate(guards)]
        mask = " & ".join([*self.boundary(symbols), *conditions])
        place = f"ptrs[{self.arguments.pointers[value]}] + {address}"
        expression = f"tl.load({place}, mask={mask}, other=0)" if mask else f"tl.load({place})"
        if value.dtype is dtypes.bool_:
            expression = truth(f"({expression} != 0)", symbols)
        elif value.dtype is dtypes.bfloat16:
            expression = f"from_bf16({expression})"
        elif value.dtype is dtypes.float16:
            expression += ".to(tl.float32)"
        name = self.let(expression, symbols)
        self.touched(value, index, guards, symbols)
        return name

    def store(self, value: Value) -> None:
        """Write a computed member to memory."""
        name = self.registers[value]
        address, symbols = self.address(self.group.members[value], (), self.symbols[name], offset=True)
        missing, symbols = self.symbols[name] - symbols, symbols | self.symbols[name]
        address += "".join(f" + {self.shaped(symbol, symbols)} * 0" for symbol in sorted(missing))
        mask = self.owners.get(symbols) or " & ".join(self.boundary(symbols))
        name = self.shaped(name, symbols)
        place = f"ptrs[{self.arguments.pointers[value]}] + {address}"
        if value.dtype is dtypes.bfloat16:
            name = f"to_bf16({name})"
        elif STORAGE[value.dtype] != COMPUTE[value.dtype]:
            name += f".to({STORAGE[value.dtype]})"
        self.lines.append(f"tl.store({place}, {name}{f', mask={mask}' if mask else ''})")
        self.touched(value, self.group.members[value], (), symbols)

    def touched(self, value: Value, index: Index, guards: tuple[Guard, ...], symbols: frozenset[str]) -> None:
        """Note what the last statement loads or stores."""
        sizes = {symbol: self.group.size(symbol) for symbol in symbols if symbol != "b"}
        self.touches.append((self.lines[-1], Touch(value, index, guards, sizes)))

    @property
    def loads(self) -> list[Touch]:
        """What was loaded, and where: all that was touched, but the group's own values."""
        return [touch for _, touch in self.touches if touch.value not in self.group.members]

    def boundary(self, symbols: frozenset[str]) -> list[str]:
        """The mask that keeps symbols inside the domain."""
        tiled = symbols - {"b"}         # a program computes one matrix of a batch: b is never out of range
        if not tiled:
            return []
        if tiled in self.masks:
            return [self.masks[tiled]]
        return [f"({symbol} < {self.group.size(symbol)})" for symbol in sorted(tiled)]

    def address(self, index: Index, guards: tuple[Guard, ...], within: frozenset[str] = frozenset(),
                offset: bool = False) -> tuple[str, frozenset[str]]:
        """An index as text, an operand of what varies with `within` too, and the symbols that it varies with.

        offset: it is added to a pointer. A loaded index is then multiplied by its stride in 64 bits, which is a single
        instruction together with that; in 32 bits it would be three.
        """
        symbols: set[str] = set()
        whole = {digit.base for digit in index.terms if offset and digit.div == 1 and digit.mod >= size_of(digit.base)}

        def seen(base: Var | Loaded) -> str:
            name = base.name if isinstance(base, Var) else self.value(base.value, base.coords, guards)
            symbols.update(self.symbols.get(name, (name,)))
            return name

        def written(base: Var | Loaded) -> str:
            name = seen(base)
            if isinstance(base, Var):
                return self.shaped(name, symbols | within)
            if name not in self.narrowed:
                self.narrowed[name] = self.let(f"{name}.to({self.arguments.index_type})", self.symbols[name])
            name = self.shaped(self.narrowed[name], symbols | within)
            return f"{name}.to(tl.int64)" if base in whole else name

        text(index, seen)
        return text(index, written), frozenset(symbols)

    def condition(self, guard: Guard, outer: tuple[Guard, ...],
                  within: frozenset[str] = frozenset()) -> tuple[str, frozenset[str]]:
        """A guard as text, an operand of what varies with `within` too, and the symbols that it varies with."""
        index, symbols = self.address(guard.place, outer, within)
        parts = []
        if guard.place.low < guard.low:
            parts.append(f"({index} >= {guard.low})")
        if guard.place.high >= guard.high:
            parts.append(f"({index} < {guard.high})")
        if guard.step > 1:
            steps = self.address(combine([(guard.place, 1)], -guard.low), outer, symbols | within)[0]
            parts.append(f"(({steps}) % {guard.step} == 0)")
        return truth(" & ".join(parts), symbols), symbols

    def number(self, value: float, dtype: DType) -> str:
        """A literal of a dtype."""
        if dtype.is_floating_point:
            word = repr(float(value)) if math.isfinite(value) else f'float("{float(value)}")'
        else:
            word = repr(int(value))
        text = f"tl.full((), {word}, {COMPUTE[dtype]})"
        return self.let(f"neg({text})" if word == "-0.0" else text, ())         # Triton's full has but one zero

    # ------------------------------------------------------------------------------------------------------ expressions

    def expression(self, value: Value, coords: Coords, guards: tuple[Guard, ...]) -> str:
        """The element of `value` at `coords`, computed from its sources."""
        kind, dtype = value.primitive.kind, value.dtype
        if kind is Kind.CONSTANT:
            return self.number(value.attrs[0], dtype)
        if kind is Kind.LEAF:
            return self.scalar(value)
        if kind is Kind.INDEX and value.primitive is not ops.TAKE:
            return self.indexed(value, coords, guards)
        found = accesses(value, coords)
        if kind is Kind.MAP:
            names = [self.value(access.source, access.coords, guards) for access in found]
            symbols = frozenset().union(*[self.symbols[name] for name in names])
            text = rounded(operation(value, [self.shaped(name, symbols) for name in names]), dtype)
            return self.let(truth(text, symbols) if dtype is dtypes.bool_ else text, symbols)
        if value.primitive is ops.TAKE:
            found = found[1:]                   # the index is loaded where the element's address is written
        parts = [(a.guards, self.value(a.source, a.coords, (*guards, *a.guards))) for a in found]
        if value.primitive is ops.PAD and (not parts or parts[0][0]):
            parts.append(((), self.number(0, dtype)))
        *others, (_, result) = parts
        for inside, name in reversed(others):
            result = self.select(inside, guards, name, result)
        return result

    def scalar(self, value: Value) -> str:
        """A run-time number."""
        bits = f"scalars[{self.arguments.scalars[value]}]"
        if value.dtype is dtypes.float64:
            return self.let(f"scalar_f64({bits})", ())
        if value.dtype.is_floating_point:
            return self.let(rounded(f"scalar_f32({bits})", value.dtype), ())
        return self.let(f"scalar_i64({bits}).to({COMPUTE[value.dtype]})", ())

    def indexed(self, value: Value, coords: Coords, guards: tuple[Guard, ...]) -> str:
        """What follows from the place of the element, `{i}`, and from numbers."""
        place = linear(coords, value.shape)
        iota = value.primitive is ops.IOTA      # its source only says on which device
        if iota and not bases(place):
            return self.number(place.const, value.dtype)
        names = [] if iota else [self.value(source, ()) for source in value.sources]
        index, symbols = self.address(place, guards)
        return self.let(written(value, names, i=index, INDEX=self.arguments.index_type), symbols)

    def select(self, access_guards: tuple[Guard, ...], guards: tuple[Guard, ...], inside: str, outside: str) -> str:
        """`inside` where the guards hold, else `outside`."""
        symbols = frozenset().union(*[self.condition(guard, guards)[1] for guard in access_guards],
                                    self.symbols[inside], self.symbols[outside])
        conditions = [self.condition(guard, guards, symbols)[0] for guard in access_guards]
        inside, outside = self.shaped(inside, symbols), self.shaped(outside, symbols)
        return self.let(f"tl.where({' & '.join(conditions)}, {inside}, {outside})", symbols)


def truth(expression: str, symbols: frozenset[str]) -> str:
    """A condition. A comparison of scalars is and-ed with a boolean, else the interpreter forgets that it is one."""
    return expression if symbols - {"b"} else f"(tl.full((), 1, tl.int1) & {expression})"


def rounded(expression: str, dtype: DType) -> str:
    """An expression in float32 rounded to a half precision, if that is its dtype."""
    if dtype is dtypes.bfloat16:
        return f"round_bf16({expression})"
    return f"({expression}).to(tl.float16).to(tl.float32)" if dtype is dtypes.float16 else expression


def accumulator(dtype: DType) -> str:
    """The type in which a reduction or a product of a dtype is accumulated."""
    return "tl.int32" if dtype.category < 2 and dtype.itemsize < 4 else COMPUTE[dtype]


def settled(expression: str, dtype: DType) -> str:
    """An accumulated result in the compute type of its dtype, rounded as if stored."""
    if dtype is dtypes.bool_:
        return f"({expression} != 0)"
    return rounded(f"{expression}.to({COMPUTE[dtype]})" if accumulator(dtype) != COMPUTE[dtype] else expression, dtype)


def operation(value: Value, names: list[str]) -> str:
    """A map on named operands as text."""
    primitive, source = value.primitive, value.sources[0].dtype
    if primitive is ops.CAST:
        return converted(names[0], source, value.dtype)
    return written(value, names, primitive.on_bool if source is dtypes.bool_ else "")


def written(value: Value, names: list[str], instead: str = "", **given: str) -> str:
    """The Triton text of an operation, or the one to be written instead, with its operands and what else it takes."""
    text = instead or value.primitive.triton
    if not isinstance(text, str):
        text = text(value.spec, *[source.spec for source in value.sources], *value.attrs)
    return text.format(*names, **given)


def converted(name: str, source: DType, target: DType) -> str:
    """A value converted from one dtype's compute type to another's."""
    if target is dtypes.bool_:
        return f"({name} != 0)"
    if source.is_floating_point and target.category == 1 and target.itemsize < 4:
        name += ".to(tl.int64)"         # a float outside a small integer's range wraps, as in PyTorch, not saturates
    return f"{name}.to({COMPUTE[target]})"
