"""A kernel template, the group of operations that it computes, the kernel written for that, and its launch.

A template in `kernels` is the skeleton of a kernel: programs, tiles, masks, loops and the order of a reduction. Its
`Template` here is all that the compiler knows of it: what it runs over, which operations it can take, which functions
it wants written, which tiles it may have. The scheduler, the emitter and whatever explains or checks a kernel ask it,
and know no template by name.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar, NamedTuple

from ...graph.dtypes import DType
from ...graph.node import BUFFER, SCALAR, Kind
from ...kernels import tiles
from ...runtime.backend import CompiledKernel, Pointer
from ...runtime.compiling import POINTERS, Signature, compile_kernel, divisible_by_16, settle
from ..access import accesses, reduced_sizes, reduction_coords
from ..cpu.emit_numpy import NumpyExecutable
from ..cpu.reference import reference
from ..emit_value import Arguments, Body, Touch
from ..index import Coords, Index, Var, bases, linear, split, variable
from ..jit import Function, jitted
from ..program import Program, Value

SMALL = 1 << 16  # Elements up to which a launch costs more than the work, so that unrelated operations share one
Members = dict[Value, Index]


class Fold(NamedTuple):
    """How a template does a reduction: the symbols that enumerate the axes it keeps and those it folds.

    `over` names what is folded: "c", "r" or "rc" of a tile of rows, or "a" or "b" for an operand of a product. The
    result stands at the row-major position `kept`.
    """

    kept: Index
    folded: Index
    over: str


class Offer(NamedTuple):
    """A template that a group could run over with one more value in it, and where its members would be computed."""

    template: Template
    members: Members


def symbol(name: str, size: str) -> cached_property[Index]:
    """An attribute of a template: the Index of a symbol of which there are as many values as its field `size` says."""
    return cached_property(lambda template: variable(name, getattr(template, size)))


class Template(ABC):
    """One kernel's use of a template: the sizes that it runs over. An attribute for each of its symbols is its Index.

    `name` is how it is called where kernels are explained. `spread` are the symbols by which the elements that
    different programs compute are told apart; None if that is more than symbols can say. `ours` says that the kernel is
    written here: it runs only where its results are wanted, and NumPy can compute the same. `bundles` that several may
    share a launch, and `parts` are the groups that do.
    """

    name: ClassVar[str]
    spread: ClassVar[str | None] = None
    ours: ClassVar[bool] = True
    bundles: ClassVar[bool] = False
    parts: tuple[Group, ...] = ()

    # ------------------------------------------------------------------------------------------------ what it runs over

    @classmethod
    def opened(cls, value: Value) -> Template | None:
        """The template of a kernel opened for `value`; None where that is another one."""
        return None

    @cached_property
    def numel(self) -> int:
        """Elements of the largest values computed."""
        return 0

    @cached_property
    def terms(self) -> int:
        """Elements that one result is a sum of, at most."""
        return 1

    def layouts(self, numel: int) -> list[Index]:
        """The row-major positions at which a value of `numel` elements can be computed here."""
        return []

    def folds(self, kept: int, folded: int) -> list[Fold]:
        """The ways to reduce `kept` rows of `folded` elements here."""
        return []

    def fold(self, value: Value, position: Index) -> Fold:
        """How a reduction is done whose result stands at `position`."""
        return next(fold for fold in self.folds(*reduced_sizes(value)) if fold.kept == position)

    def position(self, value: Value) -> Index:
        """The place of the value that a kernel was opened for."""
        if value.primitive.kind is Kind.REDUCE:
            return self.folds(*reduced_sizes(value))[-1].kept
        return self.layouts(value.spec.numel)[0]

    def entry(self, value: Value, position: Index) -> list[tuple[Value, Coords]]:
        """The elements that a member at `position` is computed from, at the template's symbols."""
        if value.primitive.kind is Kind.REDUCE:
            fold = self.fold(value, position)
            return [(value.sources[0], reduction_coords(value, fold.kept, fold.folded))]
        return [(access.source, access.coords) for access in accesses(value, split(position, value.shape))]

    def in_one_program(self, position: Index) -> bool:
        """Whether no two programs compute the element at a position: it varies with all that tells them apart."""
        symbols = {base.name for base in bases(position) if isinstance(base, Var)}
        return self.spread is not None and all(symbol in symbols or not getattr(self, symbol).terms
                                               for symbol in self.spread)

    @abstractmethod
    def extent(self) -> str:
        """What a kernel runs over, in words."""

    # ---------------------------------------------------------------------------------------------- what it takes along

    def offers(self, members: Members, value: Value, place: Container[Value]) -> Iterator[Offer]:
        """The templates that a group over this one could run over with `value` in it too.

        A proposal: the scheduler checks that every value which the group computes itself is then read where it is
        computed. `place` has the values that are computed by a kernel already.
        """
        kind = value.primitive.kind
        if kind is Kind.REDUCE:
            yield from self.with_reduction(members, value, place)
        elif kind is Kind.MATMUL:
            yield from self.with_product(members, value, place)
        elif kind is not Kind.USER_KERNEL:
            yield from self.with_map(members, value)

    def with_map(self, members: Members, value: Value) -> Iterator[Offer]:
        """With an expression."""
        for position in self.layouts(value.spec.numel):
            yield Offer(self, {**members, value: position})

    def with_reduction(self, members: Members, value: Value, place: Container[Value]) -> Iterator[Offer]:
        """With a reduction."""
        yield from ()

    def with_product(self, members: Members, value: Value, place: Container[Value]) -> Iterator[Offer]:
        """With a matrix product."""
        yield from ()

    def welcomes(self, value: Value, shares: bool) -> bool:
        """Whether a group takes along what does not depend on it; it may read the same memory (`shares`)."""
        return False

    def attracts(self, value: Value, alone: bool) -> bool:
        """Whether a cheap map of a result had better be computed here than by its readers; `alone`: nothing else reads
        that result, which is then not stored at all."""
        return alone

    def together(self, parts: tuple[Group, ...]) -> Template:
        """The template of independent groups over templates of this kind in one launch."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------------ how it is written

    @abstractmethod
    def write(self, kernel: Kernel) -> None:
        """Write a kernel's functions and constants."""

    def reduced(self, body: Body, value: Value, position: Index) -> str:
        """Write a reduction whose result stands at `position`; returns the name of that."""
        raise NotImplementedError

    @abstractmethod
    def launches(self, kernel: Kernel, arch: str) -> Iterator[Launch]:
        """A launch for each tile that a kernel may have on an architecture, the best guess first."""

    def looped(self, kernel: Kernel, arch: str, num_warps: int) -> Launch:
        """The launch whose programs a single one of so many warps is to run one after another, in a loop of steps."""
        raise NotImplementedError

    def coarser(self, root: Value) -> list[DType]:
        """Dtypes to which operands may be rounded though no value has them."""
        return []


@dataclass
class Group:
    """What one kernel computes: its template, and for each value placed in it the row-major position computed at the
    template's symbols.

    `reads` are the leaves and other groups' values that it loads, `stores` the members that it writes to memory.
    """

    index: int
    template: Template
    members: Members = field(default_factory=dict)
    reads: dict[Value, None] = field(default_factory=dict)
    stores: list[Value] = field(default_factory=list)
    ops: int = 0

    @property
    def root(self) -> Value:
        """The first member: the reduction or product that the reduce and matmul templates compute."""
        return next(iter(self.members))

    @property
    def parts(self) -> tuple[Group, ...]:
        """The independent groups that share its launch, or the group itself."""
        return self.template.parts or (self,)

    def computes(self, value: Value, coords: Coords) -> bool:
        """Whether the element of `value` at `coords` is at hand where the group runs over its symbols."""
        return value in self.members and linear(coords, value.shape) == self.members[value]

    def size(self, symbol: str) -> int:
        """How many values a symbol has: of the rows of a slab, those of one."""
        index: Index = getattr(self.template, symbol)
        return next((base.size for base in bases(index) if isinstance(base, Var) and base.name == symbol), 1)


class Schedule(list[Group]):
    """Groups in the order in which they run, of `program` (lowered); `place` says which group computes a value."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.place: dict[Value, Group] = {}


class Kernel:
    """A group ready to be compiled: emitted functions by the template's parameter, and its arguments in order.

    `pointers` lists buffers read, then buffers written (`stores`); `constants` are the template's other constexprs that
    follow from the dtypes, type names as text ("tl.float32"), `operand_bytes` what is loaded for an element of a
    product's operands. `bodies` wrote its functions: they know what is loaded and stored where.
    """

    operand_bytes = (0, 0)

    def __init__(self, group: Group, schedule: Schedule) -> None:
        """Writes the kernel of a group of a schedule."""
        self.group, self.schedule = group, schedule
        self.pointers = in_memory(group)
        self.scalars = [value for value in group.reads if value.primitive is SCALAR]
        largest = [*[part.template.numel for part in group.parts], *[value.spec.numel for value in self.pointers]]
        self.wide = tiles.index_bits(max(largest)) == 64
        self.functions: dict[str, Function | tuple[Function, ...]] = {}
        self.constants: dict[str, Any] = {}
        self.bodies: list[Body] = []
        self.arguments = self.taking(group)
        group.template.write(self)

    def taking(self, part: Group, first: int = 0) -> Arguments:
        """What a function is given for a part of the kernel whose pointers are there from number `first` on."""
        return Arguments({value: first + k for k, value in enumerate(in_memory(part))},
                         {value: k for k, value in enumerate(self.scalars)}, self.index_type)

    def begin(self, masks: dict[frozenset[str], str], part: Group | None = None,
              given: Arguments | None = None, flat: bool = False) -> Body:
        """A function begun, of the kernel or of a part of it: `masks` and `flat` as a Body's."""
        group = part or self.group
        made = Body(group, given or self.arguments, masks, self.schedule.place, self.overwrites(group), flat)
        self.bodies.append(made)
        return made

    def overwrites(self, group: Group) -> bool:
        """Whether a kernel with several results may be given the memory of an input that it reads for one of them.

        Threads that hold an element twice must then have loaded it before another one stores it. With a single result,
        which an element reaches only through the thread that stores it, there is nobody to disturb.
        """
        given = {value.spec for value in group.reads if value.primitive is BUFFER}
        written = [value.spec for value in group.stores if value in self.schedule.program.outputs]
        return len(group.stores) > 1 and not given.isdisjoint(written)

    @cached_property
    def touches(self) -> dict[str, list[Touch]]:
        """What is loaded and stored, by statement (listed for each function that has it)."""
        found: dict[str, list[Touch]] = {}
        for statement, touch in [noted for body in self.bodies for noted in body.touches]:
            found.setdefault(statement, []).append(touch)
        return found

    @property
    def emitted(self) -> list[Function]:
        """All its functions."""
        return [f for value in self.functions.values() for f in (value if isinstance(value, tuple) else (value,))]

    @property
    def index_type(self) -> str:
        """The type of the kernel's indices."""
        return "tl.int64" if self.wide else "tl.int32"

    def constexprs(self, **tile: object) -> dict[str, Any]:
        """The emitted functions, type names resolved, and the tile."""
        import triton.language as tl

        def resolved(value: object) -> object:
            return getattr(tl, value[3:]) if isinstance(value, str) and value.startswith("tl.") else value

        found = {name: tuple(map(jitted, given)) if isinstance(given, tuple) else jitted(given)
                 for name, given in self.functions.items()}
        found |= {name: resolved(value) for name, value in (self.constants | {"INDEX": self.index_type}).items()}
        return found | tile

    def launch(self, arch: str) -> Launch:
        """Its launch with the tile that is the best guess for an architecture ("sm_90", "interpret")."""
        return next(self.group.template.launches(self, arch))

    def launches(self, arch: str, at_most: int) -> list[Launch]:
        """Its launches with the tiles that its template offers, the best guess first."""
        return list(islice(self.group.template.launches(self, arch), at_most))


def in_memory(group: Group) -> list[Value]:
    """The buffers that a kernel reads, then those that it writes."""
    return [*[value for value in group.reads if value.primitive is not SCALAR], *group.stores]


def encoded(value: Any, dtype: DType) -> int:
    """A run-time number of a dtype as the int64 that a kernel takes: a float as the bits of a float64."""
    if dtype.is_floating_point:
        return int(struct.unpack("<q", struct.pack("<d", value))[0])
    return int(value)


def options(num_warps: int, num_stages: int = 3) -> dict[str, bool | int]:
    """What the compiler is told of our own kernels."""
    return {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": tiles.ENABLE_FP_FUSION}


@dataclass(eq=False)
class Launch:
    """One kernel launch but for its buffers and scalars.

    `function` is the `@triton.jit` function, `sizes` are the run-time integers that follow `ptrs` and `scalars`,
    `constexprs` what is known when it is compiled, `options` what the compiler is told: warps, stages, whether it may
    contract multiplications and additions. `take_pointers` and `take_scalars` pick its arguments from the memory of a
    run, once that is laid out.
    """

    kernel: Kernel
    function: Any
    grid: tuple[int, ...]
    sizes: dict[str, int]
    constexprs: dict[str, Any]
    options: dict[str, bool | int]
    queue: Any = None       # how the device queues it, once it has
    take_pointers: Callable[[list[Pointer]], tuple[Pointer, ...]] = field(init=False, repr=False)
    take_scalars: Callable[[list[Pointer]], tuple[int, ...]] = field(init=False, repr=False)

    @cached_property
    def rest(self) -> tuple[object, ...]:
        """The arguments that follow `ptrs` and `scalars`, the same in every run."""
        known = self.sizes | self.constexprs
        return tuple([known[name] for name in self.function.arg_names[2:]])

    @cached_property
    def meaning(self) -> NumpyExecutable:
        """What the kernel computes, in NumPy: from what its group reads, in that order, to what it stores."""
        return reference(self.kernel.group.reads, self.kernel.group.stores)

    def arguments(self, pointers: tuple[Pointer, ...], scalars: tuple[int, ...]) -> tuple[object, ...]:
        """All arguments of the kernel, in the order of its parameters."""
        return (pointers, scalars, *self.rest)

    def signature(self) -> tuple[Signature, list[str]]:
        """The types of the kernel's parameters, and the integers divisible by 16."""
        integer = "i64" if self.kernel.wide else "i32"
        kinds: dict[str, str | tuple[str, ...]] = {"ptrs": self.pointer_types(),
                                                   "scalars": ("i64",) * len(self.kernel.scalars)}
        return ({name: kinds.get(name, integer if name in self.sizes else "constexpr")
                 for name in self.function.arg_names},
                [name for name, size in self.sizes.items() if size % 16 == 0])

    def pointer_types(self) -> tuple[str, ...]:
        """How Triton writes the types of the pointers."""
        return tuple([POINTERS[value.dtype.name] for value in self.kernel.pointers])

    def compiled(self, kernels: dict[object, CompiledKernel]) -> CompiledKernel:
        """Triton's CompiledKernel for the GPU at hand, good for every run.

        `kernels` are those that were compiled for it before: equal launches of different plans share one.
        """
        signature, even = self.signature()
        settle(self.function)
        # An emitted function's name tells it from all others; equal numbers of different types must not meet.
        key = (self.function, repr((signature, even, self.constexprs, self.options)))
        kernel = kernels.get(key)
        if kernel is None:
            kernel = kernels[key] = compile_kernel(self.function, signature, self.constexprs,
                                                   divisible_by_16(signature, even), self.options)
        return kernel
