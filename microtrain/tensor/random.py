"""Random tensors from a counter-based generator: the same seed gives the same values on every device.

Every call takes a number of its own (the stream); an element's value depends on seed, stream and index alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import dtypes
from ..graph import ops as g
from ..graph.dtypes import DType
from ..runtime.philox import philox_bits
from .create import DeviceLike, finish, kind, place, put, sizes
from .storage import wrap

if TYPE_CHECKING:
    from .tensor_class import Tensor


class Generator:
    """A seed and the number of draws made from it."""

    def __init__(self, device: DeviceLike = None) -> None:
        self.device = place(device)
        self._seed, self._stream = 67280421310721, 0

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed` (a Python int)."""
        if not isinstance(seed, int):
            raise TypeError(f"manual_seed expected a int, but got {type(seed).__name__}")
        self._seed, self._stream = seed & (2**63 - 1), 0
        return self

    def seed(self) -> int:
        """Start from a seed of the operating system's and return it."""
        self.manual_seed(int.from_bytes(os.urandom(7), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed."""
        return self._seed

    def get_state(self) -> tuple[int, int]:
        """Seed and number of draws, for `set_state`."""
        return self._seed, self._stream

    def set_state(self, state: tuple[int, int]) -> None:
        """Go on from a state that `get_state` gave."""
        self._seed, self._stream = state

    def draw(self) -> tuple[int, int]:
        """Seed and stream for one call."""
        self._stream += 1
        return self._seed, self._stream


_default: list[Generator] = []


def default_generator() -> Generator:
    """The generator that is used where none is given."""
    if not _default:
        _default.append(Generator("cpu"))
    return _default[0]


def manual_seed(seed: int) -> Generator:
    """Seed the default generator."""
    return default_generator().manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the operating system."""
    return default_generator().seed()


def initial_seed() -> int:
    """The default generator's seed."""
    return default_generator().initial_seed()


def _draw(generator: Generator | None) -> tuple[int, int]:
    return (generator or default_generator()).draw()


def _floating(dtype: DType | None, name: str) -> DType:
    wanted = kind(dtype) or dtypes.get_default_dtype()
    if not wanted.is_floating_point:
        raise RuntimeError(f'"{name}" not implemented for {wanted!r}: use a floating-point dtype')
    return wanted


def rand(*size: Any, generator: Generator | None = None, dtype: DType | None = None, device: DeviceLike = None,
         requires_grad: bool = False) -> Tensor:
    """Uniform in [0, 1)."""
    node = g.uniform(*_draw(generator), sizes(size), _floating(dtype, "rand"), place(device))
    return finish(node, requires_grad)


def randn(*size: Any, generator: Generator | None = None, dtype: DType | None = None, device: DeviceLike = None,
          requires_grad: bool = False) -> Tensor:
    """Standard normal."""
    node = g.normal(*_draw(generator), sizes(size), _floating(dtype, "randn"), place(device))
    return finish(node, requires_grad)


def randint(low: int, high: int | Sequence[int] | None = None, size: Any = None, *, generator: Generator | None = None,
            dtype: DType | None = None, device: DeviceLike = None, requires_grad: bool = False) -> Tensor:
    """Integers in [low, high): `randint(high, size)` or `randint(low, high, size)`; at most 2**32 different ones."""
    if size is None:
        low, high, size = 0, low, high
    if not isinstance(high, int):
        raise TypeError(f"randint(): argument 'high' must be int, not {type(high).__name__}")
    if high <= low:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if high - low > 2**32:
        raise RuntimeError(f"randint draws from at most 2**32 values, got a range of {high - low}")
    bits = g.random_bits(*_draw(generator), sizes((size,)), 0, place(device))
    node = g.cast(g.add(g.remainder(bits, high - low), low), kind(dtype) or dtypes.int64)
    return finish(node, requires_grad)


def randperm(n: int, *, generator: Generator | None = None, dtype: DType | None = None,
             device: DeviceLike = None) -> Tensor:
    """A random order of 0, ..., n-1, sorted on the host by random keys."""
    key, stream = _draw(generator)
    order = np.argsort(philox_bits(key, stream, n, 0), kind="stable")
    return wrap(put(order, kind(dtype) or dtypes.int64, place(device)))


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with probability `input`, else 0; of input's shape and dtype."""
    u = g.uniform(*_draw(generator), input.node.shape, dtypes.float32, input.device)
    return wrap(g.cast(g.lt(g.cast(u, input.dtype), input.node), input.dtype))


def rand_like(input: Tensor, *, dtype: DType | None = None, device: DeviceLike = None,
              requires_grad: bool = False) -> Tensor:
    """Uniform in [0, 1), of another tensor's shape, dtype and device."""
    return rand(input.shape, dtype=kind(dtype) or input.dtype,
                device=input.device if device is None else device, requires_grad=requires_grad)


def randn_like(input: Tensor, *, dtype: DType | None = None, device: DeviceLike = None,
               requires_grad: bool = False) -> Tensor:
    """Standard normal, of another tensor's shape, dtype and device."""
    return randn(input.shape, dtype=kind(dtype) or input.dtype,
                device=input.device if device is None else device, requires_grad=requires_grad)


def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: DType | None = None,
                 device: DeviceLike = None, requires_grad: bool = False) -> Tensor:
    """Integers in [low, high), of another tensor's shape, dtype and device."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, input.shape, dtype=kind(dtype) or input.dtype,
                   device=input.device if device is None else device,
                   requires_grad=requires_grad)
