"""Access to memory by many threads at once: loads and stores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .checks import Access, Checks
from .integers import Array

WINDOWS = {"global": 0, "shared": 1 << 48, "local": 1 << 49}
"""Where generic addresses of each space begin: those of shared and local memory above the host's."""
BEGINS = np.array(list(WINDOWS.values())[1:])


class Accesses(Checks):
    """Loads and stores: global, shared, local and generic."""

    def load(self, a: Access, count: int, t: str, olds: list[Array] | None) -> list[Array]:
        """`count` values of type t from consecutive places, by thread; in threads that are not `on` the olds stay."""
        a, *others = self.by_space(a)
        if others:
            for one in (a, *others):
                olds = self.load(one, count, t, olds or [np.zeros(self.N, t)] * count)
            return olds or []
        self.reach(a)
        data = self.views[a.space][t]
        index = a.at >> (int(t[1]).bit_length() - 1)
        values = [data.take(index + i if i else index, mode="clip") for i in range(count)]
        if a.order != "weak":
            self.launch.polls += 1
        if a.order == "acquire":
            self.synchronize(a.on, a.order)
        if a.on is None:
            return values
        merged = []
        for i, value in enumerate(values):
            whole = np.zeros(self.N, t) if olds is None else np.array(self.full(olds[i]))
            whole[a.on] = value
            merged.append(whole)
        return merged

    def store(self, a: Access, values: list[Array], t: str) -> None:
        """Store values at consecutive places, by thread."""
        a, *others = self.by_space(a)
        if others:
            for one in (a, *others):
                self.store(one, values, t)
            return
        if a.order == "release":
            self.synchronize(a.on, a.order)
        self.reach(a)
        given = [self.of(value, a.on) for value in values]
        data = self.views[a.space][t]
        index = a.at >> (int(t[1]).bit_length() - 1)
        told = self.note_write(a, data, index, given) if self.launch.checks and a.space != "local" else None
        for i, value in enumerate(given):
            data[index + i if i else index] = value
        if a.space == "global":
            self.launch.changes += len(a.at)
        if told is not None:
            told()

    def by_space(self, a: Access) -> list[Access]:
        """An access by generic addresses as one for each space in which they lie, if there are any."""
        if a.space != "generic":
            return [a]
        some = self.of(a.base, a.on)
        first, last = np.searchsorted(BEGINS, (some.min(), some.max()), "right").tolist() if len(some) else (0, 0)
        if first == last:
            space, begin = list(WINDOWS.items())[first]
            return [replace(a, space=space, base=a.base - np.int64(begin))]
        base, lanes, which = self.full(a.base), self.lanes_of(a.on), np.searchsorted(BEGINS, some, "right")
        return [replace(a, space=space, base=base - np.int64(begin), on=lanes[which == i])
                for i, (space, begin) in enumerate(WINDOWS.items()) if (which == i).any()]

    def synchronize(self, on: Array | None, order: str) -> None:
        """Threads publish what their programs did, or see what others published."""
        sync = self.launch.sync
        if sync is not None and (on is None or len(on)):
            if order in ("release", "acq_rel"):
                sync.release(self.me(on))
            if order in ("acquire", "acq_rel"):
                sync.acquire(self.me(on))
