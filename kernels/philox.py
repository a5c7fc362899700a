"""Philox4x32-10, a counter-based random generator: word number i of call number `stream`, with no state.

J. Salmon and others, Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011). The NumPy twin, equal bit for bit, is
`microtrain.runtime.philox`. `tl.philox` is the standard generator, checked against the authors' known answers.
"""

import triton
import triton.language as tl


@triton.jit
def philox_bits(seed, stream, i, WORD: tl.constexpr = 0):
    """Random uint32 words in the shape of `i`: output word WORD (0 to 3) of the block at counter
    (i low, i high, stream low, stream high) under the key (seed low, seed high).

    `seed` and `stream` are int64 scalars, `i` a tile of integers.
    """
    index = i.to(tl.int64)
    call = tl.zeros(i.shape, tl.int64) + stream
    words = tl.philox(tl.zeros([], tl.int64) + seed, (index & 0xFFFFFFFF).to(tl.uint32),
                      ((index >> 32) & 0xFFFFFFFF).to(tl.uint32), (call & 0xFFFFFFFF).to(tl.uint32),
                      ((call >> 32) & 0xFFFFFFFF).to(tl.uint32))
    return words[WORD]
