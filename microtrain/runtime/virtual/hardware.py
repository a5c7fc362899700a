"""What a virtual GPU has: its properties, its memory, its streams; and what is wrong with how they are used."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TypedDict

from ...errors import VirtualGpuError
from ..lock import lock
from .libcuda import LibCuda
from .memory import DeviceMemory
from .streams import Graph, Streams


class Properties(TypedDict):
    """Some of what PyTorch tells of a GPU."""

    name: str
    major: int
    minor: int
    multi_processor_count: int
    L2_cache_size: int
    shared_memory_per_block_optin: int
    shared_memory_per_multiprocessor: int


PROPERTIES: dict[str, Properties] = {
    "sm_80": {"name": "virtual A100", "major": 8, "minor": 0, "multi_processor_count": 108, "L2_cache_size": 40 << 20,
              "shared_memory_per_block_optin": 166912, "shared_memory_per_multiprocessor": 167936},
    "sm_90": {"name": "virtual H100", "major": 9, "minor": 0, "multi_processor_count": 132, "L2_cache_size": 50 << 20,
              "shared_memory_per_block_optin": 232448, "shared_memory_per_multiprocessor": 233472},
}
"""As PyTorch tells them of the GPUs of these architectures."""

COMMON = {"total_memory": 80 << 30, "max_threads_per_multi_processor": 2048, "regs_per_multiprocessor": 65536,
          "shared_memory_per_block": 49152, "warp_size": 32}


class Hardware:
    """Memory and streams of a GPU of an architecture, "sm_80" or "sm_90", which answers through a driver's library."""

    library: LibCuda

    def __init__(self, arch: str) -> None:
        self.arch = arch
        self.properties = SimpleNamespace(**PROPERTIES[arch], **COMMON)
        self.memory = DeviceMemory(COMMON["total_memory"])
        self.streams = Streams(self.release)
        self.hazards: list[str] = []
        self.graphs: dict[int, Graph] = {}

    def allocate(self, nbytes: int, what: str) -> int:
        """The address of fresh memory. Raises torch.OutOfMemoryError."""
        try:
            address = self.memory.allocate(nbytes, self.streams.current.cuda_stream, what)
        except MemoryError:
            import torch
            total = self.memory.capacity
            free = total - self.memory.used
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {size(nbytes)}. GPU 0 has a total capacity of {size(total)} of "
                f"which {size(free)} is free.") from None
        if self.streams.capturing is not None:
            self.graphs[address] = self.streams.capturing
            self.memory.held[address].of_a_graph = True
        return address

    def free(self, address: int) -> None:
        """The last tensor over an allocation is gone, in whatever thread. A graph's stays while the graph does."""
        with lock:
            graph = self.graphs.pop(address, None)
            if graph is not None:
                graph.kept.append(address)
            else:
                self.release(address)

    def release(self, address: int) -> None:
        """End an allocation's life. What was wrong with it is said at the next launch: nobody can be told here."""
        wrong = self.streams.hazard(self.memory.free(address))
        if wrong:
            self.hazards.append(wrong)

    def queue_operation(self, run: Callable[[], object], synchronizes: bool) -> None:
        """Run an operation of PyTorch's that changes a tensor, or have the graph that is captured run it."""
        if synchronizes:
            self.streams.forbid_capture()
        if self.streams.capturing is None:
            run()
        else:
            self.streams.capturing.work.append(run)

    def raise_hazards(self) -> None:
        if self.hazards:
            found, self.hazards = self.hazards, []
            raise VirtualGpuError("; ".join(found))

    def synchronize(self) -> None:
        """Wait for everything. Raises what went wrong meanwhile."""
        self.streams.synchronize()
        self.raise_hazards()


def size(nbytes: int) -> str:
    """Bytes as PyTorch writes them."""
    for unit, scale in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if nbytes >= 1 << scale:
            return f"{nbytes / (1 << scale):.2f} {unit}"
    return f"{nbytes} bytes"
