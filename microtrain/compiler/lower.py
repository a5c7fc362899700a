"""Rewriting a program for kernels: operations that a template cannot take, or takes badly, in terms of others.

- a reduction of nothing is its identity, a reduction over axes of size 1 a reshape;
- a product with a vector is a multiplication and a sum, so that it joins the kernels of rows; one with K = 1 a product
  of elements;
- an output that is a number becomes a value in memory;
- a long reduction of few rows is two: chunks first, then over the chunks. The order of the additions is fixed.
"""

from __future__ import annotations

import math

from ..graph import dtypes
from ..graph import ops as g
from ..graph import primitives as p
from ..graph.node import Node, literal, record, record1
from ..graph.tape import grad_mode
from ..kernels.tiles import ROW_MAX, full_reduction
from .access import product_shape, reduced_shape
from .program import Program, topological

MAX_BATCH = 65535
"""Matrices in one launch of the matmul template: the limit of a CUDA grid's second axis."""

SPLIT_ROWS = 128
"""Rows from which a long reduction has a program for every processor without being split (an H200 has 132)."""

IDENTITIES = {p.SUM: lambda dtype: 0, p.PROD: lambda dtype: 1, p.AMAX: dtypes.lowest, p.AMIN: dtypes.highest}
"""What a reduction starts from, given the dtype."""

HALF = (dtypes.float16, dtypes.bfloat16)


def lower(program: Program) -> Program:
    """The same program in operations that the templates take. A program that needs no change is returned as it is."""
    new: dict[Node, Node] = {}
    before, grad_mode.enabled = grad_mode.enabled, False
    try:
        for node in program.nodes:
            sources = tuple([new[s] for s in node.sources])
            replacement = LOWERINGS.get(node.primitive, lambda node, *sources: None)(node, *sources)
            if replacement is None:
                replacement = node if sources == node.sources else record(node.primitive, sources, node.attrs)
            new[node] = replacement
        outputs = [record1(p.IDENTITY, new[node]) if node.primitive in (p.SCALAR, p.LITERAL) else new[node]
                   for node in program.outputs]
    finally:
        grad_mode.enabled = before
    if outputs == program.outputs and all(new[node] is node for node in program.nodes):
        return program
    return Program(program.inputs, outputs, topological([*outputs, *program.inputs]), program.device)


def _constant(value: float, node: Node) -> Node:
    """A node of `node`'s spec that is `value` everywhere."""
    return record1(p.EXPAND, literal(value, node.dtype, node.device), (node.shape,))


def _reduce(node: Node, x: Node) -> Node | None:
    kept, folded = reduced_shape(node)
    rows, cols = math.prod(kept), math.prod(folded)
    if cols == 0:
        return _constant(IDENTITIES[node.primitive](node.dtype), node)
    if cols == 1:
        return record1(p.RESHAPE, x, (node.shape,))
    if cols > ROW_MAX and 0 < rows < SPLIT_ROWS:
        return _in_two_stages(node, x, rows, cols)
    return None


def _in_two_stages(node: Node, x: Node, rows: int, cols: int) -> Node:
    """(rows, cols) folded to (rows, chunks) and then to (rows,), partial sums of half precisions in float32.

    Where the last axis is kept, (cols, rows) is folded instead: neighbours in memory stay neighbours.
    """
    axes, = node.attrs
    kept = tuple(axis for axis in range(len(x.shape)) if axis not in axes)
    last = bool(kept) and x.shape[kept[-1]] > 1 and kept[-1] > axes[-1]
    if node.dtype in HALF:
        x = g.cast(x, dtypes.float32)
    chunks, length = chunked(cols)
    padded = chunks * length

    def oriented(cols: tuple[int, ...]) -> tuple[int, ...]:
        return (*cols, rows) if last else (rows, *cols)

    x = g.reshape(g.permute(x, (*axes, *kept) if last else (*kept, *axes)), oriented((cols,)))
    if padded != cols:
        x = g.pad(x, (0, 0), oriented((padded,)), (1, 1))
        identity = IDENTITIES[node.primitive](x.dtype)
        if identity != 0:
            inside = g.lt(g.iota(padded, x.device), literal(cols, dtypes.int64, x.device))
            inside = g.reshape(inside, (padded, 1) if last else (1, padded))
            x = g.where(inside, x, literal(identity, x.dtype, x.device))
    x = g.reshape(x, oriented((chunks, length)))
    partial = record1(node.primitive, x, ((1,) if last else (2,),))
    total = record1(node.primitive, partial, ((0,) if last else (1,),))
    return g.reshape(g.cast(total, node.dtype), node.shape)


def chunked(cols: int) -> tuple[int, int]:
    """(chunks, length) of a long row: without a remainder where `cols` has a divisor of the right size."""
    chunks, length = full_reduction(cols)
    for divisor in range(length, min(2 * length, ROW_MAX) + 1):
        if cols % divisor == 0:
            return cols // divisor, divisor
    return chunks, length


def _matmul(node: Node, x: Node, y: Node) -> Node | None:
    batch, m, n, k = product_shape(node)
    if k == 0:
        return _constant(0, node)
    if k == 1:
        return record(p.MUL, (x, y))
    if m > 1 and n > 1 and batch <= MAX_BATCH:
        return None
    wide = dtypes.float32 if node.dtype in HALF else node.dtype
    rows = g.reshape(g.cast(x, wide), (*x.shape[:-1], 1, k))
    columns = g.reshape(g.cast(g.transpose(y), wide), (*y.shape[:-2], 1, y.shape[-1], k))
    products = g.mul(rows, columns)
    total = record1(p.SUM, products, ((len(products.shape) - 1,),))
    return g.cast(_reduce(total, products) or total, node.dtype)


def _scalar(node: Node) -> Node | None:
    """A number that a composite brought along follows from shapes, so it is part of the structure."""
    return None if node.buffer is None else literal(node.buffer.item(), node.dtype, node.device)


LOWERINGS = {p.SCALAR: _scalar, p.MATMUL: _matmul, p.SUM: _reduce, p.PROD: _reduce, p.AMAX: _reduce, p.AMIN: _reduce}

