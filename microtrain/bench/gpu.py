"""A GPU's clocks and ceilings.

Kernels are timed apart from the host in two ways. Captured in a CUDA graph, which replays them without the host; and
one by one between two events, as Triton's `do_bench` does, for what a graph cannot hold. The former adds nothing to a
kernel but the edge to it (1.3 us on an H100); the latter a few microseconds, so that it overrates small kernels' times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .limits import Ceilings, Format, Product
from .timing import Clock, Contender, Sampler, loop_clock

WARM_UP = 3
"""Calls before a capture, as PyTorch's notes on CUDA graphs ask for: libraries set themselves up in them."""

CAPTURED = 32
"""Calls that a graph holds at most."""

BETWEEN_EVENTS = 8
"""Calls of a sample between events."""

FLUSHED = 2
"""Times the L2 that is read to displace what it holds."""

HEAD_START = 1 << 20
"""Clock cycles (half a millisecond) that the GPU waits before what is timed, so that the host has queued all of it when
it begins: otherwise a host that is slow counts as a kernel that is."""

RESOLUTION = 0.05
"""Microseconds: what a difference of two times is at least, noise or not."""

TRIES = 5
"""Measurements of a ceiling; their median counts, as the median of a workload's samples does."""

COPIED = 1 << 30
LARGE: Product = (4096, 4096, 4096)


class Gpu:
    """One GPU of PyTorch's. `device` is where its tensors are made."""

    def __init__(self, torch: Any, device: str = "cuda") -> None:
        self.torch, self.device = torch, device
        self.properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        elements = FLUSHED * self.properties.L2_cache_size // 4
        self.shadow = torch.zeros(elements, device=device)
        self.sink = torch.zeros((), device=device)

    def clear(self) -> None:
        """Displace what L2 holds, by reading: written lines would have to be written back at the next call's cost."""
        self.torch.sum(self.shadow, 0, out=self.sink)

    def timed(self, body: Callable[[], Any], before: Callable[[], Any] | None = None) -> float:
        """Microseconds from before the first to after the last of what `body` queues, after `before`. The host is
        ahead of the GPU, see HEAD_START."""
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.torch.cuda._sleep(HEAD_START)
        if before is not None:
            before()
        start.record()
        held = body()
        end.record()
        end.synchronize()
        del held
        return float(start.elapsed_time(end)) * 1e3

    def captured(self, body: Callable[[], Any]) -> Callable[[], Any]:
        """What `body` queues as one graph; a call replays it, and gives its result. Raises what a capture raises."""
        cuda = self.torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            body()
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            held = body()
        graph.replay()
        cuda.synchronize()

        def replay() -> Any:
            graph.replay()
            return held             # the memory that it writes to
        return replay

    def calls(self, contender: Contender, seconds: float, most: int) -> int:
        """How many calls fill `seconds` of the GPU's time, `most` at most. Raises RuntimeError for a contender that
        queues elsewhere than on PyTorch's stream, where neither a graph nor events would see it."""
        if not contender.on_stream:
            raise RuntimeError("it runs on streams of its own")
        for _ in range(WARM_UP):
            held = contender.call()
        estimate = self.timed(contender.call)
        del held
        return max(1, min(most, int(seconds * 1e6 / max(estimate, RESOLUTION))))


def repeated(calls: int, *bodies: Callable[[], Any]) -> Callable[[], Any]:
    """All bodies in turn, `calls` times; the last result of the last one is returned, and so held."""
    def body() -> Any:
        held = None
        for _ in range(calls):
            for one in bodies:
                held = one()
        return held
    return body


def cold_graph(gpu: Gpu, seconds: float) -> Clock:
    """Calls in a graph with L2 cleared before each, less the same graph without the calls."""
    def sampler(contender: Contender) -> Sampler:
        calls = gpu.calls(contender, seconds, CAPTURED)
        both = gpu.captured(repeated(calls, gpu.clear, contender.call))
        clears = gpu.captured(repeated(calls, gpu.clear))
        return Sampler(calls, lambda: max((gpu.timed(both) - gpu.timed(clears)) / calls, RESOLUTION))
    return Clock("graph, cold L2", sampler)


def warm_graph(gpu: Gpu, seconds: float) -> Clock:
    """Calls in a graph, one after the other: what fits L2 is found there."""
    def sampler(contender: Contender) -> Sampler:
        calls = gpu.calls(contender, seconds, CAPTURED)
        replay = gpu.captured(repeated(calls, contender.call))
        return Sampler(calls, lambda: gpu.timed(replay) / calls)
    return Clock("graph, warm L2", sampler)


def events(gpu: Gpu, seconds: float) -> Clock:
    """Each call between two events, L2 cleared before it, the host ahead of it: `do_bench`'s way."""
    def sampler(contender: Contender) -> Sampler:
        calls = gpu.calls(contender, seconds, BETWEEN_EVENTS)
        return Sampler(calls, lambda: sum(gpu.timed(contender.call, gpu.clear) for _ in range(calls)) / calls)
    return Clock("events, cold L2", sampler)


def kernel_clocks(gpu: Gpu, seconds: float) -> Sequence[Clock]:
    """The clocks of a workload whose kernels count: the first that can time it gives the figure."""
    return cold_graph(gpu, seconds), events(gpu, seconds), warm_graph(gpu, seconds), loop_clock(seconds)


class GpuCeilings(Ceilings):
    """PyTorch's copy, its sum of two and its matrix products."""

    def __init__(self, gpu: Gpu, copied: int = COPIED, large: Product = LARGE, seconds: float = 0.01) -> None:
        super().__init__(copied, large)
        self.gpu, self.seconds = gpu, seconds

    def _copies(self) -> dict[str, float]:
        """Of a copy and of a sum of two. Memory that is written as often as it is read turns around more often: an H100
        copied at 2.4 TB/s and ran a map of two inputs at 3.1."""
        source = self.gpu.torch.zeros(self.copied // 4, device=self.gpu.device)
        other, target = self.gpu.torch.zeros_like(source), self.gpu.torch.empty_like(source)
        return {"copy": 2 * self.copied / self._median(lambda: target.copy_(source)),
                "add": 3 * self.copied / self._median(lambda: self.gpu.torch.add(source, other, out=target))}

    def _product(self, format: Format, product: Product) -> float | None:
        torch, (m, k, n) = self.gpu.torch, product
        dtype = torch.bfloat16 if format == "bfloat16" else torch.float32
        a, b = (torch.randn(shape, device=self.gpu.device).to(dtype) for shape in ((m, k), (k, n)))
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if format == "tf32" else "highest")
        try:
            return self._median(lambda: torch.matmul(a, b))
        finally:
            torch.set_float32_matmul_precision(before)

    def _median(self, call: Callable[[], Any]) -> float:
        take = cold_graph(self.gpu, self.seconds).sampler(Contender(call, lambda: None, lambda: None)).take
        return sorted(take() for _ in range(TRIES))[TRIES // 2]
