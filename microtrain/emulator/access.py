"""Access to memory by many threads at once, and what is looked at in each access."""

from __future__ import annotations

import numpy as np

from .checks import Checks
from .integers import Array
from .threads import SHARED_BASE

SHARED_WINDOW, LOCAL_WINDOW = 1 << 48, 1 << 49
"""Where generic addresses of shared and local memory begin, above those of the host."""

class Access(Checks):
    """Loads and stores: global, shared, local and generic."""

    # Any space

    def load(self, site: int, space: str, base: Array, offset: int, on: Array | None, count: int, t: str,
             olds: list[Array] | None, order: str) -> list[Array]:
        """`count` values of type t from consecutive places, by thread; in threads that are not `on` the olds stay."""
        if space == "generic":
            space, base = self.windowed(site, base, on)
            if space == "mixed":
                return self.load_mixed(site, base, offset, on, count, t, olds, order)
        at, on = self.reach(site, space, base, offset, on, count * int(t[1]), "read", order)
        data = self.views[space][t]
        index = at >> (int(t[1]).bit_length() - 1)
        values = [data.take(index + i if i else index, mode="clip") for i in range(count)]
        if order != "weak":
            self.launch.polls += 1
        if order == "acquire":
            self.synchronize(on, order)
        if on is None:
            return values
        merged = []
        for i, value in enumerate(values):
            whole = np.zeros(self.N, t) if olds is None else np.array(self.full(olds[i]))
            whole[on] = value
            merged.append(whole)
        return merged

    def store(self, site: int, space: str, base: Array, offset: int, on: Array | None, values: list[Array], t: str,
              order: str) -> None:
        """Store values at consecutive places, by thread."""
        if space == "generic":
            space, base = self.windowed(site, base, on)
            if space == "mixed":
                for name, some, address in self.split_windows(base, on):
                    self.store(site, name, address, offset, some, values, t, order)
                return
        if order == "release":
            self.synchronize(on, order)
        nbytes = len(values) * int(t[1])
        at, on = self.reach(site, space, base, offset, on, nbytes, "write", order)
        given = [self.of(value, on) for value in values]
        data = self.views[space][t]
        index = at >> (int(t[1]).bit_length() - 1)
        told = None
        if self.launch.checks and space != "local":
            told = self.note_write(site, space, at, on, nbytes, order, data, index, given)
        for i, value in enumerate(given):
            data[index + i if i else index] = value
        if space == "global":
            self.launch.changes += len(at)
        if told is not None:
            told()

    def windowed(self, site: int, base: Array, on: Array | None) -> tuple[str, Array]:
        """The space in which generic addresses lie, and the addresses there."""
        if not self.N or (on is not None and not len(on)):
            return "global", base
        some = self.of(base, on)
        low, high = int(some.min()), int(some.max())
        if high < SHARED_WINDOW:
            return "global", base
        if low >= LOCAL_WINDOW:
            return "local", base - np.int64(LOCAL_WINDOW)
        if low >= SHARED_WINDOW and high < LOCAL_WINDOW:
            return "shared", base - np.int64(SHARED_WINDOW)
        return "mixed", base

    def split_windows(self, base: Array, on: Array | None) -> list[tuple[str, Array, Array]]:
        """For generic addresses of several spaces: space, threads, addresses."""
        base, active = self.full(base), self.mask_of(on)
        spaces = (("global", active & (base < SHARED_WINDOW), 0),
                  ("shared", active & (base >= SHARED_WINDOW) & (base < LOCAL_WINDOW), SHARED_WINDOW),
                  ("local", active & (base >= LOCAL_WINDOW), LOCAL_WINDOW))
        return [(name, np.flatnonzero(some), base - np.int64(window)) for name, some, window in spaces if some.any()]

    def load_mixed(self, site: int, base: Array, offset: int, on: Array | None, count: int, t: str,
                   olds: list[Array] | None, order: str) -> list[Array]:
        """A load from several spaces at once."""
        for name, some, address in self.split_windows(base, on):
            olds = self.load(site, name, address, offset, some, count, t,
                             olds or [np.zeros(self.N, t)] * count, order)
        assert olds is not None
        return olds

    # Where an access goes

    def reach(self, site: int, space: str, base: Array, offset: int, on: Array | None, nbytes: int, what: str,
              order: str = "weak") -> tuple[Array, Array | None]:
        """Byte offsets in the space's array, and the threads left: those at fault are reported and do nothing."""
        if space in ("global", "const"):
            at = self.of(base, on) + np.int64(offset - self.launch.memory.base)
            if self.launch.checks and len(at):
                at, on = self.check_global(site, at, on, nbytes, what, order)
            return at, on
        row, size, start = self.local_row, self.local_bytes, 0
        if space == "shared":
            row, size, start = self.shared_row, self.launch.shared_bytes, SHARED_BASE
        address = self.of(base, on) + np.int64(offset)
        at = address + (row if on is None else row.take(on))
        if self.launch.checks and len(at):
            bad = (address < start) | (address > start + size - nbytes)
            message = (f"{what} of {nbytes} bytes outside the {size} bytes of {space} memory that the "
                       f"{'program' if space == 'shared' else 'thread'} has")
            at, on = self.dropped(site, space, "out of bounds", message, bad, at, on)
            if nbytes & (nbytes - 1) == 0:
                message = f"{what} of {nbytes} bytes whose address is no multiple of {nbytes}"
                address = address if len(address) == len(at) else address[~bad]
                at, on = self.dropped(site, space, "misaligned", message, (address & (nbytes - 1)) != 0, at, on)
            if what == "read" and space == "shared":
                self.note_shared_read(site, at, on, nbytes)
        return at, on

    def synchronize(self, on: Array | None, order: str) -> None:
        """Threads publish what their programs did, or see what others published."""
        sync = self.launch.sync
        if sync is not None and (on is None or len(on)):
            if order in ("release", "acq_rel"):
                sync.release(self.me(on))
            if order in ("acquire", "acq_rel"):
                sync.acquire(self.me(on))
