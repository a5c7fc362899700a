"""Random tensors from a counter-based generator: the same seed gives the same values on every device.

Every call takes a number of its own (the stream); an element's value depends on seed, stream and index alone.
"""

from __future__ import annotations

import copy
import operator
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import ops as g
from ..engine.session import current
from ..graph import dtypes
from ..graph.dtypes import DType
from ..graph.node import Node
from ..graph.spec import Device
from ..runtime.philox import philox_bits
from .create import DeviceLike, alike, finish, kind, place, sizes
from .host import put, values
from .operands import in_c, node_of, without_overflow
from .storage import wrap
from .types import Operand, Sizes, Tensor

__all__ = ["Generator", "bernoulli", "default_generator", "get_rng_state", "initial_seed", "manual_seed", "rand",
           "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm", "seed", "set_rng_state"]


class Generator:
    """A seed and the number of draws made from it. It can be copied and pickled."""

    def __init__(self, device: DeviceLike = None) -> None:
        self.device = place(device)
        self._seed, self._stream = 67280421310721, 0

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed`, an integer of 64 bits; a negative one counts from 2**64. Raises TypeError for
        anything else, ValueError beyond 64 bits."""
        if not hasattr(seed, "__index__"):
            raise TypeError(f"manual_seed expected a int, but got {type(seed).__name__}")
        number = operator.index(seed)
        if not -2**63 <= number < 2**64:
            raise ValueError(f"Overflow when unpacking long long: the seed {number} is not one of 64 bits")
        self._seed, self._stream = number % 2**64, 0
        return self

    def seed(self) -> int:
        """Start from a seed of the operating system's and return it."""
        self.manual_seed(int.from_bytes(os.urandom(7), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed, from 0 to 2**64 - 1."""
        return self._seed

    def get_state(self) -> Tensor:
        """Seed and number of draws, for `set_state`: a uint8 tensor (16,) on the cpu."""
        raw = np.frombuffer(struct.pack("<QQ", self._seed, self._stream), np.uint8)
        return wrap(put(raw, dtypes.uint8, Device("cpu")))

    def set_state(self, new_state: Tensor) -> Generator:
        """Go on from a state that `get_state` gave. Raises TypeError for none, RuntimeError for one of another size."""
        if not isinstance(new_state, Tensor):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        if new_state.dtype is not dtypes.uint8:
            raise TypeError(f"RNG state must be a torch.ByteTensor, not a tensor of dtype {new_state.dtype!r}")
        if tuple(new_state.shape) != (16,):
            raise RuntimeError("RNG state is wrong size: a state that get_state() gave has shape [16], not "
                               f"{list(new_state.shape)}")
        self._seed, self._stream = struct.unpack("<QQ", values(new_state.node).tobytes())
        return self

    def clone_state(self) -> Generator:
        """Another generator that will give the same draws."""
        return copy.copy(self)

    def draw(self) -> tuple[int, int]:
        """Seed, as a signed integer, and stream for one call, and for no other, in whatever thread: between count and
        look nothing is called."""
        self._stream += 1
        return self._seed - (self._seed >> 63 << 64), self._stream


_default = Generator("cpu")
manual_seed, seed, initial_seed = _default.manual_seed, _default.seed, _default.initial_seed


def default_generator() -> Generator:
    """The generator that is used where none is given, which all devices share."""
    return _default


def get_rng_state() -> Tensor:
    """The default generator's state: a uint8 tensor (16,), which may be kept in a checkpoint."""
    return _default.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Let the default generator go on from a state that `get_rng_state` gave. Raises as `Generator.set_state`."""
    _default.set_state(new_state)


@contextmanager
def fork_rng(devices: object = None, enabled: bool = True) -> Iterator[None]:
    """A block after which the default generator goes on as if nothing had been drawn in it. One generator serves all
    devices, so `devices` changes nothing."""
    before = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(before)


def _draw(generator: Generator | None) -> tuple[int, int]:
    chosen = generator or _default
    recorder = current().recorder
    return chosen.draw() if recorder is None else recorder.drawn(chosen, *chosen.draw())


def _floating(dtype: DType | None, name: str) -> DType:
    wanted = kind(dtype) or dtypes.get_default_dtype()
    if not wanted.is_floating_point:
        raise NotImplementedError(f'"{name}" not implemented for {wanted!r}: use a floating-point dtype')
    return wanted


def rand(*size: Sizes, generator: Generator | None = None, dtype: DType | None = None, device: DeviceLike = None,
         requires_grad: bool = False) -> Tensor:
    """Uniform in [0, 1): multiples of 2**-24, of 2**-53 in float64, of 2**-11 in float16, of 2**-8 in bfloat16."""
    node = g.uniform(*_draw(generator), sizes(size), _floating(dtype, "rand"), place(device))
    return finish(node, requires_grad)


def randn(*size: Sizes, generator: Generator | None = None, dtype: DType | None = None, device: DeviceLike = None,
          requires_grad: bool = False) -> Tensor:
    """Standard normal."""
    node = g.normal(*_draw(generator), sizes(size), _floating(dtype, "randn"), place(device))
    return finish(node, requires_grad)


def uniform(low: float, high: float, like: Node, generator: Generator | None) -> Node:
    """Uniform in [low, high), of a node's shape, dtype and device; half precisions are computed in float32. Raises
    RuntimeError, in PyTorch's words, for bounds that are no numbers of the dtype, or in the wrong order."""
    dtype = _floating(like.spec.dtype, "check_uniform_bounds")
    largest = dtypes.largest_finite(dtype)
    for name, bound in (("from", low), ("to", high)):
        if not abs(bound) <= largest:
            raise RuntimeError(f"{name} is out of bounds for {in_c(dtype)}: {bound}")
    if low > high:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}")
    if high - low > largest:
        name = in_c(dtype).removeprefix("c10::")
        raise RuntimeError(f"uniform_ expects to-from <= std::numeric_limits<{name}>::max(), but found to={high} and "
                           f"from={low} which result in to-from to exceed the limit")
    wide = dtypes.float64 if dtype is dtypes.float64 else dtypes.float32
    u = g.uniform(*_draw(generator), like.shape, wide, like.device)
    out = g.cast(g.add(g.mul(u, high - low), low), dtype)
    return g.minimum(out, dtypes.below(dtype, high)) if low < high else out     # it may have been rounded up


def randint(low: Any = 0, high: Any = None, size: Sizes | None = None, *, generator: Generator | None = None,
            dtype: DType | None = None, device: DeviceLike = None, requires_grad: bool = False) -> Tensor:
    """Integers in [low, high): `randint(high, size)` or `randint(low, high, size)`; at most 2**32 different ones.
    Raises RuntimeError where there are none, too many, or more than the dtype holds; TypeError for bounds that are no
    integers."""
    if size is None or high is None:
        low, high, size = 0, low, high if size is None else size
    if not isinstance(size, Sequence):
        raise TypeError(f"randint(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    for name, bound in (("low", low), ("high", high)):
        if isinstance(bound, bool) or not hasattr(bound, "__index__"):
            raise TypeError(f"randint(): argument '{name}' must be int, not {type(bound).__name__}")
    low, high = operator.index(low), operator.index(high)
    wanted = kind(dtype) or dtypes.int64
    if high <= low:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if high - low > 2**32:
        raise RuntimeError(f"randint draws from at most 2**32 values, got a range of {high - low}")
    for name, bound in (("from", low), ("to - 1", high - 1)):
        if not wanted.low <= bound <= wanted.high or not dtypes.holds(wanted, bound):
            raise RuntimeError(f"{name} is out of bounds for {in_c(wanted)}: {bound}")
    shape = sizes((size,))
    bits = g.random_bits(*_draw(generator), shape, 0, place(device))
    node = g.cast(g.add(g.remainder(bits, high - low), low), wanted)
    if wanted.is_floating_point and max(-low, high) > 2**8:         # those that the dtype has not were rounded
        node = g.clamp(node, -dtypes.below(wanted, 1 - low), dtypes.below(wanted, high))
    return finish(node, requires_grad)


def randperm(n: int, *, generator: Generator | None = None, dtype: DType | None = None,
             device: DeviceLike = None) -> Tensor:
    """A random order of 0, ..., n-1, sorted on the host by random keys. Raises RuntimeError for a negative n."""
    (n,), wanted = sizes((n,)), kind(dtype) or dtypes.int64
    if n and (not dtypes.holds(wanted, n - 1) or wanted is dtypes.bool_):
        raise RuntimeError(without_overflow(n - 1, wanted))
    if n > (most := 2 ** {"float16": 11, "bfloat16": 8, "float32": 24}.get(wanted.name, 53) + 1):
        name = {"float16": "Half", "float32": "Float"}.get(wanted.name, wanted.name)
        raise RuntimeError(f"n cannot be greater than {most} for {name} type, which does not hold every integer below")
    key, stream = _draw(generator)
    order = np.argsort(philox_bits(key, stream, n, 0), kind="stable")
    return wrap(put(order, wanted, place(device)))


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with probability `input` (or `p`, a number, for every element), else 0; of input's shape and dtype. The
    probabilities are computed and looked at. Raises RuntimeError for one that is not between 0 and 1."""
    node = node_of(input, "bernoulli")
    if p is not None:
        return wrap(bernoulli_of(p, node, generator))
    if node.spec.dtype.category != 2:
        raise NotImplementedError(f'"bernoulli" not implemented for {node.spec.dtype!r}: a probability is a float')
    return wrap(bernoulli_of(input, node, generator))


def bernoulli_of(p: Operand, like: Node, generator: Generator | None) -> Node:
    """1 with probability p, a number or a tensor that broadcasts, else 0; of a node's shape, dtype and device."""
    if isinstance(p, Tensor):
        found = values(p.node)
        if not np.all((found >= 0) & (found <= 1)):
            wrong = found[~((found >= 0) & (found <= 1))].flat[0]
            raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false: a probability of "
                               f"{float(wrong)}")
        wide = dtypes.float64 if p.dtype is dtypes.float64 else dtypes.float32
        chance: Node | float = g.cast(p.node, wide)
    elif not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    else:
        wide, chance = dtypes.float32, float(p)
    return g.cast(g.lt(g.uniform(*_draw(generator), like.shape, wide, like.device), chance), like.dtype)


rand_like = alike(rand, "rand_like", "Uniform in [0, 1), of another tensor's shape, dtype and device.")
randn_like = alike(randn, "randn_like", "Standard normal, of another tensor's shape, dtype and device.")


def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: DType | None = None,
                 device: DeviceLike = None, requires_grad: bool = False) -> Tensor:
    """Integers in [low, high), of another tensor's shape, dtype and device."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, input.shape, dtype=kind(dtype) or input.dtype,
                   device=input.device if device is None else device, requires_grad=requires_grad)
