"""Tile choice: plain data by shape class, with no Triton and no GPU needed to read or test it.

A choice depends on the architecture ("sm_90", "gfx942", ...): on how many processors a GPU has to keep busy. The name
"interpret" stands for Triton's interpreter, where a program costs about 3 ms however small its tile is, so that few,
large ones are wanted. What else might do, for the search to measure, comes after the best guess (`map_tiles`).
Matrix products have `matmul_tiles`.
"""

from dataclasses import dataclass

INTERPRET = "interpret"  # the architecture that Triton's interpreter stands for
DEFAULT = "sm_90"
ROW_MAX = 16384  # columns; the longest row held on chip: 16 warps with 32 float32 numbers a thread
INTERPRET_ELEMENTS = 1 << 18  # elements of an interpreted tile; Triton's own limit is 1 << 20
INT32_ELEMENTS = 2**31 - 2 * INTERPRET_ELEMENTS  # beyond it an index of a partly filled tile may pass int32
HAND_OVER = 4  # instructions for a value to change hands in shared memory, beside a store and a load for each row
# Off, so that a kernel rounds each product as PyTorch and the interpreter do: fused, x * y - x * y need not be 0.
# `tl.dot` and the explicit `tl.fma` are not affected. Triton 3.10 is to change its default.
ENABLE_FP_FUSION = False


@dataclass(frozen=True)
class Architecture:
    """What the choice of a tile needs to know of a GPU."""

    processors: int
    shared_bytes: int  # that one program may have


# From the vendors' architecture papers: an A100, an H100 (SXM), a B200, an MI300X.
ARCHITECTURES = {"sm_80": Architecture(108, 163 << 10), "sm_90": Architecture(132, 227 << 10),
                 "sm_100": Architecture(148, 227 << 10), "gfx942": Architecture(304, 64 << 10)}
OTHER = Architecture(64, 64 << 10)  # a modest GPU of any make: what runs there runs everywhere


def architecture(arch: str) -> Architecture:
    """The GPU that a name such as "sm_90" stands for."""
    return ARCHITECTURES.get(arch, OTHER)


@dataclass(frozen=True)
class MapTile:
    """A [block] tile for `map_kernel`."""

    block: int
    num_warps: int

    def grid(self, numel: int) -> tuple[int]:
        """The programs for `numel` elements."""
        return (cdiv(numel, self.block),)


@dataclass(frozen=True)
class RowTile:
    """A [block_r, block_c] tile for `row_kernel` and `reduce_kernel`, or for `slab_kernel`, its columns in `parts`."""

    block_r: int
    block_c: int
    num_warps: int
    parts: int = 1

    def grid(self, rows: int) -> tuple[int]:
        """The programs for `rows` rows."""
        return (cdiv(rows, self.block_r),)


def cdiv(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)


def next_power_of_2(n: int) -> int:
    """The smallest power of two at or above n, and at least 1."""
    return 1 << max(n - 1, 0).bit_length()


def index_bits(elements: int) -> int:
    """32, or 64 where an offset into `elements` elements (the largest buffer touched) can pass 2**31."""
    return 32 if elements <= INT32_ELEMENTS else 64


def map_tile(numel: int, *, itemsize: int = 4, arch: str = DEFAULT) -> MapTile:
    """The tile for an elementwise kernel over `numel` elements, the smallest of them `itemsize` bytes.

    Small tensors take small programs, so that they spread over the processors. Large ones take 32 bytes a thread and
    operand (16 on AMD, whose warps are twice as wide): with 2048 threads a processor has 64 KB on their way, where
    latency times bandwidth is 12 KB on an A100, 20 KB on an H100 and 43 KB on a B200 (0.8 us; 1.6, 3.3 and 8 TB/s).
    """
    if arch == INTERPRET:
        return MapTile(min(next_power_of_2(numel), INTERPRET_ELEMENTS), 4)
    share = numel // architecture(arch).processors
    if share <= 512:
        return MapTile(256, 2)
    if share <= 8192:
        return MapTile(512, 4)
    return MapTile(1024 * max(4 // itemsize, 1), 4)


def row_tile(rows: int, cols: int, *, along_rows: bool = False, held: int = 2, arch: str = DEFAULT) -> RowTile:
    """The tile for a row kernel: whole rows, several short ones to a program while every processor has one.

    along_rows: neighbours in memory are neighbours in r, so a program takes 8 rows where their registers allow: float32
    columns then fill the 32-byte sectors that memory is read in. held: the 32-bit registers that an element's operands
    take; with more than two, 8 long rows do not fit (8 x 2048 of a batch norm's gradient spilled 352 bytes a thread).
    Raises ValueError where a row does not fit (cols > ROW_MAX): such a row is reduced by `reduce_kernel`.
    """
    if cols > ROW_MAX:
        raise ValueError(f"a row of {cols} columns does not fit on chip: at most ROW_MAX = {ROW_MAX}")
    block_c = next_power_of_2(cols)
    if arch == INTERPRET:
        return RowTile(min(next_power_of_2(rows), max(INTERPRET_ELEMENTS // block_c, 1)), block_c, 4)
    share = next_power_of_2(cdiv(rows, architecture(arch).processors))
    block_r = min(share, max(1024 // block_c, 1))
    if along_rows:
        block_r = min(next_power_of_2(rows), max(block_r, min(8, 2 * ROW_MAX // (block_c * max(held, 2)))))
    elements = block_r * block_c
    num_warps = 1 if elements <= 256 else 4 if elements <= 2048 else 8 if elements <= 4096 else 16
    return RowTile(block_r, block_c, num_warps)


def slab_fits(rows: int, cols: int, itemsize: int = 4) -> bool:
    """Whether one program can hold all rows of numbers of `itemsize` bytes, powers of two each way: as much as the
    longest row of float32, a quarter as many numbers in float64 (half as many spilled: a step of 256 x 64 1,400 bytes a
    thread on sm_90, a loss on 512 x 16 with its updates 1,330 registers on gfx942)."""
    return next_power_of_2(rows) * next_power_of_2(cols) <= (ROW_MAX if itemsize <= 4 else ROW_MAX // 4)


def slab_tile(rows: int, cols: int) -> RowTile:
    """The tile of a program that holds all of some rows, 32 float32 numbers a thread at most."""
    block_r, block_c = next_power_of_2(rows), next_power_of_2(cols)
    return RowTile(block_r, block_c, max(1, min(block_r * block_c // 512, 16)))


def flat_pays(tile: RowTile, size: int, itemsize: int, operations: int, handed: int, *,
              along_rows: bool = False) -> bool:
    """Whether operations on values of a slab's rows had better be done on vectors, a part to each thread, than by all
    threads that hold some of a row; `handed` values then change hands in shared memory.

    A thread loads up to 16 bytes at once, numbers of `itemsize` bytes that lie side by side in runs of `size`, each in
    a row or `along_rows`. A logistic step of 256 x 64 numbers took 1,426 instructions (sm_90, Triton 3.7.1), and 637
    with vectors. A lone warp hands over by shuffles: a cross entropy of 64 x 8 numbers took a fifth more.
    """
    threads = 32 * tile.num_warps
    at_once = min(size & -size, max(16 // itemsize, 1))
    own = max(tile.block_r // threads, 1)
    held = max(at_once if along_rows else tile.block_r * tile.block_c // (threads * at_once), own)
    return tile.num_warps > 1 and operations * (held - own) >= handed * (held + own + HAND_OVER)


def registers(num_warps: int) -> int:
    """The registers that a thread may have (NVIDIA) where one program has a processor to itself."""
    return min(65536 // (32 * num_warps), 255)


def reduce_tile(rows: int, cols: int, *, along_rows: bool = False, arch: str = DEFAULT) -> RowTile:
    """The tile for a reduction of [rows, cols] over cols.

    along_rows: neighbours in memory are neighbours in r (a sum over the leading axis), so the tile is wide in r: from a
    sector of 8 float32 numbers for few rows to 64 where there are two programs for every processor.
    """
    if arch == INTERPRET:
        block_c = min(next_power_of_2(cols), INTERPRET_ELEMENTS)
        return RowTile(min(next_power_of_2(rows), max(INTERPRET_ELEMENTS // block_c, 1)), block_c, 4)
    if along_rows:
        share = next_power_of_2(rows // (2 * architecture(arch).processors))
        block_r = min(next_power_of_2(rows), max(8, min(share, 64)))
        return RowTile(block_r, min(next_power_of_2(cols), 2048 // block_r), 4)
    block_c = min(next_power_of_2(cols), 2048)
    block_r = min(next_power_of_2(rows), max(1024 // block_c, 1))
    return RowTile(block_r, block_c, 4)


SEARCHED = ((2, 1), (2, 2), (1, 2), (4, 2), (0.5, 0.5), (0.5, 1), (1, 0.5))
"""What the search tries beside a chosen tile of elements or rows: factors of its elements and of its warps."""


def map_tiles(numel: int, *, itemsize: int = 4, arch: str = DEFAULT) -> list[MapTile]:
    """`map_tile`, and then what else the search should try."""
    best = map_tile(numel, itemsize=itemsize, arch=arch)
    if arch == INTERPRET:
        return [best]
    tried = [MapTile(int(best.block * more), int(best.num_warps * warps)) for more, warps in SEARCHED]
    return [best, *[tile for tile in tried if tile.block >= 64 * tile.num_warps]]


def row_tiles(best: RowTile, rows: int, *, arch: str = DEFAULT) -> list[RowTile]:
    """The chosen tile of rows, and then what else the search should try."""
    if arch == INTERPRET:
        return [best]
    tried = [RowTile(int(best.block_r * more), best.block_c, int(best.num_warps * warps)) for more, warps in SEARCHED]
    return [best, *[tile for tile in tried if 1 <= tile.block_r <= next_power_of_2(rows)
                    and 1 <= tile.num_warps <= 16 and tile.block_r * tile.block_c <= ROW_MAX]]


def full_reduction(numel: int, *, arch: str = DEFAULT) -> tuple[int, int]:
    """(chunks, length) of the first stage of a full reduction in two launches; chunks * length >= numel.

    The split depends on `numel` alone, so the order of the additions does too. One chunk: one launch does it.
    """
    if arch == INTERPRET or numel <= ROW_MAX:
        return 1, numel
    length = max(next_power_of_2(cdiv(numel, 1024)), 2048)
    return cdiv(numel, length), length
