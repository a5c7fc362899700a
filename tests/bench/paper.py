"""A torch.cuda that keeps time by a counter."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from microtrain.bench.gpu import Gpu

CLEAR, NODE, HOST = 40.0, 1.0, 10.0
"""Microseconds of the GPU for clearing L2 and for a graph's edge, and of the host for one call."""

H100 = SimpleNamespace(major=9, minor=0, L2_cache_size=4096, multi_processor_count=132, total_memory=1 << 36,
                       max_threads_per_multi_processor=2048, shared_memory_per_multiprocessor=233472)


class FakeCuda:
    """What the benchmarks use of torch.cuda. `gpu` and `host` are times in microseconds; what is queued while a graph
    is captured costs nothing until it is replayed, and then a node each."""

    def __init__(self) -> None:
        self.gpu = self.host = 0.0
        self.capturing: list[float] | None = None
        self.calls: list[str] = []
        self.refuses = False

    def queue(self, cost: float) -> None:
        """A kernel: begins when the host has queued it and the GPU has done what came before."""
        if self.capturing is not None:
            self.capturing.append(cost)
            return
        self.host += HOST
        self.gpu = max(self.gpu, self.host) + cost

    def names(self) -> dict[str, Any]:
        cuda = self

        class Event:
            def __init__(self, enable_timing: bool = False) -> None:
                assert enable_timing

            def record(self) -> None:
                self.at = max(cuda.gpu, cuda.host)

            def synchronize(self) -> None:
                cuda.host = max(cuda.host, self.at)

            def elapsed_time(self, other: Any) -> float:
                return (other.at - self.at) / 1e3

        class Graph:
            def replay(self) -> None:
                cuda.calls.append("replay")
                cuda.queue(sum(self.costs) + NODE * len(self.costs))

        @contextmanager
        def graph(made: Any) -> Any:
            if cuda.refuses:
                raise RuntimeError("operation not permitted when stream is capturing")
            cuda.calls.append("capture")
            cuda.capturing = []
            try:
                yield
            finally:
                made.costs, cuda.capturing = cuda.capturing, None

        @contextmanager
        def stream(which: Any) -> Any:
            cuda.calls.append("stream")
            yield

        def sleep(cycles: int) -> None:
            cuda.calls.append("sleep")
            cuda.gpu = max(cuda.gpu, cuda.host) + cycles / 2000

        one = SimpleNamespace(wait_stream=lambda other: None, cuda_stream=0)
        return {"Event": Event, "CUDAGraph": Graph, "graph": graph, "stream": stream, "Stream": lambda: one,
                "current_stream": lambda: one, "synchronize": lambda *device: None, "current_device": lambda: 0,
                "get_device_properties": lambda index: H100, "get_device_name": lambda: "a GPU of paper",
                "_sleep": sleep}


class Timed(Gpu):
    """A GPU whose clearing of L2 costs CLEAR."""

    def clear(self) -> None:
        super().clear()
        self.torch.cuda.paper.queue(CLEAR)
