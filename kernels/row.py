"""Row template: rows held on chip, with any number of reductions over each.

`BODY(ptrs, scalars, r, c, row_mask, mask)` gets row indices `r` [BLOCK_R, 1], column indices `c` [1, BLOCK_C],
`row_mask` [BLOCK_R, 1] and `mask` [BLOCK_R, BLOCK_C]. It loads each operand once, reduces with the
`row_*` functions of `reductions` (which mask the value first and return [BLOCK_R, 1]) and stores.
BLOCK_C is the power of two at or above COLS: softmax, layer norm and cross entropy read their row once.

A program of the slab template holds all rows of its slab, number `b`: `BODY(ptrs, scalars, b, r, c, row_mask, mask)`,
with `r` the row in the slab, may reduce over the rows with the `column_*` functions too. All threads of a row hold its
values; where there is much to compute of those, they are made vectors [BLOCK_R] (`reductions.flat`, `spread`). Its
tile may be of three axes, PARTS of its columns apart (`reductions.PARTS_FIRST`).
"""

import triton
import triton.language as tl

from .reductions import PARTS_FIRST


@triton.jit
def row_program(pid, ptrs, scalars, rows, BODY: tl.constexpr, COLS: tl.constexpr, BLOCK_R: tl.constexpr,
                BLOCK_C: tl.constexpr, INDEX: tl.constexpr):
    """Evaluate `BODY` on BLOCK_R rows, tile number `pid`, and all COLS columns."""
    r = pid.to(INDEX) * BLOCK_R + tl.arange(0, BLOCK_R).to(INDEX)[:, None]
    c = tl.arange(0, BLOCK_C).to(INDEX)[None, :]
    row_mask = r < rows
    BODY(ptrs, scalars, r, c, row_mask, row_mask & (c < COLS))


@triton.jit
def row_kernel(ptrs, scalars, rows, BODY: tl.constexpr, COLS: tl.constexpr, BLOCK_R: tl.constexpr,
               BLOCK_C: tl.constexpr, INDEX: tl.constexpr):
    """Launch on a grid of (cdiv(rows, BLOCK_R),) programs."""
    row_program(tl.program_id(0), ptrs, scalars, rows, BODY, COLS, BLOCK_R, BLOCK_C, INDEX)


@triton.jit
def slab_program(pid, ptrs, scalars, BODY: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, BLOCK_R: tl.constexpr,
                 BLOCK_C: tl.constexpr, PARTS: tl.constexpr, INDEX: tl.constexpr):
    """Evaluate `BODY` on all ROWS rows of COLS columns of slab number `pid`, a tile in PARTS parts side by side."""
    r = tl.arange(0, BLOCK_R).to(INDEX)[:, None]
    c = tl.arange(0, BLOCK_C // PARTS).to(INDEX)[None, :]
    if PARTS > 1:
        c += tl.arange(0, PARTS).to(INDEX)[:, None] * (BLOCK_C // PARTS)
        if PARTS_FIRST:
            c = c[:, None, :]
        else:
            r, c = r[:, :, None], c[None, :, :]
    row_mask = r < ROWS
    BODY(ptrs, scalars, pid.to(INDEX), r, c, row_mask, row_mask & (c < COLS))


@triton.jit
def slab_kernel(ptrs, scalars, BODY: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, BLOCK_R: tl.constexpr,
                BLOCK_C: tl.constexpr, PARTS: tl.constexpr, INDEX: tl.constexpr):
    """Launch on a grid of a program for each slab."""
    slab_program(tl.program_id(0), ptrs, scalars, BODY, ROWS, COLS, BLOCK_R, BLOCK_C, PARTS, INDEX)
