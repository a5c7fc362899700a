"""The virtual GPU's memory: the emulator's arena, with what PyTorch's allocator knows beside it.

Fresh memory is 0xFF all over: NaN in every floating-point format, -1 as an integer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...emulator import Memory

ARENA = 1 << 37
"""Bytes of addresses: more than there is memory, so that an address is given out again as late as may be."""


@dataclass
class Held:
    """An allocation. `uses` are the streams that it was used on beside its own, each with the last launch there; what
    was allocated while a graph was captured is the graph's, and of no stream."""

    address: int
    nbytes: int
    stream: int
    what: str
    of_a_graph: bool = False
    uses: dict[int, int] = field(default_factory=dict)


class DeviceMemory:
    """`capacity` bytes of memory. `used` are in use, `peak` were at most."""

    def __init__(self, capacity: int) -> None:
        self.arena, self.capacity = Memory(ARENA), capacity
        self.used = self.peak = 0
        self.held: dict[int, Held] = {}

    def allocate(self, nbytes: int, stream: int, what: str) -> int:
        """The address of fresh memory. Raises MemoryError where there is not so much."""
        if self.used + nbytes > self.capacity:
            raise MemoryError
        address = self.arena.allocate(nbytes, what)
        self.held[address] = Held(address, nbytes, stream, what)
        self.used += nbytes
        self.peak = max(self.peak, self.used)
        return address

    def free(self, address: int) -> Held:
        """End an allocation's life."""
        gone = self.held.pop(address)
        self.arena.free(address)
        self.used -= gone.nbytes
        return gone

    def holding(self, address: int) -> Held | None:
        """The live allocation that an address lies in."""
        found = self.arena.find(address)
        return None if found is None else self.held[found.start]

    def owns(self, address: int) -> bool:
        """Whether it is an address of the device's, live or not."""
        return self.arena.base <= address < self.arena.base + self.arena.size

    def written(self, address: int, nbytes: int) -> None:
        """Note that the host, or a copy, wrote there; outside the device's memory that means nothing."""
        if nbytes and self.holding(address) is not None:
            self.arena.written(address, nbytes)

    def whereabouts(self, address: int) -> str:
        """What is known of an address that is in no live allocation."""
        if not self.owns(address):
            return "no memory of the device's"
        if gone := self.arena.freed(address):
            return f"in {gone.name}, which was freed"
        near = self.arena.nearest(address)
        return f"outside every allocation; the nearest is {near.name}" if near else "with nothing allocated"
