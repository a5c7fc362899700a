"""Tiles for a loop of steps, in which one program with a processor to itself does the work of every kernel in turn.

So a tile is as large as registers allow, never small to be one of many; all have the same number of warps. What lies
outside one tile is done in turns of a loop in the kernel.
"""

from .matmul_tiles import DOT_MIN, NO_DOT, MatmulTile
from .tiles import MapTile, RowTile, next_power_of_2, slab_tile

WARP = 32
MAP_EACH = 8  # elements that a thread of a map has at once: two accesses of 16 bytes to each operand
ROW_EACH = 32  # and one of rows, at most
REDUCE_COLS = 512  # columns of a tile of long rows
# The most rows, columns and terms of a product's tile, by the kind of operands. On tensor cores a long tile of K saves
# turns; in IEEE float32 each term is so many instructions, and 64 of them more than the cache for instructions holds.
PRODUCTS = {"half": (64, 64, 64), "tf32": (64, 64, 64), "float32": (64, 64, 16), "float64": (32, 32, 16)}


def map_tile(numel: int, num_warps: int) -> MapTile:
    """The tile of elementwise work: no thread has another one's elements too."""
    threads = num_warps * WARP
    return MapTile(min(max(next_power_of_2(numel), threads), threads * MAP_EACH), num_warps)


def row_tile(rows: int, cols: int, num_warps: int) -> RowTile:
    """The tile of rows held on chip."""
    block_c = next_power_of_2(cols)
    return RowTile(min(next_power_of_2(rows), max(num_warps * WARP * ROW_EACH // block_c, 1)), block_c, num_warps)


def slab_tile_in_parts(rows: int, cols: int, num_warps: int, itemsize: int) -> RowTile:
    """The tile of a slab whose rows and columns are reduced, by the instructions that takes.

    Threads side by side that have some of a row each add it up in steps of two instructions, and store and load its
    sum; so do threads one below the other with a column. A logistic step of 256 x 64 numbers has 8 threads to a row, in
    two parts: 60 instructions less than with 16 (sm_90). With 8 they still read lines of 128 bytes.
    """
    tile = slab_tile(rows, cols)
    at_once = max(min(cols & -cols, 16 // itemsize), 1)
    most = min(tile.block_c // at_once, WARP)

    def instructions(across: int) -> int:
        own_rows, own_cols = tile.block_r * across // (num_warps * WARP), tile.block_c // across
        return own_rows * 2 * across.bit_length() + own_cols * (2 * (WARP // across).bit_length() - 1)

    able = [across for across in (8, 16, 32) if across <= most and tile.block_r * across >= num_warps * WARP]
    best = min(able, key=instructions, default=most)
    return RowTile(tile.block_r, tile.block_c, num_warps, 1 if best == most else tile.block_c // (at_once * best))


def reduce_tile(rows: int, cols: int, num_warps: int) -> RowTile:
    """The tile of rows too long for that."""
    block_c = min(next_power_of_2(cols), REDUCE_COLS)
    return RowTile(min(next_power_of_2(rows), max(num_warps * WARP * MAP_EACH // block_c, 1)), block_c, num_warps)


def matmul_tile(m: int, n: int, k: int, kind: str, num_warps: int) -> MatmulTile:
    """The tile of a product of operands of a kind of `matmul_tiles`."""
    if kind == "integer":
        return NO_DOT
    block_m, block_n, block_k = [min(max(next_power_of_2(size), DOT_MIN), most)
                                 for size, most in zip((m, n, k), PRODUCTS[kind], strict=True)]
    return MatmulTile(block_m, block_n, block_k, num_warps, num_stages=1)
