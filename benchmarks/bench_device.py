"""Where and how carefully a suite is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from microtrain.bench.gpu import Gpu, kernel_clocks
from microtrain.bench.timing import Clock, loop_clock
from microtrain.graph.spec import Device
from microtrain.runtime import virtual

from .ceilings import SuiteCeilings, SuiteGpuCeilings, SuiteHostCeilings
from .memory import HostMemory, Memory, TorchArrays
from .workload import Subject


@dataclass(frozen=True)
class Effort:
    """How long to measure: samples of each contender, and seconds a sample."""

    rounds: int
    seconds: float


FULL = Effort(21, 0.02)
QUICK = Effort(5, 0.002)
ON_GPU = Effort(11, 0.01)
"""A GPU's clock is steadier than a shared machine's, and there is ten times as much to measure."""
ONCE = Effort(1, 1e-9)
"""One call: to see that everything runs."""

INTERPRETED = 1 << 16
"""Bytes that are copied where figures mean nothing."""


@dataclass(frozen=True)
class Place:
    """A device of microtrain's, arrays for it, clocks and ceilings.

    Attributes:
        torch_device: where PyTorch runs the same.
        kernel_clocks: for workloads whose kernels count.
        loop_clocks: for those that are loops on the host.
        gpu: the GPU, if there is one here.
    """

    device: str
    torch_device: str
    memory: Memory
    kernel_clocks: Sequence[Clock]
    loop_clocks: Sequence[Clock]
    ceilings: SuiteCeilings
    rounds: int
    gpu: Gpu | None = None

    @property
    def where(self) -> Device:
        """The device as microtrain has it."""
        return Device(self.device).resolved

    def clocks(self, subject: Subject) -> Sequence[Clock]:
        """Those for a subject."""
        return self.loop_clocks if subject.loop else self.kernel_clocks


def place(device: str, effort: Effort) -> Place:
    """The place of a device: cpu, interpret or cuda. Raises ImportError where it needs PyTorch and there is none."""
    loop = (loop_clock(effort.seconds),)
    if device == "cpu":
        return Place(device, "cpu", HostMemory(), loop, loop, SuiteHostCeilings(), effort.rounds)
    import torch
    if device == "interpret":
        return Place(device, "cpu", TorchArrays(torch, "cpu"), loop, loop, SuiteHostCeilings(INTERPRETED, (16, 16, 16)),
                     effort.rounds)
    if virtual.wanted():
        return on_virtual_gpu(device, Gpu(virtual.gpu().torch), effort)
    return on_gpu(device, Gpu(torch), effort)


def on_virtual_gpu(device: str, gpu: Gpu, effort: Effort) -> Place:
    """The place of a virtual GPU: PyTorch runs on the host beside it, and no time means anything."""
    import torch

    at = on_gpu(device, gpu, effort)
    return replace(at, torch_device="cpu", memory=TorchArrays(torch, "cpu"),
                   ceilings=SuiteGpuCeilings(gpu, INTERPRETED, (16, 16, 16), effort.seconds))


def on_gpu(device: str, gpu: Gpu, effort: Effort) -> Place:
    """The place of a GPU."""
    return Place(device, gpu.device, TorchArrays(gpu.torch, gpu.device), kernel_clocks(gpu, effort.seconds),
                 (loop_clock(effort.seconds),), SuiteGpuCeilings(gpu), effort.rounds, gpu)
