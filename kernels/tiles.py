"""Tile choice: plain data by shape class, with no Triton and no GPU needed to read or test it.

Every choice has two columns: a GPU's, where a program's tile must fit its registers, and the interpreter's, where a
program costs about 3 ms however small its tile is, so that few, large ones are wanted.
"""

from dataclasses import dataclass

ROW_MAX = 16384  # columns; the longest row held on chip: 16 warps with 32 float32 numbers a thread
INTERPRET_ELEMENTS = 1 << 18  # elements of an interpreted tile; Triton's own limit is 1 << 20
INT32_ELEMENTS = 2**31 - 2 * INTERPRET_ELEMENTS  # beyond it an index of a partly filled tile may pass int32
# Off, so that a kernel rounds each product as PyTorch and the interpreter do: fused, x * y - x * y need not be 0.
# `tl.dot` and the explicit `tl.fma` are not affected. Triton 3.10 is to change its default.
ENABLE_FP_FUSION = False
DOT_MIN = 16  # tl.dot takes no smaller side


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
    """A [block_r, block_c] tile for `row_kernel` and `reduce_kernel`."""

    block_r: int
    block_c: int
    num_warps: int

    def grid(self, rows: int) -> tuple[int]:
        """The programs for `rows` rows."""
        return (cdiv(rows, self.block_r),)


@dataclass(frozen=True)
class MatmulTile:
    """Tiles for `matmul_kernel`."""

    block_m: int
    block_n: int
    block_k: int
    num_warps: int
    num_stages: int
    dot: bool

    def grid(self, m: int, n: int, batch: int = 1) -> tuple[int, int]:
        """The programs for a batch of m x n results."""
        return (cdiv(m, self.block_m) * cdiv(n, self.block_n), batch)


def cdiv(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)


def next_power_of_2(n: int) -> int:
    """The smallest power of two at or above n, and at least 1."""
    return 1 << max(n - 1, 0).bit_length()


def index_bits(elements: int) -> int:
    """32, or 64 where an offset into `elements` elements (the largest buffer touched) can pass 2**31."""
    return 32 if elements <= INT32_ELEMENTS else 64


def map_tile(numel: int, *, itemsize: int = 4, interpret: bool = False) -> MapTile:
    """The tile for an elementwise kernel over `numel` elements, the smallest of them `itemsize` bytes.

    Small tensors take small programs, so that they spread over the processors. Large ones take 16 bytes a thread for
    the 256 threads that four warps are on AMD, and twice that for NVIDIA's 128.
    """
    if interpret:
        return MapTile(min(next_power_of_2(numel), INTERPRET_ELEMENTS), 4)
    if numel <= 1 << 16:
        return MapTile(256, 2)
    if numel <= 1 << 20:
        return MapTile(512, 4)
    return MapTile(1024 * max(4 // itemsize, 1), 4)


def row_tile(rows: int, cols: int, *, along_rows: bool = False, interpret: bool = False) -> RowTile:
    """The tile for a row kernel: whole rows, several short ones to a program.

    along_rows: neighbours in memory are neighbours in r, so a program takes 8 rows where their registers allow: float32
    columns then fill the 32-byte sectors that memory is read in.
    Raises ValueError where a row does not fit (cols > ROW_MAX): such a row is reduced by `reduce_kernel`.
    """
    if cols > ROW_MAX:
        raise ValueError(f"a row of {cols} columns does not fit on chip: at most ROW_MAX = {ROW_MAX}")
    block_c = next_power_of_2(cols)
    if interpret:
        return RowTile(min(next_power_of_2(rows), max(INTERPRET_ELEMENTS // block_c, 1)), block_c, 4)
    block_r = min(next_power_of_2(rows), max(1024 // block_c, 1))
    if along_rows:
        block_r = min(next_power_of_2(rows), max(block_r, min(8, ROW_MAX // block_c)))
    elements = block_r * block_c
    num_warps = 1 if elements <= 256 else 4 if elements <= 2048 else 8 if elements <= 4096 else 16
    return RowTile(block_r, block_c, num_warps)


def whole_fits(rows: int, cols: int) -> bool:
    """Whether one program can hold all rows: as many elements as the longest row, powers of two each way."""
    return next_power_of_2(rows) * next_power_of_2(cols) <= ROW_MAX


def whole_tile(rows: int, cols: int) -> RowTile:
    """The tile of the one program that holds all rows, 32 float32 numbers a thread at most."""
    block_r, block_c = next_power_of_2(rows), next_power_of_2(cols)
    return RowTile(block_r, block_c, max(1, min(block_r * block_c // 512, 16)))


def reduce_tile(rows: int, cols: int, *, along_rows: bool = False, interpret: bool = False) -> RowTile:
    """The tile for a reduction of [rows, cols] over cols.

    along_rows: neighbours in memory are neighbours in r (a sum over the leading axis), so the tile is wide in r.
    """
    if interpret:
        block_c = min(next_power_of_2(cols), INTERPRET_ELEMENTS)
        return RowTile(min(next_power_of_2(rows), max(INTERPRET_ELEMENTS // block_c, 1)), block_c, 4)
    if along_rows:
        return RowTile(min(next_power_of_2(rows), 64), min(next_power_of_2(cols), 32), 4)
    block_c = min(next_power_of_2(cols), 2048)
    block_r = min(next_power_of_2(rows), max(1024 // block_c, 1))
    return RowTile(block_r, block_c, 4)


def full_reduction(numel: int, *, interpret: bool = False) -> tuple[int, int]:
    """(chunks, length) of the first stage of a full reduction in two launches; chunks * length >= numel.

    The split depends on `numel` alone, so the order of the additions does too. One chunk: one launch does it.
    """
    if interpret or numel <= ROW_MAX:
        return 1, numel
    length = max(next_power_of_2(cdiv(numel, 1024)), 2048)
    return cdiv(numel, length), length


# (block_m, block_n, block_k, num_warps, num_stages), largest first, by the operands' bytes; each compiles without
# spills for every target of the null device (`tests/test_null.py`). On NVIDIA an IEEE float32 product uses no tensor
# cores and keeps its accumulator in ordinary registers.
MATMUL_TILES = {
    2: ((128, 128, 64, 8, 3), (64, 128, 64, 8, 3), (64, 64, 64, 8, 3), (32, 32, 64, 4, 3), (16, 16, 64, 2, 3)),
    4: ((128, 128, 16, 8, 2), (128, 64, 16, 8, 2), (64, 32, 32, 4, 2), (32, 32, 32, 4, 2), (16, 16, 32, 2, 2)),
    8: ((64, 64, 16, 4, 2), (32, 32, 16, 4, 2), (16, 16, 16, 2, 2)),
}
MATMUL_PROGRAMS = 128  # about a GPU's processors: a smaller tile is taken until there are as many programs
MATMUL_NO_DOT = (16, 16, 16, 4, 1)  # the [m, k, n] tile of the broadcast product, and its registers, are the cube
INTERPRET_DOT = 512  # an interpreted product of two 512 x 512 tiles takes some 10 ms


def matmul_tile(
    m: int, n: int, k: int, itemsize: int, *, batch: int = 1, dot: bool = True, interpret: bool = False
) -> MatmulTile:
    """The tile for a batch of [m, k] @ [k, n] with operands of `itemsize` bytes (2, 4 or 8).

    dot: False for integers, which `tl.dot` does not take. float64 it takes on every target of the null device, with
    Triton 3.6 to 3.9: on tensor cores, but for sm_100 before 3.9, where they are fused multiply-adds.
    Raises ValueError for another itemsize.
    """
    if interpret:
        largest = INTERPRET_DOT if dot else 64
        sides = [min(max(next_power_of_2(side), DOT_MIN), largest) for side in (m, n, k)]
        return MatmulTile(sides[0], sides[1], sides[2], 4, 1, dot)
    if not dot:
        return MatmulTile(*MATMUL_NO_DOT, dot)
    if itemsize not in MATMUL_TILES:
        raise ValueError(f"operands of {itemsize} bytes: tiles are known for {', '.join(map(str, MATMUL_TILES))}")
    choices = [
        choice
        for choice in MATMUL_TILES[itemsize]
        if cdiv(m, choice[0]) * cdiv(n, choice[1]) * batch >= MATMUL_PROGRAMS
    ]
    return MatmulTile(*(choices[0] if choices else MATMUL_TILES[itemsize][-1]), dot)
