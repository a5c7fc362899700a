"""Loads and stores by many threads at once, and what is looked at in each: bounds, owners, alignment, unwritten bytes,
and races."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .integers import Array
from .memory import Allocation
from .shadow import PROGRAM, STRONG, THREAD, Clashes, Shadow
from .threads import SHARED_BASE, Launch, Threads

POISON_BYTE = 0xCD
"""What shared and local memory holds that nothing wrote."""
WINDOWS = {"global": 0, "shared": 1 << 48, "local": 1 << 49}
"""Where generic addresses of each space begin: those of shared and local memory above the host's."""
BEGINS = np.array(list(WINDOWS.values())[1:])


def changed(data: Array, index: Array, given: list[Array]) -> Array:
    """Where consecutive places hold something else than the values given."""
    return np.any([data.take(index + i, mode="clip") != value for i, value in enumerate(given)], axis=0)


def typed(data: Array) -> dict[str, Array]:
    """Bytes as each type of words."""
    return {t: data.view(t) for t in ("u1", "u2", "u4", "u8")}


@dataclass(slots=True)
class Access:
    """What an instruction does to memory: `what` is "read", "write" or "atomic", by the threads `on` (None: all)."""

    site: int
    what: str
    space: str
    base: Array       # The addresses are these, by thread, and the offset
    offset: int
    on: Array | None
    nbytes: int       # Of one thread
    order: str = "weak"
    at: Array = field(init=False)
    """Byte offsets in the array of the space, of the threads `on`, once they are looked into (`reach`)."""


class UnderWay:
    """What was begun and is not done, by whom (of n), in groups that are committed and waited for."""

    def __init__(self, n: int) -> None:
        self.group, self.items = np.zeros(n, np.int64), list[tuple[Array, ...]]()

    def begin(self, who: Array, *data: Array) -> None:
        self.items.append((who, self.group[who], *data))

    def commit(self, who: Array | None) -> None:
        """What each of these (None: of all) has begun is a group."""
        self.group[slice(None) if who is None else who] += 1

    def wait(self, who: Array | None, left: int) -> list[tuple[Array, ...]]:
        """Take out all but the last `left` groups of these: whose it was, the groups, and the data."""
        limit = self.group - left
        if who is not None:
            here = np.zeros(len(limit), bool)
            here[who] = True
            limit = np.where(here, limit, -1)
        ended, going = list[tuple[Array, ...]](), list[tuple[Array, ...]]()
        for item in self.items:
            done = item[1] < limit[item[0]]
            for some, into in ((done, ended), (~done, going)):
                if some.any():
                    into.append(item if some.all() else tuple(part[some] for part in item))
        self.items = going
        return ended


class Accesses(Threads):
    """The memories of a batch of programs, and the checks of accesses to them."""

    def __init__(self, launch: Launch, programs: Array, local_bytes: int) -> None:
        super().__init__(launch, programs)
        memory = launch.memory
        self.starts = np.array([region.start - memory.base for region in launch.regions], np.int64)
        self.ends = np.array([region.end - memory.base for region in launch.regions], np.int64)
        self.start_list = self.starts.tolist()
        self.stride = -(-launch.shared_bytes // 1024) * 1024
        local_bytes = -(-local_bytes // 32) * 32
        self.shared = np.full(self.B * self.stride, POISON_BYTE, np.uint8)
        spaces = {"global": memory.data, "const": memory.data, "shared": self.shared,
                  "local": np.full(self.N * local_bytes, POISON_BYTE, np.uint8)}
        self.views = {space: typed(data) for space, data in spaces.items()}
        self.origins = {"global": memory.base, "const": memory.base, "shared": SHARED_BASE, "local": 0}
        self.own = {"shared": (self.row * self.stride, launch.shared_bytes),
                    "local": (np.arange(self.N, dtype=np.int64) * local_bytes, local_bytes)}
        """Of a space that is divided among programs or threads: where each thread's part begins, and its size."""
        self.states = typed(memory.state)
        self.copies, self.products = UnderWay(self.N), UnderWay(self.B)
        self.in_products: Array | None = None
        """By granule of shared memory: whether a product that is not waited for reads it."""
        if launch.checks:
            granules = len(self.shared) >> launch.shared_shift
            writers, readers = np.zeros((2, granules), np.int64)
            self.in_shared = Shadow(writers, readers, launch.shared_shift, True)
            self.in_global = Shadow(*memory.codes(), launch.global_shift, False, launch.sync)

    def lanes_of(self, on: Array | None) -> Array:
        return np.arange(self.N) if on is None else on

    def report(self, a: Access, kind: str, message: str, bad: Array, other: str = "") -> bool:
        """Report the accesses that are bad. Whether there are any."""
        if not bad.any():
            return False
        first = int(bad.argmax())
        lane = first if a.on is None else int(a.on[first])
        self.fault(a.site, kind, message, lane, self.place(a, int(a.at[first]), lane), other, int(bad.sum()))
        return True

    def drop(self, a: Access, kind: str, message: str, bad: Array) -> None:
        """Report the accesses that are bad, and leave them out."""
        if self.report(a, kind, message, bad):
            a.at, a.on = a.at[~bad], self.lanes_of(a.on)[~bad]

    def reach(self, a: Access) -> None:
        """Find the places of an access, and look at all that one can be wrong in; who is at fault does nothing."""
        inside = a.at = self.of(a.base, a.on) + np.int64(a.offset - self.origins[a.space])
        own = self.own.get(a.space)
        if own is not None:
            a.at = inside + (own[0] if a.on is None else own[0].take(a.on))
        if not self.launch.checks or not len(a.at):
            return
        touched: Sequence[int] = ()
        if own is None:
            touched = self.check_regions(a)
        else:
            message = (f"{a.what} of {a.nbytes} bytes outside the {own[1]} bytes of {a.space} memory that the "
                       f"{'program' if a.space == 'shared' else 'thread'} has")
            self.drop(a, "out of bounds", message, (inside < 0) | (inside > own[1] - a.nbytes))
        alignment = a.nbytes & -a.nbytes
        if int(np.bitwise_or.reduce(a.at)) & (alignment - 1):
            message = f"{a.what} of {a.nbytes} bytes whose address is no multiple of {alignment}"
            self.drop(a, "misaligned", message, (a.at & (alignment - 1)) != 0)
        if a.what == "read" and a.space == "shared":
            self.note_shared_read(a)
        if a.what == "write" or own is not None or not len(a.at):
            return
        if not all(self.launch.memory.is_whole(self.launch.regions[i]) for i in touched):
            self.report(a, "unwritten", f"read of {a.nbytes} bytes that nobody wrote", self.unwritten(a))
        if a.what == "read" and not self.launch.tracked.isdisjoint(touched):
            me = self.me(a.on) | STRONG if a.order != "weak" else self.me(a.on)
            codes, clash = self.in_global.read(a.at, a.nbytes, me)
            if clash is not None:
                self.race(a, "reads", "written by", clash, codes)

    def check_regions(self, a: Access) -> Sequence[int]:
        """Bounds and owner of what goes to global memory: the regions in which what is right of it goes."""
        low, high = int(a.at.min()), int(a.at.max())
        known = self.launch.ranges.get(a.site, (low, high, False))
        self.launch.ranges[a.site] = min(low, known[0]), max(high + a.nbytes, known[1]), a.what != "read"
        i, allowed = bisect.bisect_right(self.start_list, low) - 1, self.launch.allowed.get(a.site)
        if i >= 0 and high + a.nbytes <= self.ends[i] and (allowed is None or i in allowed):
            return (i,)
        if not len(self.starts):
            self.drop(a, "out of bounds", f"{a.what} where nothing is allocated", np.ones(a.at.shape, bool))
            return ()
        region: Array = np.searchsorted(self.starts, a.at, "right") - 1
        outside = (region < 0) | (a.at + a.nbytes > self.ends[region])
        if allowed is not None:
            wrong = ~outside & ~np.isin(region, list(allowed))
            names = ", ".join(self.name(self.launch.regions[i]) for i in sorted(allowed))
            self.drop(a, "wrong pointer", f"{a.what} through a pointer to {names} goes elsewhere", wrong)
            region, outside = region[~wrong], outside[~wrong]
        if outside.any():
            freed = self.launch.memory.freed(int(a.at[outside.argmax()]) + self.launch.memory.base)
            kind, message = "out of bounds", f"{a.what} of {a.nbytes} bytes outside every allocation"
            if freed is not None:
                kind = "use after free"
                message = f"{a.what} of {a.nbytes} bytes of {freed.name or 'memory'} that was freed"
            self.drop(a, kind, message, outside)
        return np.unique(region[~outside]).tolist()

    def name(self, region: Allocation) -> str:
        return self.launch.names.get(region.start) or region.name or f"the allocation at {region.start:#x}"

    def place(self, a: Access, at: int, lane: int) -> str:
        """A byte of the arena as `name[element] (byte n of m)`; elements are of the access's type. Others as bytes."""
        if a.space in self.own:
            return f"{a.space}[byte {at - int(self.own[a.space][0][lane])}]"
        address = at + self.launch.memory.base
        region = self.launch.memory.freed(address) if self.launch.memory.find(address) is None else None
        region = region or self.launch.memory.find(address) or self.launch.memory.nearest(address)
        if region is None:
            return f"{address:#x}"
        allowed = self.launch.allowed.get(a.site)
        if allowed is not None and len(allowed) == 1 and not region.start <= address < region.end:
            region = self.launch.regions[next(iter(allowed))]
        typed = re.search(r"\.[busf]+(8|16|32|64)$", self.launch.instructions[a.site].opcode)
        width = int(typed[1]) // 8 if typed else 1
        byte = address - region.start
        index = f"{self.name(region)}[{byte // width}] (byte {byte} of {region.end - region.start})"
        return index if region.start <= address < region.end else f"{index}, {address:#x}"

    def words_of_state(self, a: Access) -> tuple[Array, list[Array], np.unsignedinteger[Any]]:
        """Whether bytes were written, as words; which of those an access is of; and what they are if all its are."""
        width = min(a.nbytes, 8)
        view, first = self.states[f"u{width}"], a.at >> (width.bit_length() - 1)
        return (view, [first + i if i else first for i in range(a.nbytes // width)],
                view.dtype.type(0x0101010101010101 & (1 << 8 * width) - 1))

    def unwritten(self, a: Access) -> Array:
        state, words, ones = self.words_of_state(a)
        return np.any([state.take(word, mode="clip") != ones for word in words], axis=0)

    def race(self, a: Access, verb: str, other: str, clash: Array, codes: list[Array]) -> None:
        """Report accesses that nothing orders after others' of the same place; in shared memory a barrier would."""
        first = int(clash.argmax())
        mine, met = int(self.me(a.on)[first]), [int(code[first]) for code in codes]
        code = next((one for one in met if one and (abs(one) & ~int(STRONG) ^ mine) >> THREAD), 0)
        kind, how, lines = "shared race", "without a barrier after", ""
        if a.space == "global":
            kind, how = "race", "that nothing orders after"
            writers = [self.launch.instructions[i] for i, (low, high, writes) in self.launch.ranges.items()
                       if low <= int(a.at[first]) < high and (writes or other != "written by") and i != a.site]
            lines = f" (line {' or '.join(dict.fromkeys(str(w.line) for w in writers))})" if writers else ""
        self.report(a, kind, f"{verb} {a.nbytes} bytes {how} another's access", clash, self.party(code, other) + lines)

    def note_write(self, a: Access, data: Array, index: Array, given: list[Array]) -> Callable[[], None] | None:
        """Note a write before it is done; what is returned, if anything, is called after it and reports."""
        if not len(a.at):
            return None
        me, shadow = self.me(a.on), self.in_shared
        if a.space == "global":
            state, words, ones = self.words_of_state(a)
            for word in words:
                state[word] = ones
            shadow, me = self.in_global, me | STRONG if a.order != "weak" else me
        else:
            self.check_shared_write(a)
        clashes = shadow.write(a.at, a.nbytes, me)
        if not clashes.any():
            return None
        changes = changed(data, index, given)

        def told() -> None:
            """Who writes what is there already, or what all others write, harms nobody in its program."""
            other = self.elsewhere(clashes.codes, me) if a.space == "global" else np.False_
            self.tell(a, "writes", clashes, changes | other, changed(data, index, given) | other)
        return told

    def tell(self, a: Access, verb: str, clashes: Clashes, changes: Array | bool = True,
             unlike: Array | bool = True) -> None:
        """Report where a write clashes, and does harm: to what was there before, and to what others write at once."""
        for found, harms, other in ((clashes.before, changes, "written by"), (clashes.at_once, unlike, "written by"),
                                    (clashes.reads, changes, "read by")):
            if found is not None and (found & harms).any():
                self.race(a, verb, other, found & harms, clashes.codes)

    @staticmethod
    def elsewhere(codes: list[Array], me: Array) -> Array:
        """Whether one of the codes is of another program."""
        return np.any([(code != 0) & ((np.abs(code) ^ me) & ~STRONG) >> PROGRAM != 0 for code in codes], axis=0)

    def note_shared_read(self, a: Access, logged: bool = True) -> None:
        """Whether anybody wrote what is read, whether that is settled, and races."""
        if not len(a.at):
            return
        codes, clash = self.in_shared.read(a.at, a.nbytes, self.me(a.on), logged)
        if min(int(code.min()) for code in codes) <= 0:
            unwritten, filled = (np.any([np.sign(code) == sign for code in codes], axis=0) for sign in (0, -1))
            self.report(a, "unwritten", f"read of {a.nbytes} bytes of shared memory that nothing wrote", unwritten)
            message = "read of shared memory that an asynchronous copy, not yet waited for, will fill"
            self.report(a, "asynchronous", message, filled)
        if clash is not None:
            self.race(a, "reads", "written by", clash, codes)

    def check_shared_write(self, a: Access) -> None:
        """Products of whole warp groups read shared memory until they are waited for."""
        if self.in_products is not None and self.products.items:
            bad = np.any(self.in_products[self.granules(a.at, a.nbytes)], axis=1)
            self.report(a, "asynchronous", "write of shared memory that a wgmma, not yet waited for, reads", bad)

    def granules(self, at: Array, nbytes: int) -> Array:
        shift = self.launch.shared_shift
        return (at >> shift)[:, None] + np.arange(max(nbytes >> shift, 1))

    # Loads and stores

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
        if self.launch.sync is not None and (on is None or len(on)):
            self.launch.sync.note(order, self.me(on))
