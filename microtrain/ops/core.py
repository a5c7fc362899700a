"""The primitives: `elementwise`, and here reductions, products and views, each with its derivative and its function.

What derivatives and decompositions everywhere are written in.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Unpack

from ..graph import dtypes
from ..graph.node import Kind, Node, Primitive, literal, record, record1, record2
from ..graph.spec import Device, Shape, Spec
from . import shapes
from .elementwise import *  # noqa: F403
from .elementwise import bitwise_and, bitwise_or, cast, div, eq, expand, masked, mul, ne, where
from .table import Axes, Derivative, Options, row


def count(shape: Shape, axes: Axes) -> int:
    """How many elements a reduction over `axes` folds into one."""
    return math.prod([shape[axis] for axis in axes])


# --------------------------------------------------------------------------------------------------- reductions, matmul

def fold(name: str, function: str, numpy: str, *pairs: Derivative,
         **options: Unpack[Options]) -> tuple[Primitive, Callable[..., Node]]:
    """A reduction; in a kernel `row_<function>` and the accumulator functions of that name in `kernels.reductions`."""
    return folding(row(name, Kind.REDUCE, shapes.reduced, lambda out, x, axes: f"{numpy}({{0}}, {axes!r})", function,
                       *pairs, **options))


def folding(primitive: Primitive, *_: object) -> tuple[Primitive, Callable[..., Node]]:
    """A row whose attribute is the axes that it folds, and the function that records it."""
    def operation(x: Node, axes: Axes, keepdim: bool = False) -> Node:
        out = record1(primitive, x, (axes,))
        return keep(out, x.spec.shape, axes) if keepdim else out
    operation.__name__ = primitive.name
    return primitive, operation


def extremum(ct: Node, o: Node, x: Node, axes: Axes) -> Node:
    """Every element equal to the extremum takes an equal share."""
    best = eq(x, keep(o, x.shape, axes))
    if x.dtype.is_floating_point:
        best = bitwise_or(best, bitwise_and(ne(x, x), keep(ne(o, o), x.shape, axes)))
    share = div(ct, sum(cast(best, ct.dtype), axes))
    return masked(spread(share, x.shape, axes), best)


def _prod(ct: Node, o: object, x: Node, axes: Axes) -> Node:
    """ct times the product of all *other* elements, right where some are zero: the others' product by comparison."""
    kept = tuple(i for i in range(len(x.shape)) if i not in axes)
    n = count(x.shape, axes)
    shape = tuple(x.shape[i] for i in kept)
    rows = reshape(permute(x, (*kept, *axes)), (*shape, n))
    places = iota(n, x.device)
    same = eq(reshape(places, (n, 1)), reshape(places, (1, n)))
    others = prod(where(same, 1, reshape(rows, (*shape, 1, n))), (len(shape) + 1,))
    back = reshape(mul(reshape(ct, (*shape, 1)), others), (*shape, *[x.shape[i] for i in axes]))
    order = (*kept, *axes)
    return permute(back, tuple(order.index(i) for i in range(len(order))))


SUM, sum = fold("sum", "sum", "add.reduce", lambda ct, o, x, axes: spread(ct, x.shape, axes), "",
                identity=lambda dtype: 0)
AMAX, amax = fold("amax", "max", "maximum.reduce", extremum, "ox", identity=attrgetter("low"))
AMIN, amin = fold("amin", "min", "minimum.reduce", extremum, "ox", identity=attrgetter("high"))
PROD, prod = fold("prod", "prod", "multiply.reduce", _prod, "x", identity=lambda dtype: 1)


def keep(reduced: Node, shape: Shape, axes: Axes) -> Node:
    """A reduction's result with the reduced axes of `shape` put back, of size 1."""
    return reshape(reduced, kept_shape(shape, axes))


def kept_shape(shape: Shape, axes: Axes) -> Shape:
    """`shape` with size 1 along `axes`."""
    return tuple(1 if i in axes else size for i, size in enumerate(shape))


def spread(reduced: Node, shape: Shape, axes: Axes) -> Node:
    """A reduction's result spread over the axes it folded: the adjoint of a sum."""
    return expand(keep(reduced, shape, axes), shape)


MATMUL = row("matmul", Kind.MATMUL, shapes.matrix_product, "matmul({0}, {1})", "",
             lambda ct, o, x, y: matmul(ct, transpose(y)), "y", lambda ct, o, x, y: matmul(transpose(x), ct), "x",
             grad_name="MmBackward0")


def matmul(x: Node, y: Node) -> Node:
    """(..., M, K) @ (..., K, N), batch axes broadcast; both have at least two axes."""
    return record2(MATMUL, x, y)


# ---------------------------------------------------------------------------------------------------------------- views
RESHAPE = row("reshape", Kind.VIEW, shapes.reshaped, lambda out, x, shape: f"{{0}}.reshape({shape!r})", "",
              lambda ct, o, x, shape: reshape(ct, x.shape), "", grad_name="ViewBackward0")
PERMUTE = row("permute", Kind.VIEW, shapes.permuted, lambda out, x, dims: f"{{0}}.transpose({dims!r})", "",
              lambda ct, o, x, dims: permute(ct, tuple(dims.index(i) for i in range(len(dims)))), "")


def reshape(x: Node, shape: Shape) -> Node:
    """The same elements in row-major order in another shape."""
    return x if x.spec.shape == shape else record1(RESHAPE, x, (shape,))


def permute(x: Node, dims: Axes) -> Node:
    """Axes reordered: output axis i is input axis dims[i]."""
    return record1(PERMUTE, x, (dims,))


def transpose(x: Node, a: int = -2, b: int = -1) -> Node:
    """Two axes exchanged, by default the last two."""
    dims = list(range(x.spec.ndim))
    dims[a], dims[b] = dims[b], dims[a]
    return record1(PERMUTE, x, (tuple(dims),))


def _slice_numpy(out: Spec, x: Spec, starts: Shape, sizes: Shape, steps: Shape) -> str:
    pieces = [f"{a}:{a + (n - 1) * s + 1 if n else a}:{s}" for a, n, s in zip(starts, sizes, steps, strict=True)]
    return f"{{0}}[{', '.join(pieces)},]"


SLICE = row("slice", Kind.VIEW, shapes.sliced, _slice_numpy, "",
            lambda ct, o, x, starts, sizes, steps: pad(ct, starts, x.shape, steps), "")
PAD = row("pad", Kind.VIEW, shapes.padded,
          lambda out, x, starts, shape, steps: f"scatter_slice({{0}}, {starts!r}, {shape!r}, {steps!r})", "",
          lambda ct, o, x, starts, shape, steps: slice(ct, starts, x.shape, steps), "",
          grad_name="ConstantPadNdBackward0")


def slice(x: Node, starts: Shape, sizes: Shape, steps: Shape) -> Node:
    """Elements starts[d] + i*steps[d], i < sizes[d]; steps positive."""
    return record1(SLICE, x, (starts, sizes, steps))


def pad(x: Node, starts: Shape, shape: Shape, steps: Shape) -> Node:
    """Zeros of `shape` with x at starts[d] + i*steps[d]: the adjoint of `slice`."""
    return record1(PAD, x, (starts, shape, steps))


FLIP = row("flip", Kind.VIEW, shapes.flipped, lambda out, x, dims: f"flip({{0}}, {dims!r})", "",
           lambda ct, o, x, dims: flip(ct, dims), "")


def flip(x: Node, dims: Axes) -> Node:
    """x reversed along `dims`."""
    return record1(FLIP, x, (dims,))


def _cat(i: int, ct: Node, o: object, *arguments: Any) -> Node:
    *parts, dim = arguments
    start = builtins.sum([part.shape[dim] for part in parts[:i]])
    shape = parts[i].shape
    return slice(ct, tuple(start if d == dim else 0 for d in range(len(shape))), shape, (1,) * len(shape))


CAT = row("cat", Kind.VIEW, shapes.joined,
          lambda out, *arguments: f"concatenate(({', '.join(f'{{{i}}}' for i in range(len(arguments) - 1))},), "
                                  f"{arguments[-1]})", "", _cat, "", variadic=True)


def cat(nodes: tuple[Node, ...], dim: int) -> Node:
    """Nodes joined along an axis; the other sizes agree."""
    return record(CAT, nodes, (dim,))


def sum_to(x: Node, shape: Shape) -> Node:
    """x summed down to `shape`, which broadcasts to x's: the adjoint of broadcasting."""
    have = x.spec.shape
    if have == shape:
        return x
    lead = len(have) - len(shape)
    axes = []
    for i, size in enumerate(have):
        if i < lead:
            axes.append(i)
        elif lead < 0 or size != shape[i - lead]:
            if lead < 0 or shape[i - lead] != 1:
                raise RuntimeError(f"sum_to: shape {list(shape)} does not broadcast to {list(have)}")
            axes.append(i)
    return reshape(sum(x, tuple(axes)), shape)


# ------------------------------------------------------------------------------------------------------------- creation
IOTA = row("iota", Kind.INDEX, lambda like, n: ((n,), dtypes.int64), lambda out, like, n: f"arange({n})",
           "({i}).to(tl.int64)", differentiable=False)


def iota(n: int, device: Device) -> Node:
    """0, 1, ..., n-1 (int64)."""
    return record1(IOTA, literal(0, dtypes.int64, device), (n,))        # the source only says on which device
