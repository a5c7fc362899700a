"""What the threads of a warp do together: shuffles, votes and folds; fragments, tiles in shared memory, and products.

Products are computed in float32 (float64, integers) and summed in NumPy's order, which is not a GPU's.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from . import floats as fl
from .access import Access
from .integers import Array, mask, pack, unpack
from .ordered import Ordered
from .report import EmulatorError
from .threads import SHARED_BASE, WARP_SIZE, Launch

LANES = np.arange(WARP_SIZE)
FOLDS = {"add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or,
         "xor": np.bitwise_xor}
FRAGMENTS = 64
"""Operands of mma that are kept."""
GROUP = 128
"""Threads of a warp group."""
SWIZZLES = {0: 1, 1: 8, 2: 4, 3: 2}
"""Chunks of 16 bytes in a row of a tile, by the layout field of a descriptor: none, 128, 64 and 32 bytes."""
ELEMENT = {"f16": 2, "bf16": 2, "tf32": 4, "f64": 8, "e4m3": 1, "e5m2": 1, "s8": 1, "u8": 1}


def numbers(bits: Array, kind: str) -> Array:
    """Elements, as unsigned integers of their width, as float32 (float64) values; integers of 8 bits are exact."""
    if kind in ("f16", "bf16"):
        return fl.from_f16(bits) if kind == "f16" else fl.from_bf16(bits)
    if kind == "tf32":
        return (bits & np.uint32(0xFFFFE000)).view("f4")
    if kind == "f64":
        return bits.view("f8")
    if kind in fl.FP8:
        return fl.from_fp8(bits, kind)
    return bits.view("i1" if kind == "s8" else "u1").astype("f4")


def left_operand(registers: list[Array], kind: str, halves: int) -> Array:
    """Registers of A, each (N,), as (warps, 8 * halves, k): lane / 4 is the row, then come halves of rows."""
    width = registers[0].dtype.itemsize
    per = max(width // ELEMENT[kind], 1)
    steps = len(registers) // halves
    elements = np.stack(registers).view(f"u{ELEMENT[kind]}").reshape(steps, halves, -1, 8, 4, per)
    shaped = np.ascontiguousarray(elements.transpose(2, 1, 3, 0, 4, 5))
    return numbers(shaped, kind).reshape(-1, 8 * halves, steps * 4 * per)


def summed(product: Array, c: list[Array], kind: str, saturate: bool = False) -> list[Array]:
    """A product, (values, N) in the order of the registers, with what it is added to; halves are two to a register."""
    if kind == "f16":
        parts = [fl.to_f16(product[2 * i + j] + fl.from_f16(unpack(one, "u2", j)))
                 for i, one in enumerate(c) for j in (0, 1)]
        return [pack(parts[i:i + 2], "u4") for i in range(0, len(parts), 2)]
    if kind == "s32":
        totals = [one.astype("i8") + before for one, before in zip(product, c, strict=False)]
        return [(np.clip(one, -1 << 31, (1 << 31) - 1) if saturate else one).astype("i4") for one in totals]
    return [one + before for one, before in zip(product, c, strict=False)]


def flipped(matrices: Array) -> Array:
    """8 x 8 matrices of 16-bit elements, two to a word, transposed."""
    return np.ascontiguousarray(matrices.view("u2").swapaxes(-1, -2)).view("u4")


@cache
def pattern(low: int, fields: int, rows: int, columns: int, width: int, transposed: bool) -> Array:
    """Where a tile's chunks lie from the last multiple of 1024 bytes before it; `fields`: a descriptor from bit 14."""
    leading, stride, wide = (fields >> 2 & 0x3FFF) << 4, (fields >> 18 & 0x3FFF) << 4, SWIZZLES[fields >> 48 & 3]
    if transposed:
        column, chunk = np.arange(columns)[:, None], np.arange(rows * width // 16)[None]
        if wide == 1:
            leading, stride = stride, leading
        at = chunk // wide * leading + chunk % wide * 16 + column % 8 * (16 * wide) + column // 8 * stride
    else:
        row, chunk = np.arange(rows)[:, None], np.arange(columns * width // 16)[None]
        at = row // 8 * stride + row % 8 * (16 * wide) + chunk * (leading if wide == 1 else 16)
    at = at + low
    return at ^ ((at >> 3) & ((wide - 1) << 4))


class Warps(Ordered):
    """Shuffles, votes, folds, ldmatrix, stmatrix, mma and wgmma. Values by warp are (N / 32, 32)."""

    def __init__(self, launch: Launch, programs: Array, local_bytes: int) -> None:
        super().__init__(launch, programs, local_bytes)
        self.fragments: dict[tuple[object, ...], tuple[list[Array], Array]] = {}
        """Operands by the identity of the registers that they were made of, which are held so that no other has it."""

    def by_warp(self, values: Array | np.generic) -> Array:
        return self.full(values).reshape(-1, WARP_SIZE)

    def together(self, site: int, members: Array | np.generic, on: Array | None) -> Array:
        """Which lanes take part, (N / 32, 32); those that the instruction names and that are not there are reported."""
        named = (self.by_warp(members) >> LANES.astype("u4") & np.uint32(1)).astype(bool)
        if on is None:
            return named
        here = self.by_warp(self.mask_of(on))
        missing = named & ~here & here.any(1, keepdims=True)
        if missing.any() and self.launch.checks:
            warp, lane = np.argwhere(missing)[0]
            self.fault(site, "barrier", "threads of a warp that the instruction names are not there, as the thread",
                       int(warp) * WARP_SIZE + int(lane), count=int(missing.sum()))
        return named & here

    def shuffle(self, site: int, how: str, a: Array, b: Array, c: Array, members: Array,
                on: Array | None) -> tuple[Array, Array]:
        """Values of other lanes, and whether there was such a lane (else a thread's own value)."""
        if on is not None or np.any(np.asarray(members) != np.uint32(0xFFFFFFFF)):
            self.together(site, members, on)
        step = np.asarray(b).astype(np.int64) if np.ndim(b) == 0 else self.by_warp(b).astype(np.int64)
        control = np.asarray(c).astype(np.int64) if np.ndim(c) == 0 else self.by_warp(c).astype(np.int64)
        segment, clamp = control >> 8 & 31, control & 31
        last = (LANES & segment) | (clamp & ~segment)
        if how == "bfly":
            source = LANES ^ step
        elif how == "idx":
            source = (LANES & segment) | (step & ~segment & 31)
        else:
            source = LANES - step if how == "up" else LANES + step
        inside = source >= last if how == "up" else source <= last
        source = np.where(inside, source, LANES)
        values = self.by_warp(a)
        if source.ndim == 1:
            taken = values.take(source, axis=1)
        else:
            taken = np.take_along_axis(values, np.broadcast_to(source, values.shape), 1)
        return taken.reshape(-1), np.broadcast_to(inside, values.shape).reshape(-1)

    def reduce_warp(self, site: int, name: str, value: Array, members: Array, on: Array | None) -> Array:
        """The fold of the lanes that take part, in each of them."""
        present, values = self.together(site, members, on), self.by_warp(value)
        kind = values.dtype
        if present.all():
            folded = FOLDS[name].reduce(values, 1)
        else:
            neutral = {"min": np.iinfo(kind).max, "max": np.iinfo(kind).min, "and": -1 if kind.kind == "i" else
                       np.iinfo(kind).max}.get(name, 0) if kind.kind != "f" else {"min": np.inf, "max": -np.inf}[name]
            folded = FOLDS[name].reduce(np.where(present, values, kind.type(neutral)), 1)
        return np.repeat(folded.astype(kind), WARP_SIZE)

    def vote(self, site: int, how: str, predicate: Array, members: Array, on: Array | None) -> Array:
        """all, any, uni (all the same), or the ballot: a bit for each lane."""
        present, holds = self.together(site, members, on), self.by_warp(predicate)
        if how == "ballot":
            bits = np.where(present & holds, np.uint32(1) << LANES.astype("u4"), np.uint32(0))
            return np.repeat(np.bitwise_or.reduce(bits, 1), WARP_SIZE)
        every, some = (holds | ~present).all(1), (holds & present).any(1)
        return np.repeat({"all": every, "any": some, "uni": every | ~some}[how], WARP_SIZE)

    def match(self, site: int, any_of: bool, value: Array, members: Array, on: Array | None) -> tuple[Array, Array]:
        """The lanes that hold a thread's value (any), or all lanes if all hold one (all), and whether they do."""
        present, values = self.together(site, members, on), self.by_warp(value)
        equal = (values[:, :, None] == values[:, None, :]) & present[:, None, :]
        bits = np.bitwise_or.reduce(np.where(equal, np.uint32(1) << LANES.astype("u4"), np.uint32(0)), 2)
        whole = (equal | ~present[:, None, :]).all(2)
        return np.where(whole | any_of, bits, np.uint32(0)).reshape(-1), whole.reshape(-1)

    def elect(self, site: int, members: Array, on: Array | None) -> tuple[Array, Array]:
        leader = self.together(site, members, on).argmax(1)
        return np.repeat(leader.astype("u4"), WARP_SIZE), (leader[:, None] == LANES).reshape(-1)

    def reduce_program(self, name: str, predicate: Array) -> Array:
        """Of a predicate over all threads of a program: popc, and, or."""
        holds = self.full(predicate).reshape(self.B, self.T)
        folded = {"popc": holds.sum(1).astype("u4"), "and": holds.all(1), "or": holds.any(1)}[name]
        return np.repeat(folded, self.T)

    # Matrices

    def rows_of_matrices(self, a: Access, count: int) -> None:
        """Lane 8 i + r of a warp has the place of row r of matrix i, of so many; others have none."""
        if count < 4:
            lanes = self.lanes_of(a.on)
            a.on = lanes[lanes % WARP_SIZE < 8 * count]

    def load_matrix(self, a: Access, count: int, transposed: bool) -> list[Array]:
        """Fragments of 8 x 8 matrices of 16-bit elements: a lane has two neighbours of row lane / 4."""
        self.rows_of_matrices(a, count)
        rows = np.stack(self.load(a, 4, "u4", None), 1).reshape(-1, 4, 8, 4)
        rows = flipped(rows) if transposed else rows
        return [rows[:, i].reshape(-1) for i in range(count)]

    def store_matrix(self, a: Access, values: list[Array], transposed: bool) -> None:
        """The reverse."""
        self.rows_of_matrices(a, len(values))
        rows = np.zeros((self.N // WARP_SIZE, 4, 8, 4), "u4")
        for i, value in enumerate(values):
            rows[:, i] = self.full(value).reshape(-1, 8, 4)
        self.store(a, list((flipped(rows) if transposed else rows).reshape(-1, 4).T), "u4")

    def left(self, registers: list[Array], kind: str, halves: int) -> Array:
        """`left_operand`, made once for all products that take the same registers."""
        key = (kind, halves, *map(id, registers))
        found = self.fragments.get(key)
        if found is None:
            if len(self.fragments) >= FRAGMENTS:
                self.fragments.clear()
            whole = [np.ascontiguousarray(self.full(register)) for register in registers]
            found = self.fragments[key] = (registers, left_operand(whole, kind, halves))
        return found[1]

    def mma(self, site: int, shape: str, types: tuple[str, ...], a: list[Array], b: list[Array], c: list[Array],
            saturate: bool, on: Array | None) -> list[Array]:
        """d = a @ b + c of each warp, m x n x k as in the shape."""
        if on is not None:
            self.together(site, np.uint32(0xFFFFFFFF), on)
        halves = int(shape[1:].split("n")[0]) // 8
        product = self.left(a, types[1], halves) @ self.left(b, types[2], 1).transpose(0, 2, 1)
        product = product.reshape(-1, halves, 8, 4, 2).transpose(1, 4, 0, 2, 3)
        return summed(np.ascontiguousarray(product).reshape(2 * halves, -1), c, types[0], saturate)

    def chunks(self, descriptor: Array, rows: int, columns: int, width: int, transposed: bool) -> Array:
        """Byte offsets in shared memory of a tile's chunks of 16 bytes; columns are along k.

        (programs, groups, rows, chunks) or, transposed, (programs, groups, columns, chunks); one group stands for all
        where they have the same tile.
        """
        d = self.full(descriptor).reshape(self.B, -1, GROUP)[:, :, 0].astype(np.int64)
        if (d == d[:, :1]).all():
            d = d[:, :1]
        fields = d & ~0x3FFF
        if (fields != fields[0, 0]).any() or int(d[0, 0]) >> 49 & 7:
            raise EmulatorError("matrix descriptors that differ in more than addresses, or have an offset: not known")
        start = (d & 0x3FFF) << 4
        low = start & 1023          # swizzles mix the address bits below this
        field = int(d[0, 0])
        shape = (columns, rows * width // 16) if transposed else (rows, columns * width // 16)
        at = np.empty((*d.shape, *shape), np.int64)
        for one in np.unique(low).tolist():
            at[low == one] = pattern(one, field >> 14, rows, columns, width, transposed)
        at += (start - low - SHARED_BASE + np.arange(self.B)[:, None] * self.stride)[:, :, None, None]
        return at

    def operand(self, site: int, descriptor: Array, rows: int, columns: int, kind: str, transposed: bool,
                on: Array | None) -> Array:
        """A tile of shared memory, (programs, groups or 1, rows, columns)."""
        width = ELEMENT[kind]
        at = self.chunks(descriptor, rows, columns, width, transposed)
        if self.launch.checks:
            self.check_tile(site, at, on)
        elements = self.shared.view("c16").take(at >> 4, mode="clip").view(f"u{width}")
        if transposed:
            elements = np.ascontiguousarray(elements.transpose(0, 1, 3, 2))
        return numbers(elements, kind)

    def check_tile(self, site: int, chunks: Array, on: Array | None) -> None:
        """Chunks of 16 bytes that a product reads until it is waited for."""
        rows = np.arange(self.B) if on is None else np.unique(self.row[on])
        groups = chunks.shape[1]
        at = np.ascontiguousarray(chunks[rows]).reshape(len(rows), groups, -1)
        leaders = (rows[:, None] * self.T + np.arange(groups) * GROUP)[:, :, None]
        lanes = np.broadcast_to(leaders, at.shape).reshape(-1)
        start = np.repeat(rows, at.shape[1] * at.shape[2]) * self.stride
        flat = at.reshape(-1)
        a = Access(site, "read", "shared", flat, 0, lanes, 16)
        a.at = flat
        bad = (flat < start) | (flat + 16 > start + self.launch.shared_bytes)
        self.drop(a, "out of bounds", "wgmma reads outside the program's shared memory", bad)
        self.note_shared_read(a, logged=False)
        if bad.any():
            return
        if self.in_products is None:
            self.in_products = np.zeros(len(self.in_shared.writers), bool)
        granules = self.granules(flat, 16)
        codes = np.broadcast_to(self.me(lanes)[:, None], granules.shape)
        self.in_products[granules] = True
        self.products.begin(rows, granules.reshape(len(rows), -1), codes.reshape(len(rows), -1))

    def wgmma(self, site: int, shape: str, types: tuple[str, ...], c: list[Array], a: list[Array] | Array, b: Array,
              accumulate: Array, flags: list[int], on: Array | None) -> list[Array]:
        """d = a @ b (+ d) of each warp group: 64 x n x k. Computed at once; who may look at it is told by the waits."""
        m, n, k = map(int, re.findall(r"\d+", shape))
        d_kind, kind = types[0], types[1]
        transposes = flags[2:] if len(flags) > 2 else []
        sign = (flags[0] if flags else 1) * (flags[1] if len(flags) > 1 else 1)
        right = self.operand(site, b, n, k, types[2], bool(transposes and transposes[-1]), on)
        if isinstance(a, list):
            left = self.left(a, kind, 2).reshape(self.B, -1, m, k)
        else:
            left = self.operand(site, a, m, k, kind, bool(len(transposes) == 2 and transposes[0]), on)
        product = left @ right.transpose(0, 1, 3, 2)
        product = np.broadcast_to(product, (self.B, self.T // GROUP, m, n))     # all groups may have the same tiles
        product = product.reshape(self.B, -1, 4, 2, 8, n // 8, 4, 2).transpose(5, 3, 7, 0, 1, 2, 4, 6)
        product = np.ascontiguousarray(product).reshape(n // 2, -1)
        kept = mask(self.full(accumulate), "u4")
        before = [(np.asarray(one).view("u4") & kept).view(np.asarray(one).dtype) for one in c]
        return summed(-product if sign < 0 else product, before, d_kind)
