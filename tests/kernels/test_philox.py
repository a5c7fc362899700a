"""Philox4x32-10 against its authors' known answers, and the device function against its NumPy twin, bit for bit."""

import os

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from microtrain.kernels import philox as device
from microtrain.kernels.map import map_kernel
from microtrain.kernels.tiles import map_tile
from microtrain.runtime import philox

# Random123's kat_vectors, lines "philox4x32 10": counter, key, answer.
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000, 0x00000000, 0x00000000), (0x00000000, 0x00000000),
     (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF),
     (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]
SEEDS = [(0, 0), (1, 2), (-7, 2**40 + 5), (2**63 - 1, -1)]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_counter_is_index_then_stream_and_key_is_seed(counter, key, answer):
    index = np.array([counter[0] | counter[1] << 32], np.uint64)
    stream, seed = counter[2] | counter[3] << 32, key[0] | key[1] << 32
    assert [int(philox.philox_bits(seed, stream, index, word)[0]) for word in range(4)] == list(answer)


def test_count_and_array_of_indices_agree_in_any_order_and_shape():
    n = 2 * philox.CHUNK + 3
    words = philox.philox_bits(5, 9, n, 2)
    order = np.random.default_rng(0).permutation(n)
    assert words.dtype == np.uint32 and words.shape == (n,)
    assert np.array_equal(philox.philox_bits(5, 9, order, 2), words[order])
    assert np.array_equal(philox.philox_bits(5, 9, np.arange(12).reshape(3, 4), 2), words[:12].reshape(3, 4))
    assert philox.philox_bits(5, 9, 0).shape == (0,)
    assert philox.philox_bits(5, 9, np.int64(4)).shape == ()


def test_seed_stream_and_word_change_every_number():
    words = [philox.philox_bits(*key, 1000, word) for key in SEEDS for word in range(4)]
    for k, one in enumerate(words):
        for other in words[:k]:
            assert np.count_nonzero(one == other) <= 1  # 1000 chances in 2**32


def test_a_word_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"words 0 to 3, got word=4"):
        philox.philox_bits(0, 0, 1, 4)


@triton.jit
def philox_words(ptrs, scalars, i, mask):
    index = i + scalars[2]
    for word in tl.static_range(4):
        bits = device.philox_bits(scalars[0], scalars[1], index, word)
        tl.store(ptrs[0] + word * 1009 + i, bits.to(tl.int64), mask=mask)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="runs in Triton's interpreter")
@pytest.mark.parametrize(("seed", "stream"), SEEDS)
def test_device_functions_equal_their_numpy_twins_bit_for_bit(seed, stream):
    n = 1009
    for first in (0, 2**32 - 500):
        words = torch.empty(4, n, dtype=torch.int64)
        tile = map_tile(n, arch="interpret")
        map_kernel[tile.grid(n)]((words,), (seed, stream, first), n, philox_words, tile.block, tl.int64)
        index = first + np.arange(n)
        for word in range(4):
            assert np.array_equal(words[word].numpy(), philox.philox_bits(seed, stream, index, word))
