"""Philox4x32-10 in NumPy: the twin, bit for bit, of the device functions in `microtrain.kernels.philox`.

J. Salmon and others, Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011). Word number i of call number `stream` under
a seed is a pure function of the three, so the same seed gives the same numbers on every device, in any order.
"""

import numpy as np
from numpy.typing import NDArray

ROUNDS = 10
CHUNK = 1 << 14  # elements worked on at once, so that the ten rounds stay in the cache
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = 0x9E3779B9
_WEYL_1 = 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def philox_4x32(counter: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Encrypt counters [4, n], 32-bit words held in uint64, under a key of two 32-bit words; returns [4, n]."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product_0 = c0 * _MULTIPLIER_0
        product_1 = c2 * _MULTIPLIER_1
        c0, c1, c2, c3 = ((product_1 >> _32) ^ c1 ^ np.uint64(k0), product_1 & _LOW,
                          (product_0 >> _32) ^ c3 ^ np.uint64(k1), product_0 & _LOW)
        k0 = (k0 + _WEYL_0) & 0xFFFFFFFF
        k1 = (k1 + _WEYL_1) & 0xFFFFFFFF
    return np.stack((c0, c1, c2, c3))


def philox_bits(seed: int, stream: int, index: int | NDArray[np.integer], word: int = 0) -> NDArray[np.uint32]:
    """Random uint32 words.

    seed, stream: integers, taken modulo 2**64; one stream for each call of a random operation.
    index: a count n, for the elements 0 to n - 1, or an integer array of element numbers.
    word: which of the four output words of the block, 0 to 3; ValueError for another.
    Returns uint32 in the shape of `index`, or [n].
    """
    if word not in (0, 1, 2, 3):
        raise ValueError(f"a Philox4x32 block has words 0 to 3, got word={word}")
    at = np.arange(index, dtype=np.uint64) if isinstance(index, int) else np.asarray(index).astype(np.uint64)
    flat = at.reshape(-1)
    seed, stream = seed & 0xFFFFFFFFFFFFFFFF, stream & 0xFFFFFFFFFFFFFFFF
    words = np.empty(flat.shape, np.uint32)
    for start in range(0, flat.size, CHUNK):
        i = flat[start : start + CHUNK]
        high = np.full_like(i, stream >> 32)
        counter = np.stack((i & _LOW, i >> _32, np.full_like(i, stream & 0xFFFFFFFF), high))
        words[start : start + CHUNK] = philox_4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))[word]
    return words.reshape(at.shape)
