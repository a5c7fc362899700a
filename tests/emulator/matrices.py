"""Where the elements of a matrix lie: in the registers of a warp, and in shared memory."""

from __future__ import annotations

import ml_dtypes
import numpy as np


def places(kind: str, operand: str, i: int, lane: int, k: int, m: int) -> tuple[int, int]:
    """Row and column of a lane's i-th element, from the figures of the PTX ISA, 9.7.14.5."""
    g, t = lane // 4, lane % 4
    if operand == "c":
        return g + 8 * (i >= 2), 2 * t + i % 2
    per = {"f16": 2, "bf16": 2, "tf32": 1, "f64": 1, "s8": 4, "u8": 4, "e4m3": 4, "e5m2": 4}[kind]
    register, inner = divmod(i, per)
    if operand == "b":
        return register * 4 * per + t * per + inner, g
    if m == 8:
        return g, t
    return g + 8 * (register % 2), register // 2 * 4 * per + t * per + inner


MMAS = [("m16n8k8", "f32", "tf32", "f4"), ("m16n8k4", "f32", "tf32", "f4"), ("m16n8k16", "f32", "f16", "f2"),
        ("m16n8k8", "f32", "f16", "f2"), ("m16n8k16", "f32", "bf16", ml_dtypes.bfloat16),
        ("m16n8k16", "f16", "f16", "f2"),
        ("m16n8k16", "s32", "s8", "i1"), ("m16n8k32", "s32", "u8", "u1"), ("m8n8k4", "f64", "f64", "f8"),
        ("m16n8k4", "f64", "f64", "f8"), ("m16n8k8", "f64", "f64", "f8"), ("m16n8k16", "f64", "f64", "f8"),
        ("m16n8k32", "f32", "e4m3", ml_dtypes.float8_e4m3fn), ("m16n8k32", "f32", "e5m2", ml_dtypes.float8_e5m2)]


def registers(matrix: np.ndarray, kind: str, operand: str, m: int, width: int) -> np.ndarray:
    """A matrix as each lane's registers, raw (32, registers)."""
    each, k = matrix.size // 32, matrix.shape[1] if operand == "a" else matrix.shape[0]
    elements = np.stack([[matrix[places(kind, operand, i, lane, k, m)] for i in range(each)] for lane in range(32)])
    return np.ascontiguousarray(elements).view(f"u{max(width, 4)}")


def swizzled(byte: int, layout: int) -> int:
    """Where a byte of a tile lies: bits 4 to 6 (5, 4) are mixed with bits 7 to 9 (8, 7)."""
    return byte ^ {0: 0, 1: 0x70, 2: 0x30, 3: 0x10}[layout] & byte >> 3


def tile_byte(row: int, column: int, layout: int, across: bool, leading: int, stride: int) -> int:
    """The place of a 16-bit element before the swizzle; `across`: along the rows, column k after column."""
    wide = {0: 16, 1: 128, 2: 64, 3: 32}[layout]
    if across:
        groups, inner = divmod(row, wide // 2)
        if layout == 0:
            return groups * stride + column // 8 * leading + column % 8 * 16 + inner * 2
        return groups * leading + column // 8 * stride + column % 8 * wide + inner * 2
    if layout == 0:
        return row // 8 * stride + row % 8 * 16 + column // 8 * leading + column % 8 * 2
    return row // 8 * stride + row % 8 * wide + column * 2
