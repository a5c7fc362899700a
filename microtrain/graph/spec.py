"""What is known of a value before it is computed: shape, dtype and device, interned so that `is` compares them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from ..runtime.backend import Backend
from ..runtime.kinds import KINDS, Index, Kind
from . import dtypes
from .dtypes import number

Shape = tuple[int, ...]


class Device:
    """Where values live: `cpu`, `cuda[:index]`, `interpret` or `null[:target]`. Interned; prints as PyTorch's. "cuda"
    without an index is the current GPU at the time when something is made on it: see `resolved`."""

    __slots__ = ("index", "kind", "type")
    _known: ClassVar[dict[tuple[str, Index], Device]] = {}

    type: str
    index: Index
    kind: Kind[Backend]

    def __new__(cls, name: str | Device | int, index: int | None = None) -> Device:
        if isinstance(name, Device):
            return name
        if isinstance(name, int) and not isinstance(name, bool):
            return cls("cuda", name)            # as in PyTorch, a number is a GPU's
        if not isinstance(index, int | None) or isinstance(index, bool):
            raise TypeError(f"device(): argument 'index' must be int, not {type(index).__name__}")
        if not isinstance(name, str):
            raise TypeError(f"device must be a string or a device, not {type(name).__name__}")
        kind, _, suffix = name.partition(":")
        if kind not in KINDS:
            raise RuntimeError(f"Expected one of {', '.join(KINDS)} device type at start of device string: {name}")
        place = KINDS[kind].place(name, suffix or index)
        self = cls._known.get((kind, place))
        if self is None:
            self = object.__new__(cls)
            self.type, self.index, self.kind = kind, place, KINDS[kind]
            self = cls._known.setdefault((kind, place), self)
        return self

    @property
    def resolved(self) -> Device:
        """The device itself, "cuda" with the index of the current GPU."""
        if self.index is not None or not self.kind.gpu:
            return self
        index = self.kind.current()
        return self._known.get((self.type, index)) or Device(f"{self.type}:{index}")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index!r}"
        return f"device(type='{self.type}'{index})"

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, str) and str(self) == other)

    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[object, ...]:
        return (Device, (str(self),))


class Spec:
    """Shape, dtype and device of a value: one object for each combination, so memo tables key by identity. What hangs
    on that combination alone lies on it too: the signatures of its leaves, and its constants and literals, nodes by
    their number. `node` puts them there; this module knows nothing of either."""

    __slots__ = ("buffer_signature", "constants", "device", "dtype", "literals", "numel", "scalar_signature", "shape")

    shape: Shape
    dtype: dtypes.DType
    device: Device
    numel: int
    buffer_signature: Any
    scalar_signature: Any
    constants: dict[object, Any]
    literals: dict[object, Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"{self.dtype.name}{list(self.shape)}@{self.device}"

    def __reduce__(self) -> tuple[object, ...]:
        return spec, (self.shape, self.dtype, self.device)


_specs: dict[tuple[Shape, dtypes.DType, Device], Spec] = {}


def spec(shape: Shape, dtype: dtypes.DType, device: Device) -> Spec:
    """The interned Spec of a shape (tuple of ints), dtype and device."""
    found = _specs.get((shape, dtype, device))
    if found is None:
        found = Spec()
        found.shape, found.dtype, found.device = shape, dtype, device
        found.numel = math.prod(shape)
        found.constants, found.literals = {}, {}
        found.buffer_signature = found.scalar_signature = None
        found = _specs.setdefault((shape, dtype, device), found)
    return found


def all_specs() -> list[Spec]:
    """Every combination met."""
    return list(_specs.values())


def broadcast_shapes(*shapes: Sequence[int]) -> Shape:
    """The common shape of operands by PyTorch's broadcasting rules. Raises RuntimeError in PyTorch's words."""
    result = [*max(shapes, key=len)]
    for shape in shapes:
        offset = len(result) - len(shape)
        for i, size in enumerate(shape):
            have = result[offset + i]
            if have == 1:
                result[offset + i] = size
            elif size not in (1, have):
                raise RuntimeError(
                    f"The size of tensor a ({have}) must match the size of tensor b ({size}) "
                    f"at non-singleton dimension {offset + i}")
    return tuple(result)


def normalise_dim(dim: int, ndim: int) -> int:
    """`dim` counted from the front. Raises IndexError in PyTorch's words; a 0-d tensor accepts 0 and -1."""
    if dim.__class__ is not int:
        if not isinstance(dim, int | np.integer) or isinstance(dim, bool):
            raise TypeError(f"dim must be an int, not {type(dim).__name__}")
        dim = number(dim)               # type: ignore[assignment]
    bound = max(ndim, 1)
    if not -bound <= dim < bound:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but got {dim})")
    return dim % bound


def normalise_dims(dims: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Sorted axes to reduce over; None and () mean all. Raises on a repeated or impossible axis."""
    if dims is None or (isinstance(dims, Sequence) and len(dims) == 0):
        return tuple(range(ndim))
    if isinstance(dims, int | np.integer):
        listed = [dims]
    elif isinstance(dims, Sequence) and not isinstance(dims, str | bytes):
        listed = list(dims)
    else:
        raise TypeError(f"argument 'dim' must be tuple of ints, not {type(dims).__name__}")
    axes = sorted(normalise_dim(d, ndim) for d in listed)
    for a, b in pairwise(axes):
        if a == b:
            raise RuntimeError(f"dim {a} appears multiple times in the list of dims")
    return tuple(axes) if ndim else ()
