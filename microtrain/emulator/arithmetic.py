"""What instructions compute, on arrays (or NumPy scalars) of raw values.

Sums, products, quotients, roots and fused multiply-adds are rounded once, as IEEE 754 asks. The approximate instructions
(`ex2`, `lg2`, `sin`, `tanh`, ...) are computed in float64 and rounded once: more exact than any GPU, whose last bits differ.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

Array = Any
"""An array or a NumPy scalar: both have the methods used here."""

TINY = np.float32(2.0 ** -126)
"""The smallest normal float32."""


def select(mask: Array, a: Array, b: Array) -> Array:
    """a where the mask (all ones or zeros, unsigned of the same width) is set, else b. np.where is far slower."""
    return b ^ ((a ^ b) & mask)


def mask(predicate: Array, dtype: str) -> Array:
    """All ones where a predicate holds, else zeros."""
    return np.negative(np.asarray(predicate).astype(dtype))


# Small floating-point types

def from_bf16(x: Array) -> Array:
    """float32 of bfloat16 bits, exactly."""
    return (np.asarray(x).astype("u4") << np.uint32(16)).view("f4")


def to_bf16(x: Array) -> Array:
    """Bits of the nearest bfloat16 of float32 (ties to even)."""
    bits = np.asarray(x).view("u4")
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(x), np.uint16(0x7FFF), rounded.astype("u2"))


def from_f16(x: Array) -> Array:
    """float32 of float16 bits, exactly."""
    return np.asarray(x).view("f2").astype("f4")


def to_f16(x: Array) -> Array:
    """Bits of the nearest float16 of float32 or float64."""
    return np.asarray(x).astype("f2").view("u2")


def low(x: Array, dtype: str = "u2") -> Array:
    """The low half of each register."""
    return np.asarray(x).astype(dtype)


def high(x: Array, dtype: str = "u2") -> Array:
    """The high half of each register."""
    half = np.dtype(dtype).itemsize * 8
    return (np.asarray(x) >> np.asarray(x).dtype.type(half)).astype(dtype)


def pack(parts: list[Array], dtype: str) -> Array:
    """One register of several, the lowest first."""
    width = np.dtype(dtype).itemsize * 8 // len(parts)
    whole = np.asarray(parts[0]).astype(dtype)
    for i, part in enumerate(parts[1:], 1):
        whole = whole | np.asarray(part).astype(dtype) << np.dtype(dtype).type(width * i)
    return whole


def unpack(x: Array, dtype: str, i: int) -> Array:
    """The i-th part, of this type, of a wider register."""
    wide = np.asarray(x)
    return (wide >> wide.dtype.type(8 * np.dtype(dtype).itemsize * i)).astype(dtype)


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


FP8 = {"e4m3": (4, 7), "e5m2": (5, 15)}
"""Exponent bits and bias."""


def fp8_values(kind: str) -> Array:
    """float32[256]: the value of each byte."""
    exponent_bits, bias = FP8[kind]
    byte = np.arange(256)
    bits = 7 - exponent_bits
    exponent, fraction = (byte >> bits) & ((1 << exponent_bits) - 1), byte & ((1 << bits) - 1)
    value = np.where(exponent == 0, fraction * 2.0 ** (1 - bias - bits),
                     (1 + fraction * 2.0 ** -bits) * 2.0 ** (exponent - bias))
    if kind == "e4m3":
        value = np.where(byte & 127 == 127, np.nan, value)
    else:
        value = np.where(exponent == 31, np.where(fraction == 0, np.inf, np.nan), value)
    return np.where(byte & 128, -value, value).astype("f4")


FP8_VALUES = {kind: fp8_values(kind) for kind in FP8}


def from_fp8(x: Array, kind: str) -> Array:
    """float32 of fp8 bytes, exactly."""
    return FP8_VALUES[kind][np.asarray(x)]


def to_fp8(x: Array, kind: str) -> Array:
    """The nearest fp8 (ties to even), saturated to the largest finite one; NaN stays NaN. Bytes as uint16."""
    values = FP8_VALUES[kind][:128]
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
    return np.where(inexact, np.where((error > 0) == (s > 0), bits + one, bits - one), bits).view(s.dtype)


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


def narrowed(x: Array, dtype: str, mode: str = "rn") -> Array:
    """A wider float rounded to float32 or float16 in a mode."""
    x = np.asarray(x)
    result = x.astype(dtype)
    if mode == "rn":
        return result
    return directed(result, np.nan_to_num(x - result.astype(x.dtype)), mode)


def add(a: Array, b: Array, mode: str = "rn") -> Array:
    """a + b in their own type, rounded in a mode."""
    s = np.asarray(a + b)
    if mode == "rn":
        return s
    return directed(s, sum_error(a, b, s), mode)


def multiply(a: Array, b: Array, mode: str = "rn") -> Array:
    """a * b in their own type, rounded in a mode."""
    p = np.asarray(a * b)
    if mode == "rn":
        return p
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


def fma16(a: Array, b: Array, c: Array) -> Array:
    """float32 values of float16: a * b + c rounded once to float16."""
    return wide_fma(a, b, c).astype("f2").astype("f4")


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
    result = np.where(np.isfinite(result), result, plain)
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
    return float(directed(np.float64(result), float((error > 0) - (error < 0)), mode))


# Functions of one number

def exp2(x: Array) -> Array:
    """2 ** x of float32."""
    return np.exp2(np.asarray(x).astype("f8")).astype("f4")


def in_float64(function: Any, x: Array) -> Array:
    """A function of float32, computed in float64 and rounded."""
    return function(np.asarray(x).astype("f8")).astype("f4")


def reciprocal_root(x: Array) -> Array:
    """1 / sqrt(x)."""
    return 1.0 / np.sqrt(x)


def reciprocal(x: Array) -> Array:
    """1 / x."""
    return 1.0 / x


def upper_half(x: Array) -> Array:
    """float64 without its low 32 bits, as the gross approximations of float64 give them."""
    return (np.asarray(x).view("u8") & np.uint64(0xFFFFFFFF00000000)).view("f8")


# Comparisons, extrema

def fmin(a: Array, b: Array) -> Array:
    """The smaller number; a NaN is passed over, and -0 is less than +0."""
    return np.where((a == 0) & (b == 0), np.where(np.signbit(a), a, b), np.fmin(a, b))


def fmax(a: Array, b: Array) -> Array:
    """The larger number; a NaN is passed over, and -0 is less than +0."""
    return np.where((a == 0) & (b == 0), np.where(np.signbit(a), b, a), np.fmax(a, b))


def min_nan(a: Array, b: Array) -> Array:
    """The smaller number, NaN if one of both is; -0 is less than +0."""
    return np.where((a == 0) & (b == 0), np.where(np.signbit(a), a, b), np.minimum(a, b))


def max_nan(a: Array, b: Array) -> Array:
    """The larger number, NaN if one of both is; -0 is less than +0."""
    return np.where((a == 0) & (b == 0), np.where(np.signbit(a), b, a), np.maximum(a, b))


ROUND = {"rzi": np.trunc, "rni": np.rint, "rmi": np.floor, "rpi": np.ceil}


def to_integer(x: Array, dtype: str, how: str) -> Array:
    """A float as an integer, saturated. NaN is 0, or only the top bit where a type of 64 bits takes part."""
    x = np.asarray(x)
    limits = np.iinfo(dtype)
    whole = ROUND[how](x).astype("f8")
    top, bottom = whole >= float(limits.max), whole <= float(limits.min)
    result = np.where(top | bottom | np.isnan(x), 0, whole).astype(dtype)
    of_nan = np.array(0, dtype)
    if x.dtype.itemsize == 8 or np.dtype(dtype).itemsize == 8:
        of_nan = np.array(limits.min if limits.min else limits.max // 2 + 1, dtype)
    result = np.where(top, np.array(limits.max, dtype), np.where(bottom, np.array(limits.min, dtype), result))
    return np.where(np.isnan(x), of_nan, result)


# Integers

def quotient(a: Array, b: Array) -> Array:
    """Integer division toward zero; by zero it gives all ones."""
    a, b = np.asarray(a), np.asarray(b)
    unsigned = f"u{a.dtype.itemsize}"
    zero = b == 0
    size_a, size_b = np.abs(a).view(unsigned), np.abs(np.where(zero, b.dtype.type(1), b)).view(unsigned)
    result = (size_a // size_b).view(a.dtype)
    if a.dtype.kind == "i":
        result = np.where((a < 0) != (b < 0), -result, result)
    return np.where(zero, ~np.zeros((), a.dtype), result)


def remainder(a: Array, b: Array) -> Array:
    """What `quotient` leaves; of a division by zero, a."""
    b = np.asarray(b)
    return np.where(b == 0, a, a - quotient(a, b) * b)


def high_product(a: Array, b: Array) -> Array:
    """The upper half of the product of two integers of one type."""
    a, b = np.asarray(a), np.asarray(b)
    bits = 8 * a.dtype.itemsize
    if bits < 64:
        wide = np.dtype(f"{a.dtype.kind}{bits // 4}")
        return ((a.astype(wide) * b.astype(wide)) >> wide.type(bits)).astype(a.dtype)
    x, y, m, s = a.view("u8"), b.view("u8"), np.uint64(0xFFFFFFFF), np.uint64(32)
    low_cross = (x & m) * (y >> s)
    middle = (x >> s) * (y & m) + (((x & m) * (y & m)) >> s)
    top = (x >> s) * (y >> s) + (middle >> s) + ((low_cross + (middle & m)) >> s)
    if a.dtype.kind == "i":
        zero = np.uint64(0)
        top = top - np.where(a < 0, y, zero) - np.where(b < 0, x, zero)
    return top.view(a.dtype)


def shift_left(a: Array, n: Array) -> Array:
    """a << n, 0 from the width on."""
    a, n = np.asarray(a), np.asarray(n)
    bits = 8 * a.dtype.itemsize
    return np.where(n >= bits, a.dtype.type(0), a << np.minimum(n, bits - 1).astype(a.dtype))


def shift_right(a: Array, n: Array) -> Array:
    """a >> n; from the width on 0, or the sign."""
    a, n = np.asarray(a), np.asarray(n)
    bits = 8 * a.dtype.itemsize
    shifted = a >> np.minimum(n, bits - 1).astype(a.dtype)
    return shifted if a.dtype.kind == "i" else np.where(n >= bits, a.dtype.type(0), shifted)


def funnel(a: Array, b: Array, n: Array, left: bool, wrap: bool) -> Array:
    """32 bits of (b, a) after a shift by n, which wraps at 32 or is clamped there: the upper ones (left) or the lower."""
    whole = np.asarray(b).astype("u8") << np.uint64(32) | np.asarray(a).astype("u8")
    n = (np.asarray(n) & np.uint32(31) if wrap else np.minimum(n, np.uint32(32))).astype("u8")
    return ((whole << n) >> np.uint64(32) if left else whole >> n).astype("u4")


def population(x: Array) -> Array:
    """Set bits, uint32."""
    return np.bitwise_count(np.asarray(x)).astype("u4")


def smeared(x: Array) -> Array:
    """With all bits set below the highest one."""
    x = np.asarray(x)
    for n in (1, 2, 4, 8, 16, 32)[:(8 * x.dtype.itemsize).bit_length() - 1]:
        x = x | x >> x.dtype.type(n)
    return x


def leading_zeros(x: Array) -> Array:
    """Zeros above the highest set bit, uint32."""
    return np.uint32(8 * np.asarray(x).dtype.itemsize) - population(smeared(x))


def highest_bit(x: Array, shift: bool) -> Array:
    """Where the highest bit is that is not the sign's, from below (or as the shift that brings it to the top); else ~0."""
    x = np.asarray(x)
    bits = x.dtype.itemsize * 8
    if x.dtype.kind == "i":
        x = (x ^ (x >> x.dtype.type(bits - 1))).view(f"u{bits // 8}")
    found = np.uint32(bits - 1) - leading_zeros(x)
    return np.where(x == 0, np.uint32(0xFFFFFFFF), np.uint32(bits - 1) - found if shift else found)


def reversed_bits(x: Array) -> Array:
    """Bits in the opposite order."""
    x = np.asarray(x)
    for n, pattern in ((1, 0x55), (2, 0x33), (4, 0x0F), (8, 0x00FF), (16, 0x0000FFFF), (32, 0x00000000FFFFFFFF)):
        if n >= 8 * x.dtype.itemsize:
            break
        width = 8 if n < 8 else 2 * n
        repeated = sum(pattern << i for i in range(0, 64, width)) & (1 << 8 * x.dtype.itemsize) - 1
        chosen, by = x.dtype.type(repeated), x.dtype.type(n)
        x = (x >> by & chosen) | (x & chosen) << by
    return x


def extracted(x: Array, position: Array, length: Array) -> Array:
    """The bit field of x, its sign extended if x is signed; past the top there are zeros or the sign."""
    x = np.asarray(x)
    bits = 8 * x.dtype.itemsize
    position, length = np.asarray(position) & np.uint32(255), np.asarray(length) & np.uint32(255)
    if x.dtype.kind == "u":
        return shift_right(x, position) & ~shift_left(np.array(~x.dtype.type(0)), length)
    end = np.minimum(position + length, np.uint32(bits))    # above the highest bit of the field, which is the sign
    kept = end - np.minimum(position, end)
    return np.where(length == 0, x.dtype.type(0), shift_right(shift_left(x, bits - end), bits - kept))


def inserted(a: Array, b: Array, position: Array, length: Array) -> Array:
    """b with a bit field replaced by the low bits of a."""
    a, b = np.asarray(a), np.asarray(b)
    position, length = np.asarray(position) & np.uint32(255), np.asarray(length) & np.uint32(255)
    field = shift_left(~shift_left(np.array(~a.dtype.type(0)), length), position)
    return (b & ~field) | (shift_left(a, position) & field)


def permuted(a: Array, b: Array, selector: Array) -> Array:
    """`prmt`: each byte of the result is one of the eight of (b, a), or its sign spread, by a nibble of the selector."""
    whole = np.asarray(b).astype("u8") << np.uint64(32) | np.asarray(a).astype("u8")
    selector = np.asarray(selector).astype("u8")
    result = np.zeros((), "u4")
    for i in range(4):
        nibble = selector >> np.uint64(4 * i)
        byte = (whole >> ((nibble & np.uint64(7)) << np.uint64(3)) & np.uint64(255)).astype("u4")
        sign = np.where(byte & np.uint32(128), np.uint32(255), np.uint32(0))
        result = result | np.where(nibble & np.uint64(8), sign, byte) << np.uint32(8 * i)
    return result


def logic(a: Array, b: Array, c: Array, table: int) -> Array:
    """`lop3`: any function of three bits, by its table of eight."""
    result = np.zeros((), "u4")
    for i in range(8):
        if table >> i & 1:
            result = result | (a if i & 4 else ~a) & (b if i & 2 else ~b) & (c if i & 1 else ~c)
    return result


def dot4(a: Array, b: Array, c: Array, kinds: str) -> Array:
    """`dp4a`: c plus the products of four pairs of bytes, signed or not as `kinds` ("su") says, 32 bits kept."""
    total = np.asarray(c).astype("u4")
    for i in range(4):
        x, y = (unpack(v, "u1", i).view("i1" if kind == "s" else "u1").astype("i4") for v, kind in zip((a, b), kinds))
        total = total + (x * y).view("u4")
    return total
