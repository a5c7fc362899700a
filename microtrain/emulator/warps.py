"""What the threads of a warp do together."""

from __future__ import annotations

import numpy as np

from .integers import Array
from .ordered import Ordered
from .threads import WARP_SIZE

LANES = np.arange(WARP_SIZE)
FOLDS = {"add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or,
         "xor": np.bitwise_xor}


class Warps(Ordered):
    """Shuffles, votes, and reductions. Values by warp are (N / 32, 32)."""

    def by_warp(self, values: Array | np.generic) -> Array:
        """Values of all threads, (N / 32, 32)."""
        return self.full(values).reshape(-1, WARP_SIZE)

    def together(self, site: int, members: Array | np.generic, on: Array | None) -> Array:
        """Which lanes take part, (N / 32, 32); those that the instruction names and that are not there are reported."""
        named = (self.by_warp(members) >> LANES.astype("u4") & np.uint32(1)).astype(bool)
        if on is None:
            return named
        here = self.by_warp(self.mask_of(on))
        missing = named & ~here & here.any(1, keepdims=True)
        if missing.any() and self.launch.checks:
            warp, lane = np.argwhere(missing)[0]
            self.fault(site, "barrier", "threads of a warp that the instruction names are not there, as the thread",
                       int(warp) * WARP_SIZE + int(lane), count=int(missing.sum()))
        return named & here

    def shuffle(self, site: int, how: str, a: Array, b: Array, c: Array, members: Array,
                on: Array | None) -> tuple[Array, Array]:
        """Values of other lanes, and whether there was such a lane (else a thread's own value)."""
        if on is not None or np.any(np.asarray(members) != np.uint32(0xFFFFFFFF)):
            self.together(site, members, on)
        step = np.asarray(b).astype(np.int64) if np.ndim(b) == 0 else self.by_warp(b).astype(np.int64)
        control = np.asarray(c).astype(np.int64) if np.ndim(c) == 0 else self.by_warp(c).astype(np.int64)
        segment, clamp = control >> 8 & 31, control & 31
        last = (LANES & segment) | (clamp & ~segment)
        if how == "bfly":
            source = LANES ^ step
        elif how == "idx":
            source = (LANES & segment) | (step & ~segment & 31)
        else:
            source = LANES - step if how == "up" else LANES + step
        inside = source >= last if how == "up" else source <= last
        source = np.where(inside, source, LANES)
        values = self.by_warp(a)
        if source.ndim == 1:
            taken = values.take(source, axis=1)
        else:
            taken = np.take_along_axis(values, np.broadcast_to(source, values.shape), 1)
        return taken.reshape(-1), np.broadcast_to(inside, values.shape).reshape(-1)

    def reduce_warp(self, site: int, name: str, value: Array, members: Array, on: Array | None) -> Array:
        """The fold of the lanes that take part, in each of them."""
        present, values = self.together(site, members, on), self.by_warp(value)
        kind = values.dtype
        if present.all():
            folded = FOLDS[name].reduce(values, 1)
        else:
            neutral = {"min": np.iinfo(kind).max, "max": np.iinfo(kind).min, "and": -1 if kind.kind == "i" else
                       np.iinfo(kind).max}.get(name, 0) if kind.kind != "f" else {"min": np.inf, "max": -np.inf}[name]
            folded = FOLDS[name].reduce(np.where(present, values, kind.type(neutral)), 1)
        return np.repeat(folded.astype(kind), WARP_SIZE)

    def vote(self, site: int, how: str, predicate: Array, members: Array, on: Array | None) -> Array:
        """all, any, uni (all the same), or the ballot: a bit for each lane."""
        present, holds = self.together(site, members, on), self.by_warp(predicate)
        if how == "ballot":
            bits = np.where(present & holds, np.uint32(1) << LANES.astype("u4"), np.uint32(0))
            return np.repeat(np.bitwise_or.reduce(bits, 1), WARP_SIZE)
        every, some = (holds | ~present).all(1), (holds & present).any(1)
        return np.repeat({"all": every, "any": some, "uni": every | ~some}[how], WARP_SIZE)

    def match(self, site: int, any_of: bool, value: Array, members: Array, on: Array | None) -> tuple[Array, Array]:
        """The lanes that hold a thread's value (any), or all lanes if all hold one (all), and whether they do."""
        present, values = self.together(site, members, on), self.by_warp(value)
        equal = (values[:, :, None] == values[:, None, :]) & present[:, None, :]
        bits = np.bitwise_or.reduce(np.where(equal, np.uint32(1) << LANES.astype("u4"), np.uint32(0)), 2)
        whole = (equal | ~present[:, None, :]).all(2)
        return np.where(whole | any_of, bits, np.uint32(0)).reshape(-1), whole.reshape(-1)

    def elect(self, site: int, members: Array, on: Array | None) -> tuple[Array, Array]:
        """The lowest lane that takes part, and whether a thread is that."""
        leader = self.together(site, members, on).argmax(1)
        return np.repeat(leader.astype("u4"), WARP_SIZE), (leader[:, None] == LANES).reshape(-1)

    def reduce_program(self, name: str, predicate: Array) -> Array:
        """Of a predicate over all threads of a program: popc, and, or."""
        holds = self.full(predicate).reshape(self.B, self.T)
        folded = {"popc": holds.sum(1).astype("u4"), "and": holds.all(1), "or": holds.any(1)}[name]
        return np.repeat(folded, self.T)
