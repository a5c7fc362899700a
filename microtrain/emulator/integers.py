"""What integer instructions compute, on arrays (or NumPy scalars) of raw values. Wrapping is NumPy's too."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
"""At run time also a NumPy scalar, which has the methods used here."""


def select(mask: Array, a: Array, b: Array) -> Array:
    """a where the mask (all ones or zeros, unsigned of the same width) is set, else b. np.where is far slower."""
    return b ^ ((a ^ b) & mask)


def mask(predicate: Array, dtype: str) -> Array:
    """All ones where a predicate holds, else zeros."""
    return np.negative(np.asarray(predicate).astype(dtype))


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
    return (wide >> wide.dtype.type(8 * np.dtype(dtype).itemsize * i) if i else wide).astype(dtype)


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


def carried(a: Array, b: Array, carry: Array, subtract: bool) -> tuple[Array, Array]:
    """a + b + carry or a - b - carry, wrapped, and the carry out."""
    a, b, carry = np.asarray(a), np.asarray(b), np.asarray(carry).astype(b.dtype)
    if subtract:
        near = np.asarray(a - b)
        return near - carry, (a < b) | (near < carry)
    near = np.asarray(a + b)
    whole = near + carry
    return whole, (near < a) | (whole < near)


def clipped(x: Array, dtype: str) -> Array:
    """Integers saturated to a type."""
    own, limits = np.iinfo(np.asarray(x).dtype), np.iinfo(dtype)
    return np.clip(x, max(own.min, limits.min), min(own.max, limits.max)).astype(dtype)


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
    """32 bits of (b, a) after a shift by n, which wraps or is clamped at 32: the upper ones (left) or the lower."""
    whole = np.asarray(b).astype("u8") << np.uint64(32) | np.asarray(a).astype("u8")
    n = (np.asarray(n) & np.uint32(31) if wrap else np.minimum(n, np.uint32(32))).astype("u8")
    return ((whole << n) >> np.uint64(32) if left else whole >> n).astype("u4")


def leading_zeros(x: Array) -> Array:
    """Zeros above the highest set bit, uint32."""
    x = np.asarray(x)
    bits = 8 * x.dtype.itemsize
    for n in (1, 2, 4, 8, 16, 32)[:bits.bit_length() - 1]:       # all bits below the highest one are set
        x = x | x >> x.dtype.type(n)
    return np.uint32(bits) - np.bitwise_count(x)


def highest_bit(x: Array, shift: bool) -> Array:
    """Where the highest bit is that is not the sign's (or the shift that brings it to the top); ~0 if nowhere."""
    x = np.asarray(x)
    bits = x.dtype.itemsize * 8
    if x.dtype.kind == "i":
        x = (x ^ (x >> x.dtype.type(bits - 1))).view(f"u{bits // 8}")
    found = np.uint32(bits - 1) - leading_zeros(x)
    return np.where(x == 0, np.uint32(0xFFFFFFFF), np.uint32(bits - 1) - found if shift else found)


def reversed_bits(x: Array) -> Array:
    """Bits in the opposite order."""
    x = np.ascontiguousarray(x)
    bits = np.unpackbits(x.reshape(-1, 1).view("u1"), axis=1, bitorder="little")[:, ::-1]
    return np.packbits(bits, axis=1, bitorder="little").view(x.dtype).reshape(x.shape)


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
    """`prmt`: each byte is one of the eight of (b, a), or its sign spread, by a nibble of the selector."""
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
    types = [{"s": "i1", "u": "u1"}[kind] for kind in kinds]
    for i in range(4):
        x, y = unpack(a, "u1", i).view(types[0]).astype("i4"), unpack(b, "u1", i).view(types[1]).astype("i4")
        total = total + (x * y).view("u4")
    return total


def above(x: Array) -> Array:
    """All bits from the lowest set one on: what an uncertain bit of a sum may change."""
    x = np.asarray(x)
    return x | -x


def by_halves(x: Array) -> Array:
    """All bits of each half of a uint32 in which any is set."""
    x = np.asarray(x)
    lower, upper = np.uint32(0xFFFF), np.uint32(0xFFFF0000)
    return np.where(x & lower != 0, lower, np.uint32(0)) | np.where(x & upper != 0, upper, np.uint32(0))
