"""Which elements of its sources one element of a node needs: every operation but a product or a reduction is indexable.

`accesses(node, coords)` is shared by the scheduler, which asks whether two nodes meet at the same elements, and by the
emitter, which writes the loads: what the one decides, the other finds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from .. import ops as p
from ..graph.node import Kind
from ..graph.spec import Shape
from .index import (
    ZERO,
    Coords,
    Index,
    Loaded,
    combine,
    floordiv,
    narrowed,
    of_base,
    regroup,
    split,
)
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


def accesses(node: Value, coords: Coords) -> list[Access]:
    """What the element of `node` at `coords` is computed from."""
    special = SPECIAL.get(node.primitive)
    if special is not None:
        return special(node, coords)
    if node.primitive.kind in (Kind.LEAF, Kind.CONSTANT):
        return []
    return [Access(source, broadcast(coords, source.shape)) for source in node.sources]


def _reshape(node: Value, coords: Coords) -> list[Access]:
    source, = node.sources
    return [Access(source, regroup(coords, node.shape, source.shape))]


def _permute(node: Value, coords: Coords) -> list[Access]:
    dims, = node.attrs
    return [Access(node.sources[0], tuple(coords[dims.index(axis)] for axis in range(len(dims))))]


def _slice(node: Value, coords: Coords) -> list[Access]:
    starts, _, steps = node.attrs
    return [Access(node.sources[0], tuple(combine([(c, step)], start)
                                          for c, start, step in zip(coords, starts, steps, strict=True)))]


def _flip(node: Value, coords: Coords) -> list[Access]:
    dims, = node.attrs
    return [Access(node.sources[0], tuple(combine([(c, -1)], size - 1) if axis in dims else c
                                          for axis, (c, size) in enumerate(zip(coords, node.shape, strict=True))))]


def _pad(node: Value, coords: Coords) -> list[Access]:
    source, = node.sources
    starts, _, steps = node.attrs
    guards: list[Guard] = []
    inner = []
    for c, start, step, size in zip(coords, starts, steps, source.shape, strict=True):
        guards.append(Guard(c, start, start + (size - 1) * step + 1, step))
        place = narrowed(combine([(c, 1)], -start), 0, (size - 1) * step)
        inner.append(narrowed(floordiv(place, step), 0, size - 1))
    if any(guard.never for guard in guards):
        return []
    return [Access(source, tuple(inner), tuple(g for g in guards if not g.always))]


def _windows(node: Value, coords: Coords) -> list[Access]:
    axis, _, step, dilation = node.attrs
    place = combine([(coords[axis], step), (coords[-1], dilation)])
    return [Access(node.sources[0], (*coords[:axis], place, *coords[axis + 1:-1]))]


def _cat(node: Value, coords: Coords) -> list[Access]:
    *_, dim = node.attrs
    found, start, at = [], 0, coords[dim]
    for source in node.sources:
        size = source.shape[dim]
        guard = Guard(at, start, start + size)
        if size and not guard.never:
            inside = narrowed(combine([(at, 1)], -start), 0, size - 1)
            found.append(Access(source, (*coords[:dim], inside, *coords[dim + 1:]), () if guard.always else (guard,)))
        start += size
    return found


def _take(node: Value, coords: Coords) -> list[Access]:
    source, index = node.sources
    lead, rest = coords[:len(index.shape)], coords[len(index.shape):]
    where = broadcast(lead, index.shape)
    row = of_base(Loaded(index, where, source.shape[0]))
    return [Access(index, where), Access(source, (row, *broadcast(rest, source.shape[1:])))]


SPECIAL: dict[p.Primitive, Callable[[Value, Coords], list[Access]]] = {
    p.RESHAPE: _reshape, p.PERMUTE: _permute, p.SLICE: _slice, p.FLIP: _flip, p.PAD: _pad, p.CAT: _cat, p.TAKE: _take,
    p.WINDOWS: _windows}


def reduced_shape(node: Value) -> tuple[Shape, Shape]:
    """Of a reduction: the sizes of the axes it keeps, and of those it folds."""
    axes, shape = node.attrs[0], node.sources[0].shape
    return (tuple(size for axis, size in enumerate(shape) if axis not in axes),
            tuple(size for axis, size in enumerate(shape) if axis in axes))


def reduced_sizes(node: Value) -> tuple[int, int]:
    """Of a reduction: how many values it makes, and of how many elements each."""
    kept, folded = reduced_shape(node)
    return math.prod(kept), math.prod(folded)


def reduction_coords(node: Value, r: Index, c: Index) -> Coords:
    """The source's coordinates where the kept axes are enumerated by r and the folded ones by c, row-major each."""
    kept, folded = map(iter, map(split, (r, c), reduced_shape(node)))
    return tuple(next(folded) if axis in node.attrs[0] else next(kept) for axis in range(len(node.sources[0].shape)))


def product_shape(node: Value) -> tuple[int, int, int, int]:
    """Of a matrix product: batch, M, N, K."""
    *batch, m, n = node.shape
    return math.prod(batch), m, n, node.sources[0].shape[-1]


def operand_coords(node: Value, b: Index, m: Index, n: Index, k: Index) -> tuple[Coords, Coords]:
    """Where a matrix product reads its two operands."""
    x, y = node.sources
    batch = split(b, node.shape[:-2])
    return (broadcast((*batch, m, k), x.shape), broadcast((*batch, k, n), y.shape))


