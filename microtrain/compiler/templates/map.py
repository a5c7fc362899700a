"""Every element of tensors of one size (`kernels/map.py`); and several such kernels of any sizes in one launch."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from ...graph.dtypes import DType
from ...graph.node import Kind
from ...kernels import loop_tiles, tiles
from ...kernels.tiles import MapTile
from ..emit_value import Body
from ..index import Index
from ..jit import Function, function
from ..program import Value
from .rows import elements, held_whole
from .template import SMALL, Group, Kernel, Launch, Members, Offer, Template, in_memory, options, symbol

# Pointers of a part that may be of a class with others: each is one more call within a call for Triton's compiler.
CLASS_ROLES = 12
MULTIPLE = 16  # What a size is a multiple of decides how wide accesses are, up to 16 elements
PARAMETERS = "ptrs, scalars, i, mask"
MASKS = {frozenset("i"): "mask"}


class Elementwise(Template):
    """What one map and several have in common."""

    def extent(self) -> str:
        sizes = [part.template.numel for part in self.parts] or [self.numel]
        return f"{' + '.join(map(str, sizes))} elements"

    def launches(self, kernel: Kernel, arch: str) -> Iterator[Launch]:
        itemsize = min(value.dtype.itemsize for value in kernel.pointers)
        for tile in tiles.map_tiles(self.numel, itemsize=itemsize, arch=arch):
            yield self.launch(kernel, tile)

    @abstractmethod
    def launch(self, kernel: Kernel, tile: MapTile) -> Launch:
        """The launch with a tile."""


@dataclass(frozen=True)
class Map(Elementwise):
    """Every element of tensors of `numel` elements."""

    numel: int = field()
    name = "map"
    spread = "i"
    bundles = True
    i = symbol("i", "numel")

    @classmethod
    def opened(cls, value: Value) -> Map:
        return cls(value.spec.numel)

    def layouts(self, numel: int) -> list[Index]:
        return [self.i] if numel == self.numel else []

    def with_reduction(self, members: Members, value: Value, place: Container[Value]) -> Iterator[Offer]:
        """Maps become rows that fit on chip."""
        wanted = held_whole(value)
        if wanted is not None:
            position = wanted.position(value)
            natural = [elements(value, wanted.fold(value, position))] if self.numel == wanted.numel else []
            for where in dict.fromkeys(natural + wanted.layouts(self.numel)):
                yield Offer(wanted, {**dict.fromkeys(members, where), value: position})

    def welcomes(self, value: Value, shares: bool) -> bool:
        """What reads the same memory, and small reductions: other maps share the launch, not the elements."""
        return shares or (value.primitive.kind is Kind.REDUCE and self.numel <= SMALL)

    def attracts(self, value: Value, alone: bool) -> bool:
        return False

    def together(self, parts: tuple[Group, ...]) -> Maps:
        return Maps(parts)

    def write(self, kernel: Kernel) -> None:
        kernel.functions["EXPR"] = function("map", PARAMETERS,
                                            kernel.begin(MASKS).finished(kernel.group.members, self.reduced))

    def looped(self, kernel: Kernel, arch: str, num_warps: int) -> Launch:
        return self.launch(kernel, loop_tiles.map_tile(self.numel, num_warps))

    def launch(self, kernel: Kernel, tile: MapTile) -> Launch:
        from ...kernels.map import map_kernel
        # Of a size that is no multiple of 16 Triton must know more than that for accesses wider than an element.
        known = {} if self.numel % 16 == 0 else {"numel": self.numel}
        return Launch(kernel, map_kernel, tile.grid(self.numel), {} if known else {"numel": self.numel},
                      kernel.constexprs(BLOCK=tile.block, **known), options(tile.num_warps))


@dataclass(frozen=True, eq=False)
class Maps(Elementwise):
    """Independent groups of maps, each over its own elements, expression and programs."""

    parts: tuple[Group, ...]
    name = "maps"

    @cached_property
    def numel(self) -> int:
        return sum(part.template.numel for part in self.parts)

    def write(self, kernel: Kernel) -> None:
        """Parts whose functions have the same text, whose buffers have the same dtypes and whose sizes the same
        divisors are a class: one function, and for each role the pointers of all parts."""
        def written(part: Group, first: int) -> tuple[Function, Body]:
            made = kernel.begin(MASKS, part, kernel.taking(part, first))
            return function("map", PARAMETERS, made.finished(part.members, part.template.reduced)), made

        classes: dict[tuple[str, tuple[DType, ...], int, int], list[tuple[Group, Function, Body]]] = {}
        for part in self.parts:
            roles = in_memory(part)
            expression, made = written(part, 0)
            alone = part.index if len(roles) > CLASS_ROLES else -1
            divisor = math.gcd(part.template.numel, MULTIPLE)
            kind = (expression.name, tuple([value.dtype for value in roles]), divisor, alone)
            classes.setdefault(kind, []).append((part, expression, made))
        pointers: list[Value] = []
        parts: list[Group] = []
        expressions: list[Function] = []
        found: dict[str, list[int]] = {name: [] for name in ("ROLES", "FIRSTS", "DIVISORS", "PARTS")}
        for (_, _, divisor, _), members in classes.items():
            (part, expression, made), *others = members
            if not others:
                kernel.bodies.remove(made)
                expression, _ = written(part, len(pointers))
            expressions.append(expression)
            row = (len(in_memory(part)), len(pointers), divisor, len(parts))
            for name, number in zip(found, row, strict=True):
                found[name].append(number)
            parts += [part for part, *_ in members]
            pointers += [value for role in zip(*[in_memory(part) for part, *_ in members], strict=True)
                         for value in role]
        kernel.pointers[:] = pointers
        kernel.functions["EXPRS"] = tuple(expressions)
        found["PARTS"].append(len(parts))
        kernel.constants |= {name: tuple(values) for name, values in found.items()}
        kernel.constants["NUMELS"] = tuple([part.template.numel for part in parts])

    def launch(self, kernel: Kernel, tile: MapTile) -> Launch:
        from ...kernels.map import maps_kernel
        starts = tuple(accumulate([tile.grid(size)[0] for size in kernel.constants["NUMELS"]], initial=0))
        return Launch(kernel, maps_kernel, (starts[-1],), {}, kernel.constexprs(STARTS=starts, BLOCK=tile.block),
                      options(tile.num_warps))
