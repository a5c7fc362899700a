"""How much of the work one program takes: tiles cover it, fit the chip, and are what the hardware takes."""

import subprocess
import sys

import pytest

from microtrain.kernels import loop_tiles, matmul_tiles, tiles
from microtrain.kernels.tiles import RowTile


@pytest.mark.parametrize("arch", ["sm_90", "interpret"])
@pytest.mark.parametrize("numel", [0, 1, 2, 1009, 2**16 + 1, 2**20 + 1, 2**33])
def test_map_tiles_cover_the_elements(numel, arch):
    tile = tiles.map_tile(numel, arch=arch)
    assert tile.block == tiles.next_power_of_2(tile.block) <= 2**20
    assert 0 <= tile.grid(numel)[0] * tile.block - numel < tile.block


@pytest.mark.parametrize("arch", ["sm_90", "interpret"])
@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("cols", [1, 31, 784, 4097, tiles.ROW_MAX])
def test_row_tiles_hold_whole_rows(rows, cols, arch):
    tile = tiles.row_tile(rows, cols, arch=arch)
    assert cols <= tile.block_c < 2 * cols and tile.grid(rows)[0] * tile.block_r >= rows
    assert tile.block_r * tile.block_c <= (tiles.INTERPRET_ELEMENTS if arch == "interpret" else tiles.ROW_MAX)


@pytest.mark.parametrize("arch", ["sm_90", "interpret"])
@pytest.mark.parametrize("numel", [1, 2, 16384, 16385, 10**6, 10**8 + 7])
def test_full_reductions_cover_the_elements_in_two_stages(numel, arch):
    chunks, length = tiles.full_reduction(numel, arch=arch)
    assert (chunks - 1) * length < numel <= chunks * length
    assert chunks <= tiles.ROW_MAX


@pytest.mark.parametrize("kind", ["half", "tf32", "float32", "float64", "integer"])
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "gfx942", "sm_75", "interpret"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (128, 10, 784), (4096, 4096, 4096), (3, 5000, 1)])
def test_matmul_tiles_are_what_dot_takes(shape, kind, arch):
    for tile in matmul_tiles.matmul_tiles(*shape, kind, arch=arch):
        blocks = (tile.block_m, tile.block_n, tile.block_k)
        assert all(block >= matmul_tiles.DOT_MIN and block == tiles.next_power_of_2(block) for block in blocks)
        assert tile.dot == (kind != "integer")
        blocks_of_rows, blocks_of_columns = tiles.cdiv(shape[0], tile.block_m), tiles.cdiv(shape[1], tile.block_n)
        assert tile.grid(shape[0], shape[1], 3) == (blocks_of_rows * blocks_of_columns, 3)


@pytest.mark.parametrize("arch", tiles.ARCHITECTURES)
@pytest.mark.parametrize("kind", ["half", "tf32", "float32", "float64"])
def test_large_products_take_large_tiles_and_small_ones_spread(kind, arch):
    large, small = (matmul_tiles.matmul_tiles(n, n, n, kind, arch=arch)[0] for n in (8192, 256))
    assert (large.block_m, large.block_n) == matmul_tiles.TILES.get(arch, matmul_tiles.OTHER)[kind][0][:2]
    assert small.grid(256, 256)[0] >= min(256, matmul_tiles.BUSY * tiles.architecture(arch).processors)
    wasted = matmul_tiles.matmul_tiles(8192, 10, 512, kind, arch=arch)[0]
    assert wasted.block_n == 16


@pytest.mark.parametrize("arch", tiles.ARCHITECTURES)
def test_stages_fit_into_shared_memory_whatever_an_operand_is_made_of(arch):
    for loads in ((2, 2), (4, 2), (6, 6), (14, 14)):
        for tile in matmul_tiles.matmul_tiles(4096, 4096, 4096, "half", arch=arch, loads=loads):
            stage = tile.block_k * (tile.block_m * loads[0] + tile.block_n * loads[1])
            assert tile.num_stages * stage <= tiles.architecture(arch).shared_bytes
    assert matmul_tiles.matmul_tiles(64, 64, 64, "float64", arch="gfx942", loads=(400, 400))[0].num_stages == 1
    for arch in ("sm_80", "sm_90", "sm_100", "gfx942"):      # a product of two numbers, expanded, loads nothing
        assert (matmul_tiles.matmul_tiles(64, 64, 64, "float32", arch=arch, loads=(0, 0))
                == matmul_tiles.matmul_tiles(64, 64, 64, "float32", arch=arch, loads=(0, 4)))


def test_what_has_no_tiles_is_refused_with_what_has():
    with pytest.raises(ValueError, match=f"at most ROW_MAX = {tiles.ROW_MAX}"):
        tiles.row_tile(1, tiles.ROW_MAX + 1)
    with pytest.raises(ValueError, match="kind 'half precision': tiles are known for half, tf32, float32, fused"):
        matmul_tiles.matmul_tiles(64, 64, 64, "half precision", arch="sm_90")


def test_index_width_follows_the_largest_offset():
    assert tiles.index_bits(2**31 - 2**20) == 32 and tiles.index_bits(2**31) == 64


def test_the_folder_is_refused_as_a_top_level_package():
    code = "import sys; sys.path.insert(0, '.'); import kernels"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "microtrain.kernels" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("rows, cols, warps, itemsize, parts", [
    (256, 64, 8, 4, 2), (64, 256, 8, 4, 4), (512, 32, 8, 4, 1), (16, 1024, 8, 4, 1), (256, 64, 16, 4, 2),
    (16, 64, 8, 4, 1), (128, 32, 8, 8, 2)])
def test_columns_are_in_parts_where_that_saves_steps_of_a_sum(rows, cols, warps, itemsize, parts):
    tile = loop_tiles.slab_tile_in_parts(rows, cols, warps, itemsize)
    assert tile == RowTile(rows, cols, warps, parts)
    if parts > 1:       # some 16 bytes of each part to a thread, and rows of its own
        across = cols * itemsize // (16 * parts)
        assert 8 <= across < 32 and rows * across >= 32 * warps
