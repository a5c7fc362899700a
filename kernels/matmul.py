"""Tiled matrix multiplication template, batched, with a prologue on each load and an epilogue on the result.

C[b, m, n] = sum over k of A[b, m, k] * B[b, k, n], where

- `LOAD_A(ptrs, scalars, b, m, k, mask)` returns [BLOCK_M, BLOCK_K] for m [BLOCK_M, 1], k [1, BLOCK_K];
- `LOAD_B(ptrs, scalars, b, k, n, mask)` returns [BLOCK_K, BLOCK_N] for k [BLOCK_K, 1], n [1, BLOCK_N];
- `EPILOGUE(ptrs, scalars, b, m, n, acc, sum_a, sum_b, mask, once_m, once_n)` gets acc [BLOCK_M, BLOCK_N] of dtype ACC
  and stores. Where SUM_A (SUM_B), `sum_a` [BLOCK_M, 1] (`sum_b` [1, BLOCK_N]) is the sum over K of the operand: in a
  weight gradient, whose operand is the cotangent, that is the bias gradient, for which nothing is read again. Every
  program has it; what depends on m (n) alone is stored under `once_m` (`once_n`), by the first tile of columns (rows).
  SUM_A (SUM_B) is also in how many parts it is added up, every so manieth k in one, which are folded at the end: as
  many as threads share a row's loads need no word between threads inside the loop.

What a LOAD returns must be 0 where k is outside: a bare load is, with `other=0`, and a prologue sees to it itself, for
f(0) is seldom 0. The template adds nothing: anything but a conversion between a load and the product would take the
tile through registers, and tensor cores could not read it where an asynchronous copy has put it.

DOT picks the product of two tiles: `tl.dot` for floats (PRECISION is its `input_precision`, "ieee" unless the user
asked for TF32; OPERAND the dtype the tiles are rounded to before it), and a broadcast multiply and sum, in OPERAND too,
for integers, which `tl.dot` does not take. The interpreter's half-precision products are wrong, so interpreted kernels
take OPERAND = tl.float32 for them. Compiled, a half precision that was widened as it was loaded and is rounded back
here has gone nowhere: Triton cancels the two.

DIVISOR_M, DIVISOR_N and DIVISOR_K are powers of two that divide the sizes: where the block's side does, no mask is
needed along that axis; else accesses can be as wide as the divisor.

Split-K is this template with the K chunks as the batch, then a sum over it: a fixed order and no atomics.
"""

import triton
import triton.language as tl

GROUP_M = tl.constexpr(8)  # rows of tiles walked together, so that their tiles of B are still in the L2 cache


@triton.jit
def inside(offs, size, BLOCK: tl.constexpr, DIVISOR: tl.constexpr):
    """Which of the BLOCK offsets are below `size`, of which DIVISOR is a divisor: all, where it is BLOCK."""
    if DIVISOR % BLOCK == 0:
        return tl.full([BLOCK], 1, tl.int1)
    else:
        return offs < size // DIVISOR * DIVISOR


@triton.jit
def add(total, lost, term):
    """Add to a sum in two parts, whose second is what roundings have cut off the first (T. J. Dekker, 1971).

    Plain additions, one after the other, would err by the square root of their number. Integers lose nothing.
    """
    if total.dtype.is_floating():
        longer = total + term
        return longer, lost + ((total - longer) + term)
    else:
        return total + term, lost


@triton.jit
def whole(total, lost):
    """The sum of both parts; of an infinite sum the first alone, for the second is NaN."""
    if total.dtype.is_floating():
        return tl.where(tl.abs(lost) < float("inf"), total + lost, total)
    else:
        return total


@triton.jit
def matmul_program(pid, matrix, ptrs, scalars, M, N, K, LOAD_A: tl.constexpr, LOAD_B: tl.constexpr,
                   EPILOGUE: tl.constexpr, SUM_A: tl.constexpr, SUM_B: tl.constexpr, ACC: tl.constexpr,
                   DOT: tl.constexpr, PRECISION: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
                   BLOCK_K: tl.constexpr, INDEX: tl.constexpr, OPERAND: tl.constexpr, DIVISOR_M: tl.constexpr,
                   DIVISOR_N: tl.constexpr, DIVISOR_K: tl.constexpr):
    """Compute tile number `pid`, in grouped order, of product number `matrix`."""
    tiles_m = tl.cdiv(M, BLOCK_M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    b = matrix.to(INDEX)
    pid_m, pid_n = tl.swizzle2d(pid // tiles_n, pid % tiles_n, tiles_m, tiles_n, GROUP_M)
    offs_m = pid_m.to(INDEX) * BLOCK_M + tl.arange(0, BLOCK_M).to(INDEX)
    offs_n = pid_n.to(INDEX) * BLOCK_N + tl.arange(0, BLOCK_N).to(INDEX)
    offs_k = tl.arange(0, BLOCK_K).to(INDEX)
    mask_m = inside(offs_m, M, BLOCK_M, DIVISOR_M)
    mask_n = inside(offs_n, N, BLOCK_N, DIVISOR_N)
    acc = tl.zeros([BLOCK_M, BLOCK_N], ACC)
    sum_a = tl.zeros([BLOCK_M, SUM_A if SUM_A else 1], ACC)
    sum_b = tl.zeros([SUM_B if SUM_B else 1, BLOCK_N], ACC)
    lost_a, lost_b = sum_a, sum_b
    for start in range(0, K, BLOCK_K):
        k = start + offs_k
        mask_k = inside(k, K, BLOCK_K, DIVISOR_K)
        mask_a, mask_b = mask_m[:, None] & mask_k[None, :], mask_k[:, None] & mask_n[None, :]
        tile_a = LOAD_A(ptrs, scalars, b, offs_m[:, None], k[None, :], mask_a).to(OPERAND)
        tile_b = LOAD_B(ptrs, scalars, b, k[:, None], offs_n[None, :], mask_b).to(OPERAND)
        if SUM_A:
            parts_a = tl.sum(tl.reshape(tile_a.to(ACC), [BLOCK_M, BLOCK_K // SUM_A, SUM_A]), axis=1)
            sum_a, lost_a = add(sum_a, lost_a, parts_a)
        if SUM_B:
            parts_b = tl.sum(tl.reshape(tile_b.to(ACC), [BLOCK_K // SUM_B, SUM_B, BLOCK_N]), axis=0)
            sum_b, lost_b = add(sum_b, lost_b, parts_b)
        if DOT:
            acc = tl.dot(tile_a, tile_b, acc, input_precision=PRECISION, out_dtype=ACC)
        else:
            acc += tl.sum((tile_a[:, :, None] * tile_b[None, :, :]).to(ACC), axis=1)
    once_m = mask_m[:, None] & (pid_n == 0)
    once_n = mask_n[None, :] & (pid_m == 0)
    mask = mask_m[:, None] & mask_n[None, :]
    sum_a = tl.sum(whole(sum_a, lost_a), axis=1, keep_dims=True)
    sum_b = tl.sum(whole(sum_b, lost_b), axis=0, keep_dims=True)
    EPILOGUE(ptrs, scalars, b, offs_m[:, None], offs_n[None, :], acc, sum_a, sum_b, mask, once_m, once_n)


@triton.jit
def matmul_kernel(ptrs, scalars, M, N, K, LOAD_A: tl.constexpr, LOAD_B: tl.constexpr, EPILOGUE: tl.constexpr,
                  SUM_A: tl.constexpr, SUM_B: tl.constexpr, ACC: tl.constexpr, DOT: tl.constexpr,
                  PRECISION: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
                  INDEX: tl.constexpr, OPERAND: tl.constexpr, DIVISOR_M: tl.constexpr, DIVISOR_N: tl.constexpr,
                  DIVISOR_K: tl.constexpr):
    """Launch on a grid of (tiles of the result, matrices): at most 65535 of those."""
    matmul_program(tl.program_id(0), tl.program_id(1), ptrs, scalars, M, N, K, LOAD_A, LOAD_B, EPILOGUE, SUM_A, SUM_B,
                   ACC, DOT, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K, INDEX, OPERAND, DIVISOR_M, DIVISOR_N, DIVISOR_K)
