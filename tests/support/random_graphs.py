"""Random graphs of the graph's operations: broadcasts, views, reductions, products, gathers, in any order."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from microtrain import ops as g
from microtrain.graph.node import Node
from tests.support.programs import tensor


class Grower:

    def __init__(self, seed: int) -> None:
        self.random, self.rng = random.Random(seed), np.random.default_rng(seed)
        self.dtype = self.random.choice([np.float32] * 5 + [np.float64])
        shape = self.shape(4)
        if self.random.random() < 0.15:
            shape = (self.random.choice([0, 7]), *shape)
        self.pool = [self.leaf(shape)]

    def shape(self, axes: int) -> tuple[int, ...]:
        return tuple(self.random.choice([1, 2, 3, 4, 5]) for _ in range(self.random.randint(0, axes)))

    def leaf(self, shape: tuple[int, ...]) -> Node:
        return tensor(np.asarray(self.rng.standard_normal(shape), self.dtype), "interpret")

    def like(self, x: Node) -> Node:
        same = [node for node in self.pool if node.shape == x.shape]
        return self.random.choice(same) if same else self.leaf(x.shape)

    def grow(self) -> None:
        x = self.random.choice(self.pool[-4:])
        y = self.random.choice(GROWTHS)(self, x)
        if y is not None and y.spec.numel <= 3000:
            self.pool.append(y)

    def outputs(self) -> list[Node]:
        pending = [node for node in self.pool if node.buffer is None]
        return pending[-1:] + [node for node in pending[:-1] if self.random.random() < 0.15]


UNARY = (g.tanh, g.sigmoid, g.neg, g.abs, g.relu, lambda v: g.exp(g.neg(g.abs(v))), g.sin, lambda v: g.mul(v, 0.37),
         lambda v: g.add(v, 1.0))
BINARY = (g.add, g.sub, g.mul, g.maximum, lambda a, b: g.div(a, g.add(g.abs(b), 1.0)),
          lambda a, b: g.where(g.gt(a, 0.0), a, b))


def some_axes(o: Grower, x: Node) -> tuple[int, ...]:
    return tuple(axis for axis in range(len(x.shape)) if o.random.random() < 0.5)


def broadcast(o: Grower, x: Node) -> Any:
    sizes = [1 if o.random.random() < 0.4 else size for size in x.shape]
    return g.mul(x, o.leaf(tuple(sizes[o.random.randint(0, len(sizes)):])))


def fold(o: Grower, x: Node) -> Any:
    axes = some_axes(o, x)
    fold = o.random.choice([g.sum, g.sum, g.prod] + [g.amax, g.amin] * (x.spec.numel > 0))
    return fold(x, axes, o.random.random() < 0.5) if axes else None


def normalise(o: Grower, x: Node) -> Any:
    if x.shape and x.spec.numel:
        axis = o.random.randrange(len(x.shape))
        return o.random.choice([
            lambda: g.softmax(x, axis), lambda: g.sub(x, g.keep(g.mean(x, (axis,)), x.shape, (axis,))),
            lambda: g.cast(g.argmax(x, axis), x.dtype)])()


def reshape(o: Grower, x: Node) -> Any:
    rest, shape = x.spec.numel, []
    while rest > 1:
        shape.append(o.random.choice([d for d in range(2, rest + 1) if rest % d == 0]))
        rest //= shape[-1]
    if o.random.random() < 0.3:
        shape.insert(o.random.randint(0, len(shape)), 1)
    return g.reshape(x, tuple(shape)) if x.spec.numel else None


def slice(o: Grower, x: Node) -> Any:
    starts = tuple(o.random.randint(0, max(size - 1, 0)) for size in x.shape)
    steps = tuple(o.random.choice([1, 1, 2]) for _ in x.shape)
    most = [-(-(size - a) // s) for size, a, s in zip(x.shape, starts, steps, strict=True)]
    return g.slice(x, starts, tuple(o.random.randint(min(1, n), n) for n in most), steps) if x.shape else None


def pad(o: Grower, x: Node) -> Any:
    steps = tuple(o.random.choice([1, 1, 2]) for _ in x.shape)
    starts = tuple(o.random.randint(0, 2) for _ in x.shape)
    ends = [a + max((n - 1) * s + 1, 0) for a, n, s in zip(starts, x.shape, steps, strict=True)]
    return g.pad(x, starts, tuple(end + o.random.randint(0, 2) for end in ends), steps)


def cat(o: Grower, x: Node) -> Any:
    if x.shape:
        dim = o.random.randrange(len(x.shape))
        parts = [x, *[o.leaf((*x.shape[:dim], o.random.randint(0, 3), *x.shape[dim + 1:]))
                      for _ in range(o.random.randint(1, 2))]]
        return g.cat(tuple(o.random.sample(parts, len(parts))), dim)


def matmul(o: Grower, x: Node) -> Any:
    if len(x.shape) > 1:
        batch = x.shape[:-2] if o.random.random() < 0.5 else ()
        return g.matmul(x, o.leaf((*batch, x.shape[-1], o.random.choice([1, 2, 5]))))


GROWTHS: list[Callable[[Grower, Node], Any]] = [
    *[lambda o, x: o.random.choice(UNARY)(x)] * 2, *[lambda o, x: o.random.choice(BINARY)(x, o.like(x))] * 2,
    broadcast, fold, fold, normalise,
    lambda o, x: g.permute(x, tuple(o.random.sample(range(len(x.shape)), len(x.shape)))), reshape, slice,
    lambda o, x: g.flip(x, some_axes(o, x)), pad, cat, lambda o, x: g.expand(x, (o.random.randint(1, 3), *x.shape)),
    lambda o, x: g.take(x, tensor(np.asarray(o.rng.integers(0, x.shape[0], o.shape(2)), np.int64), "interpret"))
    if x.shape and x.shape[0] else None, matmul]
"""Each takes an operation to a node of the pool, or none."""


def grown(seed: int, most: int) -> list[Node]:
    """The outputs of a random graph of at most `most` operations; none where every operation was refused."""
    grower = Grower(seed)
    for _ in range(grower.random.randint(2, most)):
        grower.grow()
    return grower.outputs()
