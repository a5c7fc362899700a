"""Reduction template: rows too long for the chip, walked in column tiles.

Lane by lane the tiles are combined into one accumulator tile, which is reduced on chip once at the end: the order of
the additions depends on BLOCK_C alone, so the same tile choice gives the same bits. No atomics.
A full reduction is two launches: [chunks, length] first, then the [1, chunks] partial results.

- `LOAD(ptrs, scalars, r, c, mask)` returns the values [BLOCK_R, BLOCK_C]; the template masks them with IDENTITY;
- `COMBINE(a, b)` and `FINISH(acc) -> [BLOCK_R, 1]` are a pair of `reductions`: `combine_sum`, `finish_sum` and so on;
- `EPILOGUE(ptrs, scalars, r, acc, row_mask)` gets the result [BLOCK_R, 1] and stores it.
"""

import triton
import triton.language as tl


@triton.jit
def reduce_program(pid, ptrs, scalars, rows, cols, LOAD: tl.constexpr, COMBINE: tl.constexpr, FINISH: tl.constexpr,
                   EPILOGUE: tl.constexpr, IDENTITY: tl.constexpr, ACC: tl.constexpr, BLOCK_R: tl.constexpr,
                   BLOCK_C: tl.constexpr, INDEX: tl.constexpr):
    """Reduce BLOCK_R rows, tile number `pid`, over `cols` columns, accumulating in dtype ACC.

    With `cols` 0 the result is FINISH of the identity.
    """
    r = pid.to(INDEX) * BLOCK_R + tl.arange(0, BLOCK_R).to(INDEX)[:, None]
    offs_c = tl.arange(0, BLOCK_C).to(INDEX)[None, :]
    row_mask = r < rows
    identity = tl.full([BLOCK_R, BLOCK_C], IDENTITY, ACC)
    acc = identity
    for start in range(0, cols, BLOCK_C):
        c = start + offs_c
        mask = row_mask & (c < cols)
        value = LOAD(ptrs, scalars, r, c, mask)
        acc = COMBINE(acc, tl.where(mask, value.to(ACC), identity))
    EPILOGUE(ptrs, scalars, r, FINISH(acc), row_mask)


@triton.jit
def reduce_kernel(ptrs, scalars, rows, cols, LOAD: tl.constexpr, COMBINE: tl.constexpr, FINISH: tl.constexpr,
                  EPILOGUE: tl.constexpr, IDENTITY: tl.constexpr, ACC: tl.constexpr, BLOCK_R: tl.constexpr,
                  BLOCK_C: tl.constexpr, INDEX: tl.constexpr):
    """Launch on a grid of (cdiv(rows, BLOCK_R),) programs."""
    reduce_program(tl.program_id(0), ptrs, scalars, rows, cols, LOAD, COMBINE, FINISH, EPILOGUE, IDENTITY, ACC,
                   BLOCK_R, BLOCK_C, INDEX)
