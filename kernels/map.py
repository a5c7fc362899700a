"""Elementwise template: one expression at every linear index.

The expression is `EXPR(ptrs, scalars, i, mask)`, with `i` a [BLOCK] tile of linear indices and `mask` true where
`i < numel`. It loads its operands (every masked load with `other=`), computes in float32 or wider and stores.
"""

import triton
import triton.language as tl


@triton.jit
def map_tile(pid, ptrs, scalars, numel, EXPR: tl.constexpr, BLOCK: tl.constexpr, INDEX: tl.constexpr):
    """Evaluate `EXPR` on tile number `pid` of BLOCK elements."""
    i = pid.to(INDEX) * BLOCK + tl.arange(0, BLOCK).to(INDEX)
    EXPR(ptrs, scalars, i, i < numel)


@triton.jit
def map_kernel(ptrs, scalars, numel, EXPR: tl.constexpr, BLOCK: tl.constexpr, INDEX: tl.constexpr):
    """Launch on a grid of (cdiv(numel, BLOCK),) programs."""
    map_tile(tl.program_id(0), ptrs, scalars, numel, EXPR, BLOCK, INDEX)


@triton.jit
def maps_kernel(
    ptrs,
    scalars,
    EXPRS: tl.constexpr,
    NUMELS: tl.constexpr,
    STARTS: tl.constexpr,
    BLOCK: tl.constexpr,
    INDEX: tl.constexpr,
):
    """Several maps, each over NUMELS[part] elements, by the programs STARTS[part] to STARTS[part + 1] - 1."""
    pid = tl.program_id(0)
    for part in tl.static_range(len(EXPRS)):
        if (pid >= STARTS[part]) & (pid < STARTS[part + 1]):
            map_tile(pid - STARTS[part], ptrs, scalars, NUMELS[part], EXPRS[part], BLOCK, INDEX)
