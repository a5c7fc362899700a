"""Atomics, and asynchronous copies: accesses with an order of their own."""

from __future__ import annotations

import numpy as np

from . import floats as fl
from . import integers as ints
from .access import Access
from .integers import Array
from .shadow import STRONG

WORDS = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "c16"}
"""Types of so many bytes; a complex number is moved as it is."""
FLOATS = {"f16": (fl.from_f16, fl.to_f16), "bf16": (fl.from_bf16, fl.to_bf16)}


def combined(name: str, old: Array, given: list[Array]) -> Array:
    """What an atomic operation leaves, from what was there."""
    b = given[0]
    if name == "add":
        return old + b
    if name in ("min", "max"):
        if old.dtype.kind == "f":
            return (fl.fmin if name == "min" else fl.fmax)(old, b)
        return np.minimum(old, b) if name == "min" else np.maximum(old, b)
    if name == "inc":
        return np.where(old >= b, old.dtype.type(0), old + old.dtype.type(1))
    if name == "dec":
        return np.where((old == 0) | (old > b), b, old - old.dtype.type(1))
    if name == "cas":
        return np.where(old == b, given[1], old)
    return {"and": old & b, "or": old | b, "xor": old ^ b, "exch": b}[name]


def updated(name: str, kind: str, old: Array, given: list[Array]) -> Array:
    """`combined` for registers of a PTX type."""
    if kind in FLOATS:
        read, write = FLOATS[kind]
        return write(combined(name, read(old), [read(one) for one in given]))
    if kind.endswith("x2"):
        parts = [updated(name, kind[:-2], ints.unpack(old, "u2", i), [ints.unpack(one, "u2", i) for one in given])
                 for i in (0, 1)]
        return ints.pack(parts, "u4")
    typed = [one.view(kind) for one in (old, *given)]
    if typed[0].dtype.kind == "f" and name not in ("add", "min", "max", "exch"):
        typed = [one.view(f"u{kind[1]}") for one in typed]
    return combined(name, typed[0], typed[1:])


class Ordered(Access):
    """Atomic operations and asynchronous copies."""

    def init_asynchronous(self) -> None:
        self.copies: list[tuple[Array, Array, Array, Array]] = []
        """Copies under way: threads, their groups, places in shared memory, data (n,)."""
        self.group = np.zeros(self.N, np.int64)
        """Groups of copies that each thread has committed."""
        self.in_products: Array | None = None
        """By granule of shared memory: whether a product that is not waited for reads it."""
        self.products: list[tuple[Array, Array, Array, Array]] = []
        """Products under way: rows of programs, their groups, granules, codes."""
        self.product_group = np.zeros(self.B, np.int64)

    def atomic(self, site: int, space: str, base: Array, offset: int, on: Array | None, name: str, kind: str,
               stored: str, given: list[Array], order: str) -> Array:
        """What was there before; threads at one place take turns, the lowest first."""
        if space == "generic":
            space, base = self.windowed(site, base, on)
        self.launch.polls += 1
        if order in ("release", "acq_rel"):
            self.synchronize(on, "release")
        t = f"u{stored[1]}"
        nbytes = int(stored[1])
        at, lanes = self.reach(site, space, base, offset, on, nbytes, "atomic", order)
        lanes = self.lanes_of(lanes)
        data = self.views[space][t]
        result = np.zeros(self.N, t)
        if len(at):
            if self.launch.checks:
                self.note_atomic(site, space, at, lanes, nbytes)
            index = at >> (nbytes.bit_length() - 1)
            values = [self.of(one, lanes).view(t) for one in given]
            turn = np.argsort(index, kind="stable")
            ordered = index[turn]
            begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
            rank = np.arange(len(turn)) - np.repeat(begins, np.diff(np.r_[begins, len(turn)]))
            by_rank = turn[np.argsort(rank, kind="stable")]
            begin = 0
            for count in np.bincount(rank):
                some = by_rank[begin:begin + count]
                begin += int(count)
                old = data[index[some]]
                result[lanes[some]] = old
                new = np.asarray(updated(name, kind, old, [one[some] for one in values])).view(t)
                data[index[some]] = new
                self.launch.changes += int((new != old).any())
        if order in ("acquire", "acq_rel"):
            self.synchronize(on, "acquire")
        return result.view(stored)

    def note_atomic(self, site: int, space: str, at: Array, lanes: Array, nbytes: int) -> None:
        """Atomics clash with other accesses, not with each other."""
        shadow = self.in_global if space == "global" else self.in_shared
        if space == "shared":
            unwritten = shadow.writers.take(at >> shadow.shift, mode="clip") == 0
            self.dropped(site, space, "unwritten", "atomic on shared memory that nothing wrote", unwritten, at, lanes)
        clashes = shadow.write(at, nbytes, self.me(lanes) | STRONG)
        self.tell(site, space, "updates", clashes, at, lanes, nbytes)

    # Asynchronous copies, done as late as they may be

    def copy(self, site: int, target: Array, target_offset: int, source: Array, source_offset: int, on: Array | None,
             nbytes: int, count: Array | None) -> None:
        """Begin to copy from global to shared memory; past `count` bytes there are zeros, and nothing is read."""
        given = self.of(np.uint32(nbytes) if count is None else count, on)
        if (given == nbytes).all():
            data = self.fetched(site, source, source_offset, on, nbytes)
        else:
            lanes = self.lanes_of(on)
            data = np.zeros((self.N, nbytes), np.uint8)
            for size in filter(None, np.unique(given).tolist()):
                some = lanes[given == size]
                data[some, :size] = self.fetched(site, source, source_offset, some, size)[some]
        at, on = self.reach(site, "shared", target, target_offset, on, nbytes, "write")
        lanes = self.lanes_of(on)
        if self.launch.checks and len(at):
            self.check_shared_write(site, at, on, nbytes)
            clashes = self.in_shared.write(at, nbytes, self.me(on), pending=True)
            self.tell(site, "shared", "copies over", clashes, at, on, nbytes)
        if on is not None:
            data = data[lanes]
        self.copies.append((lanes, self.group.take(lanes), at, data.view(WORDS[nbytes])[:, 0]))

    def fetched(self, site: int, source: Array, offset: int, on: Array | None, nbytes: int) -> Array:
        """Bytes from global memory, (N, nbytes); zeros for other threads than `on`."""
        at, on = self.reach(site, "global", source, offset, on, nbytes, "read")
        width = nbytes & -nbytes
        index = at >> (width.bit_length() - 1)
        words = self.launch.memory.data.view(WORDS[width])
        data = np.stack([words.take(index + i, mode="clip") for i in range(nbytes // width)], 1).view(np.uint8)
        if on is None:
            return data
        whole = np.zeros((self.N, nbytes), np.uint8)
        whole[on] = data
        return whole

    def commit_copies(self, on: Array | None) -> None:
        """What each thread has begun to copy is a group."""
        self.group[slice(None) if on is None else on] += 1

    def wait_copies(self, on: Array | None, left: int) -> None:
        """All but the last `left` groups of these threads are done."""
        limit = self.group - left
        if on is not None:
            limit = np.where(self.mask_of(on), limit, -1)
        going = []
        for lanes, group, at, data in self.copies:
            done = group < limit.take(lanes)
            if done.all():
                self.finish(lanes, at, data)
            elif done.any():
                self.finish(lanes[done], at[done], data[done])
                going.append((lanes[~done], group[~done], at[~done], data[~done]))
            else:
                going.append((lanes, group, at, data))
        self.copies = going

    def finish(self, lanes: Array, at: Array, data: Array) -> None:
        """Copies are in shared memory, as far as the threads that made them know."""
        nbytes = data.dtype.itemsize
        self.shared.view(data.dtype)[at >> (nbytes.bit_length() - 1)] = data
        if self.launch.checks:
            shift = self.launch.shared_shift
            granules = max(nbytes >> shift, 1)
            self.in_shared.writers[(at >> shift)[:, None] + np.arange(granules)] = self.me(lanes)[:, None]

    # Products of whole warp groups read shared memory until they are waited for

    def check_shared_write(self, site: int, at: Array, on: Array | None, nbytes: int) -> None:
        if self.in_products is None or not self.products:
            return
        shift = self.launch.shared_shift
        granules = range(max(nbytes >> shift, 1))
        bad = np.any([self.in_products.take((at >> shift) + i, mode="clip") for i in granules], axis=0)
        message = "write of shared memory that a wgmma, not yet waited for, reads"
        self.dropped(site, "shared", "asynchronous", message, bad, at, on)

    def begin_product(self, rows: Array, granules: Array, codes: Array) -> None:
        """A product of programs at these rows reads granules (rows, n) as threads of these codes (rows, n)."""
        if self.in_products is None:
            self.in_products = np.zeros(len(self.in_shared.writers), bool)
        self.in_products[granules] = True
        self.products.append((rows, self.product_group[rows], granules, codes))

    def commit_products(self, on: Array | None) -> None:
        """What was begun is a group."""
        self.product_group[slice(None) if on is None else np.unique(self.row[on])] += 1

    def wait_products(self, on: Array | None, left: int) -> None:
        """All but the last `left` groups are done."""
        if not self.products or self.in_products is None:
            return
        limit = self.product_group - left
        if on is not None:
            limit = np.where(np.isin(np.arange(self.B), self.row[on]), limit, -1)
        going = []
        for rows, group, granules, codes in self.products:
            done = group < limit[rows]
            if done.any():
                self.in_products[granules[done]] = False
                self.in_shared.log.append((granules[done].ravel(), codes[done].ravel(), 1))
            if not done.all():
                going.append((rows[~done], group[~done], granules[~done], codes[~done]))
        self.products = going
        for _, _, granules, _ in going:
            self.in_products[granules] = True
