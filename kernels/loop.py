"""Loop template: a step of training many times in one launch, by one program.

`STEP(ptrs, k, zero)` does step number `k`, an int64: it calls the other templates' programs (`map_program`, ...) one
after another, with a barrier behind each, since what one leaves in memory the next one reads. The same holds of the
steps, so nothing is loaded ahead: `num_stages=1`. Where WATCHED is 0 or more, it returns a number, and the
step for which that is not finite is the last one; how many there were is stored at `ptrs[WATCHED]`.
"""

import triton
import triton.language as tl


@triton.jit
def turn(first, second, k):
    """Of a carried value's two buffers the one that step `k` reads, and step k - 1 has written."""
    return tl.multiple_of(tl.where(k % 2 == 0, first, second), 16)  # bytes, as every pointer that a kernel is given


@triton.jit
def loop_kernel(ptrs, scalars, STEP: tl.constexpr, WATCHED: tl.constexpr):
    """Launch on a grid of one program. `scalars[0]` is the number of steps, 1 or more."""
    zero = tl.full((), 0, tl.int32)
    first = tl.full((), 0, tl.int64)
    if WATCHED >= 0:
        k = first
        going = k < scalars[0]
        while going:
            seen = STEP(ptrs, k, zero)
            k += 1
            going = (tl.abs(seen) < float("inf")) & (k < scalars[0])
        tl.store(ptrs[WATCHED], k)
    else:
        for k in tl.range(0, scalars[0], num_stages=1):
            STEP(ptrs, first + k, zero)
