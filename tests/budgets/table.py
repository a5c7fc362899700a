"""The budgets, in one table, and what is excused, each with its reason.

A kernel's kind is its template and, where that changes what it needs, the numbers it computes with. A budget is the
most that a kernel of the sample and of the named cases uses, and some room for what the sample does not have. Registers
say how many threads a processor holds at once: on NVIDIA 64 leave 1,024 of them, 128 leave 512, and 255 are all that a
thread can have; on AMD those for accumulation count, too.
"""

from __future__ import annotations

from typing import NamedTuple


class Budget(NamedTuple):
    """What a kernel may use at most."""

    registers: int  # a thread
    shared_bytes: int  # a program


class Excuse(NamedTuple):
    """What kernels of some kinds may do on some targets after all.

    `spills` is how much a thread may spill (NVIDIA: bytes, AMD: registers), `store_bits` how narrow its stores may be,
    `load_bits` how wide a load could be that is split all the same.
    """

    targets: tuple[str, ...]
    kinds: tuple[str, ...]
    reason: str
    spills: int = 0
    store_bits: int = 0
    load_bits: int = 0

    def covers(self, kind: str, target: str) -> bool:
        """Whether a kernel of this kind on this target is meant."""
        return target in self.targets and kind in self.kinds


NVIDIA = ("sm_80", "sm_90", "sm_100")
KB = 1024

_TABLE: dict[str, tuple[Budget, Budget]] = {
    # kind: NVIDIA's three, AMD
    "map": (Budget(192, 1 * KB), Budget(64, 1 * KB)),
    "map, float64": (Budget(96, 2 * KB), Budget(64, 1 * KB)),
    "maps": (Budget(144, 8 * KB), Budget(80, 8 * KB)),
    "maps, float64": (Budget(96, 8 * KB), Budget(80, 8 * KB)),
    "row": (Budget(192, 16 * KB), Budget(128, 16 * KB)),
    "row, float64": (Budget(192, 16 * KB), Budget(128, 16 * KB)),
    "slab": (Budget(192, 16 * KB), Budget(384, 16 * KB)),
    "slab, float64": (Budget(255, 24 * KB), Budget(384, 24 * KB)),
    "reduce": (Budget(96, 1 * KB), Budget(64, 1 * KB)),
    "reduce, float64": (Budget(144, 1 * KB), Budget(80, 1 * KB)),
    "matmul, half": (Budget(255, 160 * KB), Budget(255, 48 * KB)),
    "matmul, float32": (Budget(255, 64 * KB), Budget(255, 48 * KB)),
    "matmul, float64": (Budget(192, 48 * KB), Budget(255, 48 * KB)),
    "matmul, integer": (Budget(160, 16 * KB), Budget(160, 16 * KB)),
}

BUDGETS: dict[str, dict[str, Budget]] = {
    kind: {**dict.fromkeys(NVIDIA, nvidia), "gfx942": amd} for kind, (nvidia, amd) in _TABLE.items()}
"""What a kernel may use, by kind and target."""

EXCUSES: tuple[Excuse, ...] = (
    Excuse(NVIDIA, ("matmul, float64", "matmul, half"), spills=56,
           reason="ptxas keeps a product's smallest tile at 72 or 80 registers, so that more programs fit a processor, "
                  "and spills a few; told that it may have 255 it spills none, but then others take twice as many"),
    Excuse(NVIDIA, ("matmul, float32",), spills=64,
           reason="a convolution's operand has an address and a mask of its own for each element, more than registers "
                  "hold beside the tiles of the stages to come"),
    Excuse((*NVIDIA, "gfx942"), ("slab, float64",), spills=512,
           reason="a slab of many is cut for float32, to half of what fits a program (compiler.lower.SLAB_ELEMENTS): "
                  "one of float64 with a loss on its rows needs more registers than 512 threads have"),
    Excuse((*NVIDIA, "gfx942"), ("row, float64",), spills=136,
           reason="2,048 numbers of a batch norm in float64, held by 512 threads from the sums to the result, and an "
                  "address for each"),
    Excuse(("sm_100",), ("slab",), spills=64,
           reason="256 x 64 numbers of a whole step take all 128 registers that 512 threads may have"),
    Excuse(("sm_80", "sm_90"), ("slab",), spills=64,
           reason="64 x 256 numbers of a layer norm's whole step with Adam, in bfloat16, take those 128 registers too"),
    Excuse(("gfx942",), ("slab",), spills=32,
           reason="32 x 128 numbers held by 8 warps with the sums over both axes and the losses of the rows: a few of "
                  "the 256 registers go to memory"),
    Excuse(("gfx942",), ("maps",), load_bits=32,
           reason="two halves of which the first is read for itself as well: Triton's AMD compiler reads each once"),
    Excuse(("gfx942",), ("matmul, float64",), store_bits=64,
           reason="the result is stored as the matrix instruction leaves it, one float64 to a lane: Triton's AMD "
                  "compiler does not pass it through shared memory first"),
)
"""What is excused."""


def budget(kind: str, target: str) -> Budget:
    """The budget of a kind of kernel. Raises KeyError, naming both, where the table has none."""
    try:
        return BUDGETS[kind][target]
    except KeyError:
        raise KeyError(f"the table has no budget for {kind!r} on {target}: it has {', '.join(BUDGETS)}") from None
