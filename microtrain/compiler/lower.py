"""Rewriting a program for kernels: operations that a template cannot take, or takes badly, in terms of others.

- a composite that the cpu device has a NumPy function for, and so kept, is decomposed;
- a reduction of nothing is its identity, a reduction over axes of size 1 a reshape;
- a product with a vector is a multiplication and a sum, so that it joins the kernels of rows; one with K = 1 a product
  of elements;
- a product with a small result and a long K is a batch of products of chunks, and their sum;
- an output that is a number becomes a value in memory;
- a long reduction of few rows is two: chunks first, then over the chunks. The order of the additions is fixed. Sums
  over the rows of a large matrix whose rows are reduced as well are cut alike, so that one kernel reads it once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .. import ops
from ..graph import dtypes
from ..graph.dtypes import HALF
from ..graph.node import Kind, Signature, interned
from ..kernels.tiles import ROW_MAX, cdiv, full_reduction, next_power_of_2
from .access import product_shape, reduced_sizes, unviewed
from .build import Builder, Traced
from .program import Program, Value

MAX_BATCH = 65535  # Matrices in one launch of the matmul template: the limit of a CUDA grid's second axis
# Rows from which a long reduction has a program for every processor without being split (an H200 has 132).
SPLIT_ROWS = 128
# A sum over leading axes longer than this is split whatever its rows: a program holds a few columns side by side, so
# that memory is read in whole sectors, and more do not fit.
COLUMNS_MAX = 4096
# Elements of a matrix from which it is worth a launch more to read it once: below, it is still in the L2 cache.
SLABS_MIN = 1 << 20
# Elements of a slab of a large matrix: half of what fits one program, so that one loads while another computes.
SLAB_ELEMENTS = 1 << 13
SECTOR = 8  # float32 numbers in the 32 bytes that memory is read by
SLAB_WIDTH = 128  # Columns of a slab where columns alone are added up: 512 bytes of float32 in a row
HEIGHT_MIN = 8  # Rows that are added up at a time, at least: partial sums are then an eighth of the matrix at most
# Rows and columns of the result to a program that keeps a processor busy. Where there are fewer such programs than
# processors, smaller tiles employ more of them, but every halving halves the operations for a byte read.
SPLIT_TILE = 64
# The least K of a chunk: 16 tiles of 64, some 4 us; another launch, and the chunks' results to be added up, cost 3.
SPLIT_LENGTH = 1024
# Fewer chunks than this gain little over smaller tiles: a result of more than 256 x 256 is left whole.
SPLIT_CHUNKS = 8
# Elements of a chunk of a long reduction: what is computed on the way fits the registers of 256 threads.
CHUNK_MAX = 4096


def lower(program: Program) -> Program:
    """The same program in operations that the templates take."""
    lowering = Lowering(program)
    new: dict[Value, Value] = {}
    for value in program.values:
        sources = tuple([new[source] for source in value.sources])
        new[value] = lowering.value(value.signature, sources) if value in lowering.carried else lowering.make(
            value.signature, sources)
    return lowering.program([lowering.in_memory(new[value]) for value in program.outputs])


class Lowering(Builder):
    """Makes values that the templates take, and knows how the sums over the rows of large matrices are cut.

    `heights` has the rows added up at a time, for sums of (kept, folded) elements; `carried` what a product adds up
    as it reads an operand, so that it is not cut.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.heights = agreed_heights(program)
        self.carried = carried_sums(program)
        self.copies: dict[Value, Value] = {}

    def make(self, signature: Signature, sources: tuple[Value, ...]) -> Value:
        rule = LOWERINGS.get(signature.primitive.kind)
        lowered = rule and rule(self, Value(signature, sources))
        return lowered or super().make(signature, sources)

    def in_memory(self, value: Value) -> Value:
        """A value, a number as one in memory."""
        if value.primitive not in (ops.SCALAR, ops.LITERAL):
            return value
        if value not in self.copies:
            self.copies[value] = self.apply(ops.IDENTITY, (value,))
        return self.copies[value]


def carried_sums(program: Program) -> set[Value]:
    """The sums over K of what a product that is not split has as an operand: bias gradients."""
    operands: set[tuple[Value, int, int]] = set()
    for value in program.values:
        if value.primitive is ops.MATMUL:
            batch, m, n, k = product_shape(value)
            if batch == 1 and m > 1 and n > 1 and not product_chunks(value):
                operands |= {(unviewed(x), size, k) for x, size in zip(value.sources, (m, n), strict=True)}
    return {value for value in program.values if value.primitive is ops.SUM
            and (unviewed(value.sources[0]), *reduced_sizes(value)) in operands}


def product_chunks(value: Value) -> int:
    """Into how many chunks of K a product with few tiles of result is cut; 0 where it is not."""
    batch, m, n, k = product_shape(value)
    tiles = max(batch, 1) * cdiv(m, SPLIT_TILE) * cdiv(n, SPLIT_TILE)
    chunks = min(SPLIT_ROWS // tiles, k // SPLIT_LENGTH) if tiles else 0
    return chunks if chunks >= SPLIT_CHUNKS and value.dtype.is_floating_point else 0


def agreed_heights(program: Program) -> dict[tuple[int, int], int]:
    """How many rows at a time to add up, by (kept, folded), where rows of a large matrix are reduced along both axes.

    A kernel over the rows then makes the partial sums as well, while it has them on chip: for each column, and of what
    there is for each row.
    """
    rows_of: set[tuple[int, int]] = set()
    columns_of: set[tuple[int, int]] = set()
    for value in program.values:
        if value.primitive.kind is Kind.REDUCE:
            kept, folded = reduced_sizes(value)
            if folded > 1:
                (columns_of if keeps_last(value) else rows_of).add((kept, folded))
        elif value.primitive is ops.MATMUL:
            batch, m, n, k = product_shape(value)
            transposed = [source.primitive is ops.PERMUTE for source in value.sources]
            if n == 1:
                (columns_of if transposed[0] else rows_of).add((batch * m, k))
            elif m == 1:
                (rows_of if transposed[1] else columns_of).add((batch * n, k))
    found: dict[tuple[int, int], int] = {}
    for rows, cols in sorted(rows_of):
        height = math.gcd(rows, SLAB_ELEMENTS // next_power_of_2(cols)) if cols <= SLAB_ELEMENTS else 0
        if rows * cols >= SLABS_MIN and height >= HEIGHT_MIN and (cols, rows) in columns_of - rows_of:
            found[cols, rows] = found[1, rows] = height
    return found


def _reduce(lowering: Lowering, value: Value) -> Value | None:
    rows, cols = reduced_sizes(value)
    if cols == 0:
        return lowering.g.filled(value.primitive.identity(value.dtype), value.spec)
    if cols == 1:
        return lowering.g.reshape(value.sources[0], value.shape)
    height = lowering.heights.get((rows, cols))
    if height is not None:
        return _in_two_stages(lowering, value, (cols // height, height), last=rows > 1)
    columns = keeps_last(value)
    height = math.gcd(cols, SLAB_ELEMENTS // SLAB_WIDTH)
    few = cols > ROW_MAX // SECTOR      # a program could hold columns whole, but less than a sector of each row
    if columns and few and rows % SLAB_WIDTH == 0 and rows * cols >= SLABS_MIN and height >= HEIGHT_MIN:
        return _in_two_stages(lowering, value, (cols // height, height), last=True, width=SLAB_WIDTH)
    if rows and (cols > COLUMNS_MAX if columns else cols > ROW_MAX and rows < SPLIT_ROWS):
        return _in_two_stages(lowering, value, chunked(cols, CHUNK_MAX), columns)
    return None


def keeps_last(value: Value) -> bool:
    """Whether a reduction keeps its source's last axis (of those longer than 1): neighbours in memory are not added."""
    axes, = value.attrs
    return max(axis for axis, size in enumerate(value.sources[0].shape) if size > 1) not in axes


def _in_two_stages(lowering: Lowering, value: Value, cut: tuple[int, int], last: bool,
                   width: int | None = None) -> Value:
    """(rows, cols) folded to (rows, chunks) and then to (rows,), partial sums of half precisions in float32.

    `cut` gives chunks and their length. Where the last axis is kept, (cols, rows) is folded instead: neighbours in
    memory stay neighbours; `width` cuts that axis as well.
    """
    g, (x,), (axes,) = lowering.g, value.sources, value.attrs
    rows, cols = reduced_sizes(value)
    kept = tuple(axis for axis in range(len(x.shape)) if axis not in axes)
    if value.dtype in HALF:
        x = g.cast(x, dtypes.float32)
    chunks, length = cut
    padded = chunks * length

    def oriented(cols: tuple[int, ...]) -> tuple[int, ...]:
        return (*cols, rows) if last else (rows, *cols)

    x = g.reshape(g.permute(x, (*axes, *kept) if last else (*kept, *axes)), oriented((cols,)))
    if padded != cols:
        x = g.pad(x, (0, 0), oriented((padded,)), (1, 1))
        identity = value.primitive.identity(x.dtype)
        if identity != 0:
            inside = g.reshape(g.lt(g.iota(padded, x.device), cols), (padded, 1) if last else (1, padded))
            x = g.where(inside, x, identity)
    x = g.reshape(x, oriented((chunks, length)))
    if width is not None:
        x = g.reshape(x, (chunks, length, rows // width, width))
    partial = lowering.apply(value.primitive, (x,), ((1,) if last else (2,),))
    if width is not None:
        partial = g.reshape(partial, (chunks, rows))
    again = interned(value.primitive, ((0,) if last else (1,),), (partial.spec,))
    total = lowering.make(again, (partial,))
    return g.reshape(g.cast(total, value.dtype), value.shape)


def chunked(cols: int, longest: int) -> tuple[int, int]:
    """(chunks, length) of a long row: without a remainder where `cols` has a divisor of the right size, else in chunks
    that start at multiples of 16 elements."""
    _, length = full_reduction(cols)
    length = min(length, longest)
    for divisor in range(length, min(2 * length, longest) + 1):
        if cols % divisor == 0:
            return cols // divisor, divisor
    length = 16 * cdiv(cdiv(cols, cdiv(cols, length)), 16)
    return cdiv(cols, length), length


def _matmul(lowering: Lowering, value: Value) -> Value | None:
    g, (x, y) = lowering.g, value.sources
    batch, m, n, k = product_shape(value)
    if k == 0:
        return g.filled(0, value.spec)
    if k == 1:
        return g.mul(x, y)
    wide = dtypes.float32 if value.dtype in HALF else value.dtype
    if m > 1 and n > 1 and batch <= MAX_BATCH:
        chunks = product_chunks(value)
        if not chunks:
            return None
        x, y = _in_chunks(g, x, -1, chunks), _in_chunks(g, y, -2, chunks)
        partial = lowering.apply(ops.MATMUL, (g.cast(x, wide), g.cast(y, wide)))
        return g.cast(lowering.apply(ops.SUM, (partial,), ((len(partial.shape) - 3,),)), value.dtype)
    rows = g.reshape(g.cast(x, wide), (*x.shape[:-1], 1, k))
    columns = g.reshape(g.cast(g.transpose(y), wide), (*y.shape[:-2], 1, y.shape[-1], k))
    products = g.mul(rows, columns)
    return g.cast(g.sum(products, (len(products.shape) - 1,)), value.dtype)


def _in_chunks(g: Traced, x: Value, axis: int, chunks: int) -> Value:
    """A matrix with `axis` in about as many chunks, numbered by a new axis before the matrix: without a remainder where
    the axis has a divisor of the right size, else filled up with zeros."""
    axis %= len(x.shape)
    k, rank = x.shape[axis], len(x.shape)
    shortest = cdiv(k, chunks)
    length = next((d for d in range(shortest, 2 * shortest) if k % d == 0), 16 * cdiv(shortest, 16))
    chunks = cdiv(k, length)
    if chunks * length != k:
        x = g.pad(x, (0,) * rank, (*x.shape[:axis], chunks * length, *x.shape[axis + 1:]), (1,) * rank)
    x = g.reshape(x, (*x.shape[:axis], chunks, length, *x.shape[axis + 1:]))
    order = [place for place in range(rank + 1) if place != axis]
    return g.permute(x, (*order[:rank - 2], axis, *order[rank - 2:]))


def _call(lowering: Lowering, value: Value) -> Value:
    """A user's kernel is handed memory, never a number."""
    return lowering.value(value.signature, tuple([lowering.in_memory(source) for source in value.sources]))


LOWERINGS: dict[Kind, Callable[[Lowering, Value], Value | None]] = {
    Kind.USER_KERNEL: _call, Kind.MATMUL: _matmul, Kind.REDUCE: _reduce}
