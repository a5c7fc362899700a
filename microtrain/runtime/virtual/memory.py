"""The virtual GPU's memory: host memory by pages that exist once they are touched, each allocation known.

An address is never given out twice, so whoever uses memory after its life is found out. Fresh memory is 0xFF all over:
NaN in every floating-point format, -1 as an integer.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

ALIGNMENT = 512
"""Bytes that addresses are a multiple of, as PyTorch's allocator has it."""

FILLED = 1 << 26
"""Bytes up to which an allocation is filled with 0xFF; pages of a larger one are zero until they are written."""

SPACE = 1 << 42
"""Bytes of addresses."""


@dataclass
class Allocation:
    """`uses` are the streams that it was used on beside its own, each with the number of the last launch there."""

    address: int
    nbytes: int
    stream: int
    what: str
    uses: dict[int, int] = field(default_factory=dict)


class OutOfMemory(Exception):
    """Of `asked` bytes."""

    def __init__(self, asked: int) -> None:
        super().__init__(asked)
        self.asked = asked


class Memory:
    """`capacity` bytes of memory."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = self.peak = 0
        self.live: dict[int, Allocation] = {}
        self.starts: list[int] = []
        self.lost: dict[int, Allocation] = {}
        self.on_page: Counter[int] = Counter()
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
        self.pages = mmap.mmap(-1, SPACE, flags=flags)
        self.bytes = np.frombuffer(self.pages, np.uint8)
        self.base = self.bytes.__array_interface__["data"][0]
        self.next = ALIGNMENT

    def allocate(self, nbytes: int, stream: int = 0, what: str = "memory") -> Allocation:
        """Fresh memory. Raises OutOfMemory."""
        if self.used + nbytes > self.capacity or self.next + nbytes > SPACE:
            raise OutOfMemory(nbytes)
        made = Allocation(self.base + self.next, nbytes, stream, what)
        self.next += -(-nbytes // ALIGNMENT) * ALIGNMENT
        self.used += nbytes
        self.peak = max(self.peak, self.used)
        self.live[made.address] = made
        insort(self.starts, made.address)
        for page in set(self.edges(made)):
            self.on_page[page] += 1
        if nbytes <= FILLED:
            self.view(made.address, nbytes)[:] = 0xFF
        return made

    def free(self, address: int) -> Allocation:
        """End an allocation's life. Its pages go back to the host."""
        gone = self.live.pop(address)
        del self.starts[bisect_left(self.starts, address)]
        self.used -= gone.nbytes
        self.lost[address] = gone
        while len(self.lost) > 4096:
            del self.lost[next(iter(self.lost))]
        first, last = self.edges(gone)
        for page in {first, last}:
            self.on_page[page] -= 1
        done = [page for page in {first, last} if not self.on_page[page] and page < self.next // mmap.PAGESIZE]
        for page in done:
            del self.on_page[page]
            self.pages.madvise(mmap.MADV_DONTNEED, page * mmap.PAGESIZE, mmap.PAGESIZE)
        if last > first + 1:
            self.pages.madvise(mmap.MADV_DONTNEED, (first + 1) * mmap.PAGESIZE, (last - first - 1) * mmap.PAGESIZE)
        return gone

    def edges(self, made: Allocation) -> tuple[int, int]:
        """The first and the last page of an allocation, which others may lie on as well."""
        start = made.address - self.base
        return start // mmap.PAGESIZE, (start + max(made.nbytes, 1) - 1) // mmap.PAGESIZE

    def view(self, address: int, nbytes: int) -> np.ndarray:
        """The bytes there, uint8 (nbytes,)."""
        return self.bytes[address - self.base:address - self.base + nbytes]

    def holding(self, address: int) -> Allocation | None:
        """The live allocation that an address lies in."""
        k = bisect_right(self.starts, address)
        found = self.live[self.starts[k - 1]] if k else None
        return found if found is not None and address < found.address + max(found.nbytes, 1) else None

    def owns(self, address: int) -> bool:
        """Whether it is an address of the device's, live or not."""
        return self.base <= address < self.base + SPACE

    def whereabouts(self, address: int) -> str:
        """What is known of an address that is in no live allocation."""
        for gone in self.lost.values():
            if gone.address <= address < gone.address + max(gone.nbytes, 1):
                return f"in {gone.what} of {gone.nbytes} bytes that was freed"
        before = bisect_right(self.starts, address)
        if before and self.owns(address):
            last = self.live[self.starts[before - 1]]
            return f"{address - last.address - last.nbytes} bytes after the end of {last.what} of {last.nbytes} bytes"
        return "no memory of the device's" if not self.owns(address) else "before all allocations"

