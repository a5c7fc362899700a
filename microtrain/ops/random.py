"""Random numbers: words of a counter-based generator, and the distributions made of them."""

from __future__ import annotations

import math

from ..graph import dtypes
from ..graph.constants import constant
from ..graph.dtypes import DType
from ..graph.node import Kind, Node, record
from ..graph.spec import Device, Shape
from . import core as g
from .table import row

RANDOM_BITS = row("random_bits", Kind.INDEX, lambda seed, stream, shape, word: (shape, dtypes.int64),
                  lambda out, seed, stream, shape, word: f"random_words({{0}}, {{1}}, {shape!r}, {word})",
                  lambda out, seed, stream, shape, word:
                      f"philox_bits({{0}}, {{1}}, ({{i}}) + tl.zeros([], {{INDEX}}), {word}).to(tl.int64)",
                  differentiable=False)
"""Word `word` of Philox4x32-10 at counter (element index, stream), key `seed`: integers in [0, 2**32) as int64."""


def random_bits(seed: int, stream: int, shape: Shape, word: int, device: Device) -> Node:
    """Random integers in [0, 2**32) as int64: word `word` of Philox4x32-10."""
    numbers = constant(seed, dtypes.int64, device), constant(stream, dtypes.int64, device)
    return record(RANDOM_BITS, numbers, (shape, word))


def uniform(seed: int, stream: int, shape: Shape, dtype: DType, device: Device) -> Node:
    """Uniform in [0, 1): as many random bits as the dtype has digits, so that nothing is rounded up to 1."""
    high = random_bits(seed, stream, shape, 0, device)
    if dtype is dtypes.float64:
        low = random_bits(seed, stream, shape, 1, device)
        bits = g.add(g.mul(g.floor_divide(high, 32), 2 ** 26), g.floor_divide(low, 64))
        return g.mul(g.cast(bits, dtype), 2.0 ** -53)
    digits = {"float32": 24, "float16": 11, "bfloat16": 8}[dtype.name]
    wide = g.cast(g.floor_divide(high, 2 ** (32 - digits)), dtypes.float32)
    return g.cast(g.mul(wide, 2.0 ** -digits), dtype)


def normal(seed: int, stream: int, shape: Shape, dtype: DType, device: Device) -> Node:
    """Standard normal by Box and Muller (1958): sqrt(-2 log u) cos(2 pi v), u in (0, 1], v in [0, 1)."""
    wide = dtype if dtype is dtypes.float64 else dtypes.float32
    words = [g.floor_divide(random_bits(seed, stream, shape, word, device), 256) for word in (0, 1)]
    u = g.mul(g.cast(g.add(words[0], 1), wide), 2.0 ** -24)
    v = g.mul(g.cast(words[1], wide), 2.0 ** -24 * 2 * math.pi)
    return g.cast(g.mul(g.sqrt(g.mul(g.log(u), -2.0)), g.cos(v)), dtype)
