"""Devices: where memory comes from and what runs on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import virtual
from .backend import Backend, KernelBackend
from .detect import current_cuda
from .lock import lock


def _cpu(index: Any) -> Backend:
    from .cpu import CpuBackend
    return CpuBackend()


def _interpret(index: Any) -> KernelBackend:
    from .interpret import InterpretBackend
    return InterpretBackend()


def _cuda(index: Any) -> KernelBackend:
    if virtual.wanted():
        from .virtual.backend import VirtualBackend
        return VirtualBackend(index)
    from .cuda import CudaBackend
    return CudaBackend(index)


def _null(index: Any) -> KernelBackend:
    from .null import NullBackend
    return NullBackend(index)


WITH_KERNELS: dict[str, Callable[[Any], KernelBackend]] = {"interpret": _interpret, "cuda": _cuda, "null": _null}

BACKENDS: dict[str, Callable[[Any], Backend]] = {"cpu": _cpu, **WITH_KERNELS}

_loaded: dict[tuple[str, Any], Any] = {}


def backend(kind: str, index: Any = None) -> Backend:
    """The backend of a device, loaded when first asked for. Raises what the backend raises when it cannot run here.

    index: of a GPU, by default the current one; the null device's target, by default sm_90; None for the others.
    """
    if index is None:
        index = current_cuda() if kind == "cuda" else "sm_90" if kind == "null" else None
    found: Backend | None = _loaded.get((kind, index))
    if found is None:
        with lock:
            found = _loaded[kind, index] = _loaded.get((kind, index)) or BACKENDS[kind](index)
    return found


def kernel_backend(kind: str, index: Any = None) -> KernelBackend:
    """The backend of a device that runs kernels. Raises RuntimeError for the cpu device, and as `backend`."""
    if kind not in WITH_KERNELS:
        raise RuntimeError(f"the {kind} device runs no kernels; {', '.join(WITH_KERNELS)} do")
    found: Any = backend(kind, index)
    return found
