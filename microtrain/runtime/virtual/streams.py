"""Streams, events and graphs of the virtual GPU. Whatever is queued runs at once; what is kept is what could be
relied upon: of each stream, up to which launch of every other one its next work is sure to come after.

PyTorch's allocator gives memory that is let go of to the next who asks on the same stream. So memory that another
stream used must not be let go of before that use is known to be over, unless `record_stream` told the allocator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .memory import Held

CAPTURING = "operation not permitted when stream is capturing"


class Stream:
    """A queue of work. `after` says of other streams up to which launch they are over before what comes next here."""

    def __init__(self, streams: Streams, handle: int) -> None:
        self.streams, self.cuda_stream = streams, handle
        self.device_index, self.after = 0, dict[int, int]()

    def wait_stream(self, other: Stream) -> None:
        self.wait_event(other.record_event())

    def wait_event(self, event: Event) -> None:
        merge(self.after, event.after)

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event(self.streams)
        event.record(self)
        return event

    def synchronize(self) -> None:
        self.record_event().synchronize()

    def query(self) -> bool:
        return True

    def __enter__(self) -> Stream:
        self.streams.entered.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.streams.entered.pop()


class Event:
    """A moment of a stream."""

    def __init__(self, streams: Streams, enable_timing: bool = False) -> None:
        self.streams, self.timed, self.at = streams, enable_timing, 0.0
        self.after: dict[int, int] = {}

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or self.streams.current
        self.at = time.perf_counter()
        self.after = {**stream.after, stream.cuda_stream: self.streams.count}

    def wait(self, stream: Stream | None = None) -> None:
        (stream or self.streams.current).wait_event(self)

    def synchronize(self) -> None:
        self.streams.waited(self.after)

    def query(self) -> bool:
        return True

    def elapsed_time(self, other: Event) -> float:
        """Milliseconds of this host from one to the other: no GPU's. Raises RuntimeError for events without times."""
        if not (self.timed and other.timed):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        return max((other.at - self.at) * 1e3, 1e-6)


class Graph:
    """What was queued while it was captured, to be run again. Memory that was allocated meanwhile stays the graph's."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.work: list[Callable[[], object]] = []
        self.kept: list[int] = []

    def replay(self) -> None:
        for one in self.work:
            one()

    def reset(self) -> None:
        kept, self.kept, self.work = self.kept, [], []
        for address in kept:
            self.streams.release(address)

    def __del__(self) -> None:
        self.reset()


class Streams:
    """All streams. `release` ends the life of an allocation."""

    def __init__(self, release: Callable[[int], None]) -> None:
        self.release = release
        self.count = 0
        self.default = Stream(self, 0)
        self.known = {0: self.default}
        self.entered: list[Stream] = []
        self.capturing: Graph | None = None
        self.told: dict[int, set[int]] = {}

    @property
    def current(self) -> Stream:
        return self.entered[-1] if self.entered else self.default

    def new(self) -> Stream:
        made = Stream(self, 0x5EED00 + len(self.known))
        self.known[made.cuda_stream] = made
        return made

    @contextmanager
    def capture(self, graph: Graph) -> Iterator[None]:
        """What is queued inside the block is the graph's, and does not run. Raises RuntimeError inside another one."""
        if self.capturing is not None:
            raise RuntimeError(f"CUDA error: {CAPTURING}")
        side = self.new()
        self.capturing = graph
        try:
            with side:
                yield
        finally:
            self.capturing = None

    def forbid_capture(self) -> None:
        """Raise RuntimeError while a graph is captured, as what waits for the GPU must."""
        if self.capturing is not None:
            raise RuntimeError(f"CUDA error: {CAPTURING}")

    def waited(self, after: dict[int, int]) -> None:
        """The host has waited for this: whatever is queued from now on, anywhere, comes after it."""
        self.forbid_capture()
        for stream in self.known.values():
            merge(stream.after, after)

    def synchronize(self) -> None:
        self.waited(dict.fromkeys(self.known, self.count))

    def queued(self, used: list[Held], handle: int) -> None:
        """A launch on a stream that uses these allocations."""
        self.count += 1
        for one in used:
            if one.stream != handle and not one.of_a_graph:
                one.uses[handle] = self.count

    def recorded(self, address: int, stream: Stream) -> None:
        """The allocator was told that a stream uses the memory there."""
        self.told.setdefault(address, set()).add(stream.cuda_stream)

    def hazard(self, gone: Held) -> str | None:
        """What is wrong with letting go of an allocation now."""
        told = self.told.pop(gone.address, set())
        after = self.known[gone.stream].after
        for handle, count in gone.uses.items():
            if handle not in told and after.get(handle, 0) < count:
                return (f"{gone.what}, allocated on stream {gone.stream:#x}, was let go of while stream {handle:#x} "
                        "may still be using it: whoever allocates next on its own stream gets its memory. Call "
                        "record_stream, or let the one stream wait for the other, before it is let go of")
        return None


def merge(into: dict[int, int], other: dict[int, int]) -> None:
    """The later of both, for each stream."""
    for handle, count in other.items():
        into[handle] = max(into.get(handle, 0), count)
