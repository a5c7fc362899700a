"""What is looked at in each access to memory: bounds, owners, alignment, whether anybody wrote there, and races."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Sequence

import numpy as np

from .integers import Array
from .memory import Allocation
from .shadow import PROGRAM, STRONG, THREAD, Clashes, Shadow
from .threads import SHARED_BASE, Launch, Threads

POISON_BYTE = 0xCD
"""What shared and local memory holds that nothing wrote."""


def changed(data: Array, index: Array, given: list[Array]) -> Array:
    """Where consecutive places hold something else than the values given."""
    return np.any([data.take(index + i, mode="clip") != value for i, value in enumerate(given)], axis=0)


def typed(data: Array) -> dict[str, Array]:
    """Bytes as each type of words."""
    return {t: data.view(t) for t in ("u1", "u2", "u4", "u8")}


class Checks(Threads):
    """The memories of a batch of programs, and the checks of accesses to them.

    Accesses are given as byte offsets `at` in the array of their space, of the threads `on` (None: all).
    """

    def __init__(self, launch: Launch, programs: Array, local_bytes: int) -> None:
        super().__init__(launch, programs)
        memory = launch.memory
        self.starts = np.array([region.start - memory.base for region in launch.regions], np.int64)
        self.ends = np.array([region.end - memory.base for region in launch.regions], np.int64)
        self.start_list = self.starts.tolist()
        self.stride = -(-launch.shared_bytes // 1024) * 1024
        self.shared = np.full(self.B * self.stride, POISON_BYTE, np.uint8)
        self.shared_row = self.row * self.stride - SHARED_BASE
        self.local_bytes = -(-local_bytes // 16) * 16
        self.local = np.full(self.N * self.local_bytes, POISON_BYTE, np.uint8)
        self.local_row = np.arange(self.N, dtype=np.int64) * self.local_bytes
        spaces = {"global": memory.data, "const": memory.data, "shared": self.shared, "local": self.local}
        self.views = {space: typed(data) for space, data in spaces.items()}
        self.states = typed(memory.state)
        if launch.checks:
            granules = len(self.shared) >> launch.shared_shift
            writers, readers = np.zeros((2, granules), np.int64)
            self.in_shared = Shadow(writers, readers, launch.shared_shift, True)
            self.in_global = Shadow(*memory.codes(), launch.global_shift, False, launch.sync)
        self.init_asynchronous()

    def init_asynchronous(self) -> None:
        """Room for what is under way."""

    def lanes_of(self, on: Array | None) -> Array:
        """Indices of the threads `on`."""
        return np.arange(self.N) if on is None else on

    def dropped(self, site: int, space: str, kind: str, message: str, bad: Array, at: Array,
                on: Array | None) -> tuple[Array, Array | None]:
        """Without the accesses that are bad, which are reported."""
        if not bad.any():
            return at, on
        lanes, first = self.lanes_of(on), int(np.flatnonzero(bad)[0])
        lane = int(lanes[first])
        self.fault(site, kind, message, lane, self.place(site, space, int(at[first]), lane), count=int(bad.sum()))
        return at[~bad], lanes[~bad]

    def check_global(self, site: int, at: Array, on: Array | None, nbytes: int, what: str,
                     order: str) -> tuple[Array, Array | None]:
        """Bounds, owner, alignment, whether anybody wrote what is read, and races of reads."""
        low, high = int(at.min()), int(at.max())
        known = self.launch.ranges.get(site)
        self.launch.ranges[site] = ((low, high + nbytes, what != "read") if known is None else
                                    (min(low, known[0]), max(high + nbytes, known[1]), known[2]))
        i = bisect.bisect_right(self.start_list, low) - 1
        allowed = self.launch.allowed.get(site)
        if i >= 0 and high + nbytes <= self.ends[i] and (allowed is None or i in allowed):
            touched: Sequence[int] = (i,)
        else:
            at, on, touched = self.sorted_out(site, at, on, nbytes, what, allowed)
            if not len(at):
                return at, on
        alignment = nbytes & -nbytes
        if int(np.bitwise_or.reduce(at)) & (alignment - 1):
            message = f"{what} of {nbytes} bytes whose address is no multiple of {alignment}"
            at, on = self.dropped(site, "global", "misaligned", message, (at & (alignment - 1)) != 0, at, on)
        if what == "write":
            return at, on
        if not all(self.launch.memory.is_whole(self.launch.regions[i]) for i in touched):
            self.check_written(site, at, on, nbytes)
        if what == "read" and len(at) and not self.launch.tracked.isdisjoint(touched):
            me = self.me(on) | STRONG if order != "weak" else self.me(on)
            codes, clash = self.in_global.read(at, nbytes, me)
            if clash is not None:
                self.race(site, "global", "reads", "written by", clash, codes, at, on, nbytes)
        return at, on

    def sorted_out(self, site: int, at: Array, on: Array | None, nbytes: int, what: str,
                   allowed: frozenset[int] | None) -> tuple[Array, Array | None, Sequence[int]]:
        """Where accesses go to several regions, or wrong: what is left of them, and the regions."""
        if not len(self.starts):
            message, everywhere = f"{what} where nothing is allocated", np.ones(at.shape, bool)
            return *self.dropped(site, "global", "out of bounds", message, everywhere, at, on), ()
        region: Array = np.searchsorted(self.starts, at, "right") - 1
        outside = (region < 0) | (at + nbytes > self.ends[region])
        if allowed is not None:
            wrong = ~outside & ~np.isin(region, list(allowed))
            if wrong.any():
                names = ", ".join(self.name(self.launch.regions[i]) for i in sorted(allowed))
                message = f"{what} through a pointer to {names} goes elsewhere"
                at, on = self.dropped(site, "global", "wrong pointer", message, wrong, at, on)
                region, outside = region[~wrong], outside[~wrong]
        if outside.any():
            first = int(at[np.flatnonzero(outside)[0]]) + self.launch.memory.base
            freed = self.launch.memory.freed(first)
            kind, message = "out of bounds", f"{what} of {nbytes} bytes outside every allocation"
            if freed is not None:
                kind, message = "use after free", f"{what} of {nbytes} bytes of {freed.name or 'memory'} that was freed"
            at, on = self.dropped(site, "global", kind, message, outside, at, on)
            region = region[~outside]
        return at, on, np.unique(region).tolist()

    def name(self, region: Allocation) -> str:
        """What messages call a region."""
        return self.launch.names.get(region.start) or region.name or f"the allocation at {region.start:#x}"

    def place(self, site: int, space: str, at: int, lane: int) -> str:
        """A byte of the arena as `name[element] (byte n of m)`; elements are of the access's type. Others as bytes."""
        if space in ("shared", "local"):
            start = self.row[lane] * self.stride if space == "shared" else lane * self.local_bytes
            return f"{space}[byte {at - int(start)}]"
        address = at + self.launch.memory.base
        region = self.launch.memory.freed(address) if self.launch.memory.find(address) is None else None
        region = region or self.launch.memory.find(address) or self.launch.memory.nearest(address)
        if region is None:
            return f"{address:#x}"
        allowed = self.launch.allowed.get(site)
        if allowed is not None and len(allowed) == 1 and not region.start <= address < region.end:
            region = self.launch.regions[next(iter(allowed))]
        typed = re.search(r"\.[busf]+(8|16|32|64)$", self.launch.instructions[site].opcode)
        width = int(typed[1]) // 8 if typed else 1
        byte = address - region.start
        index = f"{self.name(region)}[{byte // width}] (byte {byte} of {region.end - region.start})"
        return index if region.start <= address < region.end else f"{index}, {address:#x}"

    def check_written(self, site: int, at: Array, on: Array | None, nbytes: int) -> None:
        """Report reads of bytes that nobody wrote; they go on."""
        width = min(nbytes, 8)
        view, index = self.states[f"u{width}"], at >> (width.bit_length() - 1)
        ones = view.dtype.type(0x0101010101010101 & (1 << 8 * width) - 1)
        bad = view.take(index, mode="clip") != ones
        for i in range(1, nbytes // width):
            bad |= view.take(index + i, mode="clip") != ones
        self.dropped(site, "global", "unwritten", f"read of {nbytes} bytes that nobody wrote", bad, at, on)

    def race(self, site: int, space: str, verb: str, other: str, clash: Array, codes: list[Array], at: Array,
             on: Array | None, nbytes: int) -> None:
        """Report accesses that nothing orders after others' of the same place; in shared memory a barrier would."""
        first = int(np.flatnonzero(clash)[0])
        lane = first if on is None else int(on[first])
        mine, met = int(self.me(None)[lane]), [int(code[first]) for code in codes]
        code = next((one for one in met if one and (abs(one) & ~int(STRONG) ^ mine) >> THREAD), 0)
        kind, how, lines = "shared race", "without a barrier after", ""
        if space == "global":
            kind, how = "race", "that nothing orders after"
            writers = [self.launch.instructions[i] for i, (low, high, writes) in self.launch.ranges.items()
                       if low <= int(at[first]) < high and (writes or other != "written by") and i != site]
            lines = f" (line {' or '.join(dict.fromkeys(str(w.line) for w in writers))})" if writers else ""
        self.fault(site, kind, f"{verb} {nbytes} bytes {how} another's access", lane,
                   self.place(site, space, int(at[first]), lane),
                   self.party(code, other) + lines, int(clash.sum()))

    # Notes of writes

    def note_write(self, site: int, space: str, at: Array, on: Array | None, nbytes: int, order: str, data: Array,
                   index: Array, given: list[Array]) -> Callable[[], None] | None:
        """Note a write before it is done; what is returned, if anything, is called after it and reports."""
        if not len(at):
            return None
        me = self.me(on)
        if space == "global":
            width = min(nbytes, 8)
            state, first = self.states[f"u{width}"], at >> (width.bit_length() - 1)
            ones = state.dtype.type(0x0101010101010101 & (1 << 8 * width) - 1)
            for i in range(nbytes // width):
                state[first + i if i else first] = ones
            shadow = self.in_global
            me = me | STRONG if order != "weak" else me
        else:
            shadow = self.in_shared
            self.check_shared_write(site, at, on, nbytes)
        clashes = shadow.write(at, nbytes, me)
        if not clashes.any():
            return None
        changes = changed(data, index, given)

        def told() -> None:
            """Who writes what is there already, or what all others write, harms nobody in its program."""
            other = self.elsewhere(clashes.codes, me) if space == "global" else np.False_
            self.tell(site, space, "writes", clashes, at, on, nbytes, changes | other,
                      changed(data, index, given) | other)
        return told

    def tell(self, site: int, space: str, verb: str, clashes: Clashes, at: Array, on: Array | None, nbytes: int,
             changes: Array | bool = True, unlike: Array | bool = True) -> None:
        """Report where a write clashes, and does harm: to what was there before, and to what others write at once."""
        for found, harms, other in ((clashes.before, changes, "written by"), (clashes.at_once, unlike, "written by"),
                                    (clashes.reads, changes, "read by")):
            if found is not None and (found & harms).any():
                self.race(site, space, verb, other, found & harms, clashes.codes, at, on, nbytes)

    @staticmethod
    def elsewhere(codes: list[Array], me: Array) -> Array:
        """Whether one of the codes is of another program."""
        return np.any([(code != 0) & ((np.abs(code) ^ me) & ~STRONG) >> PROGRAM != 0 for code in codes], axis=0)

    # Shared memory

    def note_shared_read(self, site: int, at: Array, on: Array | None, nbytes: int, logged: bool = True) -> None:
        """Whether anybody wrote what is read, whether that is settled, and races."""
        if not len(at):
            return
        codes, clash = self.in_shared.read(at, nbytes, self.me(on), logged)
        if min(int(code.min()) for code in codes) <= 0:
            filled = "read of shared memory that an asynchronous copy, not yet waited for, will fill"
            for sign, kind, message in ((0, "unwritten", f"read of {nbytes} bytes of shared memory that nothing wrote"),
                                        (-1, "asynchronous", filled)):
                bad = np.any([np.sign(code) == sign for code in codes], axis=0)
                if bad.any():
                    self.dropped(site, "shared", kind, message, bad, at, on)
        if clash is not None:
            self.race(site, "shared", "reads", "written by", clash, codes, at, on, nbytes)

    def check_shared_write(self, site: int, at: Array, on: Array | None, nbytes: int) -> None:
        """What is under way must not be overwritten."""
