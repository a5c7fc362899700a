"""Who else runs the workloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..runtime import virtual
from ..runtime.detect import installed
from .workload import Instance, Values, Workload, by_hand

BY_HAND = "numpy by hand"

Build = Callable[[Workload, Values], Instance]


def always(workload: Workload) -> bool:
    """Every workload."""
    return True


@dataclass(frozen=True)
class Peer:
    """Another package: how it runs a workload, and which ones."""

    build: Build
    runs: Callable[[Workload], bool] = always


@dataclass(frozen=True)
class Peers:
    """Peers by name, and the notes that explain who is missing."""

    builders: Mapping[str, Peer]
    notes: tuple[str, ...] = ()

    def of(self, workload: Workload) -> dict[str, Build]:
        """Those that run a workload."""
        return {name: peer.build for name, peer in self.builders.items() if peer.runs(workload)}

    def only(self, names: Sequence[str]) -> Peers:
        """Those of these names. Raises ValueError for one that is not here; the message lists those that are."""
        unknown = [name for name in names if name not in self.builders]
        if unknown:
            raise ValueError(f"no peer '{unknown[0]}'; there are {', '.join(self.builders) or 'none'}")
        return Peers({name: self.builders[name] for name in names}, self.notes)


def peers(device: str) -> Peers:
    """On microtrain's `device`: PyTorch and JAX, where they are installed, and on the cpu NumPy."""
    found: dict[str, Peer] = {}
    notes = []
    gpu = device == "cuda"
    try:
        from . import torch_peers
    except ImportError as error:
        notes.append(f"PyTorch cannot be imported ({error}): its figures are left out")
    else:
        torch_peers.one_thread()
        if gpu and virtual.wanted():
            notes.append("the GPU is a virtual one: PyTorch runs on the host beside it, and no time means anything")
            found |= torch_peers.beside_a_virtual_gpu()
        else:
            found |= torch_peers.builders("cuda" if gpu else "cpu", gpu)
    if not installed("jax"):
        notes.append("JAX is not installed: its figures are left out")
    else:
        try:
            from . import jax_peers
        except Exception as error:
            notes.append(f"JAX cannot be imported ({error}): its figures are left out")
        else:
            found |= jax_peers.builders(device)
    if device == "cpu":
        found[BY_HAND] = Peer(lambda workload, values: by_hand(workload, np, values))
    return Peers(found, tuple(notes))
