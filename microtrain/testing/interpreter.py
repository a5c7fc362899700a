"""Hooks on Triton's interpreter: what a kernel loads and stores, and the order in which its programs run.

All of the interpreter's memory operations end in four methods of one object, its builder, and each program begins with
`set_grid_idx`; so it is in Triton 3.6 to 3.9. A hook is an attribute of that object that hides the method for a while.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np

from .. import settings

HOOKED = ("create_masked_load", "create_masked_store", "create_atomic_rmw", "create_atomic_cas", "set_grid_idx")


def interpreting() -> bool:
    """Whether this process has Triton interpret its kernels."""
    return os.environ.get("TRITON_INTERPRET") == "1" and "triton" in sys.modules


def builder() -> Any:
    """The interpreter's builder. Raises RuntimeError where it is not as this module knows it."""
    from triton.runtime import interpreter
    found = interpreter.interpreter_builder
    absent = [name for name in HOOKED if not hasattr(found, name)]
    if absent:
        import triton
        raise RuntimeError(f"Triton {triton.__version__}'s interpreter has no {', '.join(absent)}: microtrain.testing "
                           "knows that of Triton 3.6 to 3.9")
    return found


@contextmanager
def hooked(name: str, wrapped: Callable[..., Any]) -> Iterator[None]:
    """Put `wrapped(method, *arguments)` in the place of one of the builder's methods."""
    target = builder()
    method, own = getattr(target, name), name in vars(target)
    setattr(target, name, lambda *arguments, **named: wrapped(method, *arguments, **named))
    try:
        yield
    finally:
        if own:
            setattr(target, name, method)
        else:
            delattr(target, name)


def filler(dtype: np.dtype[Any]) -> Any:
    """What is conspicuous in a dtype: NaN (bfloat16 is of NumPy's kind V), or the largest integer."""
    return np.nan if dtype.kind in "fV" else True if dtype.kind == "b" else np.iinfo(dtype).max


def poisoned_load(load: Callable[..., Any], pointers: Any, mask: Any, other: Any, *rest: Any, **named: Any) -> Any:
    """A masked load whose other lanes, where the kernel says nothing of them, are NaN or the largest integer.

    The interpreter has zeros there; on a GPU they may be anything. A load of a single lane is left alone: there the
    interpreter hands on `other=0` as if nothing had been said.
    """
    loaded = load(pointers, mask, other, *rest, **named)
    lanes = np.asarray(mask.data)
    if other is None and lanes.size > 1 and not lanes.all():
        data = np.array(loaded.data)
        bfloat16 = str(pointers.get_element_ty()) == "bf16"         # which the interpreter holds as its bits
        data[~np.broadcast_to(lanes, data.shape)] = 0x7FC0 if bfloat16 else filler(data.dtype)
        loaded.data = data
    return loaded


def poisoned_lanes() -> AbstractContextManager[None]:
    """Inside, masked lanes of loads without `other=` are NaN (or the largest integer)."""
    return hooked("create_masked_load", poisoned_load)


@contextmanager
def poison() -> Iterator[None]:
    """Inside, fresh memory is NaN (integers: the largest), and so are masked lanes that a kernel says nothing of.

    An element that no kernel writes is NaN then, and what it is computed from it. Where kernels are interpreted, so are
    the masked lanes of a `tl.load` without `other=`: the interpreter has zeros there, a GPU anything.
    """
    with settings.poison(True), poisoned_lanes() if interpreting() else nullcontext():
        yield


@contextmanager
def program_order(choose: Callable[[int], np.ndarray]) -> Iterator[None]:
    """Run the programs of every kernel in another order: `choose(count)` is a permutation of them.

    The interpreter runs the last axis of the grid fastest; on a GPU there is no order.
    """
    orders: dict[tuple[int, ...], np.ndarray] = {}

    def placed(set_index: Callable[..., Any], x: int, y: int, z: int) -> Any:
        dims = builder().grid_dim
        if dims not in orders:
            orders[dims] = choose(int(np.prod(dims)))
        number = int(orders[dims][np.ravel_multi_index((x, y, z), dims)])
        return set_index(*(int(i) for i in np.unravel_index(number, dims)))

    with hooked("set_grid_idx", placed):
        yield


ORDERS: tuple[tuple[str, Callable[[], AbstractContextManager[None]]], ...] = (
    ("backwards", lambda: program_order(lambda count: np.arange(count)[::-1])),
    ("in a random order", lambda: program_order(np.random.default_rng(0).permutation)))
"""Other orders of a kernel's programs, in which it is run once more."""


@contextmanager
def watched(watch: Any) -> Iterator[None]:
    """Inside, each memory operation is `watch.load`, `.store`, `.atomic`, each program `watch.program`.

    Each is handed the interpreter's method first and calls it.
    """
    with ExitStack() as stack:
        for name, method in zip(HOOKED, (watch.load, watch.store, watch.atomic, watch.exchange, watch.program),
                                strict=True):
            stack.enter_context(hooked(name, method))
        yield
