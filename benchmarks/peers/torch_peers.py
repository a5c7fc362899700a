"""PyTorch running the workloads: eager and, on a GPU, captured as a CUDA graph or compiled."""

from __future__ import annotations

from typing import Any

import torch

from microtrain.runtime import virtual

from ..workload import Compile, Instance, Values, Workload, unchanged
from .peer import Peer

EAGER = "torch"
GRAPH = "torch CUDA graph"
COMPILED = "torch.compile"
AUTOTUNED = "torch.compile max-autotune"

CAPTURE_WARMUP = 3
"""Calls before a capture, as PyTorch's notes on CUDA graphs ask for: libraries set themselves up in them."""


def builders(device: str, gpu: bool) -> dict[str, Peer]:
    """The peers on a device of PyTorch's by name. On a GPU those that compile are the workload's choice."""
    found = {EAGER: Peer(lambda workload, values: eager(workload, values, device))}
    if gpu:
        found[GRAPH] = Peer(lambda workload, values: captured(eager(workload, values, device)),
                            lambda workload: workload.loop)
        found[COMPILED] = Peer(lambda workload, values: compiled(workload, values, device),
                               lambda workload: COMPILED in workload.peers)
        found[AUTOTUNED] = Peer(lambda workload, values: compiled(workload, values, device, AUTOTUNE),
                                lambda workload: AUTOTUNED in workload.peers)
    return found


def beside_a_virtual_gpu() -> dict[str, Peer]:
    """The same peers by name; the only one that runs is the eager one, on the host."""
    names = builders("cpu", gpu=True)
    return {name: Peer(peer.build, peer.runs if name == EAGER else lambda workload: False)
            for name, peer in names.items()}


def eager(workload: Workload, values: Values, device: str, compile: Compile = unchanged) -> Instance:
    """The workload on PyTorch, operation by operation. State that a call changes is a copy of its own."""
    return workload.build(torch, {name: as_torch(value, device) for name, value in values.items()}, compile)


def as_torch(value: Any, device: str) -> torch.Tensor:
    """A tensor on the device: itself, or a copy of an array."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if value.dtype.name == "bfloat16":
        return torch.tensor(value.astype("float32"), device=device).bfloat16()
    return torch.tensor(value, device=device)


AUTOTUNE = "max-autotune-no-cudagraphs"
"""Graphs are the clock's business: those of PyTorch's own would hide the host, and cannot be captured again."""


def compiled(workload: Workload, values: Values, device: str, mode: str | None = None) -> Instance:
    """The workload with its forward (and so its backward) and its update through torch.compile."""
    torch.compiler.reset()
    return eager(workload, values, device, lambda function: torch.compile(function, mode=mode))


def captured(instance: Instance) -> Instance:
    """The whole call, backward and update included, as one CUDA graph that is replayed.

    Warming up and capturing train; the state is put back afterwards. Raises whatever the capture raises.
    """
    start = {name: value.detach().clone() for name, value in instance.state.items()}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(CAPTURE_WARMUP):
            instance.run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = instance.run()
    with torch.no_grad():
        for name, value in instance.state.items():
            value.copy_(start[name])
        for buffer in _buffers(instance.optimizer):
            # An SGD without dampening steps from a velocity of zero as it does from none.
            buffer.zero_()

    def replay() -> Any:
        graph.replay()
        return out

    return Instance(replay, instance.state, instance.optimizer)


def _buffers(optimizer: Any) -> list[Any]:
    states = optimizer.state.values() if optimizer is not None else ()
    return [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]


def one_thread() -> None:
    """What PyTorch computes on the CPU, it computes on one thread from here on."""
    torch.set_num_threads(1)


def gpu() -> dict[str, Any]:
    """The GPU's name, what it has, and the CUDA version of this PyTorch."""
    here = virtual.gpu().torch if virtual.wanted() else torch
    has = here.cuda.get_device_properties(here.cuda.current_device())
    return {"name": here.cuda.get_device_name(), "cuda": str(here.version.cuda),
            "capability": f"{has.major}.{has.minor}", "processors": has.multi_processor_count,
            "memory_bytes": has.total_memory, "l2_bytes": has.L2_cache_size}
