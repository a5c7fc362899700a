"""Devices: where memory comes from and what runs on it."""

from __future__ import annotations

import importlib
from typing import Any

from . import virtual

BACKENDS = {"cpu": ("cpu", "CpuBackend"), "interpret": ("interpret", "InterpretBackend"),
            "cuda": ("cuda", "CudaBackend"), "null": ("null", "NullBackend")}

_loaded: dict[Any, Any] = {}


def backend(kind: str, index: Any = None) -> Any:
    """The backend of a device, loaded when first asked for. Raises what the backend raises when it cannot run here."""
    found = _loaded.get((kind, index))
    if found is None:
        module, name = BACKENDS[kind]
        if kind == "cuda" and virtual.wanted():
            module, name = "virtual.backend", "VirtualBackend"
        make = getattr(importlib.import_module(f".{module}", __name__), name)
        found = _loaded[kind, index] = make() if index is None else make(index)
    return found
