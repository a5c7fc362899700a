"""Which elements of its sources an element of a value needs: all but products, reductions and users' kernels can say.

`accesses(value, coords)` is shared by the scheduler, which asks whether two nodes meet at the same elements, and by the
emitter, which writes the loads: what the one decides, the other finds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from typing import NamedTuple

from .. import ops
from ..graph.node import Kind
from ..graph.spec import Shape
from .index import ZERO, Coords, Index, Loaded, combine, floordiv, narrowed, of_base, regroup, split
from .program import Value


class Guard(NamedTuple):
    """A condition: low <= place < high, and place - low a multiple of step."""

    place: Index
    low: int
    high: int
    step: int = 1

    @property
    def always(self) -> bool:
        """Whether the place's own bounds imply the condition."""
        on_step = self.step == 1 or (self.place.low == self.place.high and (self.place.low - self.low) % self.step == 0)
        return on_step and self.place.low >= self.low and self.place.high < self.high

    @property
    def never(self) -> bool:
        """Whether the place's own bounds exclude the condition."""
        known = self.place.low == self.place.high
        return self.place.high < self.low or self.place.low >= self.high or (known and not self.always)


class Access(NamedTuple):
    """An element of a source, needed where all guards hold."""

    source: Value
    coords: Coords
    guards: tuple[Guard, ...] = ()


def broadcast(coords: Coords, shape: Shape) -> Coords:
    """The coordinates in a source of `shape` that broadcasts to where `coords` are."""
    lead = len(coords) - len(shape)
    return tuple(ZERO if size == 1 else coords[lead + axis] for axis, size in enumerate(shape))


def accesses(value: Value, coords: Coords) -> list[Access]:
    """What the element of `value` at `coords` is computed from."""
    if (special := SPECIAL.get(value.primitive)) is not None:
        return special(value, coords)
    if (place := PLACES.get(value.primitive)) is not None:
        return [Access(value.sources[0], place(value, coords))]
    if value.primitive.kind in (Kind.LEAF, Kind.CONSTANT):
        return []
    return [Access(source, broadcast(coords, source.shape)) for source in value.sources]


def _pad(value: Value, coords: Coords) -> list[Access]:
    source, = value.sources
    starts, _, steps = value.attrs
    guards: list[Guard] = []
    inner = []
    for c, start, step, size in zip(coords, starts, steps, source.shape, strict=True):
        guards.append(Guard(c, start, start + (size - 1) * step + 1, step))
        place = narrowed(combine([(c, 1)], -start), 0, (size - 1) * step)
        inner.append(narrowed(floordiv(place, step), 0, size - 1))
    if any(guard.never for guard in guards):
        return []
    return [Access(source, tuple(inner), tuple(g for g in guards if not g.always))]


def _cat(value: Value, coords: Coords) -> list[Access]:
    *_, dim = value.attrs
    found, start, at = [], 0, coords[dim]
    for source in value.sources:
        size = source.shape[dim]
        guard = Guard(at, start, start + size)
        if size and not guard.never:
            inside = narrowed(combine([(at, 1)], -start), 0, size - 1)
            found.append(Access(source, (*coords[:dim], inside, *coords[dim + 1:]), () if guard.always else (guard,)))
        start += size
    return found


def _take(value: Value, coords: Coords) -> list[Access]:
    source, index = value.sources
    lead, rest = coords[:len(index.shape)], coords[len(index.shape):]
    where = broadcast(lead, index.shape)
    row = of_base(Loaded(index, where, source.shape[0]))
    return [Access(index, where), Access(source, (row, *broadcast(rest, source.shape[1:])))]


def _windows(value: Value, coords: Coords) -> Coords:
    axis, _, step, dilation = value.attrs
    place = combine([(coords[axis], step), (coords[-1], dilation)])
    return (*coords[:axis], place, *coords[axis + 1:-1])


SPECIAL: dict[ops.Primitive, Callable[[Value, Coords], list[Access]]] = {
    ops.PAD: _pad, ops.CAT: _cat, ops.TAKE: _take}
# Views of one source, each element of which is one of the source's
PLACES: dict[ops.Primitive, Callable[[Value, Coords], Coords]] = {
    ops.RESHAPE: lambda value, coords: regroup(coords, value.shape, value.sources[0].shape),
    ops.PERMUTE: lambda value, coords: tuple(coords[value.attrs[0].index(axis)] for axis in range(len(coords))),
    ops.SLICE: lambda value, coords: tuple(combine([(c, step)], start) for c, start, step in
                                           zip(coords, value.attrs[0], value.attrs[2], strict=True)),
    ops.FLIP: lambda value, coords: tuple(combine([(c, -1)], value.shape[axis] - 1) if axis in value.attrs[0] else c
                                          for axis, c in enumerate(coords)),
    ops.WINDOWS: _windows}


def unviewed(value: Value, placed: Container[Value] = ()) -> Value:
    """What views of one source look at, as far as they are not `placed`."""
    while value.primitive.kind is Kind.VIEW and len(value.sources) == 1 and value not in placed:
        value, = value.sources
    return value


def reduced_shape(value: Value) -> tuple[Shape, Shape]:
    """Of a reduction: the sizes of the axes it keeps, and of those it folds."""
    axes, shape = value.attrs[0], value.sources[0].shape
    return (tuple(size for axis, size in enumerate(shape) if axis not in axes),
            tuple(size for axis, size in enumerate(shape) if axis in axes))


def reduced_sizes(value: Value) -> tuple[int, int]:
    """Of a reduction: how many values it makes, and of how many elements each."""
    kept, folded = reduced_shape(value)
    return math.prod(kept), math.prod(folded)


def reduction_coords(value: Value, r: Index, c: Index) -> Coords:
    """The source's coordinates where the kept axes are enumerated by r and the folded ones by c, row-major each."""
    kept, folded = map(iter, map(split, (r, c), reduced_shape(value)))
    return tuple(next(folded) if axis in value.attrs[0] else next(kept) for axis in range(len(value.sources[0].shape)))


def product_shape(value: Value) -> tuple[int, int, int, int]:
    """Of a matrix product: batch, M, N, K."""
    *batch, m, n = value.shape
    return math.prod(batch), m, n, value.sources[0].shape[-1]


def operand_coords(value: Value, b: Index, m: Index, n: Index, k: Index) -> tuple[Coords, Coords]:
    """Where a matrix product reads its two operands."""
    x, y = value.sources
    batch = split(b, value.shape[:-2])
    return (broadcast((*batch, m, k), x.shape), broadcast((*batch, k, n), y.shape))
