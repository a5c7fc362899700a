"""Looking at each kernel as it runs: its memory poisoned before, its values compared with NumPy's afterwards.

MICROTRAIN_POISON and MICROTRAIN_VALIDATE turn that on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .. import settings
from ..graph.dtypes import DType
from ..graph.node import SCALAR, Kind
from ..runtime.backend import Buffer, KernelBackend
from .program import Value
from .templates.template import Group, Launch

EPSILONS = {"float64": 2.0 ** -52, "float32": 2.0 ** -23, "float16": 2.0 ** -10, "bfloat16": 2.0 ** -7}

ULPS = 64  # Rounding errors of one kernel's expression beside those of its sums
CANCELLATION = 16  # Rounding errors of what a kernel reads that may be left where large terms cancel


@contextmanager
def watched(launch: Launch, device: KernelBackend, given: list[Buffer], stored: list[Buffer],
            fresh: list[bool]) -> Iterator[None]:
    """Look at a launch: poison what it will store, if that is `fresh` memory, remember what it reads, compare after it.

    given: a buffer or a number for each value that its group reads; stored: a buffer for each that it stores.
    Raises RuntimeError where a kernel's value is not what NumPy computes.
    """
    group = launch.kernel.group
    checked = settings.validate.value and group.template.ours
    # Copies: what a kernel reads it may write over.
    given = [one if value.primitive is SCALAR else device.to_numpy(one).copy()
             for value, one in zip(group.reads, given, strict=True)] if checked else []
    if settings.poison.value:
        for value, buffer, new in zip(group.stores, stored, fresh, strict=True):
            if new:
                device.poison(buffer, value.spec)
    yield
    if checked:
        scale, expected = largest(given), launch.meaning.run(given)
        for value, buffer, wanted in zip(group.stores, stored, expected, strict=True):
            compare(group, value, device.to_numpy(buffer), wanted, scale)


def tolerance(dtype: DType, group: Group) -> float:
    """The relative error that rounding explains: a few units in the last place, and those of a sum in any order."""
    beside = [value.dtype for value in (*group.reads, *group.members) if value.primitive.kind is not Kind.LEAF]
    used = [dtype, *beside, *group.template.coarser(group.root)]
    rounding = max(EPSILONS[one.name] for one in used if one.is_floating_point)
    return rounding * (ULPS + 4 * math.sqrt(group.template.terms))


def largest(values: list[Buffer]) -> float:
    """The largest finite magnitude among floating-point values."""
    floats = [np.abs(np.asarray(v, np.float64)) for v in values if np.asarray(v).dtype.kind not in "biu"]
    return max((float(v[np.isfinite(v)].max(initial=0.0)) for v in floats), default=0.0)


def compare(group: Group, value: Value, found: np.ndarray, expected: Buffer, scale: float) -> None:
    """Raise RuntimeError, naming the element, where a kernel's value is not what NumPy says.

    `scale` is the largest magnitude that the kernel read.
    """
    expected = np.asarray(expected)
    if value.dtype.is_floating_point:
        have, want = found.astype(np.float64), expected.astype(np.float64)
        limit = tolerance(value.dtype, group)
        finite = np.abs(want[np.isfinite(want)])
        slack = limit * finite.max(initial=0.0) + CANCELLATION * EPSILONS[value.dtype.name] * scale
        close = np.isclose(have, want, rtol=limit, atol=slack, equal_nan=True)
    else:
        close = found == expected
    if not np.all(close):
        place = tuple(int(i) for i in np.argwhere(~np.asarray(close))[0])
        operations = ", ".join(member.primitive.name for member in group.members)
        raise RuntimeError(f"kernel over {group.template} ({operations}) wrote {found[place]} to {value.spec} at "
                           f"{list(place)}, where NumPy computes {expected[place]} "
                           f"({np.sum(~close)} of {close.size} elements differ)")
