"""How a group may take one more node along: the domains that it could then run over, and where its members would be.

What is offered here is a proposal: the scheduler checks that every value which the group computes itself is then read
where it is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..graph import primitives as p
from ..graph.node import Kind
from ..graph.opaque import CALL, OUTPUT
from ..kernels.tiles import ROW_MAX
from .access import accesses, operand_coords, product_shape, reduced_sizes, reduction_coords
from .domain import Domain, Fold, MapDomain, MatmulDomain, OpaqueDomain, ReduceDomain, RowDomain, SlabDomain
from .group import Group, fold_of
from .index import ZERO, Coords, Index, linear, substituted
from .lower import SLABS_MIN
from .program import Value

SMALL = 1 << 16
"""Elements up to which a launch costs more than the work, so that unrelated operations share one."""

Members = dict[Value, Index]
Offers = Iterator[tuple[Domain, Members]]


def domain_of(node: Value) -> Domain:
    """The domain of a kernel opened for `node`."""
    if node.primitive.kind is Kind.MATMUL:
        return MatmulDomain(*product_shape(node))
    if node.primitive is CALL:
        return OpaqueDomain(node.attrs[0])
    if node.primitive.kind is Kind.REDUCE:
        rows, cols = reduced_sizes(node)
        row = RowDomain(rows, cols) if cols <= ROW_MAX else ReduceDomain(rows, cols)
        return partial_sums(node) or row
    return MapDomain(node.spec.numel)


def position_in(domain: Domain, node: Value) -> Index:
    """The place of `node` in a kernel opened for it."""
    if node.primitive.kind is Kind.REDUCE:
        return domain.folds(*reduced_sizes(node))[-1].kept
    return domain.layouts(node.spec.numel)[0]


def partial_sums(node: Value) -> SlabDomain | None:
    """The slabs that a sum over the rows of each is made of: what `lower` makes of one over the rows of a matrix."""
    source = node.sources[0]
    if len(source.shape) < 3 or node.attrs[0] != (1,) or source.shape[0] == 1 or source.spec.numel < SLABS_MIN:
        return None
    height, cols = source.shape[1], source.shape[-1]
    return next(iter(SlabDomain.of(node.spec.numel // cols, height, cols, node.dtype.itemsize)), None)


def welcomes(group: Group, node: Value, loads: frozenset[Value]) -> bool:
    """Whether a group takes along what does not depend on it: maps what reads the same memory, rows also what is small
    or reduces as they do, products the sums of an operand."""
    template, kind = group.domain.template, node.primitive.kind
    shares = bool(group.reads.keys() & loads)
    if template == "map" and kind is not Kind.REDUCE:
        return shares                   # other maps share the launch, not the elements: see `horizontal`
    if template == "matmul":
        return shares and kind is Kind.REDUCE
    if template not in ("map", "row", "slab"):
        return False
    return shares or group.domain.numel <= SMALL or (kind is Kind.REDUCE and alike(group.domain, node))


def alike(domain: Domain, node: Value) -> bool:
    """Whether rows can be reduced as `node` does it without being read another time."""
    rows, cols = reduced_sizes(node)
    return isinstance(domain, RowDomain) and any(wider.folds(rows, cols) for wider, *_ in _widened(domain, node))


def offers(group: Group, node: Value, place: Mapping[Value, Group]) -> Offers:
    """The domains that `group` could run over with `node` in it, and where its members would then be computed.

    `place` says which nodes are computed by a kernel already.
    """
    domain, members = group.domain, group.members
    kind = node.primitive.kind
    if kind is Kind.REDUCE:
        yield from _with_reduction(domain, members, node, place)
    elif kind is Kind.MATMUL:
        yield from _with_product(domain, members, node, place)
    elif kind is Kind.OPAQUE:
        if node.primitive is OUTPUT and node.sources[0] in members:
            yield domain, {**members, node: ZERO}
    elif domain.template != "opaque":
        positions = domain.layouts(node.spec.numel)
        if domain.template in ("row", "slab") and node.spec.numel == domain.numel:
            positions += [elements(m, fold_of(m, domain, place)) for m, place in members.items()
                          if m.primitive.kind is Kind.REDUCE and m.sources[0].spec.numel == domain.numel]
        for position in dict.fromkeys(positions):
            yield domain, {**members, node: position}


def elements(reduction: Value, fold: Fold) -> Index:
    """The row-major position, in a reduction's source, of the element at the symbols of a domain that does it so."""
    return linear(reduction_coords(reduction, fold.kept, fold.folded), reduction.sources[0].shape)


def _with_reduction(domain: Domain, members: Members, node: Value, place: Mapping[Value, Group]) -> Offers:
    """A row or its like takes a reduction of the same size; maps become rows; rows that fit on chip are held whole."""
    rows, cols = reduced_sizes(node)
    if isinstance(domain, MatmulDomain):
        product = next(iter(members))
        for fold in domain.folds(rows, cols):
            if sums_operand(node, fold, product, domain, place):
                yield domain, {**members, node: fold.kept}
    elif domain.template == "map":
        wanted = domain_of(node)
        if wanted.template in ("row", "slab"):
            fold = wanted.folds(rows, cols)[-1]
            natural = [elements(node, fold)] if domain.numel == wanted.numel else []
            for position in dict.fromkeys(natural + wanted.layouts(domain.numel)):
                yield wanted, {**dict.fromkeys(members, position), node: fold.kept}
    elif isinstance(domain, RowDomain) and domain.template != "reduce":
        for target, old, new in _widened(domain, node):
            moved = members if old == new else {m: substituted(place, old, new) for m, place in members.items()}
            for fold in target.folds(rows, cols):
                yield target, {**moved, node: fold.kept}


def _widened(domain: RowDomain, node: Value) -> Iterator[tuple[RowDomain, Index, Index]]:
    """The domains that one of rows can become for a reduction, each with the variable that is another there, and what
    it is.

    Rows may be held whole. A single row of n elements can be the rows, or the columns, of a reduction held whole. And
    for partial sums over `cols` of its rows at a time, rows can be cut into slabs.
    """
    rows, cols = reduced_sizes(node)
    itemsize = node.dtype.itemsize
    yield domain, ZERO, ZERO
    if isinstance(domain, SlabDomain):
        return
    for slab in SlabDomain.of(1, domain.rows, domain.cols, itemsize):
        yield slab, ZERO, ZERO
    if domain.rows == 1:
        for slab in SlabDomain.of(1, rows, cols, itemsize):
            if domain.cols == cols:
                yield slab, ZERO, ZERO
            if domain.cols == rows:
                yield slab, domain.c, slab.r
    elif domain.rows % cols == 0 and rows in (domain.rows // cols, domain.rows // cols * domain.cols):
        for slab in SlabDomain.of(domain.rows // cols, cols, domain.cols, itemsize):
            yield slab, domain.r, slab.r


def _with_product(domain: Domain, members: Members, node: Value, place: Mapping[Value, Group]) -> Offers:
    """A kernel of sums over rows becomes that of a product which has what they sum as an operand."""
    wanted = MatmulDomain(*product_shape(node))
    if domain.template != "row" or wanted.batch > 1:
        return
    assert isinstance(domain, RowDomain)
    if any(position != domain.r for position in members.values()):
        return
    for fold in wanted.folds(domain.rows, domain.cols):
        if all(sums_operand(m, fold, node, wanted, place) for m in members if m.primitive.kind is Kind.REDUCE):
            yield wanted, {node: wanted.layouts(node.spec.numel)[0], **dict.fromkeys(members, fold.kept)}


def sums_operand(node: Value, fold: Fold, product: Value, domain: MatmulDomain, place: Mapping[Value, Group]) -> bool:
    """Whether a reduction adds up exactly what a product reads as operand "a" or "b", `fold.over`."""
    if node.primitive is not p.SUM or node.dtype is not product.dtype or not node.dtype.is_floating_point:
        return False
    k = "ab".index(fold.over)
    coords = operand_coords(product, domain.b, domain.m, domain.n, domain.k)[k]
    return (behind(product.sources[k], coords, place)
            == behind(node.sources[0], reduction_coords(node, fold.kept, fold.folded), place))


def behind(node: Value, coords: Coords, place: Mapping[Value, Group]) -> tuple[Value, Coords]:
    """The element that inline views look at."""
    while node.primitive.kind is Kind.VIEW and node not in place:
        found: Any = accesses(node, coords)
        if len(found) != 1 or found[0].guards:
            break
        node, coords = found[0].source, found[0].coords
    return node, coords
