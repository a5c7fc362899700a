"""PyTorch running the workloads: eager and, on a GPU, captured as a CUDA graph or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .workload import Compile, Inputs, Instance, Workload, unchanged

EAGER = "torch"
GRAPH = "torch CUDA graph"
COMPILED = "torch.compile"

CAPTURE_WARMUP = 3
"""Calls before a capture, as PyTorch's notes on CUDA graphs ask for: libraries set themselves up in them."""

Build = Callable[[Workload, Inputs], Instance]


def builders(device: str) -> dict[str, Build]:
    """The peers of a device by name."""
    found: dict[str, Build] = {EAGER: lambda workload, inputs: eager(workload, inputs, device)}
    if device == "cuda":
        found[GRAPH] = lambda workload, inputs: captured(eager(workload, inputs, device))
        found[COMPILED] = lambda workload, inputs: compiled(workload, inputs, device)
    return found


def eager(workload: Workload, inputs: Inputs, device: str, compile: Compile = unchanged) -> Instance:
    """The workload on PyTorch, operation by operation."""
    tensors = {name: torch.tensor(value, device=device) for name, value in inputs.items()}
    return workload.build(torch, tensors, compile)


def compiled(workload: Workload, inputs: Inputs, device: str) -> Instance:
    """The workload with its forward (and so its backward) and its update through torch.compile."""
    torch.compiler.reset()
    return eager(workload, inputs, device, torch.compile)


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


def gpu() -> dict[str, str]:
    """The GPU's name and the CUDA version of this PyTorch."""
    return {"name": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}
