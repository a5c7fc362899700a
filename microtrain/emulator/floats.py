"""What floating-point instructions compute, on arrays (or NumPy scalars).

Sums, products, quotients, roots and fused multiply-adds are rounded once, as IEEE 754 asks. The approximate ones
(`ex2`, `lg2`, `sin`, `tanh`, ...) are computed in float64 and rounded once, more exactly than by any GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from .integers import Array

TINY = np.float32(2.0 ** -126)
"""The smallest normal float32."""


# Small floating-point types

def from_bf16(x: Array) -> Array:
    """float32 of bfloat16 bits, exactly."""
    return (np.asarray(x).astype("u4") << np.uint32(16)).view("f4")


def to_bf16(x: Array) -> Array:
    """Bits of the nearest bfloat16 of float32 (ties to even)."""
    bits = np.asarray(x).view("u4")
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(x), np.uint16(0x7FFF), rounded.astype("u2"))


def rounded_tf32(bits: Array, away: bool) -> Array:
    """Bits of the nearest TF32; ties away from zero, or to even."""
    half = np.uint32(0x1000) if away else np.uint32(0xFFF) + (bits >> np.uint32(13) & np.uint32(1))
    return (bits + half) & np.uint32(0xFFFFE000)


def from_f16(x: Array) -> Array:
    """float32 of float16 bits, exactly."""
    return np.asarray(x).view("f2").astype("f4")


def to_f16(x: Array) -> Array:
    """Bits of the nearest float16 of float32 or float64."""
    return np.asarray(x).astype("f2").view("u2")


def flushed(x: Array) -> Array:
    """float32 with subnormal values as zeros of their sign."""
    x = np.asarray(x)
    bits = x.view("u4")
    subnormal = (bits & np.uint32(0x7FFFFFFF)) - np.uint32(1) < np.uint32(0x7FFFFF)
    return np.where(subnormal, bits & np.uint32(0x80000000), bits).view("f4") if subnormal.any() else x


def saturated(x: Array) -> Array:
    """Clamped to [0, 1]; NaN becomes 0."""
    return np.where(x > 0, np.minimum(x, np.asarray(x).dtype.type(1)), np.asarray(x).dtype.type(0))


def relu(x: Array) -> Array:
    """Negative values as 0; NaN stays."""
    return np.where(x < 0, np.asarray(x).dtype.type(0), x)


def fp8_values(kind: str) -> Array:
    """float32[256]: the value of each byte, which is a float16 with less of a fraction, or of an exponent too."""
    byte = np.arange(256, dtype="u2")
    if kind == "e5m2":
        return (byte << 8).view("f2").astype("f4")
    value = ((byte & 128) << 8 | (byte & 127) << 7).view("f2").astype("f4") * np.float32(256)
    return np.where(byte & 127 == 127, np.copysign(np.float32(np.nan), value), value)


FP8 = {kind: fp8_values(kind) for kind in ("e4m3", "e5m2")}


def from_fp8(x: Array, kind: str) -> Array:
    """float32 of fp8 bytes, exactly."""
    return FP8[kind][np.asarray(x)]


def to_fp8(x: Array, kind: str) -> Array:
    """The nearest fp8 (ties to even), saturated to the largest finite one; NaN stays NaN. Bytes as uint16."""
    values = FP8[kind][:128]
    finite = values[np.isfinite(values)].astype("f8")
    middle = (finite[1:] + finite[:-1]) / 2
    size = np.abs(np.asarray(x).astype("f8"))
    down = np.searchsorted(middle, size, "left")
    tie = np.searchsorted(middle, size, "right") != down
    code = np.where(tie & (down & 1 == 1), down + 1, down)
    return (np.where(np.isnan(size), 127, code) | np.where(np.signbit(x), 128, 0)).astype("u2")


# Rounding

def to_odd(s: Array, error: Array) -> Array:
    """s + error rounded to odd, where s is that sum rounded to nearest: what may be rounded again without harm."""
    s = np.asarray(s)
    bits = s.view(f"u{s.dtype.itemsize}")
    one = bits.dtype.type(1)
    inexact = (error != 0) & ((bits & one) == 0) & np.isfinite(s)
    odd = np.where((error > 0) == (s > 0), bits + one, bits - one).view(s.dtype)
    odd = np.where(s == 0, np.copysign(one.view(s.dtype), error).astype(s.dtype), odd)     # the least there is
    return np.where(inexact, odd, s)


def sum_error(a: Array, b: Array, s: Array) -> Array:
    """What a + b differs from its rounded sum s by; 0 where that is not finite."""
    t = s - a
    error = (a - (s - t)) + (b - t)
    return np.where(np.isfinite(error), error, 0.0)


def product_error(a: Array, b: Array, p: Array) -> Array:
    """What a * b of float64 differs from its rounded product p by (Dekker); NaN where it overflows."""
    split = 134217729.0
    t = a * split
    a_high = t - (t - a)
    t = b * split
    b_high = t - (t - b)
    a_low, b_low = a - a_high, b - b_high
    return ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


def directed(rounded: Array, error: Array, mode: str) -> Array:
    """The value `rounded + error`, to nearest so far, rounded toward zero (rz), down (rm) or up (rp) instead."""
    rounded = np.asarray(rounded)
    if mode == "rn":
        return rounded
    infinity = np.array(np.inf, rounded.dtype)
    down = np.nextafter(rounded, -infinity)
    up = np.nextafter(rounded, infinity)
    lower = (error < 0) & ((mode == "rm") | ((mode == "rz") & (rounded > 0)))
    higher = (error > 0) & ((mode == "rp") | ((mode == "rz") & (rounded < 0)))
    return np.where(lower, down, np.where(higher, up, rounded))


def narrowed(x: Array, dtype: str, mode: str) -> Array:
    """A wider float rounded to float32 or float16 in a mode."""
    x = np.asarray(x)
    result = x.astype(dtype)
    return directed(result, np.nan_to_num(x - result.astype(x.dtype)), mode)


def add(a: Array, b: Array, mode: str) -> Array:
    """a + b in their own type, rounded in a mode."""
    s = np.asarray(a + b)
    return directed(s, sum_error(a, b, s), mode)


def multiply(a: Array, b: Array, mode: str) -> Array:
    """a * b in their own type, rounded in a mode."""
    p = np.asarray(a * b)
    if p.dtype == np.float32:
        return narrowed(np.asarray(a).astype("f8") * b, "f4", mode)
    return directed(p, np.nan_to_num(product_error(np.asarray(a), np.asarray(b), p)), mode)


def wide_fma(a: Array, b: Array, c: Array) -> Array:
    """a * b + c of float32 or smaller, as a float64 rounded to odd: no later rounding to a narrower type errs."""
    p = np.asarray(a).astype("f8") * b
    c = np.asarray(c).astype("f8")
    s = p + c
    return to_odd(s, sum_error(p, c, s))


def fma32(a: Array, b: Array, c: Array, mode: str = "rn") -> Array:
    """float32 a * b + c, rounded once."""
    if mode != "rn":
        return narrowed(wide_fma(a, b, c), "f4", mode)
    s = np.multiply(a, b, dtype="f8") + c
    result = np.asarray(s.astype("f4"))
    # Rounded twice, only a value half-way between two float32 may err; there are others below the normal range.
    halfway = (np.asarray(s).view("u8") & np.uint64(0x1FFFFFFF)) == np.uint64(0x10000000)
    if halfway.any() or ((np.abs(result) <= TINY) & (s != 0)).any():
        return wide_fma(a, b, c).astype("f4")
    return result


def fma_bf16(a: Array, b: Array, c: Array) -> Array:
    """float32 values of bfloat16: a * b + c as a float32 that rounds to bfloat16 as the exact value does."""
    exact = np.asarray(wide_fma(a, b, c))
    near = exact.astype("f4")
    return to_odd(near, np.nan_to_num(exact - near))


def fma64(a: Array, b: Array, c: Array, mode: str = "rn") -> Array:
    """float64 a * b + c, rounded once (Boldo and Melquiond 2008; near the ends of the range by integers)."""
    a, b, c = np.broadcast_arrays(a, b, c)
    p = a * b
    e = product_error(a, b, p)
    upper = c + e
    lower = sum_error(c, e, upper)
    top = p + upper
    rest = sum_error(p, upper, top)
    small = lower + rest
    odd = to_odd(small, sum_error(lower, rest, small))
    result = np.asarray(top + odd)
    error = sum_error(top, odd, result)
    size = np.abs(p)
    large = np.maximum(np.maximum(np.abs(a), np.abs(b)), np.maximum(size, np.abs(c))) > 2.0 ** 990
    risky = (large | ((size < 2.0 ** -900) & (a != 0) & (b != 0))) & np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
    plain = p + c
    result = np.where(np.isfinite(result) & (result != 0), result, plain)       # which has the sign of a zero
    result = directed(result, np.where(np.isfinite(plain), error, 0.0), mode)
    if risky.any():
        result = np.array(result)
        for i in np.argwhere(risky):
            result[tuple(i)] = exact_fma64(float(a[tuple(i)]), float(b[tuple(i)]), float(c[tuple(i)]), mode)
    return result


def exact_fma64(a: float, b: float, c: float, mode: str) -> float:
    """a * b + c of finite numbers by integers, rounded once."""
    value = Fraction(a) * Fraction(b) + Fraction(c)
    if value == 0:
        return a * b + c if a == 0 or b == 0 or mode != "rm" else -0.0
    try:
        result = value.numerator / value.denominator
    except OverflowError:
        return float("inf") if value > 0 else -float("inf")
    error = value - Fraction(result)
    return float(directed(np.asarray(result), np.asarray(float((error > 0) - (error < 0))), mode))


# Functions of one number

def in_float64(function: Callable[[Array], Array], x: Array) -> Array:
    """A function of float32, computed in float64 and rounded."""
    return function(np.asarray(x).astype("f8")).astype("f4")


# Comparisons, extrema

def extremum(function: np.ufunc, least: bool) -> Callable[[Array, Array], Array]:
    """NumPy's extremum of two numbers, but that -0 is less than +0."""
    def of(a: Array, b: Array) -> Array:
        result, zeros = function(a, b), (a == 0) & (b == 0)
        return np.where(zeros, np.where(np.signbit(a) == least, a, b), result) if zeros.any() else result
    return of


fmin, fmax = extremum(np.fmin, True), extremum(np.fmax, False)
"""A NaN is passed over."""
min_nan, max_nan = extremum(np.minimum, True), extremum(np.maximum, False)
"""NaN if one of both is."""


def with_signs(size: Array, a: Array, b: Array) -> Array:
    """A magnitude, negative where one of both numbers is."""
    return np.where(np.isnan(size), size, np.where(np.signbit(a) != np.signbit(b), -size, size))


ROUND = {"rzi": np.trunc, "rni": np.rint, "rmi": np.floor, "rpi": np.ceil}


def to_integer(x: Array, dtype: str, how: str) -> Array:
    """A float as an integer, saturated. NaN is 0, or only the top bit where a type of 64 bits takes part."""
    x = np.asarray(x)
    limits = np.iinfo(dtype)
    whole = ROUND[how](x)
    if whole.min() > float(limits.min) and whole.max() < float(limits.max):     # not where one is NaN
        return whole.astype(dtype)
    whole = whole.astype("f8")
    top, bottom = whole >= float(limits.max), whole <= float(limits.min)
    result = np.where(top | bottom | np.isnan(x), 0, whole).astype(dtype)
    of_nan = np.array(0, dtype)
    if x.dtype.itemsize == 8 or np.dtype(dtype).itemsize == 8:
        of_nan = np.array(limits.min if limits.min else limits.max // 2 + 1, dtype)
    result = np.where(top, np.array(limits.max, dtype), np.where(bottom, np.array(limits.min, dtype), result))
    return np.where(np.isnan(x), of_nan, result)
