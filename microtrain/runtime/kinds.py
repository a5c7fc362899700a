"""The kinds of devices: a row says what may be asked of a device without loading it, and how its backend is loaded.

Nobody outside of `runtime` compares a kind's name: code asks the row (`device.kind.native`), or the backend.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .. import settings
from . import virtual
from .backend import Backend, KernelBackend
from .cpu import CpuBackend
from .detect import current_cuda
from .lock import lock

B = TypeVar("B", bound=Backend, covariant=True)

Index = int | str | None
"""What tells devices of a kind apart: a GPU's number, the null device's target, None where there is but one."""


def one(name: str, place: Index) -> Index:
    """The index of a device of which there is one. Raises RuntimeError for another than the first."""
    if place not in (None, "0", 0):
        kind = name.partition(":")[0]
        raise RuntimeError(f"Invalid device string: '{name}'; there is one {kind} device, '{kind}'")
    return None


def number(name: str, place: Index) -> Index:
    """A GPU's number; None for the current one. Raises RuntimeError for what is no number."""
    if place is not None and not (str(place).isascii() and str(place).isdigit()):
        raise RuntimeError(f"Invalid device string: '{name}'; a CUDA device is 'cuda' or 'cuda:0', 'cuda:1', ...")
    return None if place is None else int(place)


@dataclass(eq=False)
class Kind(Generic[B]):
    """A row of the table.

    native: programs are NumPy functions on NumPy's arrays; all other kinds run Triton's kernels, or compile them.
    interpreted: its kernels are run by Triton's interpreter, which is chosen when they are decorated.
    readable: its values can be looked at without waiting, so indices are checked there when they are used.
    computes: there are values.
    gpu: it is what PyTorch calls a CUDA device.
    place: the index that a device string, and what stands behind its colon, mean. Raises RuntimeError for none.
    current: the index that is meant where none is given.
    """

    load: Callable[[Index], B]
    native: bool = False
    interpreted: bool = False
    readable: bool = False
    computes: bool = True
    gpu: bool = False
    place: Callable[[str, Index], Index] = one
    current: Callable[[], Index] = lambda: None
    loaded: dict[Index, B] = field(default_factory=dict)

    def backend(self, index: Index = None) -> B:
        """The backend of one of its devices, loaded when first asked for. Raises what that raises."""
        if index is None:
            index = self.current()
        found = self.loaded.get(index)
        if found is None:
            with lock:
                found = self.loaded[index] = self.loaded.get(index) or self.load(index)
        return found


def _interpret(index: Index) -> KernelBackend:
    from .interpret import InterpretBackend
    return InterpretBackend()


def _cuda(index: Index) -> KernelBackend:
    assert isinstance(index, int)
    if virtual.wanted():
        from .virtual.backend import VirtualBackend
        return VirtualBackend(index)
    from .cuda import CudaBackend
    return CudaBackend(index)


def _null(index: Index) -> KernelBackend:
    assert isinstance(index, str)
    from .null import NullBackend
    return NullBackend(index)


WITH_KERNELS: dict[str, Kind[KernelBackend]] = {
    "cuda": Kind(_cuda, gpu=True, place=number, current=current_cuda),
    "interpret": Kind(_interpret, interpreted=True, readable=True),
    "null": Kind(_null, computes=False, place=lambda name, place: place or "sm_90", current=lambda: "sm_90"),
}

KINDS: dict[str, Kind[Backend]] = {"cpu": Kind(lambda index: CpuBackend(), native=True, readable=True), **WITH_KERNELS}


def named(text: str) -> str:
    """The text of a setting that names a device. Raises ValueError for another."""
    kind = text.partition(":")[0]
    try:
        if not re.fullmatch(r"\w+(:\w+)?", text):
            raise KeyError(kind)
        KINDS[kind].place(text, text[len(kind) + 1:] or None)
    except (KeyError, RuntimeError):
        raise ValueError(f"expected {', '.join(KINDS)}, or one of a kind, as cuda:0 or null:sm_90") from None
    return text


settings.device.parse = named


def backend(kind: str, index: Index = None) -> Backend:
    """The backend of a device, as `Kind.backend`."""
    return KINDS[kind].backend(index)


def kernel_backend(kind: str, index: Index = None) -> KernelBackend:
    """The backend of a device that runs kernels. Raises RuntimeError for the cpu device, and as `backend`."""
    found = WITH_KERNELS.get(kind)
    if found is None:
        raise RuntimeError(f"the {kind} device runs no kernels; {', '.join(WITH_KERNELS)} do")
    return found.backend(index)
