"""Tiles for matrix products: plain data by the kind of operands and by architecture, and how one is chosen.

What the tables rest on stands in `docs/gpu.md`.
"""

from dataclasses import dataclass

from .tiles import INTERPRET, architecture, cdiv, next_power_of_2

DOT_MIN = 16  # tl.dot takes no smaller side


@dataclass(frozen=True)
class MatmulTile:
    """Tiles for `matmul_kernel`."""

    block_m: int
    block_n: int
    block_k: int
    num_warps: int
    num_stages: int
    dot: bool = True

    def grid(self, m: int, n: int, batch: int = 1) -> tuple[int, int]:
        """The programs for a batch of m x n results."""
        return (cdiv(m, self.block_m) * cdiv(n, self.block_n), batch)

    def sharing(self, lines: int) -> int:
        """The threads that load a line of `block_k` float32 numbers between them, where those of neighbouring `lines`
        are contiguous and are loaded four at a time."""
        return max(1, min(self.block_k, 32 * self.num_warps // max(1, lines // 4)))


Table = tuple[tuple[int, int, int, int, int], ...]

# (block_m, block_n, block_k, num_warps, num_stages), the largest first, by the kind of operands: "half" (float16 and
# bfloat16, on tensor cores), "tf32" (float32 rounded for tensor cores), "float32" (IEEE: no tensor cores on NVIDIA,
# where 128 fused multiply-adds a cycle and processor are all there is) and "float64". A thread of an IEEE product holds
# its rows and columns of the operands in registers beside its part of the accumulator; where a prologue reads more than
# a number for an operand's element it holds those too, and the accumulator's part is half as large: "fused float32".
# wgmma and tcgen05 begin at 64 rows; below, Hopper and Blackwell multiply as Ampere does.
AMPERE: dict[str, Table] = {
    "half": ((128, 128, 32, 8, 4), (128, 64, 64, 4, 3), (64, 64, 64, 4, 4), (32, 32, 128, 4, 3), (64, 16, 64, 4, 4),
             (16, 64, 64, 4, 4), (16, 16, 128, 2, 3)),
    "tf32": ((128, 128, 32, 8, 3), (64, 64, 32, 4, 4), (32, 32, 64, 4, 3), (64, 16, 64, 4, 3), (16, 64, 64, 4, 3),
             (16, 16, 64, 2, 3)),
    "float32": ((128, 128, 16, 8, 3), (64, 64, 16, 4, 3), (32, 32, 32, 4, 3), (16, 16, 64, 4, 3)),
    "fused float32": ((128, 64, 16, 8, 3), (64, 64, 16, 8, 3), (32, 32, 32, 4, 3), (16, 16, 64, 4, 3)),
    "float64": ((64, 64, 16, 4, 2), (32, 32, 16, 4, 3), (16, 16, 16, 2, 3)),
}  # fmt: skip
HOPPER: dict[str, Table] = AMPERE | {
    "half": ((128, 256, 64, 8, 3), (128, 128, 64, 8, 4), (128, 64, 64, 4, 4), (64, 64, 64, 4, 4), (32, 32, 128, 4, 3),
             (64, 16, 64, 4, 4), (16, 64, 64, 4, 4), (16, 16, 128, 2, 3)),
}  # fmt: skip
BLACKWELL: dict[str, Table] = HOPPER | {
    "half": (*HOPPER["half"][:-1], (16, 16, 64, 2, 4)),
    "tf32": ((128, 128, 16, 8, 4), *AMPERE["tf32"][1:]),
    "fused float32": ((128, 64, 16, 8, 3), (64, 64, 16, 8, 2), (32, 32, 32, 4, 3), (16, 16, 64, 2, 3)),
    "float64": ((64, 64, 16, 8, 3), (32, 32, 16, 4, 3), (16, 16, 16, 2, 3)),  # fused multiply-adds before Triton 3.9
}
# Whatever else there is, AMD's included, has 64 KB for a program's tiles.
OTHER: dict[str, Table] = {
    "half": ((128, 128, 32, 8, 2), (64, 64, 64, 4, 2), (32, 32, 64, 4, 2), (64, 16, 64, 4, 2), (16, 64, 64, 4, 2),
             (16, 16, 64, 2, 2)),
    "tf32": ((128, 128, 16, 8, 2), (64, 64, 32, 4, 2), (32, 32, 32, 4, 2), (16, 16, 64, 2, 2)),
    "float32": ((128, 128, 16, 8, 2), (64, 64, 32, 4, 2), (32, 32, 32, 4, 2), (16, 16, 64, 2, 2)),
    "fused float32": ((64, 64, 16, 8, 2), (32, 32, 32, 4, 2), (16, 16, 64, 2, 2)),
    "float64": ((64, 64, 16, 4, 2), (32, 32, 16, 4, 2), (16, 16, 16, 2, 2)),
}  # fmt: skip
TILES = {"sm_80": AMPERE, "sm_90": HOPPER, "sm_100": BLACKWELL}
NO_DOT = MatmulTile(16, 16, 16, 4, 1, dot=False)  # the broadcast product's [m, k, n] tile is in registers: the cube
INTERPRET_DOT = 512  # an interpreted product of two 512 x 512 tiles takes some 10 ms
ITEMSIZES = {"half": 2, "tf32": 4, "float32": 4, "fused float32": 4, "float64": 8}
BUSY = 0.75  # the part of a GPU's processors that should have a program before tiles may be large


def matmul_tiles(m: int, n: int, k: int, kind: str, *, batch: int = 1, arch: str,
                 loads: tuple[int, int] | None = None) -> list[MatmulTile]:
    """The tiles for a batch of [m, k] @ [k, n] on an architecture, the best guess first, then its neighbours in size.

    kind: "half", "tf32", "float32", "float64", or "integer", which `tl.dot` does not take. loads: the bytes that an
    element of each operand is computed from (one number's, unless its prologue reads more). Where a tile's stages do
    not fit into shared memory with that, it has fewer.
    Raises ValueError for another kind.
    """
    sides = [max(next_power_of_2(side), DOT_MIN) for side in (m, n, k)]
    if arch == INTERPRET:
        largest = 64 if kind == "integer" else INTERPRET_DOT
        block_m, block_n, block_k = [min(side, largest) for side in sides]
        return [MatmulTile(block_m, block_n, block_k, 4, 1, kind != "integer")]
    if kind == "integer":
        return [NO_DOT]
    table = TILES.get(arch, OTHER)
    if kind not in table:
        raise ValueError(f"operands of kind {kind!r}: tiles are known for {', '.join(table)} and integer")
    gpu = architecture(arch)
    bytes_a, bytes_b = loads or (ITEMSIZES[kind],) * 2
    if kind == "float32" and max(bytes_a, bytes_b) > ITEMSIZES[kind]:
        kind = "fused float32"
    fitting = []
    for block_m, block_n, block_k, num_warps, num_stages in table[kind]:
        stage = block_k * (block_m * bytes_a + block_n * bytes_b)
        num_stages = min(num_stages, gpu.shared_bytes // max(stage, 1))       # 0: both operands are numbers
        if block_m <= sides[0] and block_n <= sides[1] and num_stages >= 2:
            fitting.append(MatmulTile(block_m, block_n, block_k, num_warps, num_stages))
    if not fitting:  # the smallest: prologues of a dozen float64 loads
        return [MatmulTile(*table[kind][-1][:4], num_stages=1)]
    programs = [tile.grid(m, n)[0] * batch for tile in fitting]
    enough = [i for i, count in enumerate(programs) if count >= BUSY * gpu.processors]
    best = enough[0] if enough else max(range(len(fitting)), key=programs.__getitem__)
    return sorted(fitting, key=lambda tile: abs(fitting.index(tile) - best))
