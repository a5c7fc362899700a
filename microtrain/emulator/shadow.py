"""Who touched a place last, and when: what races are told from.

Each granule of memory (the narrowest access of the kernel) has a code of its last writer and one of its last reader:
program, thread, how many barriers that thread had passed, and how many barriers of its warp. Two accesses of different
threads clash if nothing ordered them: in one program a barrier between does, between programs only atomics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .integers import Array

PROGRAM, THREAD, WARP, EPOCH = 34, 24, 29, 8
"""Where the fields of a code begin: 28 bits of program (plus 1), 10 of thread, 16 of barriers, 8 of warp barriers."""
EPOCHS = np.int64(0xFFFF00)
STRONG = np.int64(1 << 62)
"""Set in the codes of atomic and other ordered accesses, which do not clash with each other."""
BEYOND_THREAD = np.int64(STRONG - (1 << THREAD))
SAME_WARP = np.int64(STRONG - (1 << WARP))
OTHER_PROGRAM = np.int64(STRONG - (1 << PROGRAM))
ORDERED_BY_WARP = np.int64(0xFFFFFF)


class Clashes(NamedTuple):
    """The codes that writes met, by granule, and where (None: nowhere) they clash with what wrote there before, with
    writes of the same instruction, and with reads."""

    codes: list[Array]
    before: Array | None
    at_once: Array | None
    reads: Array | None

    def any(self) -> bool:
        return self.before is not None or self.at_once is not None or self.reads is not None


ANY = -1
"""For the threads that released or acquired: several."""


class Sync:
    """What programs released to others and acquired from them.

    A thread's release publishes what it did before, and what others of its program did before the last barrier; its
    acquire holds for what it does after, and others after the next barrier. The latest release of a program and the
    first acquire count, whichever came first.
    """

    def __init__(self, programs: int) -> None:
        self.released = np.full(programs, -1, np.int64)
        self.acquired = np.full(programs, np.iinfo(np.int64).max, np.int64)
        self.releasing, self.acquiring = np.full((2, programs), ANY, np.int64)
        """The threads that did, in the epochs above."""

    def note(self, order: str, codes: Array) -> None:
        """Threads of these codes publish what happened before (release), see what was published (acquire), or both."""
        who, now, thread = (codes >> PROGRAM) - 1, codes & EPOCHS, codes >> THREAD & 1023
        for what, epochs, threads, extremum in (("release", self.released, self.releasing, np.maximum),
                                                ("acquire", self.acquired, self.acquiring, np.minimum)):
            if order in (what, "acq_rel"):
                before = epochs[who]
                after = extremum(before, now)
                again = (now == before) & (threads[who] != thread)
                threads[who] = np.where(after != before, thread, np.where(again, ANY, threads[who]))
                epochs[who] = after
                several = (now == after) & (threads[who] != thread)
                threads[who[several]] = ANY

    def orders(self, first: Array, second: Array) -> Array:
        """Whether accesses of two programs are ordered: one before a release, one after an acquire."""
        a, b = ((codes & OTHER_PROGRAM) >> PROGRAM for codes in (first, second))
        before, released, by = first & EPOCHS, self.released[a - 1], self.releasing[a - 1]
        after, acquired, of = second & EPOCHS, self.acquired[b - 1], self.acquiring[b - 1]
        published = (before < released) | ((before == released) & ((by == ANY) | (by == (first >> THREAD & 1023))))
        seen = (after > acquired) | ((after == acquired) & ((of == ANY) | (of == (second >> THREAD & 1023))))
        return published & seen


class Shadow:
    """Codes of the last writers and readers by granule: 0 for nobody.

    A writer's code is negative while an asynchronous copy to its place is under way; a reader's where several threads
    have read since the last barrier.
    """

    def __init__(self, writers: Array, readers: Array, shift: int, by_warp: bool, sync: Sync | None = None) -> None:
        self.writers, self.readers, self.shift = writers, readers, shift
        self.by_warp = by_warp
        """Whether two threads of a warp clash unless a warp barrier is between: in shared memory; what a warp does in
        global memory is done in its order."""
        self.sync = sync
        self.others = BEYOND_THREAD if by_warp else SAME_WARP
        self.any_read = False
        self.log: list[tuple[Array, Array, int]] = []
        """Reads that no write has asked for yet: first granules, codes, granules each."""

    def clash(self, codes: Array, me: Array) -> Array | None:
        """Where an access of codes clashes with one of mine; None if nowhere."""
        codes = np.abs(codes)
        differs = codes ^ me
        near = ((differs & EPOCHS) == 0) & (codes != 0)
        if self.sync is not None or not self.by_warp:
            near |= ((differs & OTHER_PROGRAM) != 0) & (codes != 0)
        if not near.any():
            return None
        found = near & ((differs & BEYOND_THREAD) != 0) & ((codes & me & STRONG) == 0)
        if self.by_warp:
            found &= ((differs & SAME_WARP) != 0) | ((differs & ORDERED_BY_WARP) == 0)
        else:
            found &= (differs & SAME_WARP) != 0
        if self.sync is not None and found.any():
            found &= ~(((differs & OTHER_PROGRAM) != 0) & self.sync.orders(codes, me))
        return found if found.any() else None

    def read(self, at: Array, nbytes: int, me: Array, logged: bool = True) -> tuple[list[Array], Array | None]:
        """Note a read of bytes from `at` on: the writers' codes of each granule (n, granules), and where they clash."""
        first, count = at >> self.shift, max(nbytes >> self.shift, 1)
        codes = [self.writers.take(first + i if i else first, mode="clip") for i in range(count)]
        clashes = [self.clash(one, me) for one in codes]
        if logged:
            self.log.append((first, me, count))
        return codes, merged(clashes, codes)

    def settle_reads(self) -> None:
        log, self.log = self.log, []
        self.any_read = True
        for first, me, count in log:
            for i in range(count):
                granule = first + i
                before = np.abs(self.readers.take(granule, mode="clip"))
                differs = before ^ me
                # Where others read since what orders them before me, it is several.
                other = (differs & OTHER_PROGRAM) != 0
                several = (before != 0) & ((differs & self.others) != 0) & (((differs & EPOCHS) == 0) | other)
                if self.sync is not None and several.any():
                    several &= ~(other & self.sync.orders(before, me))
                self.readers[granule] = np.where(several, -me, me) if several.any() else me
                lost = ((np.abs(self.readers.take(granule, mode="clip")) ^ me) & self.others) != 0
                if lost.any():
                    self.readers[granule[lost]] = -np.broadcast_to(me, granule.shape)[lost]

    def clash_with_reads(self, granule: Array, me: Array) -> tuple[Array | None, Array]:
        """Where a write clashes with a read, and the readers' codes."""
        if not self.any_read:
            return None, granule
        codes = self.readers.take(granule, mode="clip")
        found = self.clash(codes, me)
        several = (codes < 0) & (((np.abs(codes) ^ me) & (EPOCHS | OTHER_PROGRAM)) == 0)
        if several.any():
            found = several if found is None else found | several
        return found, codes

    def write(self, at: Array, nbytes: int, me: Array, pending: bool = False) -> Clashes:
        """Note a write: where it clashes, with what was there before and among the threads that write now."""
        if self.log:
            self.settle_reads()
        first, count = at >> self.shift, max(nbytes >> self.shift, 1)
        found: list[tuple[Array | None, ...]] = []
        met = []
        for i in range(count):
            granule = first + i if i else first
            codes = self.writers.take(granule, mode="clip")
            before = self.clash(codes, me)
            of_read, read = self.clash_with_reads(granule, me)
            self.writers[granule] = -me if pending else me
            now = np.abs(self.writers.take(granule, mode="clip"))
            twice: Array = (now != me) & ((now & me & STRONG) == 0)
            if np.any(twice):
                codes = np.where(twice, now, codes)
            met.append(codes if of_read is None else np.where(of_read, read, codes))
            found.append((before, twice if np.any(twice) else None, of_read))
        return Clashes(met, *(merged(masks, met) for masks in zip(*found, strict=False)))


def merged(masks: Sequence[Array | None], like: list[Array]) -> Array | None:
    """Where any of the masks is set; None if none is."""
    some = [mask for mask in masks if mask is not None]
    if not some:
        return None
    return np.any(some, axis=0) if len(some) > 1 else some[0]
