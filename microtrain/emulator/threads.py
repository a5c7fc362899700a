"""The threads of a batch of programs: who they are, which take part, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .integers import Array
from .memory import Allocation, Memory
from .parse import Instruction
from .report import EmulatorError, Finding, Report
from .shadow import EPOCH, PROGRAM, STRONG, THREAD, Sync

Registers = dict[str | tuple[str, int], Array]
"""Values by name, and parameters of calls by name and offset."""
WARP_SIZE = 32
SHARED_BASE = 1024
"""Where shared memory begins: swizzles look at the bits of addresses below."""

FIXED = {"nsmid": 132, "gridid": 1, "nwarpid": 64, "cluster_nctarank": 1}
"""Special registers that are the same in every launch."""
UNKNOWN = "smid clock clock_hi clock64 globaltimer globaltimer_lo globaltimer_hi cluster_ctarank is_explicit_cluster"
"""Those that are 0: time is not modelled, and a cluster is one program."""


@dataclass
class Launch:
    """What all batches of a launch have in common."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int
    parameters: Mapping[str, bytes]       # Raw bytes by name
    memory: Memory
    checks: bool
    report: Report
    instructions: Sequence[Instruction]
    symbols: Mapping[str, int]
    regions: list[Allocation]       # Live allocations, by address
    global_shift: int       # Binary logarithms of the narrowest accesses
    shared_shift: int
    sync: Sync | None       # Where programs order each other's accesses
    allowed: dict[int, frozenset[int]] = field(default_factory=dict)
    """By number of the instruction: indices of the regions in which its addresses belong."""
    tracked: frozenset[int] = frozenset()       # Regions that are read and written: there the reads are noted too
    names: dict[int, str] = field(default_factory=dict)       # By start of an allocation: what its messages call it
    ranges: dict[int, tuple[int, int, bool]] = field(default_factory=dict)
    """By number of the instruction: bytes of the arena between which it accessed, and whether it writes."""
    changes: int = 0
    """Stores to global memory, and atomics that changed something: by these programs that wait can be let go on."""
    polls: int = 0       # Accesses by which a program may learn that it need not wait


class Threads:
    """B programs of T threads, in N = B * T places; thread after thread of a program, program after program."""

    def __init__(self, launch: Launch, programs: Array) -> None:
        self.launch = launch
        self.B, self.T = len(programs), int(np.prod(launch.block))
        self.N = self.B * self.T
        if self.T % WARP_SIZE:
            raise EmulatorError(f"blocks of {self.T} threads are not whole warps of {WARP_SIZE}")
        self.thread = np.tile(np.arange(self.T, dtype=np.int64), self.B)
        self.program = np.repeat(programs.astype(np.int64), self.T)
        self.row = np.repeat(np.arange(self.B, dtype=np.int64), self.T)
        self.base_code = (self.program + 1 << PROGRAM) | self.thread << THREAD
        self.epoch = np.zeros(self.B, np.int64)
        self.warp_epoch = np.zeros(self.N // WARP_SIZE, np.int64)
        self._me: Array | None = None
        self._special: dict[str, Array | np.generic] = {}

    # Who is who

    def special(self, name: str) -> Array | np.generic:
        """A special register, uint32 (or uint64) by thread."""
        if name not in self._special:
            self._special[name] = self.make_special(name)
        return self._special[name]

    def make_special(self, name: str) -> Array | np.generic:
        register, _, axis = name[1:].partition(".")
        sizes = {"ntid": self.launch.block, "nctaid": self.launch.grid, "cluster_nctaid": (1, 1, 1), "nclusterid":
                 self.launch.grid, "cluster_ctaid": (0, 0, 0)}
        if register in sizes and axis:
            return np.uint32(sizes[register]["xyz".index(axis)])
        indices = {"tid": (self.thread, self.launch.block), "ctaid": (self.program, self.launch.grid),
                   "clusterid": (self.program, self.launch.grid)}
        if register in indices and axis:
            index, (x, y, _) = indices[register]
            i = "xyz".index(axis)
            return (index // (1, x, x * y)[i] % (x if i == 0 else y if i == 1 else max(self.N, 1 << 31))).astype("u4")
        lane = (self.thread % WARP_SIZE).astype("u4")
        one = np.uint32(1)
        if register.startswith("lanemask"):
            below = (one << lane) - one
            return {"lanemask_eq": one << lane, "lanemask_lt": below, "lanemask_le": below | one << lane,
                    "lanemask_ge": ~below, "lanemask_gt": ~below & ~(one << lane)}[register]
        made: dict[str, Array | np.generic] = {"laneid": lane, "warpid": (self.thread // WARP_SIZE).astype("u4")}
        made |= dict.fromkeys(UNKNOWN.split(), np.uint32(0)) | {name: np.uint32(n) for name, n in FIXED.items()}
        made |= dict.fromkeys(("dynamic_smem_size", "total_smem_size"), np.uint32(self.launch.shared_bytes))
        if register not in made:
            raise EmulatorError(f"the special register {name} is not known")
        return made[register]

    def symbol(self, name: str, t: str) -> Array:
        """The address of a module's variable; of a parameter, its place among all of them."""
        if name in self.launch.parameters:
            names = list(self.launch.parameters)
            return np.dtype(t).type(sum(len(self.launch.parameters[one]) for one in names[:names.index(name)]))
        if name not in self.launch.symbols:
            raise EmulatorError(f"the PTX names {name}, which it does not define")
        return np.dtype(t).type(self.launch.symbols[name])

    def parameter(self, values: Registers, name: str, offset: int, t: str) -> Array:
        """A parameter of the kernel, or one that a caller stored."""
        if (name, offset) in values:
            return values[name, offset].view(t) if t[0] in "iuf" else values[name, offset]
        raw = self.launch.parameters[name][offset:offset + int(t[1:])]
        return np.frombuffer(raw, t)[0]

    def parameter_at(self, place: Array, offset: int, t: str) -> Array:
        """The parameter at a place among all of them, which threads may have chosen differently."""
        block = np.frombuffer(b"".join(self.launch.parameters.values()), np.uint8)
        at = np.asarray(place).astype(np.int64)[..., None] + np.arange(offset, offset + int(t[1:]))
        return np.ascontiguousarray(block.take(at, mode="clip")).view(t)[..., 0]

    # Which take part

    def active(self, m: Array | None, predicate: Array) -> Array | None:
        """Indices of the threads of m in which a predicate holds; None for all."""
        predicate = np.asarray(predicate)
        if predicate.ndim == 0:
            return self.lanes(m) if predicate else np.zeros(0, np.intp)
        if m is not None:
            predicate = predicate & m
        return None if predicate.all() else np.flatnonzero(predicate)

    @staticmethod
    def lanes(m: Array | None) -> Array | None:
        return None if m is None else np.flatnonzero(m)

    def full(self, values: Array | np.generic) -> Array:
        return np.broadcast_to(values, (self.N,))

    def of(self, values: Array | np.generic, on: Array | None) -> Array:
        values = np.asarray(values)
        if on is None:
            return np.broadcast_to(values, (self.N,)) if values.ndim == 0 else values
        return np.broadcast_to(values, on.shape) if values.ndim == 0 else values.take(on)

    def mask_of(self, on: Array | None) -> Array:
        """Threads `on` as booleans, (N,)."""
        if on is None:
            return np.ones(self.N, bool)
        found = np.zeros(self.N, bool)
        found[on] = True
        return found

    def me(self, on: Array | None) -> Array:
        """The codes of what threads do now."""
        if self._me is None:
            epochs = np.repeat((self.epoch & 0xFFFF) << EPOCH, self.T)
            self._me = self.base_code | epochs | np.repeat(self.warp_epoch & 0xFF, WARP_SIZE)
        return self._me if on is None else self._me.take(on)

    def pass_barrier(self, rows: Array | None) -> None:
        if rows is None:
            self.epoch += 1
        else:
            self.epoch[rows] += 1
        self._me = None

    def warp_barrier(self, on: Array | None) -> None:
        if on is None:
            self.warp_epoch += 1
        else:
            self.warp_epoch[np.unique(on // WARP_SIZE)] += 1
        self._me = None

    # What is said

    def coordinates(self, program: int) -> tuple[int, int, int]:
        x, y, _ = self.launch.grid
        return program % x, program // x % y, program // (x * y)

    def fault(self, site: int, kind: str, message: str, lane: int, address: str = "", other: str = "",
              count: int = 1) -> None:
        """Report what an instruction did in the thread at a place."""
        instruction = self.launch.instructions[site]
        self.launch.report.add(Finding(
            kind, message, self.launch.kernel, instruction.source, str(instruction), instruction.line,
            self.coordinates(int(self.program[lane])), int(self.thread[lane]), address, other, count))

    def party(self, code: int, verb: str) -> str:
        """Another access, from its code; 0 where several threads read, the one at fault last of all."""
        if not code:
            return f"{verb} several threads"
        code = abs(code) & ~int(STRONG)
        return f"{verb} thread {code >> THREAD & 1023} of program {self.coordinates((code >> PROGRAM) - 1)}"

    def undefined(self, site: int, what: str, where: Array, on: Array | None) -> None:
        """Report the use of registers that nothing wrote, in those of the threads `on` where they are that."""
        bad = (self.full(where) != 0) & self.mask_of(on)
        if self.launch.checks and bad.any():
            self.fault(site, "undefined", f"a register that no instruction wrote is used as {what}",
                       int(np.flatnonzero(bad)[0]), count=int(bad.sum()))

    def trap(self, site: int, on: Array | None) -> None:
        if on is None or len(on):
            self.fault(site, "trap", "the kernel stops itself", 0 if on is None else int(on[0]))
            self.launch.report.check()
