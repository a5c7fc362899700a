"""Device memory: one arena of the host's, in which allocations are known by size, name and life.

The arena is mapped and not touched: an allocation of many GB costs nothing until something is written there. Beside
each byte stands whether anybody wrote it, and, while a kernel runs, who wrote and who read it last (`shadow`).
"""

from __future__ import annotations

import bisect
import mmap
from collections import deque
from dataclasses import dataclass

import numpy as np

NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
GAP = 512
"""Bytes that nobody owns after each allocation."""
SMALL = 1 << 16
"""Allocations up to this size share the first `SMALL_ZONE` bytes of the arena, which are used in turn."""
SMALL_ZONE = 1 << 28
FILLED = 1 << 24
"""Fresh allocations up to this size are filled with 0xFF; larger ones would cost what they are not used for."""
REMEMBERED = 4096
"""Freed allocations whose names are kept."""


@dataclass(frozen=True)
class Allocation:
    """A live (or, in messages, a freed) piece of the arena: addresses `start` to `end` (exclusive)."""

    start: int
    end: int
    name: str


class Memory:
    """An arena of `size` bytes of host memory, given out by address.

    Addresses are the host's own: ctypes and other libraries may use them as they are.
    """

    def __init__(self, size: int = 1 << 36) -> None:
        self.size = size
        self._maps: list[tuple[mmap.mmap, int]] = []
        self.data = self._map(1)
        self.state = self._map(1)
        """Whether each byte was ever written: 1 or 0."""
        self.base = self.data.ctypes.data
        self._starts: list[int] = []
        self._live: dict[int, Allocation] = {}
        self._freed: deque[Allocation] = deque(maxlen=REMEMBERED)
        small = min(SMALL_ZONE, size // 4)
        self._zones = {True: (self.base + GAP, self.base + small), False: (self.base + small, self.base + size - GAP)}
        self._cursor = {small: zone[0] for small, zone in self._zones.items()}
        self._whole: set[int] = set()
        """Starts of allocations that are known to be written from end to end."""
        self._codes: tuple[np.ndarray, np.ndarray] | None = None

    def _map(self, width: int) -> np.ndarray:
        held = mmap.mmap(-1, self.size * width, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE)
        self._maps.append((held, width))
        return np.frombuffer(held, np.uint8)

    def allocate(self, nbytes: int, name: str = "", alignment: int = 512) -> int:
        """The address of `nbytes` fresh bytes, unwritten. Raises MemoryError when the arena has no room for them."""
        small = nbytes <= SMALL
        start = self._place(max(nbytes, 1), alignment, small)
        if start is None and small:
            start = self._place(max(nbytes, 1), alignment, False)
        if start is None:
            raise MemoryError(f"no {nbytes} bytes together are free in an arena of {self.size} bytes; "
                              f"{len(self._live)} allocations hold {self.allocated} bytes")
        self._live[start] = Allocation(start, start + nbytes, name)
        bisect.insort(self._starts, start)
        self._clear(start - self.base, nbytes)
        if nbytes <= FILLED:
            self.data[start - self.base:start - self.base + nbytes] = 0xFF
        return start

    @property
    def allocated(self) -> int:
        """Bytes that are held by live allocations."""
        return sum(one.end - one.start for one in self._live.values())

    def _place(self, nbytes: int, alignment: int, small: bool) -> int | None:
        """An address, from the last one on, so that what was freed is used again as late as may be."""
        low, high = self._zones[small]
        for begin in (self._cursor[small], low):
            at = begin
            while True:
                at = -(-at // alignment) * alignment
                if at + nbytes + GAP > high:
                    break
                i = bisect.bisect_right(self._starts, at)
                before = self._live[self._starts[i - 1]] if i else None
                if before is not None and before.end + GAP > at:
                    at = before.end + GAP
                elif i < len(self._starts) and self._starts[i] < at + nbytes + GAP:
                    at = self._live[self._starts[i]].end + GAP
                else:
                    self._cursor[small] = at + nbytes + GAP
                    return at
        return None

    def _clear(self, at: int, nbytes: int) -> None:
        if nbytes > SMALL:
            self._drop(self._maps[1], at, nbytes)
        else:
            self.state[at:at + nbytes] = 0

    def _drop(self, held: tuple[mmap.mmap, int], at: int, nbytes: int) -> None:
        """Give whole pages back to the system; the rest of the range is zeroed."""
        memory, width = held
        low, high = at * width, (at + nbytes) * width
        first, last = -(-low // mmap.PAGESIZE) * mmap.PAGESIZE, high // mmap.PAGESIZE * mmap.PAGESIZE
        if first < last:
            memory.madvise(mmap.MADV_DONTNEED, first, last - first)
        for begin, end in ((low, min(first, high)), (max(last, low), high)):
            if begin < end:
                memory[begin:end] = bytes(end - begin)

    def free(self, address: int) -> None:
        """End an allocation's life; its name is remembered. Raises ValueError if none begins at the address."""
        found = self._live.pop(address, None)
        self._whole.discard(address)
        if found is None:
            raise ValueError(f"no live allocation begins at {address:#x}{self._told(address)}")
        del self._starts[bisect.bisect_left(self._starts, address)]
        self._freed.append(found)
        at, nbytes = address - self.base, found.end - found.start
        if nbytes > SMALL:
            self._drop(self._maps[0], at, nbytes)
        self._clear(at, nbytes)

    def _told(self, address: int) -> str:
        freed = self.freed(address)
        return f"; {freed.name or 'what was there'} was freed" if freed else ""

    def view(self, address: int, nbytes: int) -> np.ndarray:
        """The bytes from an address on, uint8[nbytes], not a copy. Raises ValueError outside one live allocation."""
        found = self.find(address)
        if found is None or address + nbytes > found.end:
            raise ValueError(f"{nbytes} bytes at {address:#x} do not lie in one live allocation{self._told(address)}")
        return self.data[address - self.base:address - self.base + nbytes]

    def written(self, address: int, nbytes: int) -> None:
        """Say that the host wrote there. Raises ValueError outside one live allocation."""
        self.view(address, nbytes)
        self.state[address - self.base:address - self.base + nbytes] = 1
        found = self._live.get(address)
        if found is not None and found.end == address + nbytes:
            self._whole.add(address)

    def is_written(self, address: int, nbytes: int) -> np.ndarray:
        """Whether each of `nbytes` bytes was written by anybody, bool[nbytes]."""
        self.view(address, nbytes)
        return self.state[address - self.base:address - self.base + nbytes] == 1

    def is_whole(self, region: Allocation) -> bool:
        """Whether a live allocation is known to be written from end to end; large ones are not looked through."""
        if region.start in self._whole:
            return True
        at, nbytes = region.start - self.base, region.end - region.start
        if nbytes <= FILLED and self.state[at:at + nbytes].view(bool).all():
            self._whole.add(region.start)
            return True
        return False

    def find(self, address: int) -> Allocation | None:
        """The live allocation that holds an address."""
        i = bisect.bisect_right(self._starts, address)
        found = self._live[self._starts[i - 1]] if i else None
        return found if found is not None and address < found.end else None

    def freed(self, address: int) -> Allocation | None:
        """The allocation that was last freed of those that held an address."""
        return next((one for one in reversed(self._freed) if one.start <= address < one.end), None)

    def nearest(self, address: int) -> Allocation | None:
        """The live allocation that ends or begins nearest to an address."""
        i = bisect.bisect_right(self._starts, address)
        near = [self._live[start] for start in self._starts[max(i - 1, 0):i + 1]]
        return min(near, key=lambda one: max(one.start - address, address - one.end, 0), default=None)

    def live(self) -> list[Allocation]:
        return [self._live[start] for start in self._starts]

    def codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Who wrote and who read last in the launch under way: int64 codes by granule, 0 for nobody."""
        if self._codes is None:
            self._codes = self._map(8).view(np.int64), self._map(8).view(np.int64)
        return self._codes

    def forget(self, ranges: list[tuple[int, int]], granule: int) -> None:
        """Forget who wrote and read in these ranges of bytes of the arena, as a launch ends."""
        for low, high in ((max(low, 0), min(high, self.size)) for low, high in ranges):
            for held in self._maps[2:]:
                first = low // granule * 8 // mmap.PAGESIZE * mmap.PAGESIZE
                last = -(-(high // granule * 8 + 8) // mmap.PAGESIZE) * mmap.PAGESIZE
                if first < last:
                    held[0].madvise(mmap.MADV_DONTNEED, first, last - first)
