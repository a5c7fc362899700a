"""Atomics, and asynchronous copies: accesses with an order of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import floats as fl
from . import integers as ints
from .access import Access, Accesses
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


class Ordered(Accesses):
    """Atomic operations, asynchronous copies, and products that are under way."""

    def atomic(self, a: Access, name: str, kind: str, stored: str, given: list[Array]) -> Array:
        """What was there before; threads at one place take turns, the lowest first."""
        on, t = a.on, f"u{stored[1]}"
        self.launch.polls += 1
        if a.order in ("release", "acq_rel"):
            self.synchronize(on, "release")
        result = np.zeros(self.N, t)
        for one in self.by_space(a):
            self.reach(one)
            if len(one.at):
                if self.launch.checks:
                    self.note_atomic(one)
                self.take_turns(one, name, kind, self.views[one.space][t], given, result)
        if a.order in ("acquire", "acq_rel"):
            self.synchronize(on, "acquire")
        return result.view(stored)

    def take_turns(self, a: Access, name: str, kind: str, data: Array, given: list[Array], result: Array) -> None:
        index, lanes = a.at >> (a.nbytes.bit_length() - 1), self.lanes_of(a.on)
        values = [self.of(one, lanes).view(data.dtype) for one in given]
        turn = np.argsort(index, kind="stable")
        ordered = index[turn]
        begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        rank = np.arange(len(turn)) - np.repeat(begins, np.diff(np.r_[begins, len(turn)]))
        by_rank = turn[np.argsort(rank, kind="stable")]
        for some in np.split(by_rank, np.cumsum(np.bincount(rank))[:-1]):
            result[lanes[some]] = old = data[index[some]]
            new = np.asarray(updated(name, kind, old, [one[some] for one in values])).view(data.dtype)
            data[index[some]] = new
            self.launch.changes += int((new != old).any())

    def note_atomic(self, a: Access) -> None:
        """Atomics clash with other accesses, not with each other."""
        shadow = self.in_global if a.space == "global" else self.in_shared
        if a.space == "shared":
            unwritten = shadow.writers.take(a.at >> shadow.shift, mode="clip") == 0
            self.report(a, "unwritten", "atomic on shared memory that nothing wrote", unwritten)
        self.tell(a, "updates", shadow.write(a.at, a.nbytes, self.me(a.on) | STRONG))

    # Asynchronous copies, done as late as they may be

    def copy(self, target: Access, source: Access, count: Array | None) -> None:
        """Begin to copy from global to shared memory; past `count` bytes there are zeros, and nothing is read."""
        nbytes = target.nbytes
        given = self.of(np.uint32(nbytes) if count is None else count, target.on)
        if (given == nbytes).all():
            data = self.fetched(source)
        else:
            lanes, data = self.lanes_of(target.on), np.zeros((self.N, nbytes), np.uint8)
            for size in filter(None, np.unique(given).tolist()):
                some = lanes[given == size]
                data[some, :size] = self.fetched(replace(source, on=some, nbytes=size))[some]
        self.reach(target)
        if self.launch.checks and len(target.at):
            self.check_shared_write(target)
            clashes = self.in_shared.write(target.at, nbytes, self.me(target.on), pending=True)
            self.tell(target, "copies over", clashes)
        data = data if target.on is None else data[target.on]
        self.copies.begin(self.lanes_of(target.on), target.at, data.view(WORDS[nbytes])[:, 0])

    def fetched(self, a: Access) -> Array:
        """Bytes from global memory, (N, nbytes); zeros for other threads than those that read."""
        self.reach(a)
        width = a.nbytes & -a.nbytes
        index = a.at >> (width.bit_length() - 1)
        words = self.launch.memory.data.view(WORDS[width])
        data = np.stack([words.take(index + i, mode="clip") for i in range(a.nbytes // width)], 1).view(np.uint8)
        if a.on is None:
            return data
        whole = np.zeros((self.N, a.nbytes), np.uint8)
        whole[a.on] = data
        return whole

    def wait_copies(self, on: Array | None, left: int) -> None:
        """All but the last `left` groups of these threads are in shared memory, as far as these threads know."""
        for lanes, _, at, data in self.copies.wait(on, left):
            nbytes = data.dtype.itemsize
            self.shared.view(data.dtype)[at >> (nbytes.bit_length() - 1)] = data
            if self.launch.checks:
                self.in_shared.writers[self.granules(at, nbytes)] = self.me(lanes)[:, None]

    # Products of whole warp groups read shared memory until they are waited for

    def rows_of(self, on: Array | None) -> Array | None:
        return None if on is None else np.unique(self.row[on])

    def wait_products(self, on: Array | None, left: int) -> None:
        """All but the last `left` groups are done: it is known that they have read."""
        ended = self.products.wait(self.rows_of(on), left)
        if self.in_products is None:
            return
        for _, _, granules, codes in ended:
            self.in_products[granules] = False
            self.in_shared.log.append((granules.ravel(), codes.ravel(), 1))
        for _, _, granules, _ in self.products.items:
            self.in_products[granules] = True
