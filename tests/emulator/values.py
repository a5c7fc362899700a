"""Values for the emulator's instructions, and what these are to make of them, in exact numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np

N = 64
RNG = np.random.default_rng(7)


def integers(kind: str) -> np.ndarray:
    """Small ones, extremes, and any bits."""
    info = np.iinfo(kind)
    edges = [info.min, info.max, 0, 1, info.max // 2, info.max - 1, 7, 31]
    some = RNG.integers(info.min, info.max, N - 24, dtype=kind, endpoint=True)
    return np.concatenate([np.array(edges, kind), some, RNG.integers(0, 40, 16).astype(kind)])


def reals(kind: str = "f4") -> np.ndarray:
    """Any sizes, the special values, and numbers that are close to each other."""
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.5, 2.5, 3.5, -0.5, 1e-40, -1e-42, 65504, 1e9, 3e38])
    spread = RNG.standard_normal(N - 31) * 2.0 ** RNG.integers(-20, 20, N - 31)
    values = np.concatenate([special, spread, RNG.standard_normal(16)])
    with np.errstate(over="ignore"):
        return RNG.permutation(values).astype("f4").astype(kind)


def halves(kind: str) -> np.ndarray:
    """Two 16-bit floats in a register, as uint32[N]."""
    return packed([reals(), reals()], kind)


BF16 = ml_dtypes.bfloat16
PACKED = {"rn.f16x2": np.float16, ".bf16x2": BF16, "e4m3x2": ml_dtypes.float8_e4m3fn, "e5m2x2": ml_dtypes.float8_e5m2,
          ".f16x2": np.float16}
"""What results hold two of, by a part of the instruction."""


def wrapped(value: int, kind: str) -> int:
    """An integer as the type holds it."""
    bits = 8 * np.dtype(kind).itemsize
    value &= (1 << bits) - 1
    return value - (1 << bits) if kind[0] == "i" and value >> bits - 1 else value


def each(function: Callable[..., int], kind: str) -> Callable[..., np.ndarray]:
    """Element by element, on Python's integers, wrapped."""
    def apply(*arrays: np.ndarray) -> np.ndarray:
        return np.array([wrapped(int(function(*map(int, values))), kind) for values in zip(*arrays, strict=True)], kind)
    return apply


def nearest(value: Fraction | float, kind: str) -> float:
    """A fraction as the nearest float of a type, ties to even: through integers, so rounded once."""
    if isinstance(value, float):
        return value
    bits, low = {"f8": (53, -1074), "f4": (24, -149), "f2": (11, -24), "bf16": (8, -133)}[kind]
    if value == 0:
        return 0.0
    exponent = max(math.frexp(float(abs(value)))[1] - bits if abs(value) < 2 ** 1000 else 2000, low)
    scaled = value / Fraction(2) ** exponent
    return math.copysign(float(round(scaled) * Fraction(2) ** exponent), value)


def exact(operation: Callable[..., Fraction], kind: str) -> Callable[..., np.ndarray]:
    """Fractions for finite numbers, Python's floats for the others."""
    def apply(*arrays: np.ndarray) -> np.ndarray:
        result = []
        for values in zip(*(array.astype("f8").tolist() for array in arrays), strict=True):
            if all(map(math.isfinite, values)):
                value = operation(*map(Fraction, values))
                result.append(nearest(value, kind) if value else float(operation(*values)))
            else:
                result.append(float(operation(*map(np.float64, values))))
        with np.errstate(over="ignore"):
            return np.array(result, "f8")
    return apply


def as_type(kind: str, function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """A function's result in a type, without warnings."""
    def apply(*arrays: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(function(*arrays)).astype(kind)
    return apply


def bits(x: int, width: int, position: int, length: int, signed: bool) -> int:
    """A bit field, by its definition."""
    position, length, top = position & 255, length & 255, width - 1
    sign = 0 if not signed or length == 0 else x >> min(position + length - 1, top) & 1
    return sum((x >> position + i & 1 if i < length and position + i <= top else sign) << i for i in range(width))


def inserted(a: int, b: int, position: int, length: int) -> int:
    position, length = position & 255, length & 255
    for i in range(length):
        if position + i < 32:
            b = b & ~(1 << position + i) | (a >> i & 1) << position + i
    return b


def permuted(a: int, b: int, selector: int) -> int:
    table, result = [(b << 32 | a) >> 8 * i & 255 for i in range(8)], 0
    for i in range(4):
        nibble = selector >> 4 * i & 15
        byte = table[nibble & 7]
        result |= (255 * (byte >> 7) if nibble & 8 else byte) << 8 * i
    return result


def shifted(whole: int, n: int, side: str) -> int:
    return whole << n >> 32 if side == "l" else whole >> n


def trunc_div(a: int, b: int) -> int:
    return -1 if b == 0 else int(math.copysign(1, a * b)) * (abs(a) // abs(b)) if a * b else 0


def smallest(a: float, b: float) -> float:
    return min((value for value in (a, b) if value == value), key=lambda v: (v, math.copysign(1, v)), default=math.nan)


def largest(a: float, b: float) -> float:
    return max((value for value in (a, b) if value == value), key=lambda v: (v, math.copysign(1, v)), default=math.nan)


def by_element(function: Callable[..., float], kind: str) -> Callable[..., np.ndarray]:
    return lambda *arrays: np.array([function(*map(float, values)) for values in zip(*arrays, strict=True)], kind)


def integer_of(how: Callable[[float], int], kind: str) -> Callable[[np.ndarray], np.ndarray]:
    """What `cvt` makes of floats: saturated, NaN by the width."""
    info = np.iinfo(kind)

    def apply(array: np.ndarray) -> np.ndarray:
        wide = array.dtype.itemsize == 8 or info.bits == 64
        of_nan = (1 << info.bits - 1 if info.min == 0 else info.min) if wide else 0
        return np.array([of_nan if v != v else info.max if v == math.inf else info.min if v == -math.inf
                         else max(info.min, min(info.max, how(v))) for v in map(float, array)], kind)
    return apply


def tf32(x: np.ndarray, away: bool) -> np.ndarray:
    """float32 rounded to 11 significant bits, from its neighbours."""
    down = x.view("u4") & np.uint32(0xFFFFE000)
    low, high = down.view("f4").astype("f8"), (down + np.uint32(0x2000)).view("f4").astype("f8")
    wide = x.astype("f8")
    middle = low + (high - low) / 2
    odd = (down >> 13 & 1).astype(bool)
    upper = (np.abs(wide) > np.abs(middle)) | ((wide == middle) & (away | odd))
    return np.where(upper, down + np.uint32(0x2000), down)


def packed(values: list[np.ndarray], kind: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.stack([v.astype(kind) for v in values], 1).view("u4")[:, 0]


def split(x: np.ndarray, kind: Any) -> list[np.ndarray]:
    return list(x.view(kind).reshape(-1, 2).astype("f4").T)


def fp8(x: np.ndarray, kind: Any) -> np.ndarray:
    """Saturated to the largest finite value, as bytes in uint16."""
    most = float(ml_dtypes.finfo(kind).max)
    return np.where(np.isnan(x), x, np.clip(x, -most, most)).astype(kind).view("u1").astype("u2")


def flushed(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 2.0 ** -126, np.copysign(0, x), x).astype("f4")


def directed(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c toward zero, by fractions: the nearest value, or the one before if that is too large."""
    near = exact(lambda x, y, z: x * y + z, "f4")(a, b, c)
    with np.errstate(all="ignore"):
        near = near.astype("f4")
    for i, values in enumerate(zip(a, b, c, strict=True)):
        if all(map(np.isfinite, values)):
            x, y, z = (Fraction(float(v)) for v in values)
            if np.isinf(near[i]) or abs(Fraction(float(near[i]))) > abs(x * y + z):
                near[i] = np.nextafter(near[i], np.float32(0))
    return near
