"""Who else runs the workloads."""

from __future__ import annotations

import numpy as np

from microtrain.runtime import virtual
from microtrain.runtime.detect import installed

from ..workload import by_hand
from .peer import Build, Peer, Peers

__all__ = ["BY_HAND", "Build", "Peer", "Peers", "peers"]

BY_HAND = "numpy by hand"


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
