"""Elementwise template: one expression at every linear index.

The expression is `EXPR(ptrs, scalars, i, mask)`, with `i` a [BLOCK] tile of linear indices and `mask` true where
`i < numel`. It loads its operands (every masked load with `other=`), computes in float32 or wider and stores.
"""

import triton
import triton.language as tl


@triton.jit
def map_program(pid, ptrs, scalars, numel, EXPR: tl.constexpr, BLOCK: tl.constexpr, INDEX: tl.constexpr):
    """Evaluate `EXPR` on tile number `pid` of BLOCK elements."""
    i = pid.to(INDEX) * BLOCK + tl.arange(0, BLOCK).to(INDEX)
    EXPR(ptrs, scalars, i, i < numel)


@triton.jit
def map_kernel(ptrs, scalars, numel, EXPR: tl.constexpr, BLOCK: tl.constexpr, INDEX: tl.constexpr):
    """Launch on a grid of (cdiv(numel, BLOCK),) programs."""
    map_program(tl.program_id(0), ptrs, scalars, numel, EXPR, BLOCK, INDEX)


@triton.jit
def chosen(pid, values, FIRST: tl.constexpr, STARTS: tl.constexpr, PART: tl.constexpr, COUNT: tl.constexpr):
    """Of COUNT `values` from FIRST on, one for each part from PART on: that of the part which program `pid` works on.

    A chain of scalar selections: as Triton has no table of pointers, and each branch would be compiled by itself.
    """
    value = values[FIRST]
    for k in tl.static_range(1, COUNT):
        value = tl.where(pid >= STARTS[PART + k], values[FIRST + k], value)
    return value


@triton.jit
def roles(pid, ptrs, FIRST: tl.constexpr, STARTS: tl.constexpr, PART: tl.constexpr, COUNT: tl.constexpr,
          ROLES: tl.constexpr):
    """The ROLES pointers of the part which program `pid` works on; COUNT for each role lie at `ptrs[FIRST]`."""
    last = chosen(pid, ptrs, FIRST + (ROLES - 1) * COUNT, STARTS, PART, COUNT)
    last = tl.multiple_of(last, 16)  # bytes, as every pointer that a kernel is given
    if ROLES == 1:
        return (last,)
    else:
        return roles(pid, ptrs, FIRST, STARTS, PART, COUNT, ROLES - 1) + (last,)  # noqa: RUF005 (Triton knows no *)


@triton.jit
def maps_program(pid, ptrs, scalars, EXPR: tl.constexpr, FIRST: tl.constexpr, NUMELS: tl.constexpr,
                 STARTS: tl.constexpr, PART: tl.constexpr, COUNT: tl.constexpr, ROLES: tl.constexpr,
                 DIVISOR: tl.constexpr, BLOCK: tl.constexpr, INDEX: tl.constexpr):
    """Evaluate `EXPR` on a tile of one of COUNT parts that differ in their pointers and sizes alone.

    That of a part which is like no other knows its pointers' places among all `ptrs`.
    """
    if COUNT == 1:
        map_program(pid - STARTS[PART], ptrs, scalars, NUMELS[PART], EXPR, BLOCK, INDEX)
    else:
        start = chosen(pid, STARTS, PART, STARTS, PART, COUNT)
        numel = tl.multiple_of(chosen(pid, NUMELS, PART, STARTS, PART, COUNT), DIVISOR)
        own = roles(pid, ptrs, FIRST, STARTS, PART, COUNT, ROLES)
        map_program(pid - start, own, scalars, numel, EXPR, BLOCK, INDEX)


@triton.jit
def maps_kernel(ptrs, scalars, EXPRS: tl.constexpr, ROLES: tl.constexpr, FIRSTS: tl.constexpr, DIVISORS: tl.constexpr,
                PARTS: tl.constexpr, NUMELS: tl.constexpr, STARTS: tl.constexpr, BLOCK: tl.constexpr,
                INDEX: tl.constexpr):
    """Several maps, each over NUMELS[part] elements, by the programs STARTS[part] to STARTS[part + 1] - 1.

    Parts that differ in pointers and sizes alone are a class, and compiled once: class q has EXPRS[q] for the parts
    PARTS[q] to PARTS[q + 1] - 1, ROLES[q] pointers for each of them, role by role from `ptrs[FIRSTS[q]]` on, and sizes
    that DIVISORS[q] divides.
    """
    pid = tl.program_id(0)
    for q in tl.static_range(len(EXPRS)):
        if (pid >= STARTS[PARTS[q]]) & (pid < STARTS[PARTS[q + 1]]):
            maps_program(pid, ptrs, scalars, EXPRS[q], FIRSTS[q], NUMELS, STARTS, PARTS[q], PARTS[q + 1] - PARTS[q],
                         ROLES[q], DIVISORS[q], BLOCK, INDEX)
